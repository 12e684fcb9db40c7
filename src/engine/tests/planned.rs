//! What a request would do, said before it is made, against what then happens.

use super::world::{World, graph, id, name};
use crate::fact::OperatorEvent;
use crate::model::{CakeSpec, Digest, ImagePin, Value, VarPath};
use crate::plan::{Hold, NodeChange, Policy, WaitsFor, Warning, WhatIf, what_if};

fn plan(world: &World, events: &[OperatorEvent]) -> WhatIf {
    let before = world.core.state();
    let after = before.supposing(world.now, events);
    what_if(before, &after, events, &graph(), world.core.policy())
}

fn set(node: u128, path: &str, value: Option<&str>) -> OperatorEvent {
    OperatorEvent::GoalSet { node: id(node), path: path.parse().unwrap(), value: value.map(Value::symbol) }
}

fn off(nodes: impl IntoIterator<Item = u128>) -> Vec<OperatorEvent> {
    nodes.into_iter().map(|number| set(number, "power", Some("off"))).collect()
}

fn steps(plan: &WhatIf, class: usize) -> Vec<String> {
    plan.classes[class].steps.iter().map(|planned| planned.step.to_string()).collect()
}

fn new_image() -> OperatorEvent {
    let images = vec![ImagePin { name: name("hello"), digest: Digest::of(b"newer") }];
    OperatorEvent::CakeDescribed { spec: CakeSpec { name: name("c"), images } }
}

fn running(nodes: u128, policy: Policy) -> World {
    let mut world = World::under(nodes, policy);
    world.pass(20_000);
    assert!(world.all_arrived());
    world
}

#[test]
fn nodes_that_would_do_the_same_are_one_class_and_the_plan_is_what_then_happens() {
    let mut world = running(5, Policy { disrupted_max: 2, ..Policy::default() });
    world.set(5, "power", Some("off"));
    let told = plan(&world, &[new_image()]);
    // n5 is off: another image is wanted of it, and nothing has to be done.
    assert_eq!(told.classes.len(), 2, "{told:?}");
    assert_eq!((told.classes[0].nodes.as_str(), told.classes[0].count), ("n[1-4]", 4));
    assert_eq!(steps(&told, 0), ["image.deactivate hello", "image.activate hello"]);
    assert_eq!(told.classes[0].change, NodeChange::Changed);
    assert!(told.classes[1].nodes == "n5" && told.classes[1].steps.is_empty(), "{told:?}");
    assert_eq!((told.nodes, told.disturbed, told.at_once, told.rounds), (5, 4, 2, 2));
    assert_eq!(told.expected_ms, 2 * told.classes[0].expected_ms);
    assert_eq!(told.warnings, []);
    world.order_log.clear();
    world.ask(new_image());
    assert_eq!(world.order_log[..2], ["image.deactivate hello", "image.deactivate hello"]);
}

#[test]
fn a_plan_changes_nothing() {
    let world = running(3, Policy::default());
    let before = world.core.state().clone();
    let first = plan(&world, &off(1..=3));
    assert_eq!(plan(&world, &off(1..=3)), first);
    assert_eq!(world.core.state(), &before);
}

#[test]
fn what_is_so_already_is_no_change() {
    let mut world = running(2, Policy::default());
    assert!(plan(&world, &[]).classes.is_empty());
    assert!(plan(&world, &[set(1, "power", None)]).classes.is_empty());
    world.set(1, "power", Some("off"));
    assert!(plan(&world, &off([1])).classes.is_empty());
    assert_eq!(plan(&world, &off([1, 2])).nodes, 1);
}

#[test]
fn it_is_told_who_would_wait_and_for_what() {
    let mut world = running(6, Policy::default());
    world.busy(1, "busy");
    world.busy(2, "busy");
    world.ask(OperatorEvent::Frozen { node: Some(id(3)) });
    world.pass(500);
    world.ask(OperatorEvent::Frozen { node: Some(id(4)) });
    let told = plan(&world, &off(1..=6));
    let waiting: Vec<(&str, bool)> = told.classes[0]
        .waiting
        .iter()
        .map(|w| (w.nodes.as_str(), matches!(w.what, WaitsFor::Held { hold: Hold::Guarded { .. } })))
        .collect();
    assert_eq!(waiting, [("n[1-2]", true), ("n[3-4]", false)]);
    world.ask(OperatorEvent::Frozen { node: None });
    let told = plan(&world, &off([5]));
    assert!(matches!(told.classes[0].waiting[0].what, WaitsFor::Held { hold: Hold::AllFrozen { .. } }));
}

#[test]
fn a_busy_node_waits_only_before_what_disturbs_it() {
    let mut world = running(1, Policy::default());
    world.set(1, "image.hello.state", Some("idle"));
    world.busy(1, "busy");
    let told = plan(&world, &[set(1, "image.hello.state", None)]);
    assert_eq!((steps(&told, 0), told.disturbed), (vec!["image.activate hello".to_owned()], 0));
    assert!(told.classes[0].waiting.is_empty(), "{told:?}");
}

