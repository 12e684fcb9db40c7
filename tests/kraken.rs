//! The faults for which Kraken, the system that this one follows, was known, each with a test whose name says that it is
//! not ours. The engine is driven through [`Core::turn`] alone, against the small world of machines of its own tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// The world is written for the inside of the crate: these are the modules that it finds there under `crate::`.
use bootes::{boot, engine, fact, model, plan, port, power, state, sync};

#[allow(dead_code)]
#[path = "../src/engine/tests/world.rs"]
mod world;

use self::world::{BOOT_MS, World, agent, graph, id, name, operator};

use bootes::engine::core::Core;
use fact::{AgentEvent, ApplianceFact, Fact, FailReason, OperatorEvent, OutcomeFact, Retry, Stamped, StepName};
use model::{CakeSpec, Digest, FactSeq, Generation, ImagePin, Name, NetworkSpec, NodeSpec, UnixMs, Value, VarPath};
use plan::{Planner, Policy, goal_reached};
use state::State;

const MINUTE_MS: u64 = 60_000;

/// Kraken's parent forgot its children when it was restarted, took all of them for unknown, and booted them anew.
#[test]
fn a_restart_of_the_parent_power_cycles_no_healthy_node() {
    let nodes = 8;
    // From a restart that children notice at once to one that they notice just before they would count as lost.
    for silent_ms in [0, 5_000, MINUTE_MS, 9 * MINUTE_MS] {
        let mut world = World::new(nodes);
        world.pass(20_000);
        assert!(world.all_arrived());
        world.order_log.clear();
        for _ in 0..3 {
            world.restart();
            world.pass(silent_ms);
            for number in 1..=nodes {
                world.reconnect(id(number));
            }
            world.pass(20_000);
            assert!(world.all_arrived(), "silent for {silent_ms} ms: {:?}", world.node(1).observed);
        }
        let disruptive = |order: &&String| !order.ends_with("discover");
        let orders: Vec<&String> = world.order_log.iter().filter(disruptive).collect();
        assert!(orders.is_empty(), "silent for {silent_ms} ms: {orders:?}");
        assert_eq!(world.power_cuts(), 0, "silent for {silent_ms} ms");
    }
}

/// In Kraken a node whose agent had died kept its last state, and nothing led out of it.
#[test]
fn a_dead_agent_does_not_stay_lost_for_ever() {
    let mut world = World::new(2);
    world.pass(20_000);
    let session = world.node(1).agent.session.unwrap();
    world.machines.get_mut(&id(1)).unwrap().connected = false;
    world.feed(vec![agent(id(1), AgentEvent::Lost { session, reason: "silent".into() })]);
    assert!(!goal_reached(world.node(1)), "what a dead agent said last is not believed");
    world.pass(15 * MINUTE_MS);
    assert!(world.all_arrived(), "{:?}", world.node(1).observed);
    assert_eq!(world.power_cuts(), 1, "the dead one alone was booted again, once");
}

