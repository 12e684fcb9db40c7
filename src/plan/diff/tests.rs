//! A description against a state.

use std::net::Ipv4Addr;

use uuid::Uuid;

use super::*;
use crate::fact::{AgentEvent, AgentFact, Fact, OperatorFact, Stamped};
use crate::model::schema::{Origin, Setting};
use crate::model::{
    AddressRange, BmcDriver, BmcTemplate, Digest, FactSeq, ImagePin, Mac, RangeUse, Sealed, UnixMs, Value, VarType,
    VariableSpec,
};
use crate::state::DesiredSource;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn id(number: u128) -> NodeId {
    NodeId(Uuid::from_u128(number))
}

fn node(number: u8, cake: &str) -> (NodeId, NodeDescription) {
    let said = NodeDescription {
        matching: Default::default(),
        name: name(&format!("n{number}")),
        mac: Mac([2, 0, 0, 0, 0, number]),
        ip: Some(Ipv4Addr::new(10, 0, 0, number)),
        bmc: None,
        pool: None,
        own: Template { network: Some(name("boot")), cake: Some(name(cake)), ..Template::default() },
        ipv6: Default::default(),
    };
    (id(u128::from(number)), said)
}

pub(in crate::plan) fn description() -> Description {
    let digest = Digest::of(b"1");
    Description {
        cluster: Some(name("c")),
        networks: vec![NetworkSpec { lease_s: 60, ..NetworkSpec::new(name("boot"), "10.0.0.0/24".parse().unwrap()) }],
        cakes: vec![CakeSpec { name: name("hello"), images: vec![ImagePin { name: name("hello"), digest }] }],
        nodes: vec![node(1, "hello"), node(2, "hello")],
        ..Description::default()
    }
}

/// The same nodes, with everything that they share said by a pool and by the defaults, and a variable.
fn pooled() -> Description {
    let mut description = description();
    let network = Some(name("boot"));
    let password = Some(Sealed(vec![1]));
    let bmc = Some(BmcTemplate { driver: Some(BmcDriver::Ipmi), user: Some("admin".into()), password });
    description.defaults = Some(Template { network, bmc, ..Template::default() });
    let rack = [("site.rack".parse().unwrap(), Value::symbol("r1"))].into();
    let template = Template { cake: Some(name("hello")), variables: rack, ..Template::default() };
    description.pools = vec![PoolSpec { name: name("gpu"), template }];
    description.extensions = vec![site(&["r1", "r2"])];
    for (_, node) in &mut description.nodes {
        (node.own, node.pool) = (Template::default(), Some(name("gpu")));
    }
    description
}

fn site(racks: &[&str]) -> Extension {
    let rack = VariableSpec {
        path: "site.rack".into(),
        kind: VarType::symbols(racks),
        set: Setting::Config,
        goals: vec![],
        default: None,
        known_while: None,
        doc: String::new(),
    };
    Extension { name: name("site"), doc: String::new(), origin: Origin::Described, variables: vec![rack] }
}

fn apply(state: &mut State, description: &Description) -> Vec<Change> {
    let (changes, events) = diff(state, description).unwrap();
    for event in events {
        feed(state, Fact::Operator(OperatorFact::from(event)));
    }
    changes
}

fn feed(state: &mut State, fact: Fact) {
    state.apply(&Stamped { seq: FactSeq(state.seq.0 + 1), at: UnixMs(1), fact });
}

pub(in crate::plan) fn applied(description: &Description) -> State {
    let mut state = State::default();
    apply(&mut state, description);
    state
}

fn updated(fields: &[&str]) -> ChangeKind {
    ChangeKind::Update { fields: fields.iter().map(|field| (*field).to_owned()).collect() }
}

fn told(changes: &[Change]) -> Vec<String> {
    let kind = |kind: &ChangeKind| match kind {
        ChangeKind::Create => "create".to_owned(),
        ChangeKind::Update { fields } => fields.join("+"),
        ChangeKind::Remove => "remove".to_owned(),
    };
    changes.iter().map(|change| format!("{} {} {}", kind(&change.kind), change.what, change.name)).collect()
}

