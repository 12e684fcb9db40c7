//! Broken packets, a journal that refuses, interfaces that cannot be served.

use std::net::{Ipv4Addr, UdpSocket};

use bootes::boot::dhcp::DhcpError;
use bootes::fact::{DhcpEvent, DhcpRefusal, Fact};
use bootes::port::SubmitError;

use crate::clients::udhcpc;
use crate::site::{
    Appliance, SERVER, Site, appliance_without_an_engine, bind_in_a_small_network, leased, mac, runtime,
};

#[test]
fn broken_packets_are_recorded_and_other_clients_are_served_on() {
    let mut appliance = Appliance::with_nodes(1);
    let site = Site::serve(appliance.facts.clone(), appliance.state.clone());
    site.run("ip address add 10.99.200.1/16 dev cli0");
    let mut hostile = vec![0; 300];
    hostile[..3].copy_from_slice(&[1, 1, 255]);
    site.inside(|| {
        let socket = UdpSocket::bind((Ipv4Addr::new(10, 99, 200, 1), 0)).unwrap();
        for garbage in [&b"x"[..], &[], &hostile, &[255; 1400]] {
            socket.send_to(garbage, (SERVER, 67)).unwrap();
        }
    });
    let reason = appliance.fact(|fact| match fact {
        Fact::Malformed(malformed) if malformed.service == "dhcp" => Some(malformed.reason.clone()),
        _ => None,
    });
    assert!(reason.contains("240"), "{reason}");
    let folder = tempfile::tempdir().unwrap();
    let output = udhcpc(&site, folder.path(), &["-n", "-q"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    appliance.exchange(leased);
}

#[test]
fn a_lease_that_the_journal_refuses_is_not_acknowledged_and_the_reason_is_offered() {
    let described = Appliance::with_nodes(1);
    let (facts, mut receiver) = appliance_without_an_engine();
    let site = Site::serve(facts, described.state.clone());
    let engine = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while let Some(submission) = runtime().block_on(receiver.queue.recv()) {
            seen.extend(submission.facts);
            if let Some(ack) = submission.ack {
                let _ = ack.send(Err(SubmitError::NotDurable { detail: "the disk is full".to_owned() }));
            }
        }
        seen
    });
    let folder = tempfile::tempdir().unwrap();
    let output = udhcpc(&site, folder.path(), &["-n", "-q"]).output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    site.stop();
    let refused = |fact: &Fact| match fact {
        Fact::Dhcp(dhcp) => {
            dhcp.mac == mac(1)
                && matches!(&dhcp.event, DhcpEvent::Ignored { reason: DhcpRefusal::NotDurable { detail } } if detail == "the disk is full")
        }
        _ => false,
    };
    let seen = engine.join().unwrap();
    assert!(seen.iter().any(refused), "{seen:?}");
}

#[test]
fn an_interface_that_cannot_be_served_is_named_with_what_to_do() {
    let bound = bind_in_a_small_network(&[&["good0"], &["good1"], &["good1", "good0"], &["gone0"], &["bare0"]]);
    let [first, other, second, gone, bare] = bound.try_into().unwrap_or_else(|_| panic!("five results"));
    first.expect("the first has the port");
    other.expect("another interface has it as well");
    assert!(matches!(second, Err(DhcpError::AddressInUse { .. })), "{second:?}");
    assert!(matches!(gone, Err(DhcpError::NoInterface { .. })), "{gone:?}");
    let bare = bare.expect_err("it has no address");
    assert_eq!(bare.to_string(), "DHCP cannot serve bare0: it has no IPv4 address; give it one with `ip address add`");
}
