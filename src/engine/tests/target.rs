//! Targets that are not layer 0: reached by a boot that was asked for, and never at the price of what runs.

use super::world::{World, id, operator};
use crate::fact::{BootFile, Fact, FileEvent, FileFact, OperatorEvent, PowerState, Transport};
use crate::model::VarPath;
use crate::plan::Hold;
use std::net::Ipv4Addr;

fn cycle(world: &mut World) {
    world.feed(vec![operator(OperatorEvent::CycleAsked { node: id(1) })]);
}

fn runs(world: &World) -> Option<String> {
    world.core.state().node(id(1))?.see(&VarPath::target()).map(ToString::to_string)
}

#[test]
fn a_cold_machine_is_brought_to_its_target_and_no_further() {
    let mut world = World::new(1);
    world.set(1, "boot.target", Some("installer"));
    cycle(&mut world);
    world.pass(30_000);
    assert!(world.all_arrived(), "{:?}", world.next(1));
    assert_eq!(runs(&world).as_deref(), Some("installer"));
    let before = world.order_log.clone();
    world.pass(3_600_000);
    assert_eq!(world.order_log, before, "nothing is done to a machine that runs its target");
}

#[test]
fn a_running_node_is_left_alone_until_its_power_is_asked_for_and_the_same_on_the_way_back() {
    let mut world = World::new(1);
    world.pass(20_000);
    world.order_log.clear();
    world.set(1, "boot.target", Some("local"));
    world.pass(600_000);
    assert_eq!(world.order_log, Vec::<String>::new());
    let held = Hold::NextBoot { target: "local".to_owned(), runs: "layer0".to_owned() };
    assert_eq!(world.held(1), Some(held));
    assert!(world.machines[&id(1)].active, "its image goes on");
    cycle(&mut world);
    world.pass(30_000);
    assert!(world.all_arrived(), "{:?}", world.next(1));
    assert_eq!((runs(&world).as_deref(), world.power_cuts()), (Some("local"), 1));
    world.set(1, "boot.target", None);
    world.pass(600_000);
    let held = Hold::NextBoot { target: "layer0".to_owned(), runs: "local".to_owned() };
    assert_eq!((world.held(1), world.power_cuts()), (Some(held), 1));
    cycle(&mut world);
    world.pass(30_000);
    assert!(world.all_arrived(), "{:?}", world.next(1));
    assert_eq!((runs(&world), world.power_cuts()), (None, 2));
}

#[test]
fn neither_a_lost_agent_nor_a_restart_reboots_a_machine_whose_next_target_is_another() {
    let mut world = World::new(1);
    world.pass(20_000);
    world.set(1, "boot.target", Some("local"));
    world.lose([1]);
    world.pass(3_600_000);
    world.restart();
    world.pass(3_600_000);
    assert_eq!((world.power_cuts(), world.machines[&id(1)].power), (0, PowerState::On));
}

#[test]
fn a_machine_that_was_to_boot_its_disk_and_was_not_heard_again_is_not_powered_off() {
    let mut world = World::new(1);
    world.set(1, "boot.target", Some("local"));
    world.machines.get_mut(&id(1)).unwrap().boots = false;
    cycle(&mut world);
    world.pass(3_600_000);
    let on = world.machines[&id(1)].power;
    assert_eq!((world.power_cuts(), on), (1, PowerState::On), "that was asked for: {:?}", world.order_log);
}

#[test]
fn a_target_that_is_done_leads_to_the_one_that_follows_it() {
    let mut world = World::new(1);
    world.set(1, "boot.target", Some("installer"));
    cycle(&mut world);
    world.pass(30_000);
    let done = FileFact {
        client: Ipv4Addr::LOCALHOST.into(),
        node: Some(id(1)),
        transport: Transport::Http,
        name: "done".into(),
        file: BootFile::TargetDone { target: "installer".parse().unwrap(), then: Some("local".parse().unwrap()) },
        event: FileEvent::Sent { bytes: 0, duration_ms: 0, retransmissions: 0 },
    };
    world.feed(vec![Fact::File(done)]);
    assert!(world.all_arrived(), "it restarts by itself: {:?}", world.next(1));
    assert_eq!(runs(&world).as_deref(), Some("local"));
    assert_eq!(world.core.state().node(id(1)).unwrap().metadata, None, "its token is good for nothing more");
    let before = world.power_cuts();
    world.restart();
    world.pass(600_000);
    assert_eq!(world.power_cuts(), before);
}
