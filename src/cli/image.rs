//! `bootes image`: the image store in a folder of this machine, without an appliance.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Subcommand;
use serde::Serialize;
use thiserror::Error;

use super::Shell;
use super::describe::size;
use super::error::{CliError, Status};
use super::output::FormatArgs;
use super::progress;
use super::table::{Cell, Table, Tone};
use crate::layer::manifest::{HealthCheck, ImageRef};
use crate::layer::store::{AddOptions, Listed, Standing, Store};
use crate::model::{Digest, Name};
use crate::port::document::Items;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a squashfs under a name; the name then means it.
    Add(AddArgs),
    /// List the images of a store.
    List(ListArgs),
    /// Read images whole and compare them with their digests; exit code 1 when one differs.
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
struct StoreArgs {
    /// The folder of the image store.
    #[arg(long, env = "BOOTES_STORE", value_name = "DIR")]
    store: PathBuf,
}

/// What to add.
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The image's name.
    #[arg(long)]
    name: Name,
    /// The filesystem image, made by mksquashfs.
    #[arg(long, value_name = "FILE")]
    squashfs: PathBuf,
    /// What is run: an absolute path in the image and its arguments, quoted as for a shell.
    #[arg(long, value_name = "WORDS")]
    exec: Words,
    /// A variable of its environment; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<Pair>,
    /// How to see that it is well: http://127.0.0.1:80/path, tcp:80, or alive.
    #[arg(long, default_value = "alive")]
    health: Health,
    #[command(flatten)]
    format: FormatArgs,
}

/// Which store.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    format: FormatArgs,
}

/// Which images.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Names or digests; all images when none is given.
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// The same, as an option.
    #[arg(long, value_name = "IMAGE")]
    name: Vec<String>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Words, split as a shell does.
#[derive(Debug, Clone)]
pub struct Words(Vec<String>);

/// A name and a value.
#[derive(Debug, Clone)]
pub struct Pair(String, String);

/// A health check.
#[derive(Debug, Clone)]
pub struct Health(HealthCheck);

/// Why an option of `image add` cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionError {
    /// The quotes do not match.
    #[error("the quotes do not match; quote it as for a shell, as in '/bin/httpd -f -h \"/my site\"'")]
    Quotes,
    /// There is no `=`.
    #[error("write NAME=VALUE, as in PORT=80")]
    NoEquals,
    /// Not a health check.
    #[error("'{0}' is no health check: write http://127.0.0.1:80/path, tcp:80, or alive")]
    Health(String),
}

impl FromStr for Words {
    type Err = OptionError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        shell_words::split(text).map(Words).map_err(|_| OptionError::Quotes)
    }
}

impl FromStr for Pair {
    type Err = OptionError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or(OptionError::NoEquals)?;
        Ok(Pair(name.to_owned(), value.to_owned()))
    }
}

impl FromStr for Health {
    type Err = OptionError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            if text == "alive" {
                return Some(HealthCheck::Alive);
            }
            if let Some(port) = text.strip_prefix("tcp:") {
                return Some(HealthCheck::Tcp { port: port.parse().ok()? });
            }
            let rest = text.strip_prefix("http://")?;
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
            let port: NonZeroU16 = port.parse().ok()?;
            ["127.0.0.1", "localhost"].contains(&host).then(|| HealthCheck::Http { path: format!("/{path}"), port })
        };
        parse().map(Health).ok_or_else(|| OptionError::Health(text.to_owned()))
    }
}

/// An image, as it is listed.
#[derive(Debug, Serialize)]
struct ImageDocument {
    name: Option<Name>,
    digest: Digest,
    size_bytes: Option<u64>,
    current: bool,
    entrypoint: Option<Vec<String>>,
    health: Option<HealthCheck>,
    problem: Option<String>,
}

/// What verifying an image came to.
#[derive(Debug, Serialize)]
struct VerifiedDocument {
    digest: Digest,
    name: Option<Name>,
    good: bool,
    problem: Option<String>,
}

/// Does it.
pub async fn run(command: Command, shell: &mut Shell) -> Result<Status, CliError> {
    match command {
        Command::Add(args) => add(args, shell).await,
        Command::List(args) => list(&args, shell),
        Command::Verify(args) => verify(args, shell).await,
    }
}

/// Work on the disk, with a sign of life.
async fn blocking<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T, CliError> + Send + 'static,
) -> Result<T, CliError> {
    progress::during(what, tokio::task::spawn_blocking(work)).await.unwrap_or(Err(CliError::Interrupted))
}

