//! The engine against a small world of machines, in virtual time: convergence, its order, and what must never happen.

mod aside;
mod fleet;
mod freeze;
mod planned;
mod removal;
mod switches;
mod target;
mod world;

use proptest::prelude::*;

use self::world::{BOOT_MS, Machine, World, agent, id, operator};
use std::net::Ipv4Addr;

use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::fact::{
    AgentEvent, ApplianceFact, Architecture, BootClient, DhcpEvent, DhcpFact, EngineEvent, Fact, FailReason,
    OperatorEvent, OutcomeFact, PowerEvent, PowerFact, PowerState, Stamped,
};
use crate::journal::Journal;
use crate::model::Mac;
use crate::plan::{Policy, goal_reached};
use crate::port::fact_channel;

#[test]
fn machines_come_from_cold_iron_to_their_goal() {
    let mut world = World::new(3);
    world.pass(20_000);
    assert!(world.all_arrived(), "{:?}", world.core.state());
    assert_eq!(world.order_log.iter().filter(|o| *o == "power.on").count(), 3);
    assert_eq!(world.power_cuts(), 0);
}

#[test]
fn power_off_stops_the_image_then_the_agent_then_the_power_and_taking_it_back_restores_all() {
    let mut world = World::new(1);
    world.pass(20_000);
    world.order_log.clear();
    world.set(1, "power", Some("off"));
    assert_eq!(world.order_log, ["image.deactivate hello", "run.leave", "power.off"]);
    assert!(world.all_arrived());
    world.set(1, "power", None);
    world.pass(20_000);
    assert!(world.all_arrived());
    assert_eq!(world.machines[&id(1)].power, PowerState::On);
}

#[test]
fn a_power_cycle_goes_through_off_once_and_back_to_the_goal() {
    let mut world = World::new(1);
    world.pass(20_000);
    world.order_log.clear();
    world.feed(vec![operator(OperatorEvent::CycleAsked { node: id(1) })]);
    world.pass(20_000);
    assert!(world.all_arrived());
    assert_eq!(world.order_log.iter().filter(|o| *o == "power.off").count(), 1, "{:?}", world.order_log);
}

#[test]
fn a_killed_machine_is_running_again_without_a_hand() {
    let mut world = World::new(2);
    world.pass(20_000);
    let machine = world.machines.get_mut(&id(1)).unwrap();
    *machine = Machine {
        power: PowerState::Off,
        booting_ms: None,
        in_sync: false,
        active: false,
        connected: false,
        ..machine.clone()
    };
    let session = world.node(1).agent.session.unwrap();
    world.feed(vec![agent(id(1), AgentEvent::Lost { session, reason: "silent".into() })]);
    world.pass(20_000);
    assert!(world.all_arrived());
    assert_eq!(world.power_cuts(), 0);
}

#[test]
fn a_restart_of_the_appliance_power_cycles_no_healthy_node() {
    let mut world = World::new(3);
    world.pass(20_000);
    world.restart();
    assert!(!world.all_arrived(), "what cannot be known is not believed");
    world.pass(5_000);
    for number in 1..=3 {
        world.reconnect(id(number));
    }
    world.pass(5_000);
    assert!(world.all_arrived());
    assert_eq!(world.power_cuts(), 0);
}

#[test]
fn a_restart_in_mid_boot_lets_every_node_arrive_without_a_power_cycle() {
    for at in (500..BOOT_MS + 2_000).step_by(500) {
        let mut world = World::new(2);
        world.pass(at);
        world.restart();
        for number in 1..=2 {
            world.reconnect(id(number));
        }
        world.pass(30_000);
        assert!(world.all_arrived(), "restarted at {at} ms: {:?}", world.node(1).observed);
        assert_eq!(world.power_cuts(), 0, "restarted at {at} ms");
    }
}

#[test]
fn a_lost_agent_is_given_time_and_then_its_machine_is_booted_again() {
    let mut world = World::new(1);
    world.pass(20_000);
    let session = world.node(1).agent.session.unwrap();
    world.machines.get_mut(&id(1)).unwrap().connected = false;
    world.feed(vec![agent(id(1), AgentEvent::Lost { session, reason: "silent".into() })]);
    world.pass(590_000);
    assert_eq!(world.power_cuts(), 0, "it is waited for");
    world.pass(60_000);
    assert!(world.all_arrived());
    assert_eq!(world.power_cuts(), 1);
}

