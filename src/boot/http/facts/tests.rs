//! Whom a request is believed to be from, and when parts make an image.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::reply::Part;
use super::*;
use crate::fact::{OperatorEvent, OperatorFact, Stamped};
use crate::model::{FactSeq, NodeSpec, UnixMs};

fn mac(last: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0, 0, last])
}

fn id(last: u8) -> NodeId {
    NodeId(uuid::Uuid::from_u128(last.into()))
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// Nodes 1 and 2.
fn state() -> State {
    let mut state = State::default();
    for last in [1, 2] {
        let spec = NodeSpec {
            name: format!("n{last}").parse().unwrap(),
            network: "boot".parse().unwrap(),
            mac: mac(last),
            ip: [192, 0, 2, last].into(),
            matching: Default::default(),
            cake: None,
            bmc: None,
            labels: BTreeMap::new(),
            pool: None,
            arch: None,
            platform: None,
            parents: Vec::new(),
            variables: Default::default(),
            own: Default::default(),
            ipv6: Default::default(),
        };
        let event = OperatorEvent::NodeDescribed { node: id(last), spec: Box::new(spec) };
        let fact = Fact::Operator(OperatorFact::from(event));
        state.apply(&Stamped { seq: FactSeq(last.into()), at: UnixMs(0), fact });
    }
    state
}

#[test]
fn a_request_is_a_nodes_only_from_its_own_address_and_for_its_own_path() {
    let state = state();
    let node = |client, route: Route| Asked::new(&state, ip(client), "/x", Some(&route)).node;
    assert_eq!(node(1, Route::Kernel(mac(1))), Some(id(1)));
    assert_eq!(
        node(2, Route::Kernel(mac(1))),
        None,
        "another node cannot speak for this one, nor by mistake for itself"
    );
    assert_eq!(node(9, Route::Kernel(mac(1))), None);
    assert_eq!(node(2, Route::Loader("x".into())), Some(id(2)));
    assert_eq!(Asked::new(&state, IpAddr::from([0u8; 16]), "/x", None).node, None);
}

#[test]
fn a_part_tells_of_its_file_when_it_ends_it() {
    let part = |first, last| Reply::Partial(Part { first, last });
    let (kernel, image) = (Route::Kernel(mac(1)), Digest::of(b"x"));
    assert_eq!(telling(&kernel, Reply::Whole, 10), Telling::File);
    assert_eq!(telling(&kernel, part(4, 9), 10), Telling::File);
    assert_eq!(telling(&kernel, part(4, 8), 10), Telling::Nothing);
    let blob = Route::Image(ImageFile::Blob(image));
    assert_eq!(telling(&blob, part(4, 9), 10), Telling::PartOf { image, length_bytes: 10 });
    assert_eq!(telling(&blob, Reply::Whole, 10), Telling::File);
}

#[test]
fn parts_make_an_image_once_and_a_client_that_left_begins_anew() {
    let (mut parts, image) = (Parts::default(), Digest::of(b"x"));
    assert_eq!(parts.sent(ip(1), image, 10, 6, (100, 110)), None);
    assert_eq!(parts.sent(ip(2), image, 10, 6, (100, 110)), None, "another client's parts are its own");
    assert_eq!(parts.sent(ip(1), image, 10, 4, (105, 130)), Some(Complete { bytes: 10, duration_ms: 30 }));
    assert_eq!(parts.sent(ip(1), image, 10, 6, (200, 210)), None);
    parts.forget(ip(1), image);
    assert_eq!(parts.sent(ip(1), image, 10, 4, (300, 310)), None);
}

proptest! {
    #[test]
    fn however_many_clients_there_are_the_table_stays_bounded(hosts in prop::collection::vec(any::<u32>(), 0..6_000)) {
        let (mut parts, image) = (Parts::default(), Digest::of(b"x"));
        for (at, host) in (0u64..).zip(hosts) {
            parts.sent(IpAddr::from(host.to_be_bytes()), image, 10, 1, (at, at));
            prop_assert!(parts.under_way.len() <= IMAGES_UNDER_WAY_MAX);
        }
    }
}
