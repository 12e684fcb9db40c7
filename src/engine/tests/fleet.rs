//! What holds many nodes at once: mass events, and how many may be disturbed together.

use super::world::{World, id};
use crate::fact::{Fact, FleetFact, OperatorEvent, Retry};
use crate::plan::{Hold, Policy, goal_reached};

fn mass_events(world: &World) -> usize {
    world.journal.iter().filter(|s| matches!(s.fact, Fact::Fleet(FleetFact::MassEvent { .. }))).count()
}

fn running(nodes: u128) -> World {
    let mut world = World::new(nodes);
    world.pass(20_000);
    assert!(world.all_arrived());
    world
}

#[test]
fn when_a_third_of_the_nodes_is_lost_at_once_no_machine_is_powered_off_until_an_operator_has_looked() {
    let mut world = running(20);
    world.lose(1..=3);
    world.pass(10_000);
    world.lose(4..=6);
    assert_eq!(mass_events(&world), 1);
    let event = world.core.state().control.mass_event.unwrap();
    assert_eq!((event.bad, event.of), (6, 20));
    world.pass(3_600_000);
    assert_eq!(world.power_cuts(), 0);
    for number in 1..=6 {
        assert!(matches!(world.held(number), Some(Hold::MassEvent { bad: 6, of: 20, .. })), "{:?}", world.next(number));
    }
    assert!((7..=20).all(|number| goal_reached(world.node(number))));
    world.ask(OperatorEvent::MassEventCleared);
    world.pass(60_000);
    assert!(world.all_arrived(), "{:?}", world.next(1));
    assert_eq!(world.power_cuts(), 6);
    assert_eq!(mass_events(&world), 1);
}

#[test]
fn a_mass_event_holds_every_disruptive_step_also_of_nodes_that_are_well() {
    let mut world = running(20);
    world.lose(1..=6);
    world.set(20, "power", Some("off"));
    assert!(matches!(world.held(20), Some(Hold::MassEvent { .. })));
    world.ask(OperatorEvent::MassEventCleared);
    assert!(goal_reached(world.node(20)));
}

#[test]
fn machines_that_lost_their_power_are_powered_on_again_in_a_mass_event_and_then_it_has_passed() {
    let mut world = running(20);
    world.cut(1..=6);
    assert!(world.core.state().control.mass_event.is_some());
    world.pass(60_000);
    assert!(world.all_arrived(), "{:?}", world.next(1));
    assert_eq!((world.core.state().control.mass_event, world.power_cuts()), (None, 0));
    assert!(world.journal.iter().any(|s| s.fact == Fact::Fleet(FleetFact::MassEventPassed)));
}

#[test]
fn agents_that_come_back_by_themselves_end_a_mass_event_and_what_was_held_goes_on() {
    let mut world = running(20);
    world.lose(1..=6);
    world.set(19, "power", Some("off"));
    world.set(20, "power", Some("off"));
    world.pass(5_000);
    world.find_again(1..=6);
    assert_eq!(world.core.state().control.mass_event, None);
    assert!(world.all_arrived(), "{:?}", world.next(20));
}

#[test]
fn a_node_that_was_being_disturbed_goes_on_when_a_mass_event_has_passed_although_others_wait_for_its_place() {
    let mut world = World::under(20, Policy { disrupted_max: 1, ..Policy::default() });
    world.pass(20_000);
    // n20 is in the middle of its way when the others are lost; n10 waits for its place.
    world.machines.get_mut(&id(20)).unwrap().activates = false;
    world.ask(OperatorEvent::CycleAsked { node: id(20) });
    world.pass(20_000);
    assert!(world.core.state().control.disrupted.contains(&id(20)));
    world.lose(1..=6);
    world.set(10, "power", Some("off"));
    world.set(20, "power", Some("off"));
    assert!(matches!(world.held(20), Some(Hold::MassEvent { .. })), "{:?}", world.next(20));
    world.find_again(1..=6);
    world.pass(5_000);
    assert!(world.all_arrived(), "n10 {:?}, n20 {:?}", world.next(10), world.next(20));
}

