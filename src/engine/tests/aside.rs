//! What else is wanted of a node that should be powered off: what needs no power is done, the rest waits and is told.

use super::world::{World, graph, id, name};
use crate::fact::{Declaration, Fact, ModuleEvent, ModuleFact};
use crate::model::mutation::{Budget, Change, Condition, Context, Disruption, Mutation, Subject, Work};
use crate::model::schema::{KnownWhile, Setting, VarType};
use crate::model::{Value, VarPath, VariableSpec};
use crate::plan::{SetAside, Warning, goal_reached, goal_warnings, set_aside, what_if};

fn module(event: ModuleEvent) -> Fact {
    Fact::Module(ModuleFact { module: name("lamp"), event })
}

fn light(value: &str) -> Fact {
    let variable = "lamp.light".parse().unwrap();
    module(ModuleEvent::Observed { node: id(1), variable, value: Some(Value::symbol(value)) })
}

/// `lamp.light` goes on and off under `requires`, and is known under `known_while`; nothing leads to `blinking`.
fn lamp(requires: Vec<Condition>, known_while: Option<KnownWhile>) -> World {
    let path: VarPath = "lamp.light".parse().unwrap();
    let edge = |name: &str, from: &[&str], to: &str| Mutation {
        name: name.into(),
        module: "lamp".into(),
        changes: vec![Change::new(Subject::Var(path.clone()), from, &[to])],
        requires: requires.clone(),
        excludes: vec![],
        consequences: vec![],
        fail_to: vec![],
        expected_ms: 1_000,
        timeout_ms: 3_600_000,
        context: Context::Parent,
        disruption: Disruption::None,
        work: Work::Await,
        budget: Budget::Counted,
    };
    let declaration = Declaration {
        variables: vec![VariableSpec {
            path: path.to_string(),
            kind: VarType::symbols(&["off", "on"]),
            set: Setting::Goal,
            goals: vec![],
            default: None,
            known_while,
            doc: String::new(),
        }],
        mutations: vec![edge("lamp.on", &["off", "unknown"], "on"), edge("lamp.off", &["on", "unknown"], "off")],
        guards: vec![],
    };
    let mut world = World::new(1);
    world.pass(20_000);
    world.feed(vec![module(ModuleEvent::Declared { declaration: Box::new(declaration) }), light("off")]);
    world
}

fn flight(world: &World) -> Option<String> {
    world.node(1).in_flight.as_ref().map(|flight| flight.step.to_string())
}

fn power(world: &World) -> Option<&str> {
    world.node(1).see_symbol(&VarPath::power())
}

fn lit() -> Vec<SetAside> {
    vec![SetAside { path: "lamp.light".parse().unwrap(), wanted: "on".into() }]
}

#[test]
fn what_needs_no_power_is_done_while_the_machine_is_off() {
    let mut world = lamp(vec![], None);
    world.set(1, "power", Some("off"));
    world.pass(60_000);
    assert_eq!((power(&world), goal_reached(world.node(1))), (Some("off"), true));
    world.set(1, "lamp.light", Some("on"));
    assert_eq!(flight(&world).as_deref(), Some("lamp.on"));
    assert_eq!(set_aside(world.node(1)), []);
    world.feed(vec![light("on")]);
    world.pass(60_000);
    assert_eq!((power(&world), goal_reached(world.node(1))), (Some("off"), true));
}

#[test]
fn nothing_else_that_is_wanted_keeps_a_machine_from_being_powered_off() {
    let mut world = lamp(vec![], None);
    world.set(1, "lamp.light", Some("on"));
    assert_eq!(flight(&world).as_deref(), Some("lamp.on"));
    world.set(1, "power", Some("off"));
    world.pass(60_000);
    assert_eq!(power(&world), Some("off"), "{:?}", world.next(1));
    assert_eq!(flight(&world).as_deref(), Some("lamp.on"), "its turn comes when the power is off");
}

#[test]
fn what_needs_power_is_set_aside_and_told_and_powers_nothing_on() {
    let power_on = KnownWhile { variable: VarPath::power(), any_of: vec!["on".into()] };
    let ways = [
        (vec![Condition::new(Subject::power(), &["on"])], None),
        (vec![Condition::new(Subject::run(), &["sync"])], None),
        (vec![], Some(power_on)),
    ];
    for (requires, known_while) in ways {
        let mut world = lamp(requires, known_while);
        world.set(1, "power", Some("off"));
        world.pass(60_000);
        world.set(1, "lamp.light", Some("on"));
        world.pass(60_000);
        assert_eq!((power(&world), flight(&world)), (Some("off"), None));
        assert!(goal_reached(world.node(1)));
        assert_eq!(set_aside(world.node(1)), lit());
        let graph = graph().with_modules(world.core.state());
        let told = Warning::SetAside { nodes: "n1".into(), goals: lit() };
        assert_eq!(goal_warnings([world.node(1)], &graph), [told]);
        world.set(1, "power", None);
        assert_eq!(set_aside(world.node(1)), []);
    }
}

#[test]
fn an_order_that_contradicts_itself_is_warned_of_before_it_is_made() {
    let world = lamp(vec![], None);
    let goal = |path: &str, value: &str| crate::fact::OperatorEvent::GoalSet {
        node: id(1),
        path: path.parse().unwrap(),
        value: Some(Value::symbol(value)),
    };
    let (state, events) = (world.core.state(), [goal("power", "off"), goal("run", "sync")]);
    let after = state.supposing(world.now, &events);
    let plan = what_if(state, &after, &events, &graph(), world.core.policy());
    let goals = vec![SetAside { path: VarPath::run(), wanted: "sync".into() }];
    assert!(plan.warnings.contains(&Warning::SetAside { nodes: "n1".into(), goals }), "{:?}", plan.warnings);
}

#[test]
fn a_goal_that_no_mutation_leads_to_is_warned_of() {
    use crate::model::{Extension, schema::Origin};
    let mut world = World::new(1);
    world.pass(20_000);
    let variable = VariableSpec {
        path: "site.mode".into(),
        kind: VarType::symbols(&["slow", "fast"]),
        set: Setting::Goal,
        goals: vec![],
        default: None,
        known_while: None,
        doc: String::new(),
    };
    let (name, doc, origin) = (name("site"), String::new(), Origin::Described);
    let spec = Extension { name, doc, origin, variables: vec![variable] };
    world.ask(crate::fact::OperatorEvent::ExtensionDescribed { spec });
    world.set(1, "site.mode", Some("fast"));
    let told = Warning::NoMutation { nodes: "n1".into(), path: "site.mode".parse().unwrap(), wanted: "fast".into() };
    assert_eq!(goal_warnings([world.node(1)], &graph()), [told]);
}
