//! Mutations and modules that are switched off, timeouts, and what is learned of durations.

use super::world::{World, id, name};
use crate::fact::{Declaration, EngineEvent, Fact, ModuleEvent, ModuleFact, OperatorEvent, OutcomeFact, Switch};
use crate::model::mutation::{Budget, Change, Condition, Context, Disruption, Mutation, Subject, Work};
use crate::model::schema::{Setting, VarType};
use crate::model::{Symbol, Value, VarPath, VariableSpec};
use crate::plan::{Decision, NoPlan, goal_reached};

fn switch(mutation: &str, to: Switch) -> OperatorEvent {
    OperatorEvent::MutationSwitched { mutation: mutation.into(), to }
}

fn module(event: ModuleEvent) -> Fact {
    Fact::Module(ModuleFact { module: name("fan"), event })
}

/// `fan.speed` goes from low to high in one slow step, or in two quick ones through medium.
fn fan(direct_ms: u64, quick_ms: u64) -> Declaration {
    let path = VarPath::try_from("fan.speed".to_owned()).unwrap();
    let edge = |name: &str, from: &[&str], to: &str, expected_ms| Mutation {
        name: name.into(),
        module: "fan".into(),
        changes: vec![Change::new(Subject::Var(path.clone()), from, &[to])],
        requires: vec![Condition::new(Subject::run(), &["sync"])],
        excludes: vec![],
        consequences: vec![],
        fail_to: vec![],
        expected_ms,
        timeout_ms: 3_600_000,
        context: Context::Node,
        disruption: Disruption::None,
        work: Work::Await,
        budget: Budget::Counted,
    };
    Declaration {
        variables: vec![VariableSpec {
            path: path.to_string(),
            kind: VarType::symbols(&["low", "medium", "high"]),
            set: Setting::Goal,
            goals: vec![],
            default: None,
            known_while: None,
            doc: String::new(),
        }],
        mutations: vec![
            edge("fan.direct", &["low"], "high", direct_ms),
            edge("fan.raise", &["low"], "medium", quick_ms),
            edge("fan.finish", &["medium"], "high", quick_ms),
            edge("fan.lower", &["high", "medium", "unknown"], "low", 1_000),
        ],
        guards: vec![],
    }
}

fn with_fan(direct_ms: u64, quick_ms: u64) -> World {
    let mut world = World::new(1);
    world.pass(20_000);
    let declaration = Box::new(fan(direct_ms, quick_ms));
    world.feed(vec![module(ModuleEvent::Declared { declaration }), speed("low")]);
    world
}

fn speed(value: &str) -> Fact {
    let variable = "fan.speed".parse().unwrap();
    module(ModuleEvent::Observed { node: id(1), variable, value: Some(Value::symbol(value)) })
}

fn flight(world: &World) -> Option<String> {
    world.node(1).in_flight.as_ref().map(|flight| flight.step.to_string())
}

#[test]
fn where_a_mutation_is_switched_off_another_way_is_taken() {
    let mut world = with_fan(10_000, 20_000);
    world.ask(switch("fan.direct", Switch::Disabled));
    world.set(1, "fan.speed", Some("high"));
    assert_eq!(flight(&world).as_deref(), Some("fan.raise"));
    world.feed(vec![speed("medium")]);
    assert_eq!(flight(&world).as_deref(), Some("fan.finish"));
    world.feed(vec![speed("high")]);
    assert!(world.all_arrived());
}

#[test]
fn where_there_is_no_other_way_the_mutation_is_named_and_switching_it_on_lets_the_node_go_on() {
    let mut world = World::new(1);
    world.pass(20_000);
    world.ask(switch("run.leave", Switch::Disabled));
    world.set(1, "power", Some("off"));
    world.pass(60_000);
    let Decision::NoPlan(NoPlan::Disabled { mutations }) = world.next(1) else { panic!("{:?}", world.next(1)) };
    assert_eq!(mutations.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["run.leave"]);
    assert_eq!(world.power_cuts(), 0);
    world.ask(switch("run.leave", Switch::Enabled));
    assert!(world.all_arrived());
}

