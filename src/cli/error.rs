//! How a command ends: its exit code, and the one or two sentences that say why it failed and what to do.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use thiserror::Error;

use crate::config::ConfigError;
use crate::layer::store::StoreError;
use crate::model::Digest;

/// Exit code: done.
pub const DONE: u8 = 0;
/// Exit code: failed.
pub const FAILED: u8 = 1;
/// Exit code: wrong command line, or (plan) something would change.
pub const USAGE: u8 = 2;
/// Exit code: no appliance.
pub const UNREACHABLE: u8 = 3;

/// How a command that printed its answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Well.
    Done,
    /// What it printed holds failures.
    Failed,
    /// What it printed would be changed.
    WouldChange,
}

/// Why a command could not be done.
#[derive(Debug, Error)]
pub enum CliError {
    /// The command line contradicts itself or names something impossible.
    #[error("{0}")]
    Usage(String),
    /// A file is wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// Nothing answers.
    #[error(
        "no appliance answers at {url} ({detail}); check that 'bootes serve' runs there, log in to another with 'bootes login URL', or name it with --api URL or BOOTES_API"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// Why, as far as can be told.
        detail: String,
    },
    /// The socket is not for this user.
    #[error("the socket {} is for root alone; run the command as root, or log in with a token: bootes login https://HOST:8081", path.display())]
    NotRoot {
        /// The socket.
        path: PathBuf,
    },
    /// It is not known how to know the appliance.
    #[error(
        "it is not known which certificate {url} should show; log in to it ('bootes login {url}'), or set BOOTES_FINGERPRINT to what 'bootes api fingerprint' prints there, or BOOTES_CA to a PEM file"
    )]
    NotKnown {
        /// Where.
        url: String,
    },
    /// The appliance shows a certificate that was not pinned.
    #[error(
        "{url} shows the fingerprint {shown}, and {pinned} was expected; nothing was sent. Either it was installed anew, or somebody is in between: compare with what 'bootes api fingerprint' prints on the appliance, and only if that is {shown}, run 'bootes login {url}' again"
    )]
    WrongFingerprint {
        /// Where.
        url: String,
        /// What was expected.
        pinned: Digest,
        /// What it shows.
        shown: Digest,
    },
    /// The appliance's certificate cannot be trusted.
    #[error("the certificate of {url} is not trusted; {detail}")]
    WrongCertificate {
        /// Where.
        url: String,
        /// Why, and what to do.
        detail: String,
    },
    /// A name that no context has.
    #[error(
        "there is no context {name}; 'bootes context list' shows those that there are, and 'bootes login URL' makes one"
    )]
    NoContext {
        /// The name.
        name: String,
    },
    /// The file of contexts.
    #[error("the contexts in {} cannot be used ({detail}); correct the file, or remove it and log in again", path.display())]
    Contexts {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// The connection broke in the middle.
    #[error("the connection to {url} broke ({detail}); try again")]
    Broken {
        /// Where.
        url: String,
        /// Why.
        detail: String,
    },
    /// The appliance says no.
    #[error("{detail}")]
    Refused {
        /// Its reason.
        detail: String,
    },
    /// The appliance says no: something has changed since.
    #[error("{detail}")]
    Stale {
        /// Its reason.
        detail: String,
        /// What there is now.
        current: Box<serde_json::Value>,
    },
    /// The answer is not one that this program understands.
    #[error("the answer of {url} cannot be understood ({detail}); check that it is a bootes appliance of version {}", env!("CARGO_PKG_VERSION"))]
    NotUnderstood {
        /// Where.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The image store.
    #[error("{error}{}", cause(error))]
    Store {
        /// Its error.
        #[source]
        error: StoreError,
    },
    /// A name that no image has.
    #[error("no image is named {image}; 'bootes image list' shows those that are")]
    UnknownImage {
        /// The name.
        image: String,
    },
    /// A folder that holds no image store.
    #[error("there is no image store in {path}; name its folder, or make one with 'bootes image add'")]
    NoStore {
        /// The folder.
        path: PathBuf,
    },
    /// The standard output.
    #[error("the output cannot be written ({source}); check the disk that it goes to")]
    Output {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system does not let the program start its work.
    #[error("the system refuses what every program needs ({source}); check its limits on open files and processes")]
    Runtime {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A task of this program ended early.
    #[error("the command was interrupted by a fault of its own; please report it with what you ran")]
    Interrupted,
}

fn cause(error: &StoreError) -> String {
    let mut text = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        CliError::Store { error }
    }
}

impl CliError {
    /// The code with which the program ends.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Usage(_) => USAGE,
            CliError::Unreachable { .. } => UNREACHABLE,
            _ => FAILED,
        }
    }

    fn is_closed_pipe(&self) -> bool {
        matches!(self, CliError::Output { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Tells the reason of a failure and gives the exit code.
#[must_use]
pub fn end(result: Result<Status, CliError>) -> ExitCode {
    ExitCode::from(match result {
        Ok(Status::Done) => DONE,
        Ok(Status::Failed) => FAILED,
        Ok(Status::WouldChange) => USAGE,
        Err(error) if error.is_closed_pipe() => DONE,
        Err(error) => {
            tell(&error.to_string());
            error.exit_code()
        }
    })
}

/// A sentence on the standard error.
pub fn tell(sentence: &str) {
    let lines: Vec<String> = sentence.lines().map(super::table::printable).collect();
    // There is no other place to say that this one is closed.
    let _ = writeln!(io::stderr(), "bootes: {}", lines.join("\n"));
}
