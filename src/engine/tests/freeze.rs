//! Freeze, thaw, and what holds a node against disruption.

use proptest::prelude::*;

use super::world::{BOOT_MS, World, id, name, operator};
use crate::fact::{Declaration, EngineEvent, Fact, ModuleEvent, ModuleFact, OperatorEvent, Retry};
use crate::model::schema::VarType;
use crate::model::{Guard, Value, VarPath, VariableSpec};
use crate::plan::{Decision, Hold, goal_reached};

fn freeze(node: Option<u128>) -> OperatorEvent {
    OperatorEvent::Frozen { node: node.map(id) }
}

fn thaw(node: Option<u128>) -> OperatorEvent {
    OperatorEvent::Thawed { node: node.map(id) }
}

fn started(world: &World, node: u128) -> usize {
    let is_start = |fact: &Fact| matches!(fact, Fact::Engine(e) if e.node == id(node) && matches!(e.event, EngineEvent::StepStarted { .. }));
    world.journal.iter().filter(|stamped| is_start(&stamped.fact)).count()
}

#[test]
fn a_frozen_node_stays_as_it_is_and_the_others_go_on() {
    let mut world = World::new(3);
    world.feed(vec![operator(freeze(Some(1))), operator(freeze(Some(2)))]);
    let before = (started(&world, 1), started(&world, 2));
    world.pass(30_000);
    assert!(matches!(world.held(2), Some(Hold::NodeFrozen { .. })), "{:?}", world.next(2));
    assert!(goal_reached(world.node(3)));
    // The step that was under way at the freeze ended; nothing followed.
    assert_eq!((started(&world, 1), started(&world, 2)), before);
    world.feed(vec![operator(thaw(Some(1))), operator(thaw(Some(2)))]);
    world.pass(30_000);
    assert!(world.all_arrived());
}

#[test]
fn a_step_under_way_at_the_freeze_ends_and_nothing_follows() {
    let mut world = World::new(1);
    world.pass(1_000);
    assert!(world.node(1).in_flight.as_ref().is_some_and(|f| f.step.mutation.as_ref() == "boot.rom"));
    world.ask(freeze(Some(1)));
    world.pass(2_000);
    assert_eq!(world.node(1).in_flight, None, "the machine reached its next stage, and that was the step");
    assert!(matches!(world.held(1), Some(Hold::NodeFrozen { .. })));
    world.pass(60_000);
    assert!(world.node(1).agent.session.is_some(), "what a machine does by itself is not held");
    assert!(!goal_reached(world.node(1)));
    world.ask(thaw(Some(1)));
    world.pass(5_000);
    assert!(world.all_arrived());
    assert_eq!(world.power_cuts(), 0);
}

#[test]
fn when_everything_is_frozen_nothing_starts_until_it_is_thawed_and_a_node_frozen_by_itself_waits_on() {
    let mut world = World::new(0);
    world.ask(freeze(None));
    for number in 1..=2 {
        world.describe(number);
    }
    world.pass(30_000);
    assert_eq!(world.order_log, Vec::<String>::new(), "it was frozen before there were nodes");
    assert!(matches!(world.held(1), Some(Hold::AllFrozen { .. })));
    world.ask(freeze(Some(2)));
    world.ask(thaw(None));
    world.pass(30_000);
    assert!(goal_reached(world.node(1)));
    assert!(matches!(world.held(2), Some(Hold::NodeFrozen { .. })));
    world.ask(thaw(Some(2)));
    world.pass(30_000);
    assert!(world.all_arrived());
}

#[test]
fn a_freeze_outlives_a_restart_of_the_appliance() {
    let mut world = World::new(1);
    world.ask(freeze(None));
    let orders = world.order_log.len();
    world.restart();
    world.pass(30_000);
    assert_eq!(world.order_log.len(), orders);
    world.ask(thaw(None));
    world.pass(30_000);
    assert!(world.all_arrived());
}

#[test]
fn a_cycle_that_is_asked_of_a_frozen_node_is_done_once_when_it_is_thawed() {
    let mut world = World::new(1);
    world.pass(20_000);
    world.ask(freeze(Some(1)));
    world.ask(OperatorEvent::CycleAsked { node: id(1) });
    world.ask(OperatorEvent::CycleAsked { node: id(1) });
    world.pass(60_000);
    assert_eq!(world.power_cuts(), 0);
    assert!(matches!(world.held(1), Some(Hold::NodeFrozen { .. })));
    world.ask(thaw(Some(1)));
    world.pass(30_000);
    assert!(world.all_arrived());
    assert_eq!(world.power_cuts(), 1);
}