#[test]
fn applying_the_same_description_again_changes_nothing() {
    for description in [description(), pooled()] {
        let state = applied(&description);
        assert_eq!(state.nodes.len(), 2);
        assert_eq!(diff(&state, &description).unwrap(), (vec![], vec![]));
        let whole = Description { unnamed: Unnamed::Removed, ..description };
        assert_eq!(diff(&state, &whole).unwrap(), (vec![], vec![]), "it names everything");
    }
}

#[test]
fn a_change_names_its_fields_and_the_nodes_that_it_disturbs() {
    let state = applied(&description());
    let mut changed = description();
    changed.nodes[1].1.ip = Some(Ipv4Addr::new(10, 0, 0, 99));
    changed.cakes[0].images[0].digest = Digest::of(b"2");
    let (changes, events) = diff(&state, &changed).unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(changes[0].kind, updated(&["images"]));
    assert_eq!(changes[0].disrupts, [name("n1"), name("n2")]);
    assert_eq!(changes[1].kind, updated(&["ip"]));
    assert!(changes[1].disrupts.is_empty());
}

#[test]
fn a_description_that_contradicts_itself_is_refused_whole() {
    let state = State::default();
    let refused = |change: fn(&mut Description)| {
        let mut wrong = pooled();
        change(&mut wrong);
        diff(&state, &wrong).unwrap_err()
    };
    use ApplyError::{Missing, Shared};
    assert!(matches!(refused(|d| d.nodes[1].1.mac = d.nodes[0].1.mac), Shared { what: "MAC", .. }));
    assert!(matches!(refused(|d| d.nodes[1].1.ip = d.nodes[0].1.ip), Shared { what: "address", .. }));
    assert!(matches!(refused(|d| d.nodes[1].1.name = name("n1")), ApplyError::Twice { .. }));
    assert!(matches!(refused(|d| d.pools.push(d.pools[0].clone())), ApplyError::Twice { .. }));
    assert!(matches!(refused(|d| d.nodes[1].1.ip = Some(Ipv4Addr::new(10, 9, 9, 9))), ApplyError::NotInNetwork { .. }));
    let cake = |d: &mut Description| d.nodes[1].1.own.cake = Some(name("none"));
    assert!(matches!(refused(cake), Missing { what: Described::Cake, .. }));
    assert!(matches!(refused(|d| d.networks.clear()), Missing { what: Described::Network, .. }));
    assert!(matches!(refused(|d| d.pools.clear()), Missing { what: Described::Pool, .. }));
    let parent = |d: &mut Description| d.pools[0].template.parents = vec![name("n9")];
    assert!(matches!(refused(parent), Missing { what: Described::Node, .. }));
    assert!(matches!(refused(|d| d.nodes[0].1.own.parents = vec![name("n1")]), ApplyError::OwnParent { .. }));
    assert!(matches!(refused(|d| d.defaults = None), ApplyError::Unsaid(_)));
    assert!(matches!(refused(|d| d.extensions = vec![site(&["r9"])]), ApplyError::Variable { .. }));
    assert!(matches!(refused(|d| d.extensions.clear()), ApplyError::Variable { .. }));
    let image = |d: &mut Description| {
        let path = VarPath::image_state(&name("hello"));
        d.nodes[0].1.own.variables.insert(path, Value::symbol("idle"));
    };
    assert!(matches!(refused(image), ApplyError::FollowsCake { .. }));
    let observed = |d: &mut Description| {
        d.nodes[0].1.own.variables.insert(VarPath::boot(), Value::symbol("rom"));
    };
    assert!(matches!(refused(observed), ApplyError::Variable { .. }));
    let built_in = |d: &mut Description| d.extensions[0].name = name("power");
    assert!(matches!(refused(built_in), ApplyError::Extension(_)));
}

