//! The simulator: a whole cluster from one seed, on virtual time, in one thread and without a socket.
//!
//! Time, storage and network are values here: [`hub`] has the clock and the wires, [`appliance`] a disk. What is real: the
//! engine's core, the fold, the planner; facts in their stored form; DHCP from bytes to bytes; the requests of TFTP; routes,
//! answers and facts of HTTP boot; boot scripts with their tokens, read by the agent's own parser; the sessions of the tree
//! protocol, in their frames. What is simulated: machines ([`machine`]), BMCs ([`appliance::power`]), networks, the disk,
//! and the entries around the real parts, which own sockets and so cannot be run here.
//! First everything goes wrong that was asked for, and the [`checker`] holds the appliance to its safety; then the faults
//! stop, and everybody must arrive.
//! Invariants: the same seed and options give the same output, byte for byte; nothing here reads a clock, the environment
//! or a file, or draws from anything but the seed.
//! Deliberately absent: TLS, IPMI's packets, blocks of files, how much a network or a disk can carry, and more than one
//! level of the tree.

mod appliance;
pub mod checker;
pub mod fault;
mod hub;
mod machine;
pub mod random;
pub mod report;
mod schedule;
pub mod script;
mod site;
mod world;

use thiserror::Error;

pub use self::fault::{Fault, FaultError, Faults};
pub use self::hub::Counts;
pub use self::report::{Report, Verdict};
pub use self::script::{Script, ScriptError, Span};
pub use self::site::SiteError;
use crate::model::limits::NODES_MAX;
use crate::plan::{ApplyError, GraphError};

/// How long after the faults have stopped every node must have arrived, in milliseconds of virtual time.
pub const LIVENESS_MS: u64 = 3_600_000;

/// What is simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How many nodes, 1 to [`NODES_MAX`].
    pub nodes: usize,
    /// What everything random comes from.
    pub seed: u64,
    /// How often what goes wrong, from the beginning.
    pub faults: Faults,
    /// What operators do.
    pub script: Script,
    /// How long things go wrong, in milliseconds; at least as long as the script.
    pub duration_ms: u64,
    /// The command that runs this simulation again.
    pub command: String,
}

/// Why nothing was simulated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SimError {
    /// Too few or too many nodes.
    #[error("{nodes} nodes cannot be simulated; ask for 1 to {NODES_MAX}")]
    Nodes {
        /// How many were asked for.
        nodes: usize,
    },
    /// The modules' declarations make no graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The cluster cannot be described.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// Its description cannot be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Simulates.
///
/// # Errors
/// When there is nothing to be simulated. What goes wrong in a simulation is in its report.
pub fn run(options: &Options) -> Result<Report, SimError> {
    if options.nodes == 0 || options.nodes > NODES_MAX {
        return Err(SimError::Nodes { nodes: options.nodes });
    }
    Ok(world::World::new(options)?.run())
}
