//! Contexts: appliances that were logged in to, each with its address, token and trust; `bootes context`.
//!
//! They are kept in `bootes/contexts.toml` of the user's configuration folder (XDG Base Directory Specification), for
//! its owner alone, since tokens are in it. The file is replaced as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::Shell;
use super::error::{CliError, Status, tell};
use super::output::FormatArgs;
use super::table::Table;
use super::target::{self, ApiUrl};
use super::trust::Trust;

/// One appliance, and as whom it is asked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Its address.
    pub url: String,
    /// The token.
    pub token: String,
    /// The pinned fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The trusted authorities, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({})", self.url)
    }
}

impl Context {
    /// How the appliance is known.
    ///
    /// # Errors
    /// When the file holds nothing usable about it.
    pub fn trust(&self) -> Result<Trust, CliError> {
        match (&self.fingerprint, &self.ca) {
            (Some(text), _) => target::fingerprint(text).map(Trust::Fingerprint),
            (None, Some(pem)) => Trust::authorities(pem).map_err(|()| CliError::NotKnown { url: self.url.clone() }),
            (None, None) => Err(CliError::NotKnown { url: self.url.clone() }),
        }
    }
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contexts {
    /// The one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By name.
    #[serde(default)]
    pub context: BTreeMap<String, Context>,
}

fn file() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("bootes/contexts.toml"))
}

impl Contexts {
    /// Reads the file; there are none without it.
    ///
    /// # Errors
    /// When it cannot be read or is not what it should be.
    pub fn read() -> Result<Self, CliError> {
        let Some(path) = file() else { return Ok(Contexts::default()) };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // A user whose home is somebody else's or no folder has no contexts either.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Contexts::default());
            }
            Err(source) => return Err(CliError::Contexts { path, detail: source.to_string() }),
        };
        keep_private(&path);
        toml::from_str(&text).map_err(|error| CliError::Contexts { path, detail: error.message().to_owned() })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When there is no place for it, or it cannot be written.
    pub fn write(&self) -> Result<(), CliError> {
        let Some(path) = file() else {
            return Err(CliError::Usage(
                "there is no place for contexts: set HOME or XDG_CONFIG_HOME to a folder".to_owned(),
            ));
        };
        let failed = |detail: String| CliError::Contexts { path: path.clone(), detail };
        let text = toml::to_string(self).map_err(|error| failed(error.to_string()))?;
        replace(&path, &text).map_err(|error| failed(error.to_string()))
    }

    /// The one with this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(&self, name: &str) -> Result<&Context, CliError> {
        self.context.get(name).ok_or_else(|| CliError::NoContext { name: name.to_owned() })
    }

    /// One of this address, the one in use first.
    #[must_use]
    pub fn at(&self, url: &ApiUrl) -> Option<&Context> {
        let same = |context: &&Context| context.url.parse().is_ok_and(|known: ApiUrl| known == *url);
        let current = self.current.as_ref().and_then(|name| self.context.get(name));
        current.filter(same).or_else(|| self.context.values().find(same))
    }
}

/// The tokens are in it: a file that others may read is made private again.
fn keep_private(path: &Path) {
    let open = fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    if open && fs::set_permissions(path, fs::Permissions::from_mode(0o600)).is_ok() {
        tell(&format!("{} could be read by others and is private again", path.display()));
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let mut to = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    to.write_all(text.as_bytes())?;
    to.sync_all()?;
    fs::rename(&fresh, path)
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the appliances that were logged in to.
    List {
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Speak to this one from now on.
    Use {
        /// Its name; 'none' for the appliance of this machine.
        name: String,
    },
    /// Forget one and its token.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    current: bool,
    url: &'a str,
    trust: String,
}

/// Does it.
pub fn run(command: Command, shell: &mut Shell) -> Result<Status, CliError> {
    let mut contexts = Contexts::read()?;
    match command {
        Command::List { format } => return list(&contexts, &format, shell),
        Command::Use { name } if name == "none" => contexts.current = None,
        Command::Use { name } => {
            contexts.named(&name)?;
            contexts.current = Some(name);
        }
        Command::Remove { name } => {
            contexts.named(&name)?;
            contexts.context.remove(&name);
            contexts.current = contexts.current.filter(|current| *current != name);
        }
    }
    contexts.write()?;
    Ok(Status::Done)
}

fn list(contexts: &Contexts, format: &FormatArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let shown = |(name, context): (&'_ String, &'_ Context)| {
        let trust = match (&context.fingerprint, &context.ca) {
            (Some(fingerprint), _) => fingerprint.clone(),
            (None, Some(_)) => "authorities".to_owned(),
            (None, None) => "none".to_owned(),
        };
        (name.clone(), contexts.current.as_ref() == Some(name), context.url.clone(), trust)
    };
    let all: Vec<_> = contexts.context.iter().map(shown).collect();
    if let Some(format) = format.format.structured() {
        let one = |(name, current, url, trust): &'_ (String, bool, String, String)| {
            serde_json::json!(Shown { name, current: *current, url, trust: trust.clone() })
        };
        let items = all.iter().map(one).collect();
        shell.out.document(format, &crate::port::document::Items::<serde_json::Value> { items })?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["NAME", "IN USE", "URL", "TRUST"]);
    for (name, current, url, trust) in all {
        table.row([name.into(), if current { "yes" } else { "-" }.into(), url.into(), trust.into()]);
    }
    shell.out.table(&table)?;
    Ok(Status::Done)
}
