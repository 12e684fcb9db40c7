//! Both roles over a link that loses, cuts and refuses, from a seed; and each rule alone.

use std::collections::VecDeque;

use super::*;
use crate::sync::codec::{ChildMessage, ParentMessage, WireStep};

/// A small generator whose whole state is the seed that a failure prints (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

const NODE: [u8; 16] = [7; 16];

/// Both ends of one tree edge, the link between them, and what the parent's side has kept of the reports.
struct Edge {
    now_ms: u64,
    sessions: u64,
    ends: Option<(ChildSession, ParentSession)>,
    up: VecDeque<ChildMessage>,
    down: VecDeque<ParentMessage>,
    observed: Ledger,
    desired: Variables,
    kept: BTreeMap<String, WireValue>,
}

impl Edge {
    fn new() -> Self {
        Edge {
            now_ms: 0,
            sessions: 0,
            ends: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
            observed: Ledger::default(),
            desired: Variables::default(),
            kept: BTreeMap::new(),
        }
    }

    fn connect(&mut self) {
        if self.ends.is_none() {
            self.sessions += 1;
            let child = ChildSession::new(NODE, std::mem::take(&mut self.observed), self.now_ms);
            let parent = ParentSession::new(Timing::default(), self.sessions, self.desired.clone(), self.now_ms);
            self.ends = Some((child, parent));
            self.pump();
            // The hello is what made the parent's end.
            assert!(matches!(self.up.pop_front(), Some(ChildMessage::Hello { .. })));
        }
    }

    fn cut(&mut self) {
        if let Some((child, _)) = self.ends.take() {
            self.observed = child.into_observed();
        }
        self.up.clear();
        self.down.clear();
    }

    fn pump(&mut self) {
        if let Some((child, parent)) = &mut self.ends {
            self.up.extend(child.take_outgoing());
            self.down.extend(parent.take_outgoing());
        }
    }

    fn deliver_up(&mut self, durable: bool) {
        let (Some((_, parent)), Some(message)) = (&mut self.ends, self.up.pop_front()) else { return };
        match parent.received(self.now_ms, message).unwrap() {
            Some(ParentEvent::Observed(report)) if durable => {
                if report.scope == WireScope::Full {
                    self.kept.clear();
                }
                for WireVariable { path, value } in report.variables {
                    match value {
                        Some(value) => self.kept.insert(path, value),
                        None => self.kept.remove(&path),
                    };
                }
            }
            Some(ParentEvent::Observed(_)) => parent.distrust_observed(),
            _ => {}
        }
    }

    fn deliver_down(&mut self) {
        let (Some((child, _)), Some(message)) = (&mut self.ends, self.down.pop_front()) else { return };
        child.received(self.now_ms, message).unwrap();
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        let Some((child, parent)) = &mut self.ends else { return };
        if child.tick(self.now_ms).and(parent.tick(self.now_ms)).is_err() {
            self.cut();
        }
    }

    fn observe(&mut self, path: &str, value: Option<WireValue>) {
        match &mut self.ends {
            Some((child, _)) => child.observed_mut().set(path, value),
            None => self.observed.set(path, value),
        }
    }

    fn desire(&mut self, path: String, value: Option<WireValue>) {
        match value {
            Some(value) => self.desired.values.insert(path.clone(), value),
            None => self.desired.values.remove(&path),
        };
        self.desired.order = self.desired.values.keys().rev().cloned().collect();
        if let Some((_, parent)) = &mut self.ends {
            parent.desire(self.desired.clone());
        }
    }

    /// Without further faults, until both sides had time for a few heartbeats.
    fn settle(&mut self) {
        for _ in 0..40 {
            self.connect();
            self.pass(250);
            self.pump();
            while !self.up.is_empty() || !self.down.is_empty() {
                self.deliver_up(true);
                self.deliver_down();
                self.pump();
            }
        }
    }

    fn assert_in_step(&self, seed: u64) {
        let (child, parent) = self.ends.as_ref().unwrap_or_else(|| panic!("seed {seed}: no session"));
        assert_eq!(&self.kept, &child.observed().values, "seed {seed}: what was kept");
        assert_eq!(parent.observed(), child.observed(), "seed {seed}: the parent's copy");
        assert_eq!(child.desired(), &self.desired, "seed {seed}: the child's copy");
    }
}

fn value(dice: &mut Dice) -> Option<WireValue> {
    match dice.roll(5) {
        0 => None,
        1 => Some(WireValue::Digest([u8::try_from(dice.roll(4)).unwrap(); 32])),
        n => Some(WireValue::Symbol(format!("v{n}"))),
    }
}

fn may_be_lost(message: &ParentMessage) -> bool {
    matches!(message, ParentMessage::Desired(_) | ParentMessage::Heartbeat(_) | ParentMessage::Resend)
}

