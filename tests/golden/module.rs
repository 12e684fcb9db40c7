//! Conversations with modules from outside: what the appliance makes of each line, next to the lines.
//!
//! A line `< …` is one of the module's, `@ MS` lets time pass to so many milliseconds, `ask NAME MS` asks for something that
//! may take so long, `cancel N` and `bye` are the appliance's own doing. What follows is printed below the line.

use bootes::module::codec::RequestId;
use bootes::module::session::{Session, Step};

use crate::pairs;

fn told(step: &Step<String>) -> String {
    match step {
        Step::Send(message) => {
            format!("  > {}", String::from_utf8(message.encode().unwrap().to_vec()).unwrap().trim_end())
        }
        Step::Declared(declared) => format!("  declared, {} mutations", declared.mutations.len()),
        Step::Ready => "  ready".to_owned(),
        Step::Observed(seen) => format!("  observed {} = {}", seen.variable, seen.value),
        Step::Finished(asker, None) => format!("  {asker} is done"),
        Step::Finished(asker, Some(why)) => format!("  {asker} failed: {why}"),
        Step::Late(asker) => format!("  {asker} is late"),
        Step::Logged(level, text) => format!("  log, {level:?}: {text}"),
        Step::Break(why) => format!("  ENDED: {why}"),
    }
}

#[test]
fn every_conversation_goes_as_its_golden_file_says() {
    pairs::check("module", |_, given| {
        let mut now_ms = 0;
        let config = serde_json::Map::new();
        let (mut session, hello) = Session::begin(&"lamp".parse().unwrap(), &config, now_ms);
        let mut lines = vec![told(&Step::Send(hello))];
        for line in given.lines() {
            lines.push(line.to_owned());
            let words: Vec<&str> = line.split(' ').collect();
            let steps = match words[..] {
                ["<", ..] => session.hear(&line.as_bytes()[2..]),
                ["@", ms] => {
                    now_ms = ms.parse().unwrap();
                    session.tick(now_ms)
                }
                ["ask", name, ms] => {
                    let id = session.ask(name.to_owned(), ms.parse().unwrap(), now_ms);
                    lines.push(format!("  request {}", id.0));
                    Vec::new()
                }
                ["cancel", id] => {
                    let cancelled = session.cancel(RequestId(id.parse().unwrap()), now_ms);
                    cancelled.into_iter().map(|(_, message)| Step::Send(message)).collect()
                }
                ["bye"] => vec![Step::Send(session.leave())],
                _ => panic!("'{line}' is no line of a conversation"),
            };
            lines.extend(steps.iter().map(told));
        }
        lines.push(format!("under way: {}, next look: {:?}", session.under_way(), session.next_tick_ms()));
        lines.join("\n") + "\n"
    });
}
