//! What a simulation showed: the boot curve, the stages, the counts, and whether everything held.
//!
//! Deliberately absent: wall-clock time, which is not the same each time.

use std::fmt::Write;

use serde::Serialize;

use super::hub::Counts;
use super::script::Span;
use crate::fact::{Counted, EngineEvent, Fact, FleetFact, Retry};
use crate::plan::{Fleet, StageTimes, TimesS, fleet};
use crate::state::Node;

/// Rows of the boot curve.
const ROWS_MAX: u64 = 20;
/// Columns of its bars.
const BAR_MAX: usize = 50;

/// What was counted while it ran.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) curve: Vec<(u64, usize)>,
    pub(super) facts: u64,
    pub(super) checks: u64,
    pub(super) failures: u64,
    pub(super) failures_counted: u64,
    pub(super) quarantines: u64,
    pub(super) released: usize,
    pub(super) mass_events: u64,
    pub(super) mass_events_cleared: u64,
}

impl Tally {
    /// Counts a fact that has become durable.
    pub(super) fn count(&mut self, fact: &Fact) {
        if let Fact::Engine(fact) = fact
            && let EngineEvent::StepFailed { counted, retry, .. } = &fact.event
        {
            self.failures += 1;
            self.failures_counted += u64::from(*counted == Counted::Yes);
            self.quarantines += u64::from(*retry == Retry::Quarantined);
        }
        self.mass_events += u64::from(matches!(fact, Fact::Fleet(FleetFact::MassEvent { .. })));
    }
}

/// How many nodes had arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// When, in milliseconds of virtual time.
    pub at_ms: u64,
    /// How many.
    pub arrived: usize,
}

/// Something that must not have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// What.
    pub what: String,
    /// When, in milliseconds of virtual time.
    pub at_ms: u64,
    /// Of which node, where it is of one.
    pub node: Option<String>,
    /// What its machine really does.
    pub machine: Option<String>,
    /// The last facts of that node, oldest first.
    pub last_facts: Vec<String>,
}

/// Whether everything held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "violation", rename_all = "snake_case")]
pub enum Verdict {
    /// It did.
    Held,
    /// It did not.
    Broken(Violation),
}