/// Runs one seed's worth of faults: the connection is cut at any frame, frames go missing, facts cannot be stored.
fn trouble(seed: u64) -> Edge {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut edge = Edge::new();
    for _ in 0..400 {
        edge.pump();
        match dice.roll(16) {
            0 => edge.cut(),
            1..=2 => edge.connect(),
            3..=5 => {
                let durable = dice.roll(8) > 0;
                edge.deliver_up(durable);
            }
            6..=8 => edge.deliver_down(),
            9..=10 => {
                let path = format!("image.i{}.state", dice.roll(4));
                let value = value(&mut dice);
                edge.observe(&path, value);
            }
            11 => {
                let path = format!("image.i{}.state", dice.roll(4));
                let value = value(&mut dice);
                edge.desire(path, value);
            }
            12 => drop(edge.up.pop_front()),
            13 => {
                if edge.down.front().is_some_and(may_be_lost) {
                    edge.down.pop_front();
                }
            }
            _ => {
                let ms = dice.roll(900);
                edge.pass(ms);
            }
        }
    }
    edge
}

#[test]
fn whatever_is_lost_both_sides_end_in_step() {
    for seed in 0..2_000 {
        let mut edge = trouble(seed);
        edge.settle();
        edge.assert_in_step(seed);
    }
}

#[test]
fn the_same_seed_makes_the_same_run() {
    let (one, two) = (trouble(77), trouble(77));
    assert_eq!((one.now_ms, one.sessions, one.kept), (two.now_ms, two.sessions, two.kept));
}

#[test]
fn a_silent_side_is_found_out_by_either_after_the_dead_interval() {
    let mut parent = ParentSession::new(Timing::default(), 1, Variables::default(), 700);
    let mut child = ChildSession::new(NODE, Ledger::default(), 0);
    for message in parent.take_outgoing() {
        child.received(700, message).unwrap();
    }
    let dead_ms = 700 + u64::from(Timing::default().dead_interval_ms);
    assert!(child.tick(dead_ms - 1).is_ok());
    assert!(parent.tick(dead_ms - 1).is_ok());
    assert!(matches!(child.tick(dead_ms), Err(SessionEnd::Silent { .. })));
    assert!(matches!(parent.tick(dead_ms), Err(SessionEnd::Silent { .. })));
}

#[test]
fn what_is_said_between_two_changes_stays_between_them() {
    let mut edge = Edge::new();
    edge.settle();
    let (child, _) = edge.ends.as_mut().unwrap();
    child.observed_mut().set("image.i0.state", Some(WireValue::Symbol("idle".into())));
    let step = WireStep { mutation: "image.activate".into(), image: Some("i0".into()) };
    child.say(ChildMessage::Failed { step, generation: 4, detail: "no such image".into() });
    child.observed_mut().set("image.i0.state", Some(WireValue::Symbol("failed".into())));
    let said = child.take_outgoing();
    assert!(
        matches!(said.as_slice(), [ChildMessage::Observed(_), ChildMessage::Failed { .. }, ChildMessage::Observed(_)]),
        "{said:?}"
    );
}

#[test]
fn a_variable_that_was_asked_for_is_told_again_although_it_has_not_changed() {
    let mut ledger = Ledger::default();
    ledger.set("run", Some(WireValue::Symbol("sync".into())));
    assert!(ledger.delta().is_some());
    ledger.set("run", Some(WireValue::Symbol("sync".into())));
    assert!(ledger.delta().is_none());
    ledger.touch("run");
    let report = ledger.delta().unwrap();
    assert_eq!(report.variables.len(), 1);
    assert_eq!(report.revision, 2);
}

#[test]
fn a_report_of_more_variables_than_a_node_has_ends_the_session() {
    let variables = |from: usize| -> Vec<WireVariable> {
        let path =
            |n| WireVariable { path: format!("image.i{n}.state"), value: Some(WireValue::Symbol("idle".into())) };
        (from..from + VARIABLES_PER_NODE_MAX).map(path).collect()
    };
    let mut mirror = Mirror::default();
    let full = Report { revision: 1, scope: WireScope::Full, variables: variables(0), order: vec![] };
    assert_eq!(mirror.take(&full), Ok(Taken::InStep));
    let more = Report { revision: 2, scope: WireScope::Delta, variables: variables(1), order: vec![] };
    assert_eq!(mirror.take(&more), Err(SessionEnd::TooManyVariables));
    let larger =
        Report { revision: 3, scope: WireScope::Full, variables: [variables(0), variables(9)].concat(), order: vec![] };
    assert_eq!(mirror.take(&larger), Err(SessionEnd::TooManyVariables));
}

#[test]
fn messages_out_of_their_place_end_the_session() {
    let mut parent = ParentSession::new(Timing::default(), 1, Variables::default(), 0);
    let hello = ChildMessage::Hello { version: 1, node: NODE };
    assert!(matches!(parent.received(0, hello), Err(SessionEnd::Unexpected { .. })));
    let mut child = ChildSession::new(NODE, Ledger::default(), 0);
    assert!(matches!(child.received(0, ParentMessage::Resend), Err(SessionEnd::Unexpected { .. })));
}
