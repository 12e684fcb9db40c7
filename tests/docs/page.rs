//! A page's commands, read from its Markdown.

/// What a page's commands need around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Appliance,
    Nothing,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// The line in the page.
    pub line: usize,
    pub text: String,
    pub exit_code: i32,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    pub needs: Needs,
    pub commands: Vec<Command>,
    /// Names and texts of files.
    pub files: Vec<(String, String)>,
}

impl Page {
    /// The page's commands; nothing when it has none.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let needs = text.lines().find_map(|line| line.trim().strip_prefix("<!-- runs with: ")?.strip_suffix(" -->"));
        let needs = match needs {
            None => None,
            Some("appliance") => Some(Needs::Appliance),
            Some("nothing") => Some(Needs::Nothing),
            Some(other) => return Err(format!("'runs with: {other}' is none of appliance, nothing")),
        };
        let commands = commands(text)?;
        match (needs, commands.is_empty()) {
            (None, true) => Ok(None),
            (None, false) => Err("it has console blocks and no comment '<!-- runs with: … -->'".to_owned()),
            (Some(_), true) => Err("it says what its commands run with, and has no console block".to_owned()),
            (Some(needs), false) => Ok(Some(Page { needs, commands, files: files(text) })),
        }
    }
}

fn files(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut in_file = false;
    for line in text.lines() {
        if line.starts_with("```") {
            let name = line.strip_prefix("```toml ").filter(|_| !in_file);
            found.extend(name.map(|name| (name.trim().to_owned(), String::new())));
            in_file = name.is_some();
        } else if let (true, Some((_, file))) = (in_file, found.last_mut()) {
            file.push_str(line);
            file.push('\n');
        }
    }
    found
}

fn commands(text: &str) -> Result<Vec<Command>, String> {
    let mut found: Vec<Command> = Vec::new();
    let (mut in_console, mut goes_on) = (false, false);
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_console = !in_console && line.trim() == "```console";
            goes_on = false;
            continue;
        }
        if !in_console {
            continue;
        }
        let begins = line.strip_prefix("$ ");
        match (begins, goes_on, found.last_mut()) {
            (Some(command), false, _) => {
                found.push(Command { line: index + 1, text: command.to_owned(), exit_code: 0 });
            }
            (_, true, Some(last)) => {
                last.text.push('\n');
                last.text.push_str(line);
            }
            (_, _, Some(last)) if line.starts_with("exit code ") => {
                let code = line.trim_start_matches("exit code ").parse();
                last.exit_code = code.map_err(|_| format!("line {}: '{line}' names no number", index + 1))?;
            }
            _ => {}
        }
        goes_on = (begins.is_some() || goes_on) && line.ends_with('\\');
    }
    Ok(found)
}

#[test]
fn commands_are_read_with_their_continuation_and_exit_code() {
    let text = "<!-- runs with: nothing -->\n```console\n$ one \\\n    two\nout\n$ three\nexit code 2\n```\n```sh\n$ no\n```\n";
    let page = Page::parse(text).unwrap().unwrap();
    assert_eq!(page.needs, Needs::Nothing);
    let read: Vec<(usize, &str, i32)> = page.commands.iter().map(|c| (c.line, &*c.text, c.exit_code)).collect();
    assert_eq!(read, [(3, "one \\\n    two", 0), (6, "three", 2)]);
    let file = "<!-- runs with: nothing -->\n```toml a.toml\nx = 1\n```\n```toml\ny = 2\n```\n```console\n$ one\n```\n";
    assert_eq!(Page::parse(file).unwrap().unwrap().files, [("a.toml".to_owned(), "x = 1\n".to_owned())]);
    assert_eq!(Page::parse("```sh\n$ x\n```"), Ok(None));
    assert!(Page::parse("```console\n$ x\n```").is_err());
    assert!(Page::parse("<!-- runs with: nothing -->").is_err());
    assert!(Page::parse("<!-- runs with: luck -->\n```console\n$ x\n```").is_err());
}