#[test]
fn nodes_that_are_lost_one_by_one_are_no_mass_event() {
    let mut world = running(20);
    for number in 1..=8 {
        world.lose([number]);
        world.pass(61_000);
    }
    assert_eq!(mass_events(&world), 0);
}

#[test]
fn few_nodes_are_no_mass_event_whatever_their_share() {
    let mut world = running(4);
    world.lose(1..=4);
    world.pass(700_000);
    assert_eq!(mass_events(&world), 0);
    assert_eq!(world.power_cuts(), 4, "they are booted again");
}

#[test]
fn nodes_that_an_operator_powers_off_are_no_mass_event() {
    let mut world = running(20);
    for number in 1..=20 {
        world.set(number, "power", Some("off"));
    }
    world.pass(10_000);
    assert!(world.all_arrived());
    for number in 1..=20 {
        world.set(number, "power", None);
    }
    world.pass(30_000);
    for number in 1..=20 {
        world.feed(vec![super::world::operator(OperatorEvent::CycleAsked { node: id(number) })]);
    }
    world.pass(60_000);
    assert!(world.all_arrived());
    assert_eq!(mass_events(&world), 0);
}

#[test]
fn a_restart_of_the_appliance_alone_is_no_mass_event() {
    let mut world = running(20);
    world.restart();
    world.pass(30_000);
    (1..=20).for_each(|number| world.reconnect(id(number)));
    world.pass(5_000);
    assert!(world.all_arrived());
    assert_eq!(mass_events(&world), 0);
}

#[test]
fn agents_that_do_not_come_back_after_a_restart_of_the_appliance_are_a_mass_event() {
    let mut world = running(20);
    for number in 1..=20 {
        world.machines.get_mut(&id(number)).unwrap().connected = false;
    }
    world.restart();
    world.pass(3_600_000);
    assert_eq!(mass_events(&world), 1, "the network is ill, rather than all of them");
    assert!(world.power_cuts() < 5, "{}", world.power_cuts());
}

#[test]
fn a_mass_event_outlives_a_restart_of_the_appliance() {
    let mut world = running(20);
    world.lose(1..=6);
    let event = world.core.state().control.mass_event;
    assert!(event.is_some());
    world.restart();
    (7..=20).for_each(|number| world.reconnect(id(number)));
    world.pass(3_600_000);
    assert_eq!(world.core.state().control.mass_event, event);
    assert_eq!(world.power_cuts(), 0);
    world.ask(OperatorEvent::MassEventCleared);
    world.restart();
    (7..=20).for_each(|number| world.reconnect(id(number)));
    world.pass(700_000);
    assert!(world.all_arrived(), "{:?}", world.next(1));
}

#[test]
fn a_mass_event_that_the_journal_refused_is_noticed_again() {
    let mut world = running(20);
    let lost: Vec<Fact> = (1..=6)
        .map(|number| {
            let session = world.node(number).agent.session.unwrap();
            super::world::agent(id(number), crate::fact::AgentEvent::Lost { session, reason: "silent".into() })
        })
        .collect();
    for number in 1..=6 {
        world.machines.get_mut(&id(number)).unwrap().connected = false;
    }
    world.refuse(lost.clone());
    assert_eq!(world.core.state().control.mass_event, None);
    world.feed(lost);
    assert!(world.core.state().control.mass_event.is_some());
}

#[test]
fn a_node_of_a_mass_event_that_is_removed_does_not_keep_it_alive() {
    let mut world = running(20);
    world.lose(1..=6);
    world.find_again(1..=5);
    assert!(world.core.state().control.mass_event.is_some());
    let name = world.node(6).spec.name.clone();
    world.machines.remove(&id(6));
    world.ask(OperatorEvent::NodeRemoved { node: id(6), name });
    assert_eq!(world.core.state().control.mass_event, None);
}

