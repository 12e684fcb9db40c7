//! Switching something on and off: what mutations and modules have in common.

use super::Shell;
use super::error::{CliError, Status};
use super::output::FormatArgs;
use crate::fact::Switch;
use crate::port::control::{SwitchAnswer, SwitchRequest};

/// What to switch.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name.
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// Switches `args` among `things`, which is the API's word for them.
pub async fn run(things: &str, args: Args, to: Switch, shell: &mut Shell) -> Result<Status, CliError> {
    let path = format!("/api/v1/{things}/{}/switch", segment(&args.name)?);
    let answer: SwitchAnswer = shell.api.post(&path, &SwitchRequest { to }).await?.document;
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &answer)?,
        None => {
            let already = if answer.changed { "" } else { " already" };
            shell.out.text(&format!("{}: {}{already}\n", answer.name, answer.to))?;
        }
    }
    Ok(Status::Done)
}

/// A name as one segment of a path.
pub(super) fn segment(name: &str) -> Result<&str, CliError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match !name.is_empty() && name.chars().all(is_plain) {
        true => Ok(name),
        false => Err(CliError::Usage(format!(
            "'{name}' is no name: names have letters, digits, dots, - and _; 'bootes mutation list' shows them"
        ))),
    }
}