#[test]
fn a_cycle_that_is_held_is_taken_back_by_asking_for_power_on_or_by_release() {
    for take_back in [
        OperatorEvent::GoalSet { node: id(1), path: VarPath::power(), value: Some(Value::symbol("on")) },
        OperatorEvent::Released { node: id(1) },
    ] {
        let mut world = World::new(1);
        world.pass(20_000);
        world.busy(1, "busy");
        world.ask(OperatorEvent::CycleAsked { node: id(1) });
        world.ask(take_back);
        world.busy(1, "free");
        world.pass(30_000);
        assert!(world.all_arrived());
        assert_eq!(world.power_cuts(), 0);
    }
}

#[test]
fn busy_holds_an_order_to_power_off_or_cycle_until_the_node_is_free() {
    let off = OperatorEvent::GoalSet { node: id(1), path: VarPath::power(), value: Some(Value::symbol("off")) };
    for order in [off, OperatorEvent::CycleAsked { node: id(1) }] {
        let mut world = World::new(1);
        world.pass(20_000);
        world.busy(1, "busy");
        world.order_log.clear();
        world.ask(order);
        world.pass(3_600_000);
        assert_eq!(world.order_log, Vec::<String>::new());
        let Some(Hold::Guarded { variable, value, .. }) = world.held(1) else { panic!("{:?}", world.next(1)) };
        assert_eq!((variable, value.as_str()), (VarPath::busy(), "busy"));
        world.busy(1, "free");
        world.pass(30_000);
        assert_eq!(world.order_log[..3], ["image.deactivate hello", "run.leave", "power.off"]);
        assert!(world.all_arrived());
    }
}

#[test]
fn busy_holds_an_image_that_is_not_wanted_any_more_and_a_node_that_should_leave() {
    for (path, value, step) in
        [("image.hello.state", "idle", "image.deactivate hello"), ("run", "init", "image.deactivate hello")]
    {
        let mut world = World::new(1);
        world.pass(20_000);
        world.busy(1, "busy");
        world.order_log.clear();
        world.set(1, path, Some(value));
        world.pass(60_000);
        assert_eq!(world.order_log, Vec::<String>::new(), "{path}");
        world.busy(1, "free");
        assert_eq!(world.order_log[0], step);
        assert!(world.all_arrived());
    }
}

#[test]
fn a_node_that_becomes_busy_between_two_disruptive_steps_is_not_disturbed_further() {
    let mut world = World::new(1);
    world.pass(20_000);
    world.set(1, "image.hello.state", Some("idle"));
    world.busy(1, "busy");
    world.order_log.clear();
    world.set(1, "run", Some("init"));
    world.pass(10_000);
    assert_eq!(world.order_log, Vec::<String>::new());
    assert!(matches!(world.held(1), Some(Hold::Guarded { .. })));
    world.busy(1, "free");
    assert_eq!(world.order_log, ["run.leave"]);
}

#[test]
fn what_an_operator_says_of_busy_by_hand_stands_before_what_the_agent_says() {
    let mut world = World::new(1);
    world.pass(20_000);
    world.set(1, "busy", Some("busy"));
    world.set(1, "power", Some("off"));
    assert!(matches!(world.held(1), Some(Hold::Guarded { .. })), "held by hand");
    world.busy(1, "busy");
    world.set(1, "busy", Some("free"));
    assert!(world.all_arrived(), "{:?}", world.next(1));
    assert_eq!(world.power_cuts(), 1);
}

#[test]
fn an_operator_may_disturb_a_busy_node_once_by_saying_so() {
    let mut world = World::new(1);
    world.pass(20_000);
    world.busy(1, "busy");
    world.feed(vec![
        operator(OperatorEvent::DisturbanceAllowed { node: id(1) }),
        operator(OperatorEvent::CycleAsked { node: id(1) }),
    ]);
    world.pass(30_000);
    assert!(world.all_arrived());
    assert_eq!(world.power_cuts(), 1);
    assert_eq!(world.node(1).disturb, None, "it counted until the node was at its goal");
    world.busy(1, "busy");
    world.ask(OperatorEvent::CycleAsked { node: id(1) });
    world.pass(30_000);
    assert_eq!(world.power_cuts(), 1, "and for nothing after that");
    assert!(matches!(world.held(1), Some(Hold::Guarded { .. })));
}