#[test]
fn a_module_that_is_switched_off_names_each_of_its_mutations_that_are_needed() {
    let mut world = World::new(0);
    world.ask(OperatorEvent::ModuleSwitched { module: "power".into(), to: Switch::Disabled });
    world.describe(1);
    world.pass(10_000);
    assert_eq!(world.order_log, Vec::<String>::new());
    let Decision::NoPlan(NoPlan::Disabled { mutations }) = world.next(1) else { panic!("{:?}", world.next(1)) };
    assert!(mutations.iter().any(|m| m.as_ref() == "power.discover"), "{mutations:?}");
    world.ask(OperatorEvent::ModuleSwitched { module: "power".into(), to: Switch::Enabled });
    world.pass(30_000);
    assert!(world.all_arrived());
}

#[test]
fn a_step_under_way_ends_although_its_mutation_is_switched_off() {
    let mut world = World::new(1);
    world.pass(1_000);
    assert_eq!(flight(&world).as_deref(), Some("boot.rom"));
    world.ask(switch("boot.rom", Switch::Disabled));
    assert_eq!(flight(&world).as_deref(), Some("boot.rom"));
    world.pass(30_000);
    assert!(world.all_arrived());
    assert_eq!(world.power_cuts(), 0);
}

#[test]
fn a_switch_that_the_journal_refused_is_not_planned_with() {
    let mut world = with_fan(10_000, 20_000);
    world.refuse(vec![super::world::operator(switch("fan.direct", Switch::Disabled))]);
    // The next change has the number that the refused one had.
    world.ask(switch("fan.lower", Switch::Disabled));
    world.set(1, "fan.speed", Some("high"));
    assert_eq!(flight(&world).as_deref(), Some("fan.direct"));
}

#[test]
fn a_timeout_that_is_changed_counts_for_the_next_start_and_can_be_taken_back() {
    let mut world = World::new(2);
    world.machines.get_mut(&id(1)).unwrap().boots = false;
    world.machines.get_mut(&id(2)).unwrap().boots = false;
    let deadline = |world: &World| {
        let flight = world.node(1).in_flight.clone().unwrap();
        flight.deadline.since(flight.started_at)
    };
    assert_eq!((flight(&world).as_deref(), deadline(&world)), (Some("boot.rom"), 180_000));
    let set = |ms| OperatorEvent::TimeoutSet { mutation: "boot.rom".into(), timeout_ms: ms };
    world.ask(set(Some(30_000)));
    world.pass(100_000);
    assert_eq!((flight(&world).as_deref(), deadline(&world)), (Some("boot.rom"), 180_000), "it was started before");
    world.pass(100_000);
    assert_eq!((flight(&world).as_deref(), deadline(&world)), (Some("boot.rom"), 30_000));
    world.ask(set(None));
    world.pass(60_000);
    assert_eq!((flight(&world).as_deref(), deadline(&world)), (Some("boot.rom"), 180_000));
}

#[test]
fn a_timeout_of_an_operator_stands_before_the_configured_one() {
    let policy =
        crate::plan::Policy { timeouts_ms: [("boot.rom".to_owned(), 50_000)].into(), ..crate::plan::Policy::default() };
    let mut world = World::under(1, policy);
    let flight = |world: &World| world.node(1).in_flight.clone().unwrap();
    assert_eq!(flight(&world).deadline.since(flight(&world).started_at), 50_000);
    world.ask(OperatorEvent::TimeoutSet { mutation: "boot.rom".into(), timeout_ms: Some(20_000) });
    world.machines.get_mut(&id(1)).unwrap().boots = false;
    world.pass(60_000);
    assert_eq!(flight(&world).deadline.since(flight(&world).started_at), 20_000);
}