#[test]
fn a_machine_that_does_not_boot_is_quarantined_and_not_cycled_for_ever() {
    let mut world = World::new(2);
    world.machines.get_mut(&id(1)).unwrap().boots = false;
    world.pass(4 * 3_600_000);
    let cuts = world.machines[&id(1)].power_cuts;
    assert!(cuts > 0 && cuts <= Policy::default().retry_budget, "{cuts}");
    assert_eq!(world.node(1).retry.next, Some(crate::fact::Retry::Quarantined));
    assert!(goal_reached(world.node(2)), "the other node is unaffected");
    world.machines.get_mut(&id(1)).unwrap().boots = true;
    world.feed(vec![operator(OperatorEvent::Released { node: id(1) })]);
    world.pass(200_000);
    assert!(world.all_arrived(), "{:?}", world.node(1).observed);
}

#[test]
fn a_machine_that_dies_after_each_join_is_quarantined_too() {
    let mut world = World::new(1);
    world.machines.get_mut(&id(1)).unwrap().activates = false;
    for _ in 0..2_000 {
        world.pass(BOOT_MS);
        if let Some(session) = world.node(1).agent.session {
            world.machines.get_mut(&id(1)).unwrap().connected = false;
            world.feed(vec![agent(id(1), AgentEvent::Lost { session, reason: "hung".into() })]);
        }
    }
    assert_eq!(world.node(1).retry.next, Some(crate::fact::Retry::Quarantined));
    assert!(world.power_cuts() <= Policy::default().retry_budget, "{}", world.power_cuts());
}

#[test]
fn one_false_word_of_a_bmc_does_not_cut_a_node_whose_agent_is_heard() {
    let mut world = World::new(1);
    world.pass(20_000);
    let event = PowerEvent::Status { power: PowerState::Off };
    world.feed(vec![Fact::Power(PowerFact { node: id(1), event })]);
    world.pass(600_000);
    assert!(world.all_arrived());
    assert_eq!(world.power_cuts(), 0);
}

#[test]
fn an_agent_that_is_heard_is_at_its_goal_although_its_bmc_is_silent() {
    let mut world = World::new(1);
    world.pass(20_000);
    world.machines.get_mut(&id(1)).unwrap().bmc_answers = false;
    world.restart();
    world.reconnect(id(1));
    assert!(world.all_arrived());
}

#[test]
fn a_silent_bmc_is_tried_for_ever_with_growing_pauses_and_never_quarantined() {
    let mut world = World::new(1);
    let machine = world.machines.get_mut(&id(1)).unwrap();
    *machine =
        Machine { bmc_answers: false, boots: false, power: PowerState::Off, booting_ms: None, ..machine.clone() };
    world.restart();
    world.pass(3_600_000);
    let tries = world.order_log.iter().filter(|o| *o == "power.discover").count();
    assert!((10..40).contains(&tries), "{tries}");
    let machine = world.machines.get_mut(&id(1)).unwrap();
    (machine.bmc_answers, machine.boots) = (true, true);
    world.pass(600_000);
    assert!(world.all_arrived());
}

#[test]
fn a_clock_that_is_set_back_while_the_appliance_is_down_keeps_no_node_waiting() {
    let mut world = World::new(1);
    let machine = world.machines.get_mut(&id(1)).unwrap();
    *machine = Machine { bmc_answers: false, power: PowerState::Off, booting_ms: None, ..machine.clone() };
    world.restart();
    world.pass(20_000);
    assert!(world.node(1).retry.next.is_some(), "it waits for its next try");
    world.now = crate::model::UnixMs(world.now.0 - 900_000);
    world.machines.get_mut(&id(1)).unwrap().bmc_answers = true;
    world.restart();
    world.pass(60_000);
    assert!(world.all_arrived(), "{:?}", world.node(1).retry);
}

