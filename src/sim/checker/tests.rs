//! What the checker must not let pass: each rule with a sequence that breaks it, and the nearest one that does not.

use uuid::Uuid;

use super::*;
use crate::fact::{Architecture, BootClient};
use crate::fact::{DhcpFact, EngineFact, FailReason, FleetFact, OperatorFact, StepName};
use crate::model::mutation::Disruption;
use crate::model::{FactSeq, Generation, Name, UnixMs};

const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];

fn id(number: u128) -> NodeId {
    NodeId(Uuid::from_u128(number))
}

fn checker() -> Checker {
    let name: Name = "c".parse().unwrap();
    let cake = CakeSpec { name, images: Vec::new() };
    let disruptive = BTreeSet::from(["power.off".to_owned(), "run.leave".to_owned()]);
    Checker::new(&[(id(1), MACS[0]), (id(2), MACS[1])], cake, disruptive, 2)
}

/// Takes in facts in their order; gives what was broken.
fn after(checker: &mut Checker, facts: Vec<Fact>) -> Option<String> {
    for fact in facts {
        let seq = FactSeq(checker.seq + 1);
        checker.fact(&Stamped { seq, at: UnixMs(0), fact });
    }
    checker.take_broken().map(|broken| broken.what)
}

fn engine(event: EngineEvent) -> Fact {
    Fact::Engine(EngineFact { node: id(1), event })
}

fn step(name: &str) -> StepName {
    StepName { mutation: name.into(), image: None }
}

fn started(name: &str) -> Fact {
    let (generation, deadline, disruption) = (Generation(1), UnixMs(9), Disruption::None);
    engine(EngineEvent::StepStarted { step: step(name), generation, deadline, disruption })
}

fn done(name: &str) -> Fact {
    engine(EngineEvent::StepDone { step: step(name), duration_ms: 1 })
}

fn failed(counted: Counted, retry: Retry) -> Fact {
    let reason = FailReason::NoAgent;
    engine(EngineEvent::StepFailed { step: step("boot.rom"), reason, fail_to: vec![], counted, retry })
}

fn operator(event: OperatorEvent) -> Fact {
    Fact::Operator(OperatorFact::from(event))
}

/// A checker of a machine that has been healthy, and heard, since the beginning.
fn healthy() -> Checker {
    let mut checker = checker();
    checker.nodes[0].healthy_since_ms = Some(0);
    checker
}

#[test]
fn a_healthy_machine_that_is_powered_off_is_told() {
    let mut checker = healthy();
    checker.heard(0, 59_000);
    checker.order(0, PowerOrder::On, 60_000);
    assert_eq!(checker.take_broken(), None, "on harms nobody");
    checker.switched(0, PowerOrder::On);
    checker.order(0, PowerOrder::Off, 60_000);
    let broken = checker.take_broken().unwrap();
    assert_eq!((broken.node, broken.what.contains("healthy for 60 s")), (Some(id(1)), true), "{broken:?}");
}

#[test]
fn a_machine_that_became_healthy_when_the_order_left_is_not_counted() {
    let mut checker = checker();
    checker.nodes[0].healthy_since_ms = Some(60_000);
    checker.order(0, PowerOrder::Off, 60_000 + NEWS_MS - 1);
    assert_eq!(checker.take_broken(), None);
    checker.switched(0, PowerOrder::Off);
    checker.order(0, PowerOrder::Off, 60_000 + NEWS_MS);
    assert!(checker.take_broken().is_some());
}

#[test]
fn a_machine_that_was_not_heard_for_the_rejoin_time_counts_only_while_the_appliance_was_up_less_long() {
    let mut checker = healthy();
    checker.order(0, PowerOrder::Off, REJOIN_MS);
    assert_eq!(checker.take_broken(), None, "nobody could know");
    checker.switched(0, PowerOrder::Off);
    checker.nodes[0].healthy_since_ms = Some(0);
    checker.appliance_up(1_000);
    checker.order(0, PowerOrder::Off, REJOIN_MS);
    assert!(checker.take_broken().is_some(), "the appliance has waited for less than the rejoin time");
}

#[test]
fn a_lie_excuses_only_while_the_machine_is_not_heard() {
    let mut checker = healthy();
    checker.heard(0, 10_000);
    checker.lied(0, 20_000);
    checker.order(0, PowerOrder::Off, 60_000);
    assert_eq!(checker.take_broken(), None);
    checker.switched(0, PowerOrder::Off);
    checker.nodes[0].healthy_since_ms = Some(0);
    checker.heard(0, 59_000);
    checker.order(0, PowerOrder::Off, 60_000);
    assert!(checker.take_broken().is_some());
}

