//! Who is heard of three that speak of one node.

use proptest::prelude::*;

use super::*;
use crate::model::{BmcDriver, Sealed, Symbol, Value};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn node(own: Template) -> NodeDescription {
    NodeDescription {
        matching: Default::default(),
        name: name("n1"),
        mac: Mac([2; 6]),
        ip: Some(Ipv4Addr::new(10, 0, 0, 1)),
        bmc: None,
        pool: Some(name("gpu")),
        own,
        ipv6: Default::default(),
    }
}

fn pool(template: Template) -> PoolSpec {
    PoolSpec { name: name("gpu"), template }
}

fn template() -> impl Strategy<Value = Template> {
    let word = || proptest::option::of("[a-c]");
    let map = || proptest::collection::btree_map("[a-c]", "[a-c]", 0..3);
    (word(), word(), word(), map(), map(), proptest::collection::vec("[a-c]", 0..2)).prop_map(
        |(network, cake, arch, labels, variables, parents)| Template {
            network: network.map(|n| name(&n)),
            cake: cake.map(|n| name(&n)),
            arch: arch.map(|a| Symbol::from(a.as_str())),
            labels,
            variables: variables.into_iter().map(|(k, v)| (k.parse().unwrap(), Value::symbol(&v))).collect(),
            parents: parents.iter().map(|n| name(n)).collect(),
            ..Template::default()
        },
    )
}

proptest! {
    #[test]
    fn the_nearest_that_says_something_is_heard_and_maps_add_up(defaults in template(), middle in template(), own in template()) {
        let resolved = resolve(&node(own.clone()), Some(&pool(middle.clone())), &defaults);
        let network = own.network.as_ref().or(middle.network.as_ref()).or(defaults.network.as_ref());
        prop_assert_eq!(resolved.as_ref().ok().map(|spec| &spec.network), network);
        let Ok(spec) = resolved else { return Ok(()) };
        prop_assert_eq!(spec.cake.as_ref(), own.cake.as_ref().or(middle.cake.as_ref()).or(defaults.cake.as_ref()));
        prop_assert_eq!(spec.arch.as_ref(), own.arch.as_ref().or(middle.arch.as_ref()).or(defaults.arch.as_ref()));
        for key in ["a", "b", "c"] {
            let said = own.labels.get(key).or_else(|| middle.labels.get(key)).or_else(|| defaults.labels.get(key));
            prop_assert_eq!(spec.labels.get(key), said);
        }
        prop_assert_eq!(&*spec.own, &own);
    }

    #[test]
    fn a_resolved_node_that_is_resolved_again_is_the_same(defaults in template(), middle in template(), own in template()) {
        let pool = pool(middle);
        let Ok(first) = resolve(&node(own), Some(&pool), &defaults) else { return Ok(()) };
        let again = resolve(&node((*first.own).clone()), Some(&pool), &defaults);
        prop_assert_eq!(again, Ok(first));
    }
}

#[test]
fn what_a_bmc_needs_may_be_said_in_three_places_and_must_be_said_in_one() {
    let bmc = |user: Option<&str>, password: Option<u8>| BmcTemplate {
        driver: Some(BmcDriver::Ipmi),
        user: user.map(str::to_owned),
        password: password.map(|byte| Sealed(vec![byte])),
    };
    let address = SocketAddr::from(([10, 0, 1, 1], 623));
    let network = Some(name("boot"));
    let defaults = Template { network, bmc: Some(bmc(Some("admin"), None)), ..Template::default() };
    let said = NodeDescription { bmc: Some(address), ..node(Template::default()) };
    let missing = resolve(&said, None, &defaults).unwrap_err();
    assert_eq!(missing, Unsaid { node: name("n1"), what: "bmc.password" });
    let pool = pool(Template { bmc: Some(bmc(None, Some(7))), ..Template::default() });
    let spec = resolve(&said, Some(&pool), &defaults).unwrap();
    let found = spec.bmc.unwrap();
    assert_eq!((found.user.as_str(), found.password, found.address), ("admin", Sealed(vec![7]), address));
    assert_eq!(resolve(&node(Template::default()), Some(&pool), &defaults).unwrap().bmc, None, "no address, no BMC");
}

#[test]
fn the_head_of_a_pool_is_not_its_own_parent() {
    let defaults = Template { network: Some(name("boot")), ..Template::default() };
    let pool = pool(Template { parents: vec![name("n1"), name("n2")], ..Template::default() });
    assert_eq!(resolve(&node(Template::default()), Some(&pool), &defaults).unwrap().parents, [name("n2")]);
    let head_alone = PoolSpec { template: Template { parents: vec![name("n1")], ..Template::default() }, ..pool };
    assert!(resolve(&node(Template::default()), Some(&head_alone), &defaults).unwrap().parents.is_empty());
}
