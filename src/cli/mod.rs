//! The command line on an operator's machine: one file a command, all over the appliance's HTTP API.
//!
//! A command asks, prints, and ends with one of the codes of [`Status`] and [`CliError::exit_code`]. Everything that
//! prints a table also prints JSON and YAML; a list is `{"items": […]}` there.
//! Invariants: a table goes to the standard output and nothing else does; text that came from elsewhere cannot move
//! the terminal's cursor; a reader that closes its end of a pipe is no error.
//! Absent on purpose: `serve`, which main.rs hands in, and everything that the appliance decides.

mod api;
mod apply;
mod boot_answer;
mod catalog;
mod client;
mod clock;
mod completion;
mod connect;
mod context;
mod create;
mod delete;
mod describe;
mod diff;
mod docs;
mod error;
mod events;
mod firmware;
mod freeze;
mod get;
mod graph;
mod image;
mod lease;
mod login;
mod machine;
mod man;
mod mass_event;
mod module;
mod mutation;
mod nodes;
mod output;
mod overview;
mod plan;
mod power;
mod progress;
mod release;
mod select;
mod set;
mod sim;
mod sse;
mod switch;
mod table;
mod target;
mod timeline;
mod token;
mod trust;
mod version;
mod whatif;
mod why;
mod yaml;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::client::Client;
use self::error::{CliError, Status};
use self::output::Output;
use self::target::{ApiUrl, Asked};
use crate::config::Start;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: the appliance or a node refused, or a file is wrong
  2  the command line is wrong; after 'plan': something would change
  3  the appliance cannot be reached";

/// Takes a rack of machines from cold iron to a running cluster, and keeps it there.
#[derive(Debug, Parser)]
#[command(name = "bootes", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
struct Cli {
    /// Where the appliance's API answers: https://HOST:PORT or unix:/PATH. [env: BOOTES_API]
    #[arg(long, global = true, value_name = "URL")]
    api: Option<ApiUrl>,
    /// The appliance that was logged in to under this name. [env: BOOTES_CONTEXT]
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "api")]
    context: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List nodes, values of variables, pools, and whatever else there is.
    #[command(subcommand)]
    Get(get::Command),
    /// Show everything that is known of one node.
    #[command(subcommand)]
    Describe(describe::Command),
    /// Describe new nodes from the command line.
    #[command(subcommand)]
    Create(create::Command),
    /// Remove nodes; their machines are left as they are.
    #[command(subcommand)]
    Delete(delete::Command),
    /// Make nodes of machines, by hand or by the rules of the description.
    Enroll(machine::EnrollArgs),
    /// Answer a machine no more, or again.
    Refuse(machine::RefuseArgs),
    /// Make a cluster's description the appliance's own.
    Apply(apply::Args),
    /// Show what a description or values by hand would change and do; exit code 2 when something would change.
    Plan(plan::Args),
    /// Ask for values of variables by hand; they stand before the description.
    Set(set::Args),
    /// Power nodes on or off, or ask their BMCs.
    #[command(subcommand)]
    Power(power::Command),
    /// Let quarantined nodes be tried again.
    Release(release::Args),
    /// End a lease, or let an address in quarantine be given again.
    ReleaseLease(lease::ReleaseArgs),
    /// Show what a node is told by DHCP with its address, and who says so.
    ExplainLease(lease::ExplainArgs),
    /// Start no step any more, of some nodes or of any; steps under way end.
    Freeze(freeze::Args),
    /// Start steps again.
    Thaw(freeze::Args),
    /// Show or clear the mass event that holds disruptive steps back.
    #[command(subcommand)]
    MassEvent(mass_event::Command),
    /// List mutations, switch them on and off, set their timeouts.
    #[command(subcommand)]
    Mutation(mutation::Command),
    /// Explain why nodes are not at their goal.
    Why(why::Args),
    /// Show what a machine would be told to boot, and why, without a packet.
    BootAnswer(boot_answer::Args),
    /// Show the stages of nodes' last boots with their seconds.
    Timeline(timeline::Args),
    /// Show what changed between two moments.
    Diff(diff::Args),
    /// Show what happened, or follow it.
    Events(events::Args),
    /// Show the mutations that the appliance plans with, or a node's way through them.
    Graph(graph::Args),
    /// Add, list or verify images in an image store on this machine.
    #[command(subcommand)]
    Image(image::Command),
    /// Log in to an appliance on another machine.
    Login(login::Args),
    /// List, choose or forget the appliances that were logged in to.
    #[command(subcommand)]
    Context(context::Command),
    /// Show as whom the appliance is asked.
    Whoami(token::WhoamiArgs),
    /// Make, list or revoke tokens of the API.
    #[command(subcommand)]
    Token(token::Command),
    /// Show how the API is known to its clients.
    #[command(subcommand)]
    Api(api::Command),
    /// Simulate a whole cluster from one seed, with whatever goes wrong; needs no appliance.
    Sim(sim::Args),
    /// Begin, check, list or switch modules: programs that add variables and mutations.
    #[command(subcommand)]
    Module(module::Command),
    /// List the network boot programs, or look whether they are on this machine.
    #[command(subcommand)]
    Firmware(firmware::Command),
    /// Print a completion script for a shell.
    Completion(completion::Args),
    /// Write the manual pages.
    Man(man::Args),
    /// Show the versions of this program and of the appliance.
    Version(version::Args),
    /// Run the appliance.
    Serve {
        /// The appliance's configuration, in TOML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Start nothing until 'bootes thaw --all'.
        #[arg(long)]
        frozen: bool,
    },
    /// Print a generated reference page.
    #[command(hide = true, subcommand)]
    Docs(docs::Command),
}