#[test]
fn warnings_tell_what_has_no_way_what_is_given_up_and_what_nothing_bounds() {
    let mut world = running(3, Policy::default());
    let told = plan(&world, &off(1..=3));
    assert_eq!(told.warnings, [Warning::AllAtOnce { disturbed: 3 }]);
    world.ask(OperatorEvent::MutationSwitched { mutation: "run.leave".into(), to: crate::fact::Switch::Disabled });
    let told = plan(&world, &off([1]));
    let [Warning::NoWay { nodes, why }] = told.warnings.as_slice() else { panic!("{told:?}") };
    assert!(nodes == "n1" && why.contains("run.leave"), "{why}");
    let mut booting = World::new(1);
    booting.pass(1_000);
    let told = plan(&booting, &off([1]));
    let [Warning::GivesUp { nodes, step }] = told.warnings.as_slice() else { panic!("{told:?}") };
    assert_eq!((nodes.as_str(), step.to_string().as_str()), ("n1", "boot.rom"));
    assert_eq!(steps(&told, 0), ["power.reclaim"]);
}

#[test]
fn a_wish_that_lifts_a_quarantine_says_so() {
    let mut world = World::new(1);
    world.machines.get_mut(&id(1)).unwrap().boots = false;
    world.pass(4 * 3_600_000);
    let told = plan(&world, &off([1]));
    assert!(told.warnings.contains(&Warning::LiftsQuarantine { nodes: "n1".into() }), "{told:?}");
    assert!(told.classes[0].waiting.is_empty(), "{told:?}");
}

#[test]
fn a_node_that_would_be_new_or_removed_is_told_with_what_becomes_of_it() {
    let world = running(2, Policy::default());
    let removed = OperatorEvent::NodeRemoved { node: id(1), name: name("n1") };
    let mut spec = world.node(2).spec.as_ref().clone();
    spec.name = name("n9");
    let described = |number: u128| OperatorEvent::NodeDescribed { node: id(number), spec: Box::new(spec.clone()) };
    let told = plan(&world, &[removed.clone(), described(9)]);
    let kinds: Vec<(&str, NodeChange)> = told.classes.iter().map(|c| (c.nodes.as_str(), c.change)).collect();
    assert_eq!(kinds, [("n1", NodeChange::Removed), ("n9", NodeChange::Created)]);
    assert_eq!(steps(&told, 1)[0], "power.discover");
    // A new node's id is made up anew with every request: the plan is the same all the same.
    assert_eq!(plan(&world, &[removed, described(77)]).id, told.id);
}

#[test]
fn a_plans_id_changes_with_the_request_the_nodes_and_the_steps_and_with_nothing_else() {
    let mut world = running(3, Policy::default());
    let first = plan(&world, &off([1, 2])).id;
    assert_ne!(plan(&world, &off([1, 3])).id, first);
    assert_ne!(plan(&world, &[set(1, "run", Some("init")), set(2, "run", Some("init"))]).id, first);
    // Another node's business, time, and who is busy are not the plan's.
    world.set(3, "power", Some("off"));
    world.pass(5_000);
    world.busy(1, "busy");
    assert_eq!(plan(&world, &off([1, 2])).id, first);
    // Somebody else asked something of one of its nodes.
    let mut other = running(3, Policy::default());
    other.set(2, "busy", Some("free"));
    assert_ne!(plan(&other, &off([1, 2])).id, first);
    // It has other steps to take by now.
    world.busy(1, "free");
    world.lose([1]);
    assert_ne!(plan(&world, &off([1, 2])).id, first);
}

#[test]
fn a_plan_for_an_image_that_has_another_content_by_now_is_another_plan() {
    let world = running(1, Policy::default());
    let images = vec![ImagePin { name: name("hello"), digest: Digest::of(b"newest") }];
    let newest = OperatorEvent::CakeDescribed { spec: CakeSpec { name: name("c"), images } };
    assert_ne!(plan(&world, &[new_image()]).id, plan(&world, &[newest]).id);
}

#[test]
fn leave_to_disturb_lifts_the_wait_in_the_plan_too() {
    let mut world = running(1, Policy::default());
    world.busy(1, "busy");
    let mut events = off([1]);
    assert_eq!(plan(&world, &events).classes[0].waiting.len(), 1);
    events.push(OperatorEvent::DisturbanceAllowed { node: id(1) });
    assert!(plan(&world, &events).classes[0].waiting.is_empty());
    assert_eq!(world.node(1).see_symbol(&VarPath::busy()), Some("busy"));
}

#[test]
fn durations_of_a_plan_are_learned_ones() {
    let mut world = running(1, Policy::default());
    let before = plan(&world, &off([1])).expected_ms;
    let step = crate::fact::StepName { mutation: "power.off".into(), image: None };
    let event = crate::fact::EngineEvent::StepDone { step, duration_ms: 90_000 };
    for _ in 0..5 {
        world.feed(vec![crate::fact::Fact::Engine(crate::fact::EngineFact { node: id(1), event: event.clone() })]);
    }
    assert!(plan(&world, &off([1])).expected_ms > before + 80_000);
}
