//! What no ready client does: garbage, half requests, silence, leaving in the middle.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use bootes::fact::{Fact, FileEvent};

use crate::harness::{Appliance, BOOT, PATIENCE, content, curl};

fn connect(appliance: &Appliance) -> TcpStream {
    let stream = TcpStream::connect(appliance.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

#[test]
fn garbage_is_told_once_and_a_flood_of_it_is_bounded() {
    let mut appliance = Appliance::start(Ipv4Addr::LOCALHOST);
    let long = [b"GET /".to_vec(), vec![b'x'; 100_000]].concat();
    let many = ["GET / HTTP/1.1\r\n".to_owned(), "A: b\r\n".repeat(5_000)].concat();
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    for garbage in [tls, b"\0\0\0\0\r\n\r\n".to_vec(), long, many.into_bytes(), b"GET / HTTP/9.9\r\n\r\n".to_vec()] {
        let mut stream = connect(&appliance);
        let _ = stream.write_all(&garbage);
        rest(&stream);
        match appliance.fact() {
            Fact::Malformed(fact) => assert_eq!((&*fact.service, &*fact.sender), ("http", "127.0.0.1")),
            other => panic!("{:?}: {other:?}", String::from_utf8_lossy(&garbage[..10])),
        }
    }
    for _ in 0..200 {
        let _ = connect(&appliance).write_all(b"\x01\x02\x03\r\n\r\n");
    }
    assert!(curl(&[&appliance.url(&format!("{BOOT}/kernel"))]) == content(3_000_000), "others notice nothing");
    let facts = appliance.stop_server();
    let malformed = facts.iter().filter(|fact| matches!(fact, Fact::Malformed(_))).count();
    assert!(malformed <= 20, "{malformed} facts");
}

#[test]
fn a_client_that_leaves_in_the_middle_is_told_of_with_what_it_got() {
    let mut appliance = Appliance::start(Ipv4Addr::LOCALHOST);
    std::fs::write(appliance.path("kernel"), content(60_000_000)).unwrap();
    let mut stream = connect(&appliance);
    write!(stream, "GET {BOOT}/kernel HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 1_000]).unwrap();
    drop(stream);
    match appliance.file().event {
        FileEvent::Stopped { bytes, reason } => {
            assert!((1_000..60_000_000).contains(&bytes), "{bytes}");
            assert_eq!(reason, "the client closed the connection");
        }
        other => panic!("not stopped: {other:?}"),
    }
}

#[test]
fn a_slow_client_holds_up_nobody_and_gets_all_of_it() {
    let mut appliance = Appliance::start(Ipv4Addr::LOCALHOST);
    std::fs::write(appliance.path("kernel"), content(30_000_000)).unwrap();
    let mut slow = connect(&appliance);
    for piece in
        [format!("GET {BOOT}/ker"), "nel HTTP/1.1\r\nHo".to_owned(), "st: x\r\nConnection: close\r\n\r".to_owned()]
    {
        slow.write_all(piece.as_bytes()).unwrap();
        assert_eq!(curl(&[&appliance.url(&format!("{BOOT}/initramfs"))]).len(), 700_001);
        appliance.sent_bytes();
    }
    slow.write_all(b"\n").unwrap();
    slow.read_exact(&mut [0; 10]).unwrap();
    // The answer does not fit into the buffers between us: it waits, and is not told of as sent.
    assert_eq!(curl(&[&appliance.url(&format!("{BOOT}/initramfs"))]).len(), 700_001);
    assert_eq!(appliance.sent_bytes(), 700_001);
    let bytes = rest(&slow);
    assert!(bytes.ends_with(&content(30_000_000)));
    assert_eq!(appliance.sent_bytes(), 30_000_000);
}

#[test]
fn requests_in_a_row_are_answered_in_their_order() {
    let mut appliance = Appliance::start(Ipv4Addr::LOCALHOST);
    let mut stream = connect(&appliance);
    let ask = |file: &str, close: &str| format!("GET {BOOT}/{file} HTTP/1.1\r\nHost: x\r\n{close}\r\n");
    stream.write_all([ask("initramfs", ""), ask("kernel", "Connection: close\r\n")].concat().as_bytes()).unwrap();
    let bytes = rest(&stream);
    assert!(bytes.ends_with(&content(3_000_000)) && bytes.len() > 3_700_001);
    assert_eq!((appliance.sent_bytes(), appliance.sent_bytes()), (700_001, 3_000_000));
}

#[test]
fn an_empty_file_is_sent_too_and_an_unfinished_request_is_no_fact() {
    let mut appliance = Appliance::start(Ipv4Addr::LOCALHOST);
    std::fs::write(appliance.path("loaders/empty"), b"").unwrap();
    let mut half = connect(&appliance);
    half.write_all(b"GET /loaders/empty HT").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    rest(&half);
    assert_eq!(curl(&["-w", "%{http_code}", &appliance.url("/loaders/empty")]), b"200");
    assert_eq!(appliance.sent_bytes(), 0);
}

#[test]
fn a_server_that_is_stopped_tells_of_every_answer_under_way() {
    let mut appliance = Appliance::start(Ipv4Addr::LOCALHOST);
    std::fs::write(appliance.path("kernel"), content(60_000_000)).unwrap();
    let mut stream = connect(&appliance);
    write!(stream, "GET {BOOT}/kernel HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 1_000]).unwrap();
    let facts = appliance.stop_server();
    let stopped = facts.iter().find_map(|fact| match fact {
        Fact::File(file) => match &file.event {
            FileEvent::Stopped { reason, .. } => Some(reason.clone()),
            _ => None,
        },
        _ => None,
    });
    assert!(stopped.is_some_and(|reason| reason.contains("the appliance was stopped")), "{facts:?}");
}