#[test]
fn a_share_of_nothing_switches_the_watch_off() {
    let mut world = World::under(20, Policy { mass_share_percent: 0, ..Policy::default() });
    world.pass(20_000);
    world.lose(1..=20);
    world.pass(700_000);
    assert_eq!(mass_events(&world), 0);
    assert_eq!(world.power_cuts(), 20);
}

#[test]
fn never_more_nodes_are_disturbed_at_once_than_allowed_and_everyone_gets_a_turn() {
    let mut world = World::under(9, Policy { disrupted_max: 2, ..Policy::default() });
    world.pass(20_000);
    assert!(world.all_arrived(), "the first boot disturbs nobody");
    for number in 1..=9 {
        world.feed(vec![super::world::operator(OperatorEvent::CycleAsked { node: id(number) })]);
    }
    let mut most = 0;
    for _ in 0..200 {
        most = most.max(world.core.state().control.disrupted.len());
        let down = world.machines.values().filter(|machine| !machine.active).count();
        assert!(down <= 2, "{down} nodes are down");
        world.pass(500);
    }
    assert_eq!(most, 2);
    assert!(world.all_arrived(), "{:?}", world.next(9));
    assert_eq!(world.power_cuts(), 9);
}

#[test]
fn a_node_that_waits_for_its_turn_says_so_and_a_restart_keeps_the_order() {
    let mut world = World::under(3, Policy { disrupted_max: 1, ..Policy::default() });
    world.pass(20_000);
    for number in 1..=3 {
        world.feed(vec![super::world::operator(OperatorEvent::CycleAsked { node: id(number) })]);
    }
    world.pass(3_000);
    assert_eq!(world.held(2), Some(Hold::Queued { disrupted: 1, max: 1 }));
    world.restart();
    (1..=3).for_each(|number| world.reconnect(id(number)));
    world.pass(1_000);
    assert_eq!(world.core.state().control.disrupted.len(), 1);
    world.pass(120_000);
    assert!(world.all_arrived());
    assert_eq!(world.power_cuts(), 3);
}

#[test]
fn a_node_that_is_given_up_or_removed_frees_its_place() {
    let mut world = World::under(3, Policy { disrupted_max: 1, ..Policy::default() });
    world.pass(20_000);
    (1..=2).for_each(|number| world.machines.get_mut(&id(number)).unwrap().boots = false);
    for number in 1..=3 {
        world.feed(vec![super::world::operator(OperatorEvent::CycleAsked { node: id(number) })]);
    }
    world.pass(60_000);
    assert!(matches!(world.held(2), Some(Hold::Queued { .. })), "{:?}", world.next(2));
    world.pass(2 * 3_600_000);
    assert_eq!(world.node(1).retry.next, Some(Retry::Quarantined));
    assert!(world.power_cuts() > 1);
    let name = world.node(2).spec.name.clone();
    world.machines.remove(&id(2));
    world.ask(OperatorEvent::NodeRemoved { node: id(2), name });
    world.pass(60_000);
    assert!(goal_reached(world.node(3)), "{:?}", world.next(3));
    assert_eq!(world.machines[&id(3)].power_cuts, 1);
}

#[test]
fn nodes_that_wait_for_their_turn_cost_no_searches_and_no_facts() {
    let mut world = World::under(20, Policy { disrupted_max: 1, ..Policy::default() });
    world.pass(20_000);
    world.machines.get_mut(&id(1)).unwrap().boots = false;
    for number in 1..=20 {
        world.feed(vec![super::world::operator(OperatorEvent::CycleAsked { node: id(number) })]);
    }
    world.pass(10_000);
    let (facts, searches) = (world.journal.len(), world.core.searches());
    world.pass(60_000);
    assert_eq!((world.journal.len(), world.core.searches()), (facts, searches));
}
