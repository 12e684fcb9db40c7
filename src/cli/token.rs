//! `bootes token`: makes, lists and revokes tokens of the API; `bootes whoami`.

use clap::Subcommand;

use super::Shell;
use super::client::{Query, encoded};
use super::clock::ago;
use super::error::{CliError, Status, tell};
use super::output::FormatArgs;
use super::table::{Cell, Table, Tone};
use crate::model::{Moment, Name, NodeSet, Role};
use crate::port::access::{CallerDocument, CreatedToken, TokenDocument, TokenRequest};
use crate::port::document::Items;

const TOKENS: &str = "/api/v1/tokens";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token; it is printed this once.
    Create(CreateArgs),
    /// List the tokens, without the tokens themselves.
    List {
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Make a token worthless, and end what it has open.
    Revoke {
        /// Its name.
        name: Name,
        #[command(flatten)]
        format: FormatArgs,
    },
}

/// Which.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// Its name, by which events tell who asked.
    name: Name,
    /// viewer (looks), operator (also power, goals, release) or admin (everything).
    #[arg(long)]
    role: Role,
    /// Only these nodes may be changed with it, for instance n[1-9]; for operators.
    #[arg(long, value_name = "NODESET")]
    nodes: Option<NodeSet>,
    /// After so long it is worthless (90d, 12h); without, never.
    #[arg(long, value_name = "DURATION")]
    expires: Option<Moment>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Does it.
pub async fn run(command: Command, shell: &mut Shell) -> Result<Status, CliError> {
    match command {
        Command::Create(args) => create(args, shell).await,
        Command::List { format } => list(&format, shell).await,
        Command::Revoke { name, format } => {
            let path = format!("{TOKENS}/{}", encoded(name.as_str()));
            let revoked: TokenDocument = shell.api.delete(&path).await?.document;
            match format.format.structured() {
                Some(format) => shell.out.document(format, &revoked)?,
                None => shell.out.text(&format!("revoked {}\n", revoked.name))?,
            }
            Ok(Status::Done)
        }
    }
}

async fn create(args: CreateArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let expires_s = match args.expires {
        None => None,
        Some(Moment::Ago(ms)) => Some(ms / 1_000),
        Some(Moment::At(_) | Moment::Seq(_)) => {
            return Err(CliError::Usage("--expires is a duration: write it as in 12h or 90d".to_owned()));
        }
    };
    let request = TokenRequest { name: args.name, role: args.role, nodes: args.nodes, expires_s };
    let made: CreatedToken = shell.api.post(TOKENS, &request).await?.document;
    if let Some(format) = args.format.format.structured() {
        shell.out.document(format, &made)?;
        return Ok(Status::Done);
    }
    // The token alone goes to the standard output, so that it can be handed on without being looked at.
    shell.out.text(&format!("{}\n", made.token))?;
    let TokenDocument { name, role, nodes, expires_at, .. } = &made.about;
    let scope = nodes.as_ref().map_or_else(String::new, |nodes| format!(" of {nodes}"));
    let until = expires_at.as_ref().map_or_else(|| "it does not expire".to_owned(), |at| format!("it expires at {at}"));
    tell(&format!("this is the token {name} ({role}{scope}); {until}; it is not shown again"));
    Ok(Status::Done)
}

async fn list(format: &FormatArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let answer = shell.api.get::<Items<TokenDocument>>(TOKENS, &Query::default()).await?;
    if let Some(format) = format.format.structured() {
        shell.out.document(format, &answer.document)?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["NAME", "ROLE", "NODES", "EXPIRES", "LAST USED"]);
    for token in answer.document.items {
        let nodes = token.nodes.map_or_else(|| "-".to_owned(), |nodes| nodes.to_string());
        let expires = match (token.expires_at, token.expired) {
            (Some(at), true) => Cell::toned(&format!("expired {at}"), Tone::Bad),
            (Some(at), false) => at.into(),
            (None, _) => "never".into(),
        };
        let used = token.last_used_ms.map_or_else(|| "-".to_owned(), |at| ago(answer.now, at));
        table.row([token.name.clone().into(), token.role.to_string().into(), nodes.into(), expires, used.into()]);
    }
    shell.out.table(&table)?;
    Ok(Status::Done)
}

/// How.
#[derive(Debug, clap::Args)]
pub struct WhoamiArgs {
    #[command(flatten)]
    format: FormatArgs,
}

/// Says as whom the appliance is asked.
pub async fn whoami(args: WhoamiArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let caller: CallerDocument = shell.api.get("/api/v1/whoami", &Query::default()).await?.document;
    if let Some(format) = args.format.format.structured() {
        shell.out.document(format, &caller)?;
        return Ok(Status::Done);
    }
    let scope = caller.nodes.map_or_else(String::new, |nodes| format!(" of {nodes}"));
    let until = caller.expires_at.map_or_else(String::new, |at| format!(", until {at}"));
    shell.out.text(&format!("{} ({}{scope}){until}\n", caller.name, caller.role))?;
    Ok(Status::Done)
}
