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

const NODES: u64 = 10_000;
/// Boots that every node has had: enough to fill what is kept of each.
const BOOTS: u64 = 8;

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
    println!("{what:<66} {figure:>12.1} {unit:<10} {aim}");
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
    let before = resident_kib();
    let mut now = 1;
    for boot in 0..BOOTS {
        for stage in 0..boots::STAGES {
            let facts = (0..NODES).map(|node| boots::fact(node, stage, boot));
            core.turn(boots::time(now), facts.collect());
            now += 1_000;
        }
    }
    let described = resident_kib();
    let empty = before;
    let a_node = (described - empty) / NODES as f64;
    said("memory of a node's reported state", a_node, "KiB", "");
    // Everything, the description included, in a process that has nothing else: a copy that shares nothing.
    let text = serde_json::to_vec(core.state()).unwrap();
    let kept = resident_kib();
    let copy: State = serde_json::from_slice(&text).unwrap();
    said("memory of a node, all of it (as after a restart)", (resident_kib() - kept) / NODES as f64, "KiB", "<= 20");
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
    let (mut took, mut worst, mut actions) = (Duration::ZERO, Duration::ZERO, 0);
    for id in &ids {
        let began = Instant::now();
        let (turn, published, before) = turn(&mut core, now, vec![goal(*id, "init")]);
        let this = began.elapsed();
        took += this;
        worst = worst.max(this);
        actions += turn.actions.len();
        drop((published, before));
    }
    assert_eq!(actions, ids.len(), "every change asks for a step");
    let each = took.as_secs_f64() * 1e6 / ids.len() as f64;
    said("a change of one node, taken in and planned", each, "us", "<= 50");
    said("  the slowest", worst.as_secs_f64() * 1e6, "us", "");
    said("  searches for a plan, of so many changes", core.searches() as f64, "", "");
}

fn cluster_change(state: &State) {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    let mut core = core(state.clone());
    // The journal begins where the state does; what was before is of no account here.
    let base = state.seq.0;
    let change = |image: &[u8]| Fact::Operator(OperatorFact::from(boots::cake(Digest::of(image))));
    for (which, image) in [("first", b"second".as_slice()), ("again", b"third")] {
        let began = Instant::now();
        let (turn, published, before) = turn(&mut core, boots::time(100_000_000), vec![change(image)]);
        let planned = began.elapsed();
        append(&mut journal, &turn.stamped, base);
        let all = began.elapsed();
        let what = format!(
            "a new image for every node ({which}): {} facts, {} actions",
            turn.stamped.len(),
            turn.actions.len()
        );
        said(&what, all.as_secs_f64(), "s", "<= 1");
        said("  of it planned", planned.as_secs_f64(), "s", "");
        drop((published, before));
    }
}

fn folded(state: &State) {
    let facts: Vec<Stamped<Fact>> = stamped(state, 4);
    let mut state = state.clone();
    let mut published = Arc::new(state.clone());
    let began = Instant::now();
    for batch in facts.chunks(FACTS_PER_COMMIT_MAX) {
        for fact in batch {
            state.apply(fact);
        }
        published = Arc::new(state.clone());
    }
    let took = began.elapsed();
    assert_eq!(published.seq, state.seq);
    said("facts folded in memory", facts.len() as f64 / took.as_secs_f64(), "a second", ">= 100000");
}

fn durable(state: &State, batch: usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    let mut core = core(state.clone());
    let base = state.seq.0;
    let boots = if batch == FACTS_PER_COMMIT_MAX { 4 } else { 1 };
    let facts: Vec<Fact> = stamped(state, boots).into_iter().map(|stamped| stamped.fact).collect();
    let (mut taken, mut made, mut in_core) = (0, 0, Duration::ZERO);
    let mut facts = facts.into_iter();
    let mut now = 100_000_000;
    let began = Instant::now();
    loop {
        let some: Vec<Fact> = facts.by_ref().take(batch).collect();
        if some.is_empty() {
            break;
        }
        taken += some.len();
        now += 500;
        let thinking = Instant::now();
        let (turn, published, before) = turn(&mut core, boots::time(now), some);
        in_core += thinking.elapsed();
        append(&mut journal, &turn.stamped, base);
        made += turn.stamped.len();
        drop((published, before));
    }
    let took = began.elapsed().as_secs_f64();
    let what = format!("facts taken in, folded, planned and durable, {batch} a commit");
    said(&what, taken as f64 / took, "a second", if batch == FACTS_PER_COMMIT_MAX { ">= 20000" } else { "" });
    said("  with the engine's own facts", made as f64 / took, "a second", "");
    said("  of the time in the core", in_core.as_secs_f64() / took * 100.0, "%", "");
    said("  bytes of journal a fact", size(dir.path()) / made as f64, "bytes", "");
}

fn size(dir: &Path) -> f64 {
    std::fs::metadata(dir.join(bootes::journal::FILE_NAME)).unwrap().len() as f64
}

/// Appends with numbers that begin at one, since the journal does.
fn append(journal: &mut Journal, stamped: &[Stamped<Fact>], base: u64) {
    let batch: Vec<Stamped<Fact>> =
        stamped.iter().map(|stamped| Stamped { seq: FactSeq(stamped.seq.0 - base), ..stamped.clone() }).collect();
    journal.append(&batch).unwrap();
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