/// What commands work with.
struct Shell {
    api: Client,
    out: Output,
}

/// Runs the command that `args` name, the program's own name first. `serve` runs the appliance with the given
/// configuration file, frozen when that is asked for; it is handed in because it stands above this folder.
pub fn run(args: impl IntoIterator<Item = OsString>, serve: impl FnOnce(&Path, Start) -> ExitCode) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell when the reader is gone.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { error::USAGE } else { error::DONE });
        }
    };
    if let Command::Serve { config, frozen } = &cli.command {
        return serve(config, if *frozen { Start::Frozen } else { Start::AsItWas });
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return error::end(Err(CliError::Runtime { source })),
    };
    let ended = error::end(runtime.block_on(dispatch(cli)));
    // A blocked name look-up or disk read must not hold the process that has its answer.
    runtime.shutdown_background();
    ended
}

async fn dispatch(cli: Cli) -> Result<Status, CliError> {
    let mut shell = Shell { api: Client::new(Asked { api: cli.api, context: cli.context }), out: Output::new() };
    match cli.command {
        Command::Get(command) => get::run(command, &mut shell).await,
        Command::Describe(command) => describe::run(command, &mut shell).await,
        Command::Create(command) => create::run(command, &mut shell).await,
        Command::Delete(command) => delete::run(command, &mut shell).await,
        Command::Enroll(args) => machine::enroll(args, &mut shell).await,
        Command::Refuse(args) => machine::refuse(args, &mut shell).await,
        Command::Apply(args) => apply::run(args, &mut shell).await,
        Command::Plan(args) => plan::run(args, &mut shell).await,
        Command::Set(args) => set::run(args, &mut shell).await,
        Command::Power(command) => power::run(command, &mut shell).await,
        Command::Release(args) => release::run(args, &mut shell).await,
        Command::ReleaseLease(args) => lease::release(args, &mut shell).await,
        Command::ExplainLease(args) => lease::explain(args, &mut shell).await,
        Command::Freeze(args) => freeze::freeze(args, &mut shell).await,
        Command::Thaw(args) => freeze::thaw(args, &mut shell).await,
        Command::MassEvent(command) => mass_event::run(command, &mut shell).await,
        Command::Mutation(command) => mutation::run(command, &mut shell).await,
        Command::BootAnswer(args) => boot_answer::run(args, &mut shell).await,
        Command::Why(args) => why::run(args, &mut shell).await,
        Command::Timeline(args) => timeline::run(args, &mut shell).await,
        Command::Diff(args) => diff::run(args, &mut shell).await,
        Command::Events(args) => events::run(args, &mut shell).await,
        Command::Graph(args) => graph::run(args, &mut shell).await,
        Command::Image(command) => image::run(command, &mut shell).await,
        Command::Login(args) => login::run(args, &mut shell).await,
        Command::Context(command) => context::run(command, &mut shell),
        Command::Whoami(args) => token::whoami(args, &mut shell).await,
        Command::Token(command) => token::run(command, &mut shell).await,
        Command::Api(command) => api::run(command, &mut shell).await,
        Command::Man(args) => man::run(&args, &mut shell),
        Command::Sim(args) => sim::run(args, &mut shell),
        Command::Module(command) => module::run(command, &mut shell).await,
        Command::Firmware(command) => firmware::run(command, &mut shell),
        Command::Completion(args) => completion::run(&args, &mut shell),
        Command::Version(args) => version::run(args, &mut shell).await,
        Command::Docs(command) => docs::run(&command, &mut shell),
        // Answered before there is a shell.
        Command::Serve { .. } => Ok(Status::Done),
    }
}