/// What a simulation showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// The command that runs it again.
    pub command: String,
    /// How much virtual time passed, in milliseconds.
    pub simulated_ms: u64,
    /// When the faults stopped, in milliseconds of virtual time.
    pub faults_stopped_ms: u64,
    /// Nodes that were where they were wanted at the end.
    pub arrived: usize,
    /// The boot curve.
    pub curve: Vec<Sample>,
    /// The stages, in the order in which they are passed.
    pub stages: Vec<StageTimes>,
    /// Facts in the journal.
    pub facts: u64,
    /// Steps that failed.
    pub failures: u64,
    /// Of those, what counted towards quarantine.
    pub failures_counted: u64,
    /// Nodes put into quarantine, each time counted.
    pub quarantines: u64,
    /// Nodes that were let out of quarantine when the faults stopped.
    pub released: usize,
    /// How often so many nodes turned bad at once that disruptive steps were held back.
    pub mass_events: u64,
    /// How often that was looked into after the faults had stopped.
    pub mass_events_cleared: u64,
    /// How often something was judged.
    pub checks: u64,
    /// What else happened.
    pub counts: Counts,
    /// Whether everything held.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Report {
    pub(super) fn new<'a>(
        (seed, node_count, command): (u64, usize, String),
        (simulated_ms, faults_stopped_ms): (u64, u64),
        tally: Tally,
        counts: Counts,
        nodes: impl Iterator<Item = &'a Node>,
        verdict: Verdict,
    ) -> Self {
        let Fleet { stages, total, .. } = fleet(nodes);
        Report {
            seed,
            nodes: node_count,
            command,
            simulated_ms,
            faults_stopped_ms,
            arrived: tally.curve.last().map_or(0, |(_, arrived)| *arrived),
            curve: rows(&tally.curve),
            stages: stages.into_iter().chain(total).collect(),
            facts: tally.facts,
            failures: tally.failures,
            failures_counted: tally.failures_counted,
            quarantines: tally.quarantines,
            released: tally.released,
            mass_events: tally.mass_events,
            mass_events_cleared: tally.mass_events_cleared,
            checks: tally.checks,
            counts,
            verdict,
        }
    }

    /// Whether everything held.
    #[must_use]
    pub fn has_held(&self) -> bool {
        self.verdict == Verdict::Held
    }

    /// The report for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let span = |ms: u64| Span(ms).to_string();
        writeln!(out, "seed {}, {} nodes, {} simulated\n", self.seed, self.nodes, span(self.simulated_ms))?;
        writeln!(out, "{:>9}  {:<BAR_MAX$}  {:>7}", "TIME", "ARRIVED", "NODES")?;
        for sample in &self.curve {
            let bar = "#".repeat(sample.arrived * BAR_MAX / self.nodes.max(1));
            writeln!(out, "{:>9}  {bar:<BAR_MAX$}  {:>7}", span(sample.at_ms), sample.arrived)?;
        }
        writeln!(out, "\n{:<24}{:>8}{:>10}{:>10}{:>10}{:>10}", "STAGE", "NODES", "P50 S", "P90 S", "P99 S", "MAX S")?;
        for stage in &self.stages {
            let TimesS { p50_s, p90_s, p99_s, max_s } = stage.times;
            let (name, count) = (&stage.stage, stage.count);
            writeln!(out, "{name:<24}{count:>8}{p50_s:>10.1}{p90_s:>10.1}{p99_s:>10.1}{max_s:>10.1}")?;
        }
        writeln!(out)?;
        let counts = &self.counts;
        for (what, count) in [
            ("facts in the journal", self.facts),
            ("replays compared", counts.replays),
            ("machines powered on", counts.power_ons),
            ("machines powered off", counts.power_offs),
            ("boots", counts.boots),
            ("failed steps", self.failures),
            ("  counted", self.failures_counted),
            ("quarantines", self.quarantines),
            ("mass events", self.mass_events),
            ("  cleared by the operator", self.mass_events_cleared),
            ("packets", counts.packets),
            ("  lost", counts.packets_lost),
            ("  held up", counts.packets_delayed),
            ("  doubled", counts.packets_doubled),
            ("BMCs silent", counts.bmc_silent),
            ("BMCs slow", counts.bmc_slow),
            ("BMCs lying", counts.bmc_lies),
            ("BMCs refusing", counts.bmc_refusals),
            ("boots that hung", counts.hangs),
            ("machines that died", counts.deaths),
            ("appliance crashes", counts.crashes),
            ("clock jumps", counts.clock_jumps),
            ("turns refused by the disk", counts.turns_refused),
        ] {
            // What was never asked for is not said not to have been.
            if count > 0 {
                writeln!(out, "{what:<28}{count:>10}")?;
            }
        }
        writeln!(out)?;
        match &self.verdict {
            Verdict::Held => self.write_held(out),
            Verdict::Broken(violation) => self.write_broken(out, violation),
        }
    }

    fn write_held(&self, out: &mut String) -> std::fmt::Result {
        if self.released > 0 {
            writeln!(out, "released from quarantine when the faults stopped: {} nodes", self.released)?;
        }
        writeln!(out, "safety held: {} checks", self.checks)?;
        let after = Span(self.simulated_ms.saturating_sub(self.faults_stopped_ms));
        let bound = Span(super::LIVENESS_MS);
        match self.faults_stopped_ms {
            0 => writeln!(out, "liveness held: all {} nodes arrived within {after} (bound {bound})", self.nodes),
            _ => writeln!(
                out,
                "liveness held: all {} nodes are there {after} after the faults stopped (bound {bound})",
                self.nodes
            ),
        }
    }

    fn write_broken(&self, out: &mut String, violation: &Violation) -> std::fmt::Result {
        let Violation { what, at_ms, node, machine, last_facts } = violation;
        let whose = node.as_deref().unwrap_or("the appliance");
        writeln!(out, "VIOLATION at {}, seed {}: {whose}: {what}", Span(*at_ms), self.seed)?;
        if let Some(machine) = machine {
            writeln!(out, "its machine: {machine}")?;
        }
        if !last_facts.is_empty() {
            writeln!(out, "its last facts, by the appliance's clock:")?;
        }
        for fact in last_facts {
            writeln!(out, "  {fact}")?;
        }
        writeln!(out, "run it again: {}", self.command)
    }
}

/// At most [`ROWS_MAX`] samples, evenly apart, the first and the last among them.
fn rows(curve: &[(u64, usize)]) -> Vec<Sample> {
    let sample = |(at_ms, arrived): &(u64, usize)| Sample { at_ms: *at_ms, arrived: *arrived };
    let Some((end_ms, _)) = curve.last() else { return Vec::new() };
    let step_ms = end_ms.div_ceil(ROWS_MAX).div_ceil(5_000).max(1) * 5_000;
    let mut rows: Vec<Sample> = curve.iter().filter(|(at_ms, _)| at_ms % step_ms == 0).map(sample).collect();
    if rows.last().is_some_and(|last| last.at_ms != *end_ms) {
        rows.extend(curve.last().map(sample));
    }
    rows
}