#[test]
fn durations_change_the_way_only_after_enough_examples() {
    let mut world = with_fan(10_000, 20_000);
    let ways: Vec<String> = (0..6)
        .map(|_| {
            world.set(1, "fan.speed", Some("high"));
            let way = flight(&world).unwrap();
            world.pass(300_000);
            world.feed(vec![speed("medium")]);
            world.pass(1_000);
            world.feed(vec![speed("high")]);
            assert!(goal_reached(world.node(1)));
            world.set(1, "fan.speed", Some("low"));
            world.feed(vec![speed("low")]);
            way
        })
        .collect();
    // A machine that went through medium did not do what fan.direct should: only what arrives is an example.
    assert_eq!(ways, ["fan.direct"; 6]);
    let mut world = with_fan(10_000, 20_000);
    let mut ways = Vec::new();
    for _ in 0..6 {
        world.set(1, "fan.speed", Some("high"));
        ways.push(flight(&world).unwrap());
        world.pass(300_000);
        if flight(&world).as_deref() == Some("fan.raise") {
            world.feed(vec![speed("medium")]);
        }
        world.feed(vec![speed("high")]);
        world.set(1, "fan.speed", Some("low"));
        world.feed(vec![speed("low")]);
    }
    assert_eq!(ways, ["fan.direct", "fan.direct", "fan.direct", "fan.direct", "fan.raise", "fan.raise"]);
}

#[test]
fn a_step_under_way_goes_on_when_another_way_turns_out_to_be_quicker() {
    let mut world = with_fan(10_000, 20_000);
    world.set(1, "fan.speed", Some("high"));
    assert_eq!(flight(&world).as_deref(), Some("fan.direct"));
    let generation = world.node(1).generation;
    // Another node's examples.
    let done = |mutation: &str| {
        let step = crate::fact::StepName { mutation: mutation.into(), image: None };
        Fact::Engine(crate::fact::EngineFact { node: id(99), event: EngineEvent::StepDone { step, duration_ms: 1 } })
    };
    world.describe(99);
    world.feed((0..6).flat_map(|_| [done("fan.raise"), done("fan.finish")]).collect());
    world.feed(vec![world.report(id(1), vec![("busy", "free")])]);
    assert_eq!((flight(&world).as_deref(), world.node(1).generation), (Some("fan.direct"), generation));
    world.feed(vec![speed("high")]);
    assert!(goal_reached(world.node(1)));
    world.set(1, "fan.speed", Some("low"));
    world.feed(vec![speed("low")]);
    world.set(1, "fan.speed", Some("high"));
    assert_eq!(flight(&world).as_deref(), Some("fan.raise"), "the next plan is the quicker one");
}

#[test]
fn a_step_under_way_is_given_up_when_something_else_is_wanted() {
    let mut world = with_fan(10_000, 20_000);
    world.set(1, "fan.speed", Some("high"));
    world.set(1, "fan.speed", Some("low"));
    assert!(world.all_arrived());
    assert_eq!(flight(&world), None);
}

#[test]
fn a_modules_death_fails_its_own_mutations_and_nothing_else() {
    let mut world = with_fan(10_000, 20_000);
    world.set(1, "fan.speed", Some("high"));
    let under_way = world.node(1).in_flight.clone().unwrap();
    let reason = crate::fact::FailReason::ModuleUnavailable { module: "fan".into(), detail: String::new() };
    let (step, generation) = (under_way.step, under_way.generation);
    world.feed(vec![Fact::Outcome(OutcomeFact { node: id(1), step, generation, reason })]);
    assert_eq!(world.node(1).retry.in_a_row, 1);
    world.feed(vec![module(ModuleEvent::Removed)]);
    world.set(1, "fan.speed", None);
    assert!(world.all_arrived(), "{:?}", world.next(1));
}

#[test]
fn a_modules_mutation_of_a_variable_that_is_described_later_is_planned_with_from_then_on() {
    let mut world = World::new(1);
    world.pass(20_000);
    let Declaration { variables, mutations, .. } = fan(10_000, 20_000);
    let declaration = Declaration { mutations, ..Declaration::default() };
    world.feed(vec![module(ModuleEvent::Declared { declaration: Box::new(declaration) })]);
    let spec = crate::model::Extension {
        name: name("fans"),
        doc: String::new(),
        origin: crate::model::schema::Origin::Described,
        variables,
    };
    world.ask(OperatorEvent::ExtensionDescribed { spec });
    world.set(1, "fan.speed", Some("low"));
    assert_eq!(flight(&world).as_deref(), Some("fan.lower"));
    assert_eq!(world.node(1).wants(&"fan.speed".parse().unwrap()), Some(&Value::Symbol(Symbol::from("low"))));
}