async fn add(args: AddArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let (name, what) = (args.name.clone(), format!("adding {}", args.squashfs.display()));
    let digest = blocking(&what, move || {
        let mut env = BTreeMap::new();
        for Pair(name, value) in args.env {
            if env.insert(name.clone(), value).is_some() {
                return Err(CliError::Usage(format!("--env {name} is given twice; give it once")));
            }
        }
        let options = AddOptions { env, health: args.health.0, ..AddOptions::new(args.exec.0) };
        Ok(Store::open(&args.store.store)?.add(&args.name, &args.squashfs, options)?)
    })
    .await?;
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &serde_json::json!({ "name": name, "digest": digest }))?,
        None => shell.out.text(&format!("{name}  {digest}\n"))?,
    }
    Ok(Status::Done)
}

/// Opens a store that is there. Looking must not make one where there is none.
fn existing(dir: &Path) -> Result<Store, CliError> {
    match dir.join("manifests").is_dir() {
        true => Ok(Store::open(dir)?),
        false => Err(CliError::NoStore { path: dir.to_owned() }),
    }
}

fn list(args: &ListArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let mut items: Vec<ImageDocument> = existing(&args.store.store)?.list()?.into_iter().map(document).collect();
    items.sort_by(|a, b| (&a.name, !a.current, a.digest).cmp(&(&b.name, !b.current, b.digest)));
    if let Some(format) = args.format.format.structured() {
        shell.out.document(format, &Items { items })?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["NAME", "STATE", ">SIZE", "DIGEST", "RUNS"]);
    for image in items {
        let state = match (&image.problem, image.current) {
            (Some(_), _) => Cell::toned("unreadable", Tone::Bad),
            (None, true) => Cell::toned("current", Tone::Good),
            (None, false) => "superseded".into(),
        };
        let name = image.name.map_or_else(|| "-".to_owned(), |name| name.to_string());
        let bytes = image.size_bytes.map_or_else(|| "-".to_owned(), size);
        let runs = image.entrypoint.map_or_else(|| image.problem.unwrap_or_default(), shell_words::join);
        table.row([name.into(), state, bytes.into(), image.digest.into(), runs.into()]);
    }
    shell.out.table(&table)?;
    Ok(Status::Done)
}

fn document(listed: Listed) -> ImageDocument {
    let current = listed.standing == Standing::Current;
    let empty = ImageDocument {
        name: None,
        digest: listed.digest,
        size_bytes: None,
        current,
        entrypoint: None,
        health: None,
        problem: None,
    };
    match listed.manifest {
        Ok(manifest) => ImageDocument {
            name: Some(manifest.name),
            size_bytes: Some(manifest.size_bytes),
            entrypoint: Some(manifest.entrypoint),
            health: Some(manifest.health),
            ..empty
        },
        Err(error) => ImageDocument { problem: Some(CliError::from(error).to_string()), ..empty },
    }
}

async fn verify(args: VerifyArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let images = [args.images, args.name].concat();
    let items = blocking("verifying", move || verified(&args.store.store, &images)).await?;
    let status = if items.iter().all(|image| image.good) { Status::Done } else { Status::Failed };
    if let Some(format) = args.format.format.structured() {
        shell.out.document(format, &Items { items })?;
        return Ok(status);
    }
    let mut table = Table::new(&["NAME", "STATE", "DIGEST", "PROBLEM"]);
    for image in items {
        let state = if image.good { Cell::toned("good", Tone::Good) } else { Cell::toned("bad", Tone::Bad) };
        let name = image.name.map_or_else(|| "-".to_owned(), |name| name.to_string());
        table.row([name.into(), state, image.digest.into(), image.problem.unwrap_or_else(|| "-".to_owned()).into()]);
    }
    shell.out.table(&table)?;
    Ok(status)
}

fn verified(dir: &Path, images: &[String]) -> Result<Vec<VerifiedDocument>, CliError> {
    let store = existing(dir)?;
    let mut digests = Vec::new();
    for text in images {
        let reference: ImageRef = text.parse().map_err(|error| CliError::Usage(format!("{error}")))?;
        let unknown = || CliError::UnknownImage { image: text.clone() };
        digests.push(store.resolve(&reference)?.ok_or_else(unknown)?);
    }
    if images.is_empty() {
        digests.extend(store.list()?.into_iter().map(|listed| listed.digest));
    }
    let one = |digest: Digest| {
        let problem = store.verify(&digest).err().map(|error| CliError::from(error).to_string());
        let name = store.manifest(&digest).ok().map(|manifest| manifest.name);
        VerifiedDocument { digest, name, good: problem.is_none(), problem }
    };
    Ok(digests.into_iter().map(one).collect())
}
