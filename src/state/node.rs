//! One node: what is wanted of it, what was seen of it, and what is under way.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::last::Last;
use super::lease6::Lease6;
use crate::fact::{FailReason, Retry, StepName};
use crate::model::hardware::Hardware;
use crate::model::limits::{ATTEMPTS_KEPT_MAX, TIMELINE_MARKS_MAX};
use crate::model::{Digest, Generation, Mac, Name, NodeId, NodeSpec, Revision, UnixMs, Value, VarPath};

/// Everything that is known of one node.
///
/// After each snapshot the next fact of a node copies it once; what is long and does not change with most facts is shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its description.
    pub spec: Arc<NodeSpec>,
    /// What is wanted: the description's goals, with what was set by hand standing before them.
    pub desired: Arc<BTreeMap<VarPath, Desired>>,
    /// What was set by hand.
    pub by_hand: BTreeMap<VarPath, Value>,
    /// Counts the changes of the description and of what is wanted: a writer who has seen an older one is refused.
    #[serde(default)]
    pub revision: Revision,
    /// Since when no step of it is started.
    #[serde(default)]
    pub frozen: Option<UnixMs>,
    /// Since when it may be disturbed although it is busy or guarded, until it is at its goal.
    #[serde(default)]
    pub disturb: Option<UnixMs>,
    /// What was seen; a variable that is not here is unknown.
    pub observed: Arc<BTreeMap<VarPath, Observed>>,
    /// Something to be done once, before the goal counts again.
    pub request: Option<Request>,
    /// The step under way.
    pub in_flight: Option<InFlight>,
    /// Counts the steps that were started.
    pub generation: Generation,
    /// Failures since the goal was last reached.
    pub retry: RetryState,
    /// Whether every goal was met when the engine last looked.
    pub at_goal: bool,
    /// When its BMC accepted to power it off, until it is off.
    #[serde(default)]
    pub ordered_off_at: Option<UnixMs>,
    /// Its agent.
    pub agent: AgentLink,
    /// The digest of the join token of its present boot, until it is used.
    pub token: Option<Digest>,
    /// The digest of the token by which its present boot may fetch metadata, and the target that this is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataGrant>,
    /// The digest of the certificate with which the machine waits that is to be told that it is this node.
    #[serde(default)]
    pub waits_with: Option<Digest>,
    /// Its lease.
    pub lease: Option<Lease>,
    /// The hardware address that it last had a lease with, where that is not the described one.
    #[serde(default)]
    pub other_mac: Option<Mac>,
    /// Its IPv6 lease.
    #[serde(default)]
    pub lease6: Option<Lease6>,
    /// Its hardware, as its agent last reported it.
    pub hardware: Option<Arc<Hardware>>,
    /// The stages of its last boots, oldest first.
    pub marks: Vec<Marked>,
    /// The last thing seen of each source, as evidence.
    pub last: Last,
}

/// The right of one boot to fetch its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataGrant {
    /// The digest of the token.
    pub token: Digest,
    /// The target whose metadata it is.
    pub target: Name,
}

/// A value that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// The value.
    pub value: Value,
    /// When it became so.
    pub at: UnixMs,
    /// Counts the changes of this variable.
    pub revision: Revision,
    /// Who wants it.
    pub source: DesiredSource,
    /// Whether something has to be done to reach it.
    pub aim: Aim,
    /// Whether it can be reached while the machine has no power.
    #[serde(default)]
    pub needs: Needs,
}

/// Whether a value can be reached while the machine has no power.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// Only while it has.
    #[default]
    Power,
    /// While it has none as well.
    Nothing,
}

/// Who wants a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DesiredSource {
    /// Every described node is to run.
    Default,
    /// The variable's own default, from its extension.
    Extension,
    /// The defaults of the cluster.
    Cluster,
    /// The node's pool.
    Pool(Name),
    /// The node's description.
    Node,
    /// The node's cake.
    Cake(Name),
    /// An operator's hand.
    Hand,
}

/// Whether something has to be done to reach a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// It is a goal: the planner looks for a way to it.
    Goal,
    /// It is a setting that modules and agents read.
    Config,
}

/// A value that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The value.
    pub value: Value,
    /// When it became so.
    pub at: UnixMs,
    /// Counts the changes of this variable.
    pub revision: Revision,
    /// Who saw it.
    pub source: StateSource,
}

/// Who saw a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StateSource {
    /// A boot service.
    Boot,
    /// The node's BMC.
    Bmc,
    /// The node's agent.
    Agent,
    /// The engine, from the failure of a step.
    Engine,
    /// It follows from another value.
    Implied,
    /// A module from outside.
    Module,
}

/// Something to be done once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Go through power off.
    Cycle,
}

/// A step under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// The step.
    pub step: StepName,
    /// Which request.
    pub generation: Generation,
    /// When it was started.
    pub started_at: UnixMs,
    /// When it is taken for failed.
    pub deadline: UnixMs,
}

/// Failures since the goal was last reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryState {
    /// Failures that count against the budget.
    pub counted: u32,
    /// All failures in a row; they set the pause before the next try.
    pub in_a_row: u32,
    /// When the node is tried again.
    pub next: Option<Retry>,
    /// The last failures, oldest first.
    pub attempts: Vec<Attempt>,
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attempt {
    /// When it failed.
    pub at: UnixMs,
    /// What failed.
    pub step: StepName,
    /// Why.
    pub reason: FailReason,
}

