//! `bootes sim`: a whole cluster from one seed, on virtual time, without an appliance.

use std::path::PathBuf;
use std::time::Instant;

use super::Shell;
use super::error::{CliError, Status, tell};
use super::output::FormatArgs;
use crate::sim::fault::KNOWN;
use crate::sim::{Fault, Faults, Options, Script, Span, run as simulate};

/// What to simulate.
#[derive(Debug, clap::Args)]
#[command(after_long_help = faults_help())]
pub struct Args {
    /// How many nodes.
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    nodes: usize,
    /// What everything random comes from: the same seed gives the same output, byte for byte.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// What goes wrong, and how often; may be given several times. --help lists the kinds.
    #[arg(long = "fault", value_name = "KIND=RATE")]
    faults: Vec<Fault>,
    /// What operators do and when; docs/SIMULATOR.md describes the lines.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// How long things go wrong, as in 30m, in virtual time; then they stop, and every node must arrive. At least as long
    /// as the script; 30m where faults are asked for.
    #[arg(long, value_name = "TIME")]
    duration: Option<Span>,
    #[command(flatten)]
    format: FormatArgs,
}

/// How long things go wrong when they do and nobody says how long, in milliseconds.
const DURATION_MS: u64 = 1_800_000;

/// The kinds of faults, for the help.
fn faults_help() -> String {
    let mut text = "Kinds of faults, and what their rates count:\n".to_owned();
    for known in KNOWN {
        text.push_str(&format!("  {:<17} {}: {}\n", known.name, known.per, known.what));
    }
    text.push_str("\nExit codes: 0 when everything held, 1 when something was violated, 2 when the command line or the script is wrong.");
    text
}

/// Simulates.
pub fn run(args: Args, shell: &mut Shell) -> Result<Status, CliError> {
    let began = Instant::now();
    let mut command = format!("bootes sim --nodes {} --seed {}", args.nodes, args.seed);
    let mut faults = Faults::default();
    for fault in &args.faults {
        faults.set(*fault);
        command.push_str(&format!(" --fault {fault}"));
    }
    let script = match &args.script {
        None => Script::default(),
        Some(path) => {
            command.push_str(&format!(" --script {}", path.display()));
            let text = std::fs::read_to_string(path)
                .map_err(|error| CliError::Usage(format!("the script {} cannot be read: {error}", path.display())))?;
            Script::parse(&text, args.nodes).map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?
        }
    };
    let default_ms = if faults.are_any() { DURATION_MS } else { 0 };
    let duration_ms = args.duration.map_or(default_ms, |span| span.0);
    if let Some(span) = args.duration {
        command.push_str(&format!(" --duration {span}"));
    }
    let options = Options { nodes: args.nodes, seed: args.seed, faults, script, duration_ms, command };
    let report = simulate(&options).map_err(|error| CliError::Usage(error.to_string()))?;
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &report)?,
        None => shell.out.text(&report.text())?,
    }
    let (simulated, wall_s) = (Span(report.simulated_ms), began.elapsed().as_secs_f64());
    tell(&format!("simulated {simulated} of {} nodes in {wall_s:.1} s", report.nodes));
    Ok(if report.has_held() { Status::Done } else { Status::Failed })
}