/// Deleting a node crashed Kraken, which still had it in its queues.
#[test]
fn deleting_a_node_does_not_crash_the_engine_and_leaves_nothing_behind() {
    // At every moment of a boot, and when all is done.
    for at_ms in (0..BOOT_MS + 4_000).step_by(500) {
        let mut world = World::new(3);
        world.pass(at_ms);
        let (node, generation) = (world.node(2).clone(), world.node(2).generation);
        let step = node.in_flight.as_ref().map(|flight| flight.step.clone());
        world.feed(vec![operator(OperatorEvent::NodeRemoved { node: id(2), name: node.spec.name.clone() })]);
        // What was asked for it is still answered, and its machine goes on booting.
        let step = step.unwrap_or(StepName { mutation: "power.on".into(), image: None });
        let outcome = OutcomeFact { node: id(2), step, generation, reason: FailReason::NoAgent };
        world.feed(vec![Fact::Outcome(outcome)]);
        world.feed(vec![operator(OperatorEvent::Released { node: id(2) })]);
        world.pass(20_000);
        let state = world.core.state();
        assert_eq!(state.nodes.len(), 2, "removed at {at_ms} ms");
        assert!(state.node_named(&node.spec.name).is_none() && state.node_with_mac(node.spec.mac).is_none());
        assert!(state.node_with_ip(node.spec.ip).is_none() && !state.control.disrupted.contains(&id(2)));
        assert!(world.all_arrived(), "the others are unaffected: removed at {at_ms} ms");
        world.restart();
        assert_eq!(world.core.state().nodes.len(), 2, "a replay does not bring it back");
        let spec = Box::new(NodeSpec::clone(&node.spec));
        world.feed(vec![operator(OperatorEvent::NodeDescribed { node: id(2), spec })]);
        for number in [1, 3] {
            world.reconnect(id(number));
        }
        world.reconnect(id(2));
        world.pass(10 * MINUTE_MS);
        assert!(world.all_arrived(), "described again after {at_ms} ms: {:?}", world.node(2).observed);
    }
}

/// Freeze and thaw took two locks in two orders. Here there is one writer and no lock; what could remain is a step that
/// is never begun again.
#[test]
fn freeze_and_thaw_do_not_deadlock() {
    let (all, one) = (None, Some(id(1)));
    let freeze = |node| operator(OperatorEvent::Frozen { node });
    let thaw = |node| operator(OperatorEvent::Thawed { node });
    let both_orders = [
        [freeze(one), freeze(all), thaw(one), thaw(all)],
        [freeze(one), freeze(all), thaw(all), thaw(one)],
        [freeze(all), freeze(one), thaw(one), thaw(all)],
        [freeze(all), freeze(one), thaw(all), thaw(one)],
    ];
    for (order, asked) in both_orders.iter().enumerate() {
        for at_ms in (0..BOOT_MS + 2_000).step_by(1_000) {
            let mut world = World::new(2);
            world.pass(at_ms);
            for (index, fact) in asked.iter().enumerate() {
                world.feed(vec![fact.clone(), fact.clone()]);
                if index == 1 {
                    let before = world.order_log.len();
                    world.pass(20_000);
                    assert_eq!(world.order_log.len(), before, "order {order}, {at_ms} ms: nothing starts while frozen");
                    world.restart();
                    (1..=2).for_each(|number| world.reconnect(id(number)));
                    world.pass(20_000);
                }
            }
            world.pass(15 * MINUTE_MS);
            assert!(world.all_arrived(), "order {order}, frozen at {at_ms} ms: {:?}", world.node(1).observed);
            assert_eq!(world.power_cuts(), 0, "order {order}, frozen at {at_ms} ms");
        }
    }
}

/// Kraken cycled the power of a node that did not boot every 90 seconds, for ever.
#[test]
fn a_machine_that_does_not_boot_is_quarantined_and_not_cycled_for_ever() {
    let mut world = World::new(2);
    world.machines.get_mut(&id(1)).unwrap().boots = false;
    world.pass(120 * MINUTE_MS);
    let cuts = world.machines[&id(1)].power_cuts;
    assert!(cuts > 0 && cuts <= Policy::default().retry_budget, "{cuts}");
    assert_eq!(world.node(1).retry.next, Some(Retry::Quarantined));
    assert!(goal_reached(world.node(2)), "the other one is unaffected");
    world.order_log.clear();
    world.restart();
    world.reconnect(id(2));
    world.pass(120 * MINUTE_MS);
    assert_eq!(world.machines[&id(1)].power_cuts, cuts, "not after a restart either: {:?}", world.order_log);
    world.machines.get_mut(&id(1)).unwrap().boots = true;
    world.feed(vec![operator(OperatorEvent::Released { node: id(1) })]);
    world.pass(10 * MINUTE_MS);
    assert!(world.all_arrived(), "an operator's release ends it");
}

