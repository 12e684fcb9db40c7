//! The engine at its design point, ten thousand nodes: planning one change and a change of all, folding facts in memory and
//! durably, and the memory that a node takes.
//!
//! `cargo bench --bench engine` prints figures of this machine and asserts none. The core, the fold and the journal are the
//! appliance's own; what is left out is what lies around them: sockets, the channels between, and modules that act.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod boots;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bootes::engine::core::{Core, Turn};
use bootes::fact::{Fact, OperatorEvent, OperatorFact, Stamped};
use bootes::journal::Journal;
use bootes::model::limits::FACTS_PER_COMMIT_MAX;
use bootes::model::{Digest, FactSeq, NodeId, Schema, UnixMs, Value, VarPath};
use bootes::plan::{Graph, Planner, Policy};
use bootes::state::State;
use bootes::{boot, power, sync};
use nix::time::{ClockId, clock_gettime};

const NODES: u64 = 10_000;
/// Boots that every node has had: enough to fill what is kept of each.
const BOOTS: u64 = 5;

fn main() {
    let settled = settled();
    let state = settled.state().clone();
    let at_goal = state.nodes.values().filter(|node| node.at_goal).count();
    println!("{NODES} nodes, {at_goal} at their goal, {} facts folded\n", state.seq.0);
    drop(settled);
    one_change(&state);
    cluster_change(&state);
    folded(&state);
    durable(&state, FACTS_PER_COMMIT_MAX);
    durable(&state, 64);
}

fn said(what: &str, figure: f64, unit: &str, aim: &str) {
    println!("{what:<72} {figure:>11.1} {unit:<10} {aim}");
}

/// How long something took: by the clock, and of a processor. On a machine that is shared they are far apart.
#[derive(Default, Clone, Copy)]
struct Took {
    clock_s: f64,
    processor_s: f64,
}

impl Took {
    fn by<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let processor = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
        let (began, before) = (Instant::now(), processor());
        let made = work();
        self.clock_s += began.elapsed().as_secs_f64();
        self.processor_s += (processor() - before).as_secs_f64();
        made
    }

    /// Says what `figure` makes of either.
    fn said(&self, what: &str, unit: &str, aim: &str, figure: impl Fn(f64) -> f64) {
        said(what, figure(self.clock_s), unit, aim);
        said("  by the processor's time", figure(self.processor_s), unit, "");
    }
}

fn core(state: State) -> Core {
    let mutations = [power::mutations::mutations(), boot::mutations::mutations(), sync::mutations::mutations()];
    let graph = Graph::build(mutations.concat(), &Schema::default()).unwrap();
    Core::new(state, Planner::new(graph), Policy { mass_share_percent: 0, ..Policy::default() })
}