#[test]
fn a_boot_packet_while_the_agent_is_connected_harms_nothing() {
    let mut world = World::new(1);
    world.pass(20_000);
    let event = DhcpEvent::Leased { ip: Ipv4Addr::LOCALHOST, lease_s: 60, file: None };
    let client = BootClient::PxeRom(Architecture::X86Bios);
    world.feed(vec![Fact::Dhcp(DhcpFact {
        mac: Mac([2, 0, 0, 0, 0, 1]),
        node: Some(id(1)),
        client,
        event,
        told: Default::default(),
    })]);
    assert!(world.all_arrived());
    world.pass(600_000);
    assert!(world.all_arrived());
    assert_eq!(world.power_cuts(), 0);
}

#[test]
fn an_answer_to_an_older_request_is_disregarded() {
    let mut world = World::new(1);
    world.pass(20_000);
    let before = world.journal.len();
    let step = crate::fact::StepName { mutation: "power.on".into(), image: None };
    let outcome =
        OutcomeFact { node: id(1), step, generation: crate::model::Generation(1), reason: FailReason::NoAgent };
    world.feed(vec![Fact::Outcome(outcome)]);
    let failed =
        |s: &&Stamped<Fact>| matches!(&s.fact, Fact::Engine(e) if matches!(e.event, EngineEvent::StepFailed { .. }));
    assert_eq!(world.journal.iter().skip(before).filter(failed).count(), 0);
    assert!(world.all_arrived());
}

#[test]
fn whoever_has_the_journals_word_finds_the_fact_in_the_feed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let engine = Engine::replay(journal, world::graph(), Policy::default()).unwrap();
    let mut feed = engine.feed().subscribe();
    let (facts, receiver) = fact_channel();
    let stop = CancellationToken::new();
    let heard = stop.clone();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let thread = std::thread::spawn(move || runtime().block_on(engine.run(receiver, heard)));
    runtime().block_on(async {
        for count in 1..=100 {
            facts.submit(vec![Fact::Appliance(ApplianceFact::FactsDropped { count })]).await.unwrap();
            let mut last = None;
            while let Ok(stamped) = feed.try_recv() {
                last = Some(stamped.fact.clone());
            }
            assert_eq!(last, Some(Fact::Appliance(ApplianceFact::FactsDropped { count })));
        }
    });
    stop.cancel();
    thread.join().unwrap();
}

#[test]
fn a_turn_that_was_not_stored_has_not_happened_and_is_tried_again() {
    let mut world = World::new(1);
    let before = world.core.state().clone();
    let turn = world.core.turn(world.now, vec![operator(OperatorEvent::CycleAsked { node: id(1) })]);
    assert!(!turn.stamped.is_empty());
    let again = world.now.plus(1_000);
    world.core.take_back(before.clone(), &turn, again);
    assert_eq!(world.core.state(), &before);
    assert_eq!(world.core.next_wake(), Some(again));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_happens_the_journal_gives_the_same_state_and_all_arrive(
        events in proptest::collection::vec((0u8..6, 1u128..4, 0u64..15_000), 0..12),
    ) {
        let mut world = World::new(3);
        for (what, node, pause) in events {
            world.pass(pause);
            match what {
                0 => world.restart(),
                1 => world.set(node, "power", Some("off")),
                2 => world.set(node, "power", None),
                3 => world.feed(vec![operator(OperatorEvent::CycleAsked { node: id(node) })]),
                4 => {
                    let machine = world.machines.get_mut(&id(node)).unwrap();
                    *machine = Machine { power: PowerState::Off, booting_ms: None, in_sync: false, active: false, connected: false, ..machine.clone() };
                    if let Some(session) = world.node(node).agent.session {
                        world.feed(vec![agent(id(node), AgentEvent::Lost { session, reason: "killed".into() })]);
                    }
                }
                _ => world.reconnect(id(node)),
            }
            for number in 1..=3 {
                if world.node(number).agent.session.is_none() {
                    world.reconnect(id(number));
                }
            }
        }
        for number in 1..=3 {
            world.set(number, "power", None);
        }
        for _ in 0..40 {
            world.pass(30_000);
            // The power module looks by itself every so often.
            let looks = (1..=3).map(|n| Fact::Power(PowerFact { node: id(n), event: PowerEvent::Status { power: world.machines[&id(n)].power } })).collect();
            world.feed(looks);
        }
        prop_assert!(world.all_arrived(), "{:?}", world.core.state().nodes.values().map(|n| (&n.observed, &n.in_flight, &n.retry)).collect::<Vec<_>>());
        world.restart();
    }
}