#[test]
fn a_network_that_no_longer_holds_a_nodes_address_is_refused() {
    let state = applied(&description());
    let mut smaller = Description { networks: description().networks, ..Description::default() };
    smaller.networks[0].subnet = "10.0.9.0/24".parse().unwrap();
    assert!(matches!(diff(&state, &smaller).unwrap_err(), ApplyError::NotInNetwork { .. }));
}

#[test]
fn a_change_of_a_pool_or_of_the_defaults_shows_the_nodes_that_change_with_it() {
    let mut state = applied(&pooled());
    let mut changed = pooled();
    changed.pools[0].template.variables = [("site.rack".parse().unwrap(), Value::symbol("r2"))].into();
    changed.nodes.clear();
    assert_eq!(told(&apply(&mut state, &changed)), ["variables pool gpu", "variables node n1", "variables node n2"]);
    let rack = |state: &State| state.node(id(1)).unwrap().desired.get(&"site.rack".parse().unwrap()).cloned().unwrap();
    assert_eq!((rack(&state).value, rack(&state).source), (Value::symbol("r2"), DesiredSource::Pool(name("gpu"))));
    let mut defaults = Description { defaults: pooled().defaults, ..Description::default() };
    defaults.defaults.as_mut().unwrap().labels = [("site".to_owned(), "b".to_owned())].into();
    assert_eq!(told(&apply(&mut state, &defaults)), ["labels defaults defaults", "labels node n1", "labels node n2"]);
    assert_eq!(state.node(id(2)).unwrap().spec.labels["site"], "b");
}

#[test]
fn a_pools_change_that_a_node_overrides_leaves_that_node_alone() {
    let mut pooled = pooled();
    pooled.nodes[0].1.own.variables = [("site.rack".parse().unwrap(), Value::symbol("r1"))].into();
    let state = applied(&pooled);
    let mut changed = Description { pools: pooled.pools.clone(), ..Description::default() };
    changed.pools[0].template.variables = [("site.rack".parse().unwrap(), Value::symbol("r2"))].into();
    assert_eq!(told(&diff(&state, &changed).unwrap().0), ["variables pool gpu", "variables node n2"]);
}

#[test]
fn a_value_that_only_moves_between_node_and_pool_disturbs_nobody() {
    let mut state = applied(&pooled());
    let mut moved = pooled();
    moved.nodes[0].1.own.cake = Some(name("hello"));
    let (changes, _) = diff(&state, &moved).unwrap();
    assert_eq!((told(&changes), changes[0].disrupts.len()), (vec!["sources node n1".to_owned()], 0));
    apply(&mut state, &moved);
    assert_eq!(diff(&state, &moved).unwrap().0, []);
}

#[test]
fn a_node_of_a_journal_older_than_pools_keeps_what_it_says_when_defaults_come() {
    let mut state = State::default();
    apply(&mut state, &Description { nodes: vec![], ..description() });
    let (node, said) = node(1, "hello");
    let mut spec = super::super::resolve::resolve(&said, None, &Template::default()).unwrap();
    spec.own = Box::default();
    let event = OperatorEvent::NodeDescribed { node, spec: Box::new(spec) };
    feed(&mut state, Fact::Operator(OperatorFact::from(event)));
    assert_eq!(diff(&state, &Description { nodes: vec![(node, said)], ..Description::default() }).unwrap().0, []);
    let labels = [("site".to_owned(), "b".to_owned())].into();
    let network = Some(name("boot"));
    let defaults = Some(Template { network, labels, ..Template::default() });
    let changes = apply(&mut state, &Description { defaults, ..Description::default() });
    assert_eq!(told(&changes), ["create defaults defaults", "labels node n1"]);
    assert_eq!(state.node(node).unwrap().spec.cake, Some(name("hello")));
}