/// Kraken took the digits in an image's name for something else.
#[test]
fn image_names_with_digits_are_read_as_they_are() {
    let names = ["rocky9", "9rocky", "007", "2024-11-21", "v1-2-3", "0x10", "1e3", "n001"];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.toml");
    std::fs::write(&path, format!("[[cake]]\nname = \"1\"\nimages = {names:?}\n")).unwrap();
    let read = bootes::config::cluster::read(&path).unwrap();
    let told: Vec<&str> = read.cakes[0].images.iter().map(Name::as_str).collect();
    assert_eq!((read.cakes[0].name.as_str(), told.as_slice()), ("1", names.as_slice()));

    let mut state = State::default();
    let mut fold = |fact: Fact| {
        // As the journal keeps it.
        let fact: Fact = serde_json::from_str(&serde_json::to_string(&fact).unwrap()).unwrap();
        state.apply(&Stamped { seq: FactSeq(state.seq.0 + 1), at: UnixMs(1), fact });
    };
    let pin = |image: &Name| ImagePin { name: image.clone(), digest: Digest::of(image.as_str().as_bytes()) };
    let images = read.cakes[0].images.iter().map(pin).collect();
    let network = NetworkSpec { lease_s: 60, ..NetworkSpec::new(name("boot"), "10.0.0.0/24".parse().unwrap()) };
    let spec = NodeSpec { cake: Some(name("1")), ..NodeSpec::clone(&World::new(1).node(1).spec) };
    fold(operator(OperatorEvent::NetworkDescribed { spec: network }));
    fold(operator(OperatorEvent::CakeDescribed { spec: CakeSpec { name: name("1"), images } }));
    fold(operator(OperatorEvent::NodeDescribed { node: id(1), spec: Box::new(spec) }));
    let reported = |path: VarPath, value: &str| fact::Reported { path, value: Some(Value::symbol(value)) };
    let mut variables = vec![reported(VarPath::run(), "sync")];
    variables.extend(names.map(|image| reported(format!("image.{image}.state").parse().unwrap(), "idle")));
    fold(agent(id(1), AgentEvent::Connected { session: 1 }));
    fold(agent(id(1), AgentEvent::Observed { revision: model::Revision(1), scope: fact::Scope::Full, variables }));

    let node = state.node(id(1)).unwrap();
    let mut sorted = names;
    sorted.sort_unstable();
    let images: Vec<String> = node.images().iter().map(ToString::to_string).collect();
    assert_eq!(images, sorted);
    let mut planner = Planner::new(graph());
    let mut steps: Vec<String> =
        planner.plan(node).unwrap().steps.iter().filter_map(|step| Some(step.image.as_ref()?.to_string())).collect();
    steps.sort_unstable();
    assert_eq!(steps, sorted, "each is run under its own name");
}

/// A turn of an engine that was just started finds nothing to do for what it does not know.
#[test]
fn a_fact_about_a_node_that_is_not_there_harms_nothing() {
    let mut core = Core::new(State::default(), Planner::new(graph()), Policy::default());
    let step = StepName { mutation: "power.off".into(), image: None };
    let unknown = vec![
        Fact::Appliance(ApplianceFact::Started { version: "test".into() }),
        Fact::Outcome(OutcomeFact { node: id(9), step, generation: Generation(1), reason: FailReason::NoAgent }),
        operator(OperatorEvent::NodeRemoved { node: id(9), name: name("n9") }),
        operator(OperatorEvent::Frozen { node: Some(id(9)) }),
        agent(id(9), AgentEvent::Connected { session: 1 }),
    ];
    let turn = core.turn(UnixMs(1), unknown);
    assert_eq!((turn.stamped.len(), turn.actions.len()), (5, 0));
    assert_eq!((core.state().nodes.len(), core.next_wake()), (0, None));
}