/// What is known of a node's agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentLink {
    /// The digest of the certificate that it was given at its last join.
    pub certificate: Option<Digest>,
    /// Its session, while there is one.
    pub session: Option<u64>,
    /// Where it last connected from.
    pub peer: Option<SocketAddr>,
    /// When it was last heard, as far as it was journaled.
    pub heard_at: Option<UnixMs>,
    /// How far a boot was seen to come while the session still seemed to be up: the machine has restarted, or
    /// another machine pretends to be it. It counts when the session ends.
    pub boot_seen_since: Option<Value>,
}

/// An address given to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address.
    pub ip: Ipv4Addr,
    /// When it was last given.
    pub at: UnixMs,
    /// When it ends.
    pub until: UnixMs,
}

/// A stage of a boot with its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marked {
    /// When it was reached.
    pub at: UnixMs,
    /// The stage.
    pub mark: Mark,
}

/// The stages of a boot, as they are seen from the appliance, in the order of a healthy boot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The BMC accepted to boot from the network: a boot begins.
    Armed,
    /// The BMC accepted to power on.
    PowerOnAccepted,
    /// The BMC says that power is on.
    PowerOn,
    /// The firmware asked for an address and got it.
    FirmwareDhcp,
    /// The loader was sent.
    LoaderSent,
    /// The loader asked for an address and got it.
    LoaderDhcp,
    /// The node's script was sent.
    ScriptSent,
    /// The kernel was sent.
    KernelSent,
    /// Layer 0 was sent.
    InitramfsSent,
    /// The agent joined.
    AgentJoined,
    /// The agent is in step.
    InSync,
    /// An image runs.
    ImageActive(Name),
    /// An image was stopped.
    ImageIdle(Name),
    /// The agent said good-bye.
    AgentLeft,
    /// The agent was lost.
    AgentLost,
    /// The BMC says that power is off.
    PowerOff,
    /// Every goal is met.
    GoalReached,
    /// All files of a target that is not layer 0 were sent.
    TargetReached(Name),
}

impl Node {
    pub(super) fn new(id: NodeId, spec: NodeSpec) -> Self {
        Node {
            id,
            spec: Arc::new(spec),
            desired: Arc::default(),
            by_hand: BTreeMap::new(),
            revision: Revision(0),
            frozen: None,
            disturb: None,
            observed: Arc::default(),
            request: None,
            in_flight: None,
            generation: Generation(0),
            retry: RetryState::default(),
            at_goal: false,
            ordered_off_at: None,
            agent: AgentLink::default(),
            token: None,
            metadata: None,
            waits_with: None,
            lease: None,
            other_mac: None,
            lease6: None,
            hardware: None,
            marks: Vec::new(),
            last: Last::default(),
        }
    }

    /// Whether it has this hardware address: the described one, or the one that it was last seen with.
    #[must_use]
    pub fn has_mac(&self, mac: Mac) -> bool {
        self.spec.mac == mac || self.other_mac == Some(mac)
    }

    /// What is wanted of a variable.
    #[must_use]
    pub fn wants(&self, path: &VarPath) -> Option<&Value> {
        self.desired.get(path).map(|d| &d.value)
    }

    /// What is wanted of a finite variable.
    #[must_use]
    pub fn wants_symbol(&self, path: &VarPath) -> Option<&str> {
        self.wants(path).and_then(Value::as_symbol)
    }

    /// What is known of a variable.
    #[must_use]
    pub fn see(&self, path: &VarPath) -> Option<&Value> {
        self.observed.get(path).map(|o| &o.value)
    }

    /// What is known of a finite variable.
    #[must_use]
    pub fn see_symbol(&self, path: &VarPath) -> Option<&str> {
        self.see(path).and_then(Value::as_symbol)
    }

    /// The images that the node should run or is seen to have, by name.
    #[must_use]
    pub fn images(&self) -> Vec<Name> {
        let mut names: Vec<Name> = self
            .desired
            .keys()
            .chain(self.observed.keys())
            .filter(|path| path.as_str().ends_with(".state"))
            .filter_map(VarPath::as_image)
            .filter(|(_, field)| *field == "state")
            .map(|(name, _)| name)
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The marks of the last boot. It begins when it was armed; or, when nobody armed it, with its power or the first
    /// packet of its firmware after the boot before it has ended. All marks that are kept when neither was seen.
    #[must_use]
    pub fn last_boot(&self) -> &[Marked] {
        let (mut start, mut ended) = (0, false);
        for (index, marked) in self.marks.iter().enumerate() {
            match marked.mark {
                Mark::Armed => (start, ended) = (index, false),
                Mark::PowerOn | Mark::FirmwareDhcp if ended => (start, ended) = (index, false),
                Mark::GoalReached | Mark::AgentLeft | Mark::AgentLost | Mark::PowerOff => ended = true,
                _ => {}
            }
        }
        self.marks.get(start..).unwrap_or_default()
    }

    pub(super) fn mark(&mut self, at: UnixMs, mark: Mark) {
        if self.marks.len() >= TIMELINE_MARKS_MAX {
            self.marks.remove(0);
        }
        self.marks.push(Marked { at, mark });
    }

    pub(super) fn note_attempt(&mut self, attempt: Attempt) {
        if self.retry.attempts.len() >= ATTEMPTS_KEPT_MAX {
            self.retry.attempts.remove(0);
        }
        self.retry.attempts.push(attempt);
    }
}