#[test]
fn pruning_removes_what_the_description_does_not_name_and_nothing_else() {
    let mut state = applied(&pooled());
    let mut whole = Description { unnamed: Unnamed::Removed, ..description() };
    whole.nodes.truncate(1);
    whole.nodes[0].1.own.cake = None;
    whole.cakes.clear();
    let changes = apply(&mut state, &whole);
    let expected = [
        "remove node n2",
        "remove extension site",
        "remove defaults defaults",
        "cake+pool+variables node n1",
        "remove pool gpu",
        "remove cake hello",
    ];
    assert_eq!(told(&changes), expected);
    assert_eq!(changes[0].notes, [Note::LeftAsItIs]);
    assert!(state.pools.is_empty() && state.cakes.is_empty() && state.schema.added().is_empty());
    assert_eq!((state.nodes.len(), state.networks.len()), (1, 1));
    assert_eq!(diff(&state, &whole).unwrap().0, []);
}

#[test]
fn what_is_needed_by_what_stays_is_not_removed() {
    let state = applied(&pooled());
    let refused = |change: fn(&mut Description)| {
        let mut whole = Description { unnamed: Unnamed::Removed, ..pooled() };
        change(&mut whole);
        diff(&state, &whole).unwrap_err()
    };
    let in_use = |error: ApplyError| match error {
        ApplyError::InUse { what, name, by } => format!("{what} {name}: {by}"),
        other => panic!("{other}"),
    };
    assert_eq!(in_use(refused(|d| d.networks.clear())), "network boot: the cluster's defaults");
    assert_eq!(in_use(refused(|d| d.cakes.clear())), "cake hello: pool gpu");
    let extension = in_use(refused(|d| d.extensions.clear()));
    assert_eq!(extension, "extension site: the value for site.rack of pool gpu");
    assert!(matches!(refused(|d| d.nodes.clear()), ApplyError::WouldRemoveAll { nodes: 2 }));
    let mut state = state;
    let mut with_parent = pooled();
    with_parent.nodes[1].1.own.parents = vec![name("n1")];
    apply(&mut state, &with_parent);
    let gone = Description { removed_nodes: [name("n1")].into(), ..Description::default() };
    assert_eq!(in_use(diff(&state, &gone).unwrap_err()), "node n1: node n2");
}

#[test]
fn a_value_set_by_hand_keeps_its_variable() {
    let mut state = applied(&pooled());
    let path = || "site.rack".parse().unwrap();
    let event = OperatorEvent::GoalSet { node: id(1), path: path(), value: Some(Value::symbol("r2")) };
    feed(&mut state, Fact::Operator(OperatorFact::from(event)));
    let narrower = Description { extensions: vec![site(&["r1"])], ..Description::default() };
    let refused = diff(&state, &narrower).unwrap_err().to_string();
    assert!(refused.contains("node n1 (by hand)") && refused.contains("r2"), "{refused}");
}

#[test]
fn a_variable_may_move_from_one_extension_to_another_in_one_apply() {
    let mut state = applied(&Description { extensions: vec![site(&["r1"])], ..Description::default() });
    let empty = Extension { variables: vec![], ..site(&["r1"]) };
    let other = Extension { name: name("racks"), ..site(&["r1"]) };
    apply(&mut state, &Description { extensions: vec![other, empty], ..Description::default() });
    let (extension, _) = state.schema.find(&"site.rack".parse().unwrap()).unwrap();
    assert_eq!(extension.name, name("racks"));
}

#[test]
fn a_running_node_is_told_to_take_its_new_address_at_its_next_boot() {
    let mut state = applied(&description());
    let event = AgentEvent::Connected { session: 1 };
    let peer = std::net::SocketAddr::from(([10, 0, 0, 1], 4000));
    feed(&mut state, Fact::Agent(AgentFact { node: Some(id(1)), peer, event }));
    let mut moved = description();
    moved.nodes[0].1.ip = Some(Ipv4Addr::new(10, 0, 0, 50));
    moved.nodes[1].1.ip = Some(Ipv4Addr::new(10, 0, 0, 51));
    let (changes, _) = diff(&state, &moved).unwrap();
    assert_eq!(changes.iter().map(|change| change.notes.clone()).collect::<Vec<_>>(), [vec![Note::AtNextBoot], vec![]]);
}