/// Memory of this process, in KiB.
fn resident_kib() -> f64 {
    // SAFETY: takes a number and gives unused memory back to the kernel; nothing of ours points there.
    unsafe { libc::malloc_trim(0) };
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A cluster whose nodes have booted [`BOOTS`] times and are at their goal.
fn settled() -> Core {
    let mut core = core(State::default());
    core.turn(boots::time(0), boots::descriptions(NODES));
    let mut now = 1;
    for boot in 0..BOOTS {
        for stage in 0..boots::STAGES {
            let facts = (0..NODES).map(|node| boots::fact(node, stage, boot));
            core.turn(boots::time(now), facts.collect());
            now += 1_000;
        }
    }
    // As after a restart: what the pieces of many facts left between them is not the node's.
    let text = serde_json::to_vec(core.state()).unwrap();
    let kept = resident_kib();
    let copy: State = serde_json::from_slice(&text).unwrap();
    said("memory of a node, all of it", (resident_kib() - kept) / NODES as f64, "KiB", "<= 20");
    said("  the same as JSON", text.len() as f64 / 1_024.0 / NODES as f64, "KiB", "");
    drop(copy);
    core
}

fn ids(state: &State) -> Vec<NodeId> {
    state.nodes.keys().copied().collect()
}

fn goal(node: NodeId, value: &str) -> Fact {
    let value = Some(Value::symbol(value));
    Fact::Operator(OperatorFact::from(OperatorEvent::GoalSet { node, path: VarPath::run(), value }))
}

/// What the engine does with one turn, but for telling anybody: the state before is kept, and the state after published.
fn turn(core: &mut Core, now: UnixMs, facts: Vec<Fact>) -> (Turn, Arc<State>, State) {
    let before = core.state().clone();
    let turn = core.turn(now, facts);
    (turn, Arc::new(core.state().clone()), before)
}

fn one_change(state: &State) {
    let mut core = core(state.clone());
    let ids = ids(state);
    let now = boots::time(100_000_000);
    let (mut took, mut actions) = (Took::default(), 0);
    for id in &ids {
        let (turn, published, before) = took.by(|| turn(&mut core, now, vec![goal(*id, "init")]));
        actions += turn.actions.len();
        took.by(|| drop((published, before)));
    }
    assert_eq!(actions, ids.len(), "every change asks for a step");
    took.said("a change of one node, taken in and planned", "us", "<= 50", |s| s * 1e6 / ids.len() as f64);
    said("  searches for a plan, for all of these changes", core.searches() as f64, "", "");
}

fn cluster_change(state: &State) {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    let mut core = core(state.clone());
    let change = Fact::Operator(OperatorFact::from(boots::cake(Digest::of(b"another"))));
    let (mut planned, mut journaled) = (Took::default(), Took::default());
    let (turn, ..) = planned.by(|| turn(&mut core, boots::time(100_000_000), vec![change]));
    assert_eq!(turn.actions.len(), state.nodes.len(), "every node has a step to make");
    let batch = renumbered(&turn.stamped, state.seq.0);
    journaled.by(|| journal.append(&batch).unwrap());
    let all =
        Took { clock_s: planned.clock_s + journaled.clock_s, processor_s: planned.processor_s + journaled.processor_s };
    let what = format!("a new image for every node: {} facts, {} actions", turn.stamped.len(), turn.actions.len());
    all.said(&what, "ms", "<= 1000", |s| s * 1e3);
    planned.said("  of it planned", "ms", "", |s| s * 1e3);
}

fn folded(state: &State) {
    let facts: Vec<Stamped<Fact>> = stamped(state, 2);
    let mut state = state.clone();
    let mut published = Arc::new(state.clone());
    let mut took = Took::default();
    took.by(|| {
        for batch in facts.chunks(FACTS_PER_COMMIT_MAX) {
            for fact in batch {
                state.apply(fact);
            }
            published = Arc::new(state.clone());
        }
    });
    assert_eq!(published.seq, state.seq);
    took.said("facts folded in memory, a snapshot published every 4096", "a second", ">= 100000", |s| {
        facts.len() as f64 / s
    });
}

fn durable(state: &State, batch: usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    let mut core = core(state.clone());
    let base = state.seq.0;
    let facts: Vec<Fact> = stamped(state, 1).into_iter().map(|stamped| stamped.fact).collect();
    let (mut taken, mut made) = (0_u32, 0_u32);
    let (mut thought, mut stored) = (Took::default(), Took::default());
    let mut facts = facts.into_iter();
    let mut now = 100_000_000;
    loop {
        let some: Vec<Fact> = facts.by_ref().take(batch).collect();
        if some.is_empty() {
            break;
        }
        taken += u32::try_from(some.len()).unwrap();
        now += 500;
        let (turn, published, before) = thought.by(|| turn(&mut core, boots::time(now), some));
        let numbered = renumbered(&turn.stamped, base);
        stored.by(|| journal.append(&numbered).unwrap());
        made += u32::try_from(turn.stamped.len()).unwrap();
        thought.by(|| drop((published, before)));
    }
    let all = Took { clock_s: thought.clock_s + stored.clock_s, processor_s: thought.processor_s + stored.processor_s };
    let what = format!("facts taken in, planned and durable, {batch} a commit");
    let aim = if batch == FACTS_PER_COMMIT_MAX { ">= 20000" } else { "" };
    all.said(&what, "a second", aim, |s| f64::from(taken) / s);
    all.said("  the engine's own facts counted too", "a second", "", |s| f64::from(made) / s);
    stored.said("  durable alone, of facts folded before", "a second", "", |s| f64::from(made) / s);
    said("  bytes of journal a fact", size(dir.path()) / f64::from(made), "bytes", "");
}

fn size(dir: &Path) -> f64 {
    std::fs::metadata(dir.join(bootes::journal::FILE_NAME)).unwrap().len() as f64
}

/// With numbers that begin at one, since the journal does.
fn renumbered(stamped: &[Stamped<Fact>], base: u64) -> Vec<Stamped<Fact>> {
    stamped.iter().map(|stamped| Stamped { seq: FactSeq(stamped.seq.0 - base), ..stamped.clone() }).collect()
}

/// The facts of further boots of every node, as they mix when all boot at once.
fn stamped(state: &State, boots: u64) -> Vec<Stamped<Fact>> {
    let mut seq = state.seq.0;
    let mut all = Vec::new();
    for boot in BOOTS..BOOTS + boots {
        for stage in 0..boots::STAGES {
            for node in 0..NODES {
                seq += 1;
                let (seq, at) = (FactSeq(seq), boots::time(100_000_000 + seq * 10));
                all.push(Stamped { seq, at, fact: boots::fact(node, stage, boot) });
            }
        }
    }
    all
}
