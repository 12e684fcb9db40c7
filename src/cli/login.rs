//! `bootes login`: remembers an appliance, how it is known, and the token with which it is asked.
//!
//! The token is tried before anything is remembered. It is read without being shown, or from the standard input, and
//! never from the command line, which every user of the machine can read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::Shell;
use super::client::{Client, Query};
use super::connect;
use super::context::{Context, Contexts};
use super::error::{CliError, Status, tell};
use super::target::{self, ApiUrl, Target};
use super::trust::Trust;
use crate::port::access::CallerDocument;

/// Bytes of a token that are read.
const TOKEN_BYTES_MAX: u64 = 4_096;
const TERMINAL: &str = "/dev/tty";
/// Keys at a terminal that does not interpret them (ASCII: ETX, EOT, BS, DEL).
const INTERRUPT: u8 = 3;
const END: u8 = 4;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;

/// Where, and how it is known.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The API's address, as in https://10.77.0.1:8081.
    url: ApiUrl,
    /// The context's name; else the host's.
    #[arg(long, value_name = "CONTEXT")]
    name: Option<String>,
    /// Read the token from the standard input instead of asking for it.
    #[arg(long)]
    token_stdin: bool,
    /// The appliance's fingerprint, which 'bootes api fingerprint' prints there; without it and --ca it is asked about.
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
    /// A PEM file of the authorities that are trusted to name the appliance.
    #[arg(long, value_name = "FILE", conflicts_with = "fingerprint")]
    ca: Option<PathBuf>,
}

/// Logs in.
pub async fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let ApiUrl::Https { host, .. } = &args.url else {
        return Err(CliError::Usage(format!("{} needs no login: root is let in there", args.url)));
    };
    let name = args.name.clone().unwrap_or_else(|| host.trim_matches(['[', ']']).to_owned());
    if name.is_empty() || name == "none" || name.chars().any(char::is_control) {
        return Err(CliError::Usage(format!("'{name}' cannot be a context's name; choose another with --name")));
    }
    let (trust, fingerprint, ca) = match (&args.fingerprint, &args.ca) {
        (Some(text), _) => {
            let pinned = target::fingerprint(text)?;
            (Trust::Fingerprint(pinned), Some(pinned), None)
        }
        (None, Some(file)) => {
            let trust = Trust::authorities_of(file)?;
            let pem = std::fs::read_to_string(file)
                .map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))?;
            (trust, None, Some(pem))
        }
        (None, None) => {
            let shown = confirmed(&args.url).await?;
            (Trust::Fingerprint(shown), Some(shown), None)
        }
    };
    let token = if args.token_stdin { token_of(io::stdin().lock())? } else { hidden_token()? };
    let target = Target { url: args.url.clone(), token: Some(token.clone()), trust: Some(trust) };
    let client = Client::at(target);
    let caller: CallerDocument = client.get("/api/v1/whoami", &Query::default()).await?.document;
    let mut contexts = Contexts::read()?;
    let fingerprint = fingerprint.map(|digest| digest.to_string());
    contexts.context.insert(name.clone(), Context { url: args.url.to_string(), token, fingerprint, ca });
    contexts.current = Some(name.clone());
    contexts.write()?;
    let scope = caller.nodes.map_or_else(String::new, |nodes| format!(" of {nodes}"));
    let until = caller.expires_at.map_or_else(String::new, |at| format!(", until {at}"));
    shell.out.text(&format!(
        "logged in to {} as {} ({}{scope}){until}; context {name} is in use\n",
        args.url, caller.name, caller.role
    ))?;
    Ok(Status::Done)
}

/// Shows the fingerprint and asks whether it is the right one.
async fn confirmed(url: &ApiUrl) -> Result<crate::model::Digest, CliError> {
    let shown = connect::look(url).await?;
    let Some((mut terminal, answers)) = terminal() else {
        return Err(CliError::Usage(format!(
            "{url} shows the fingerprint {shown}, and there is no terminal on which to ask whether that is right: compare it with what 'bootes api fingerprint' prints on the appliance, and give it as --fingerprint"
        )));
    };
    let question = format!(
        "{url} shows the fingerprint\n  {shown}\nIs this what 'bootes api fingerprint' prints on the appliance? [y/N] "
    );
    let _ = terminal.write_all(question.as_bytes()).and_then(|()| terminal.flush());
    let mut answer = String::new();
    let _ = answers.take(16).read_line(&mut answer);
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(shown),
        _ => Err(CliError::Refused {
            detail: format!("not logged in to {url}: its fingerprint was not confirmed; nothing was sent to it"),
        }),
    }
}

/// The terminal of whoever typed the command, to write to and to read from.
fn terminal() -> Option<(File, BufReader<File>)> {
    let open = || File::options().read(true).write(true).open(TERMINAL).ok();
    if !io::stderr().is_terminal() {
        return None;
    }
    Some((open()?, BufReader::new(open()?)))
}

/// Shows the input again when it ends, whatever happened meanwhile.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
        let _ = self.terminal.write_all(b"\n");
    }
}

fn hidden_token() -> Result<String, CliError> {
    let none =
        || CliError::Usage("there is no terminal on which to ask for the token: give it with --token-stdin".to_owned());
    let (mut terminal, answers) = terminal().ok_or_else(none)?;
    let before = tcgetattr(&terminal).map_err(|_| none())?;
    let mut silent = before.clone();
    // An interrupt would end the program with the terminal still silent: it is read as a key instead.
    silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &silent).map_err(|_| none())?;
    let _ = terminal.write_all(b"Token: ").and_then(|()| terminal.flush());
    let hidden = Hidden { terminal, before };
    let typed = typed_line(answers);
    drop(hidden);
    token_of(typed?.as_bytes())
}

/// What is typed until the end of the line.
fn typed_line(from: impl BufRead) -> Result<String, CliError> {
    let mut line = Vec::new();
    for byte in from.take(TOKEN_BYTES_MAX).bytes().map_while(Result::ok) {
        match byte {
            b'\n' | b'\r' => break,
            INTERRUPT | END => {
                return Err(CliError::Refused { detail: "not logged in: no token was given".to_owned() });
            }
            BACKSPACE | DELETE => {
                line.pop();
            }
            byte => line.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn token_of(from: impl BufRead) -> Result<String, CliError> {
    let mut line = String::new();
    let read = from.take(TOKEN_BYTES_MAX).read_line(&mut line);
    let token = line.trim();
    let sound = !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic());
    if read.is_err() || !sound {
        return Err(CliError::Usage("that is no token: give the line that 'bootes token create' printed".to_owned()));
    }
    if !token.starts_with("bootes_") {
        tell("a token usually begins with bootes_");
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_typed_corrected_and_given_up_as_at_any_prompt() {
        let typed = |keys: &[u8]| typed_line(keys).ok();
        assert_eq!(typed(b"bootes_x\x7f12\nrest").as_deref(), Some("bootes_12"));
        assert_eq!(typed(b"a\r").as_deref(), Some("a"));
        assert_eq!(typed(b"abc\x03"), None);
        assert_eq!(typed(b"\x04"), None);
    }

    #[test]
    fn what_cannot_be_a_token_is_refused_before_it_is_sent() {
        assert_eq!(token_of(&b"bootes_ab\nmore\n"[..]).ok().as_deref(), Some("bootes_ab"));
        for bad in [&b""[..], b"\n", b"bootes_a b\n", b"bootes_\xff\n", "bootes_\u{e4}".as_bytes()] {
            assert!(token_of(bad).is_err(), "{bad:?}");
        }
    }
}
