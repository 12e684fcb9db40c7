//! Everything that is observed, decided or asked, as values: what the journal holds and state is folded from.
//!
//! One file a source. A fact says what happened, to which node, and carries the evidence that `why` and
//! `timeline` show later; it never says what should follow. Facts are stored as JSON, so a field may be added
//! with a default and a variant may be added; neither may be renamed or removed.
//!
//! Absent on purpose: passwords and tokens. A fact holds a secret only sealed, a token only by its digest.

mod agent;
mod boot;
mod dhcp;
mod dhcp6;
mod engine;
mod machine;
mod module;
mod operator;
mod power;

use serde::{Deserialize, Serialize};

pub use agent::{AgentEvent, AgentFact, JoinRefusal, Reported, Scope};
pub use boot::{Architecture, BootClient, BootFile, FileEvent, FileFact, Follows, MalformedFact, Transport};
pub use dhcp::{DhcpEvent, DhcpFact, DhcpRefusal, Told};
pub use dhcp6::{Dhcp6Event, Dhcp6Fact, Dhcp6Refusal};
pub use engine::{Counted, EngineEvent, EngineFact, FailReason, FleetFact, OutcomeFact, Retry, StepName};
pub use machine::{MachineEvent, MachineFact};
pub use module::{Declaration, ModuleEvent, ModuleFact};
pub use operator::{OperatorEvent, OperatorFact, Switch};
pub use power::{BmcProblem, PowerEvent, PowerFact, PowerOrder, PowerState};

use crate::model::{FactSeq, NodeId, UnixMs};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum Fact {
    /// The appliance itself.
    Appliance(ApplianceFact),
    /// An operator's request.
    Operator(OperatorFact),
    /// A DHCP exchange.
    Dhcp(DhcpFact),
    /// A DHCPv6 exchange.
    Dhcp6(Dhcp6Fact),
    /// A boot file asked for or sent.
    File(FileFact),
    /// A packet or request that could not be understood.
    Malformed(MalformedFact),
    /// A BMC's answer, or its silence.
    Power(PowerFact),
    /// An agent's report.
    Agent(AgentFact),
    /// A module could not do what it was asked.
    Outcome(OutcomeFact),
    /// The engine's own decision.
    Engine(EngineFact),
    /// What the engine noticed of all nodes together.
    Fleet(FleetFact),
    /// A module from outside.
    Module(ModuleFact),
    /// A machine that is no node.
    Machine(MachineFact),
}

/// What happened to the appliance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ApplianceFact {
    /// It started: all that it believed about connections and running machines must be seen again.
    Started {
        /// Its version.
        version: String,
    },
    /// It was asked to stop and did.
    Stopped,
    /// Facts of a source that may lose some were lost because the engine's queue was full.
    FactsDropped {
        /// How many since the last such fact.
        count: u64,
    },
    /// The journal takes facts again: from a time until this fact it took none, and what nobody waited for is lost.
    JournalRefused {
        /// When the first fact was refused.
        since: UnixMs,
    },
    /// The journal's end was damaged, or its file was, and what came after the last good record was cut off.
    JournalCut {
        /// The last good record; what is believed is what it and those before it tell.
        last_good: FactSeq,
        /// How many records were cut off, where they could be counted.
        #[serde(default)]
        records: Option<u64>,
        /// What was wrong.
        reason: String,
        /// Where the cut-off bytes are now, within the state directory.
        kept_in: String,
    },
}

/// A fact with its place in the journal and the time at which the engine took it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stamped<T> {
    /// Its place, from 1, without gaps.
    pub seq: FactSeq,
    /// When the engine took it.
    pub at: UnixMs,
    /// What happened.
    pub fact: T,
}

impl Fact {
    /// Every word that [`Fact::kind`] gives.
    pub const KINDS: &[&str] = &[
        "appliance",
        "operator",
        "dhcp",
        "dhcp6",
        "file",
        "malformed",
        "power",
        "agent",
        "outcome",
        "engine",
        "fleet",
        "module",
        "machine",
    ];

    /// The node that the fact is about, if it is about one that is known.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Fact::Appliance(_) | Fact::Malformed(_) | Fact::Fleet(_) => None,
            Fact::Operator(fact) => fact.node(),
            Fact::Dhcp(fact) => fact.node,
            Fact::Dhcp6(fact) => fact.node,
            Fact::File(fact) => fact.node,
            Fact::Power(fact) => Some(fact.node),
            Fact::Agent(fact) => fact.node,
            Fact::Outcome(fact) => Some(fact.node),
            Fact::Engine(fact) => Some(fact.node),
            Fact::Module(fact) => fact.node(),
            Fact::Machine(fact) => fact.node(),
        }
    }

    /// The fact's source, as a word for filters and tables.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Fact::Appliance(_) => "appliance",
            Fact::Operator(_) => "operator",
            Fact::Dhcp(_) => "dhcp",
            Fact::Dhcp6(_) => "dhcp6",
            Fact::File(_) => "file",
            Fact::Malformed(_) => "malformed",
            Fact::Power(_) => "power",
            Fact::Agent(_) => "agent",
            Fact::Outcome(_) => "outcome",
            Fact::Engine(_) => "engine",
            Fact::Fleet(_) => "fleet",
            Fact::Module(_) => "module",
            Fact::Machine(_) => "machine",
        }
    }

    /// One sentence for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Fact::Appliance(ApplianceFact::Started { version }) => {
                format!("appliance started, version {version}")
            }
            Fact::Appliance(ApplianceFact::Stopped) => "appliance stopped".into(),
            Fact::Appliance(ApplianceFact::FactsDropped { count }) => {
                format!("{count} facts were lost: the queue was full")
            }
            Fact::Appliance(ApplianceFact::JournalRefused { since }) => {
                format!("the journal takes facts again; it had taken none since {since}")
            }
            Fact::Appliance(ApplianceFact::JournalCut { last_good, records, reason, kept_in }) => {
                let count = records.map_or_else(String::new, |records| format!("{records} records "));
                let kept = if kept_in.is_empty() { String::new() } else { format!("; kept in {kept_in}") };
                format!("the journal was cut {count}after fact {}: {reason}{kept}", last_good.0)
            }
            Fact::Operator(fact) => fact.sentence(),
            Fact::Dhcp(fact) => fact.sentence(),
            Fact::Dhcp6(fact) => fact.sentence(),
            Fact::File(fact) => fact.sentence(),
            Fact::Malformed(fact) => fact.sentence(),
            Fact::Power(fact) => fact.sentence(),
            Fact::Agent(fact) => fact.sentence(),
            Fact::Outcome(fact) => format!("{} could not be done: {}", fact.step, fact.reason),
            Fact::Engine(fact) => fact.sentence(),
            Fact::Fleet(fact) => fact.sentence(),
            Fact::Module(fact) => fact.sentence(),
            Fact::Machine(fact) => fact.sentence(),
        }
    }
}