#[test]
fn leave_to_disturb_a_node_that_is_at_its_goal_is_used_up_at_once() {
    let mut world = World::new(1);
    world.pass(20_000);
    world.busy(1, "busy");
    world.ask(OperatorEvent::DisturbanceAllowed { node: id(1) });
    assert_eq!(world.node(1).disturb, None);
    world.set(1, "power", Some("off"));
    assert!(matches!(world.held(1), Some(Hold::Guarded { .. })));
}

#[test]
fn power_off_of_a_node_whose_agent_is_lost_needs_nobodys_leave_and_of_one_not_heard_waits_for_it() {
    let mut world = World::new(2);
    world.pass(20_000);
    world.lose([1]);
    world.set(1, "power", Some("off"));
    world.pass(30_000);
    assert_eq!(world.power_cuts(), 0, "whether it is in step is not known: its images could not be stopped in order");
    assert!(world.node(1).in_flight.as_ref().is_some_and(|f| f.step.mutation.as_ref() == "run.discover"));
    world.find_again([1]);
    assert!(goal_reached(world.node(1)), "{:?}", world.next(1));
    assert_eq!(world.order_log[world.order_log.len() - 3..], ["image.deactivate hello", "run.leave", "power.off"]);
    world.lose([2]);
    world.set(2, "power", Some("off"));
    world.pass(620_000);
    assert!(goal_reached(world.node(2)), "{:?}", world.next(2));
    assert_eq!(world.asked_for("power.off"), 2);
}

#[test]
fn a_module_holds_a_node_with_a_value_of_its_own_until_it_says_otherwise() {
    let mut world = World::new(1);
    world.pass(20_000);
    let variable: VarPath = "slurm.job".parse().unwrap();
    let module = |event| Fact::Module(ModuleFact { module: name("slurm"), event });
    let declaration = Declaration {
        variables: vec![VariableSpec {
            path: variable.to_string(),
            kind: VarType::symbols(&["none", "running"]),
            set: Default::default(),
            goals: vec![],
            default: None,
            known_while: None,
            doc: String::new(),
        }],
        mutations: vec![],
        guards: vec![Guard { variable: variable.clone(), value: "running".into(), reason: "a job runs".into() }],
    };
    let sees = |value: &str| {
        let value = Some(Value::symbol(value));
        module(ModuleEvent::Observed { node: id(1), variable: variable.clone(), value })
    };
    world.feed(vec![module(ModuleEvent::Declared { declaration: Box::new(declaration) }), sees("running")]);
    world.set(1, "power", Some("off"));
    let Some(Hold::Guarded { why, .. }) = world.held(1) else { panic!("{:?}", world.next(1)) };
    assert_eq!(why, "a job runs");
    // Its agent's death does not end the job: the module still says that it runs.
    world.lose([1]);
    world.pass(700_000);
    assert_eq!(world.power_cuts(), 0);
    assert!(matches!(world.held(1), Some(Hold::Guarded { .. })), "{:?}", world.next(1));
    world.feed(vec![sees("none")]);
    world.pass(5_000);
    assert!(world.all_arrived());
    assert_eq!(world.power_cuts(), 1);
}