#[test]
fn two_disruptive_steps_at_once_are_told_and_one_after_the_other_is_not() {
    assert_eq!(after(&mut checker(), vec![started("power.off"), done("power.off"), started("run.leave")]), None);
    let told = after(&mut checker(), vec![started("power.off"), started("run.leave")]);
    assert!(told.is_some_and(|told| told.contains("'power.off' has not ended")));
    let restart = Fact::Appliance(ApplianceFact::Started { version: String::new() });
    assert_eq!(after(&mut checker(), vec![started("power.off"), restart, started("power.off")]), None);
}

#[test]
fn a_bmc_that_is_told_to_switch_back_before_it_has_switched_is_told() {
    let mut checker = checker();
    checker.order(0, PowerOrder::Off, 0);
    checker.order(0, PowerOrder::Off, 1_000);
    assert_eq!(checker.take_broken(), None, "the same order again is no other action");
    checker.order(0, PowerOrder::On, 2_000);
    assert!(checker.take_broken().is_some_and(|broken| broken.what.contains("still carries out 'power off'")));
}

#[test]
fn an_address_that_is_acknowledged_twice_or_before_it_is_durable_is_told() {
    let ip = Ipv4Addr::new(10, 0, 0, 1);
    let leased = |place: usize| {
        let event = DhcpEvent::Leased { ip, lease_s: 60, file: None };
        let client = BootClient::PxeRom(Architecture::X64Uefi);
        Fact::Dhcp(DhcpFact {
            mac: MACS[place],
            node: Some(id(place as u128 + 1)),
            client,
            event,
            told: Default::default(),
        })
    };
    let mut fine = checker();
    assert_eq!(after(&mut fine, vec![leased(0)]), None);
    fine.acknowledged(MACS[0], ip);
    assert_eq!(fine.take_broken(), None);
    after(&mut fine, vec![leased(1)]);
    fine.acknowledged(MACS[1], ip);
    assert!(fine.take_broken().is_some_and(|broken| broken.what.contains("has it")));
    let mut early = checker();
    early.acknowledged(MACS[0], ip);
    assert!(early.take_broken().is_some_and(|broken| broken.what.contains("no lease of it is durable")));
}

#[test]
fn a_budget_that_is_overdrawn_and_a_quarantine_that_is_not_kept_are_told() {
    let later = Retry::At { at: UnixMs(1) };
    let not_quarantined = after(&mut checker(), vec![failed(Counted::Yes, later), failed(Counted::Yes, later)]);
    assert!(not_quarantined.is_some_and(|told| told.contains("it is not quarantined")));
    let free = vec![failed(Counted::No, later); 5];
    assert_eq!(after(&mut checker(), free), None);

    let mut quarantined = checker();
    let spent = vec![failed(Counted::Yes, later), failed(Counted::Yes, Retry::Quarantined)];
    assert_eq!(after(&mut quarantined, spent), None);
    quarantined.order(0, PowerOrder::On, 1);
    assert!(quarantined.take_broken().is_some_and(|broken| broken.what.contains("is quarantined")));
    quarantined.switched(0, PowerOrder::On);
    assert_eq!(after(&mut quarantined, vec![operator(OperatorEvent::Released { node: id(1) })]), None);
    quarantined.order(0, PowerOrder::On, 2);
    assert_eq!(quarantined.take_broken(), None);
}

#[test]
fn a_step_on_a_frozen_node_or_a_disruptive_one_in_a_mass_event_is_told() {
    let frozen = |node| operator(OperatorEvent::Frozen { node });
    let thawed = |node| operator(OperatorEvent::Thawed { node });
    for node in [None, Some(id(1))] {
        assert!(after(&mut checker(), vec![frozen(node), started("boot.rom")]).is_some());
        assert_eq!(after(&mut checker(), vec![frozen(node), thawed(node), started("boot.rom")]), None);
    }
    assert_eq!(after(&mut checker(), vec![frozen(Some(id(2))), started("boot.rom")]), None);
    let event = || Fact::Fleet(FleetFact::MassEvent { bad: 9, of: 10, window_ms: 1 });
    assert_eq!(after(&mut checker(), vec![event(), started("boot.rom")]), None);
    assert!(after(&mut checker(), vec![event(), started("power.off")]).is_some());
    let cleared = operator(OperatorEvent::MassEventCleared);
    assert_eq!(after(&mut checker(), vec![event(), cleared, started("power.off")]), None);
}

#[test]
fn a_gap_in_the_journal_is_told() {
    let mut checker = checker();
    checker.fact(&Stamped { seq: FactSeq(2), at: UnixMs(0), fact: done("boot.rom") });
    assert!(checker.take_broken().is_some_and(|broken| broken.what.contains("fact 2 follows fact 0")));
}
