//! A node that is removed while its machine, its BMC and its agent are at something.

use super::world::{World, agent, id, operator};
use crate::fact::{
    AgentEvent, BootClient, DhcpEvent, DhcpFact, Fact, FailReason, OperatorEvent, OutcomeFact, PowerEvent, PowerFact,
    PowerOrder, PowerState, StepName,
};
use crate::model::{Digest, Generation, Mac};
use crate::plan::goal_reached;

fn remove(world: &mut World) {
    let name = world.node(1).spec.name.clone();
    world.feed(vec![operator(OperatorEvent::NodeRemoved { node: id(1), name })]);
}

/// Everything that may still be on its way when a node goes.
fn late(world: &World, step: StepName, generation: Generation) -> Vec<Fact> {
    let power = |event| Fact::Power(PowerFact { node: id(1), event });
    let outcome = |generation| {
        let (step, reason) = (step.clone(), FailReason::NoAgent);
        Fact::Outcome(OutcomeFact { node: id(1), step, generation, reason })
    };
    let event = DhcpEvent::Leased { ip: "10.0.0.1".parse().unwrap(), lease_s: 60, file: None };
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    vec![
        outcome(generation),
        outcome(Generation(generation.0 + 1)),
        power(PowerEvent::Accepted { order: PowerOrder::Off }),
        power(PowerEvent::Status { power: PowerState::Off }),
        power(PowerEvent::Status { power: PowerState::On }),
        Fact::Dhcp(DhcpFact { mac, node: Some(id(1)), client: BootClient::Other, event, told: Default::default() }),
        agent(id(1), AgentEvent::Joined { certificate: Digest::of(b"late") }),
        agent(id(1), AgentEvent::Connected { session: 99 }),
        world.report(id(1), vec![("run", "sync"), ("image.hello.state", "active")]),
        agent(id(1), AgentEvent::Console { lines: vec!["late".into()] }),
        agent(id(1), AgentEvent::Lost { session: 99, reason: "silent".into() }),
        agent(id(1), AgentEvent::Left { session: 99 }),
        operator(OperatorEvent::CycleAsked { node: id(1) }),
        operator(OperatorEvent::Released { node: id(1) }),
        operator(OperatorEvent::Frozen { node: Some(id(1)) }),
        operator(OperatorEvent::GoalSet { node: id(1), path: "power".parse().unwrap(), value: None }),
    ]
}

#[test]
fn deleting_a_node_in_the_middle_of_everything_harms_nobody() {
    let mut interrupted = std::collections::BTreeSet::new();
    for at_ms in (0..25_000).step_by(500) {
        let mut world = World::new(2);
        world.pass(at_ms);
        let flight = world.node(1).in_flight.clone();
        let (step, generation) = match &flight {
            Some(flight) => (flight.step.clone(), flight.generation),
            None => (StepName { mutation: "power.on".into(), image: None }, world.node(1).generation),
        };
        interrupted.extend(flight.map(|flight| flight.step.to_string()));
        let machine = world.machines[&id(1)].clone();
        remove(&mut world);
        assert_eq!(world.machines[&id(1)], machine, "removed after {at_ms} ms: its machine is left as it is");
        let late = late(&world, step, generation);
        for fact in late.clone() {
            world.feed(vec![fact]);
        }
        world.feed(late);
        world.pass(60_000);
        let state = world.core.state();
        assert!(state.node(id(1)).is_none() && state.nodes.len() == 1, "removed after {at_ms} ms");
        assert_eq!((state.by_name.len(), state.by_mac.len(), state.by_ip.len()), (1, 1, 1));
        assert!(!state.control.disrupted.contains(&id(1)));
        assert!(!state.control.turned_bad.contains_key(&id(1)));
        assert!(goal_reached(world.node(2)), "removed after {at_ms} ms: {:?}", world.node(2).observed);
        assert_eq!(world.machines[&id(1)].power_cuts, machine.power_cuts, "removed after {at_ms} ms");
        assert_eq!(world.core.next_wake(), None, "nobody waits for it");
        world.restart();
    }
    for step in ["boot.rom", "boot.kernel", "boot.loader"] {
        assert!(interrupted.contains(step), "{step} was never under way: {interrupted:?}");
    }
}

#[test]
fn a_node_that_is_described_again_after_it_was_removed_begins_anew() {
    let mut world = World::new(1);
    world.pass(20_000);
    let spec = world.node(1).spec.clone();
    remove(&mut world);
    world.feed(vec![operator(OperatorEvent::NodeDescribed { node: id(1), spec: Box::new((*spec).clone()) })]);
    let node = world.node(1);
    assert!(node.agent.session.is_none() && node.agent.certificate.is_none() && node.marks.is_empty());
    assert_eq!(node.revision.0, 2, "described, and wished for");
}