#[test]
fn a_guard_that_goes_with_its_module_lets_the_node_go() {
    let mut world = World::new(1);
    world.pass(20_000);
    let module = |event| Fact::Module(ModuleFact { module: name("watch"), event });
    let guard = Guard { variable: VarPath::run(), value: "sync".into(), reason: "never".into() };
    let declaration = Declaration { guards: vec![guard], ..Declaration::default() };
    world.feed(vec![module(ModuleEvent::Declared { declaration: Box::new(declaration) })]);
    world.set(1, "power", Some("off"));
    assert!(matches!(world.held(1), Some(Hold::Guarded { .. })));
    world.feed(vec![module(ModuleEvent::Removed)]);
    assert!(world.all_arrived(), "{:?}", world.next(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn freeze_and_thaw_in_any_order_lock_nothing_up(
        events in proptest::collection::vec((0u8..14, 1u128..4, 0u64..12_000, any::<bool>()), 0..24),
    ) {
        let mut world = World::new(3);
        for (what, node, pause, refused) in events {
            world.pass(pause);
            let event = match what {
                0 | 1 => freeze(Some(node)),
                2 | 3 => thaw(Some(node)),
                4 => freeze(None),
                5 => thaw(None),
                6 => OperatorEvent::CycleAsked { node: id(node) },
                7 => OperatorEvent::MutationSwitched { mutation: "power.on".into(), to: crate::fact::Switch::Disabled },
                8 => OperatorEvent::MutationSwitched { mutation: "power.on".into(), to: crate::fact::Switch::Enabled },
                9 => OperatorEvent::GoalSet { node: id(node), path: VarPath::power(), value: Some(Value::symbol("off")) },
                10 => OperatorEvent::GoalSet { node: id(node), path: VarPath::power(), value: None },
                11 => OperatorEvent::ModuleSwitched { module: "agent".into(), to: crate::fact::Switch::Disabled },
                12 => OperatorEvent::ModuleSwitched { module: "agent".into(), to: crate::fact::Switch::Enabled },
                _ => { world.restart(); (1..=3).for_each(|n| world.reconnect(id(n))); continue }
            };
            // A turn that the journal refused has not happened: nothing of it may be left anywhere.
            if refused { world.refuse(vec![operator(event)]) } else { world.ask(event) }
        }
        world.ask(thaw(None));
        world.ask(OperatorEvent::MutationSwitched { mutation: "power.on".into(), to: crate::fact::Switch::Enabled });
        world.ask(OperatorEvent::ModuleSwitched { module: "agent".into(), to: crate::fact::Switch::Enabled });
        for number in 1..=3 {
            world.ask(thaw(Some(number)));
            world.ask(OperatorEvent::Released { node: id(number) });
            world.set(number, "power", None);
        }
        for _ in 0..30 {
            world.pass(BOOT_MS * 3);
        }
        prop_assert!(world.all_arrived(), "{:?}", (1..=3).map(|n| (world.next(n), &world.node(n).observed)).collect::<Vec<_>>());
        world.restart();
    }
}

#[test]
fn a_quarantined_node_that_is_frozen_is_still_quarantined_after_the_thaw() {
    let mut world = World::new(1);
    world.machines.get_mut(&id(1)).unwrap().boots = false;
    world.pass(4 * 3_600_000);
    assert_eq!(world.node(1).retry.next, Some(Retry::Quarantined));
    world.ask(freeze(Some(1)));
    world.ask(thaw(Some(1)));
    assert_eq!(world.next(1), Decision::Quarantined);
}

#[test]
fn a_node_that_dies_while_it_is_frozen_comes_back_when_it_is_thawed() {
    let mut world = World::new(1);
    world.pass(20_000);
    world.ask(freeze(Some(1)));
    world.cut([1]);
    world.pass(700_000);
    assert!(!world.all_arrived());
    world.ask(thaw(Some(1)));
    world.pass(60_000);
    assert!(world.all_arrived(), "{:?}", world.next(1));
}

#[test]
fn an_appliance_that_starts_frozen_starts_nothing_and_says_so_once() {
    use crate::engine::Engine;
    use crate::journal::{Filter, Journal, JournalReader};
    use crate::plan::Policy;
    use crate::port::fact_channel;

    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let journal = Journal::open(folder.path()).unwrap();
        let mut engine = Engine::replay(journal, super::world::graph(), Policy::default()).unwrap();
        engine.start_frozen();
        let (facts, receiver) = fact_channel();
        let (stop, state) = (tokio_util::sync::CancellationToken::new(), engine.snapshots());
        let mut feed = engine.feed().subscribe();
        let heard = stop.clone();
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let thread = std::thread::spawn(move || runtime().block_on(engine.run(receiver, heard)));
        let spec = World::new(1).node(1).spec.as_ref().clone();
        let described = operator(OperatorEvent::NodeDescribed { node: id(1), spec: Box::new(spec) });
        runtime().block_on(facts.submit(vec![described])).unwrap();
        assert!(state.borrow().control.frozen.is_some() && state.borrow().node(id(1)).unwrap().in_flight.is_none());
        let mut kinds = Vec::new();
        while let Ok(stamped) = feed.try_recv() {
            kinds.push(stamped.fact.kind());
        }
        assert!(!kinds.contains(&"engine"), "{kinds:?}");
        stop.cancel();
        thread.join().unwrap();
    }
    let is_freeze = |fact: &Fact| matches!(fact, Fact::Operator(o) if o.event == freeze(None));
    let filter = Filter { limit: 1_000, ..Filter::default() };
    let all = JournalReader::open(folder.path()).unwrap().read(&filter).unwrap();
    assert_eq!(all.iter().filter(|stamped| is_freeze(&stamped.fact)).count(), 1);
}