#[test]
fn a_new_node_with_a_bmc_is_announced_as_one_that_may_be_powered_off() {
    let mut description = pooled();
    description.nodes[0].1.bmc = Some("10.0.1.1:623".parse().unwrap());
    let (changes, _) = diff(&State::default(), &description).unwrap();
    let noted: Vec<&Change> = changes.iter().filter(|change| change.notes == [Note::MayBePoweredOff]).collect();
    assert_eq!(noted.iter().map(|change| change.name.as_str()).collect::<Vec<_>>(), ["n1"]);
}

#[test]
fn nodes_may_take_over_each_others_addresses_in_one_apply() {
    let mut state = applied(&description());
    let mut swapped = description();
    let (mac, ip) = (swapped.nodes[0].1.mac, swapped.nodes[0].1.ip);
    (swapped.nodes[0].1.mac, swapped.nodes[0].1.ip) = (swapped.nodes[1].1.mac, swapped.nodes[1].1.ip);
    (swapped.nodes[1].1.mac, swapped.nodes[1].1.ip) = (mac, ip);
    apply(&mut state, &swapped);
    for (_, said) in &swapped.nodes {
        assert_eq!(state.node_with_mac(said.mac).unwrap().spec.name, said.name);
        assert_eq!(state.node_with_ip(said.ip.unwrap()).unwrap().spec.name, said.name);
    }
}

#[test]
fn a_new_node_may_take_over_the_address_of_one_that_is_removed() {
    let mut state = applied(&description());
    let mut heir = node(1, "hello");
    (heir.0, heir.1.name) = (id(9), name("heir"));
    let nodes = vec![heir, node(2, "hello")];
    apply(&mut state, &Description { nodes, unnamed: Unnamed::Removed, ..description() });
    assert_eq!(state.node_with_ip(Ipv4Addr::new(10, 0, 0, 1)).unwrap().id, id(9));
    assert!(state.node(id(1)).is_none() && state.node_named(&name("n1")).is_none());
}

#[test]
fn a_node_that_is_described_with_another_address_keeps_its_id_and_frees_the_old_one() {
    let mut state = applied(&description());
    let (_, said) = node(1, "hello");
    let nodes = vec![(id(77), NodeDescription { ip: Some(Ipv4Addr::new(10, 0, 0, 50)), ..said })];
    apply(&mut state, &Description { nodes, ..description() });
    assert_eq!(state.node_named(&name("n1")).unwrap().id, id(1));
    assert!(state.node_with_ip(Ipv4Addr::new(10, 0, 0, 1)).is_none());
    assert!(state.node_with_ip(Ipv4Addr::new(10, 0, 0, 50)).is_some());
}

#[test]
fn nodes_without_an_address_get_one_of_a_range_for_nodes_and_keep_it() {
    let mut description = description();
    let (from, to) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 3));
    let range = AddressRange { serves: RangeUse::Nodes, ..AddressRange::new(from, to) };
    description.networks[0].ranges = vec![range];
    for (_, node) in &mut description.nodes {
        node.ip = None;
    }
    let mut state = State::default();
    apply(&mut state, &description);
    let ips = |state: &State| -> Vec<Ipv4Addr> { state.by_ip.keys().copied().collect() };
    assert_eq!(ips(&state), [from, to]);
    let again = diff(&state, &description).unwrap().0;
    assert!(again.is_empty(), "{again:?}");
    description.networks[0].ranges[0].to = from;
    let fresh = State::default();
    let error = diff(&fresh, &description).unwrap_err();
    assert!(matches!(error, ApplyError::NoAddress { .. }), "{error}");
}
