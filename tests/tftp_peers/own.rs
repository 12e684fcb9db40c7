//! What no ready client does: windows, loss, probes, broken packets, repeated requests.

use crate::harness::{Client, Heard, Server, content, finished_bytes, window};
use bootes::boot::tftp::codec::{ErrorCode, Mode, Options, Packet, Request, Rollover, decode};
use bootes::boot::tftp::facts::{FailReason, MalformedReason, RefuseReason};
use bootes::boot::tftp::{ServerOptions, TransferEvent, bind};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[test]
fn a_window_survives_the_loss_of_any_block() {
    let server = Server::on_loopback();
    server.put("boot.img", &content(200_000));
    for (windowsize, every) in [(1, 29), (4, 13), (16, 7), (64, 50)] {
        // Scattered, since a steady beat can hit the same block of a short last window for ever.
        let lost = |arrival: u64| (arrival.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).is_multiple_of(every);
        let received = Client::new().read(server.address, "boot.img", window(1468, windowsize), lost);
        assert!(received == content(200_000), "window {windowsize}: the content differs");
        match server.outcome() {
            TransferEvent::Finished { retransmissions, .. } => assert!(retransmissions > 0),
            other => panic!("window {windowsize}: {other:?}"),
        }
    }
}

#[test]
fn a_file_with_more_blocks_than_numbers_arrives() {
    let server = Server::on_loopback();
    let long = content(70_000 * 8 + 3);
    server.put("long", &long);
    assert!(Client::new().read(server.address, "long", window(8, 64), |_| false) == long);
    assert_eq!(finished_bytes(&server.outcome()), long.len() as u64);
}

#[test]
fn a_long_file_arrives_with_either_rollover_that_a_client_asks_for() {
    let server = Server::on_loopback();
    let long = content(70_000 * 8 + 3);
    server.put("long", &long);
    for rollover in [Rollover::ToZero, Rollover::ToOne] {
        let options = Options { rollover: Some(rollover), ..window(8, 64) };
        assert!(Client::new().read(server.address, "long", options, |_| false) == long, "{rollover:?}");
        assert_eq!(finished_bytes(&server.outcome()), long.len() as u64);
    }
}

#[test]
fn a_file_too_large_for_the_cache_is_read_piece_by_piece() {
    let server = Server::on_loopback();
    let large = content(9_000_000);
    server.put("vmlinuz", &large);
    assert!(Client::new().read(server.address, "vmlinuz", window(1468, 32), |_| false) == large);
}

#[test]
fn a_window_beyond_the_bound_is_granted_as_the_bound() {
    let server = Server::on_loopback();
    server.put("f", &content(10));
    let client = Client::new();
    client.ask(server.address, "f", window(1468, 65_535));
    let Heard::OptionAck(granted) = client.hear().0 else { panic!("no options") };
    assert_eq!(granted.windowsize_blocks, Some(64));
}

#[test]
fn the_answer_comes_from_the_address_that_was_asked() {
    let server = Server::start("0.0.0.0:0", ServerOptions::default());
    server.put("f", &content(10));
    for asked in ["127.0.0.1", "127.0.0.5", "127.8.9.10"] {
        let asked: IpAddr = asked.parse().expect("an address");
        let client = Client::at("127.0.0.2:0");
        for name in ["f", "absent"] {
            client.ask(SocketAddr::new(asked, server.address.port()), name, Options::default());
            let (_, from) = client.hear();
            assert_eq!(from.ip(), asked);
            assert_ne!(from.port(), server.address.port(), "a transfer has a port of its own");
            client.send(from, &Packet::Error { code: ErrorCode::NotDefined, message: b"enough" });
            server.outcome();
        }
    }
}

#[test]
fn a_client_on_ipv6_is_served() {
    let server = Server::start("[::1]:0", ServerOptions::default());
    server.put("f", &content(5000));
    assert_eq!(Client::at("[::1]:0").read(server.address, "f", window(1024, 4), |_| false), content(5000));
}

#[test]
fn asking_for_the_size_and_leaving_is_a_probe_and_the_file_can_be_read_after() {
    let server = Server::on_loopback();
    server.put("snponly.efi", &content(5000));
    let probe = Client::new();
    probe.ask(server.address, "snponly.efi", Options { tsize_bytes: Some(0), ..Options::default() });
    let (heard, transfer) = probe.hear();
    assert_eq!(heard, Heard::OptionAck(Options { tsize_bytes: Some(5000), ..Options::default() }));
    probe.send(transfer, &Packet::Error { code: ErrorCode::OptionsRefused, message: b"User aborted the download" });
    assert!(matches!(server.outcome(), TransferEvent::Probed { size_bytes: 5000, .. }));
    assert_eq!(Client::new().read(server.address, "snponly.efi", window(1468, 4), |_| false), content(5000));
    assert_eq!(finished_bytes(&server.outcome()), 5000);
}

#[test]
fn an_error_of_the_client_ends_the_transfer_and_is_reported_with_its_words() {
    let server = Server::on_loopback();
    server.put("f", &content(5000));
    let client = Client::new();
    client.ask(server.address, "f", Options::default());
    let (heard, transfer) = client.hear();
    assert_eq!(heard, Heard::Data(1, content(5000)[..512].to_vec()));
    client.send(transfer, &Packet::Ack { block: 1 });
    client.hear();
    client.send(transfer, &Packet::Error { code: ErrorCode::DiskFull, message: b"no space" });
    match server.outcome() {
        TransferEvent::Failed { at_block, reason, .. } => {
            assert_eq!(at_block, 1);
            assert_eq!(reason, FailReason::ClientError { code: 3, message: "no space".to_owned() });
        }
        other => panic!("not failed: {other:?}"),
    }
}

#[test]
fn a_request_that_is_not_granted_is_answered_with_its_error() {
    let server = Server::on_loopback();
    server.put("f", b"x");
    let client = Client::new();
    let read = |name, mode| Packet::Read(Request { name, mode, options: Options::default() });
    let write = Packet::Write(Request { name: "f", mode: Mode::Octet, options: Options::default() });
    for (packet, code, reason) in [
        (read("absent", Mode::Octet), ErrorCode::FileNotFound, RefuseReason::NotFound),
        (read("../f", Mode::Octet), ErrorCode::AccessViolation, RefuseReason::OutsideRoots),
        (read("/", Mode::Octet), ErrorCode::AccessViolation, RefuseReason::NotAFile),
        (write, ErrorCode::AccessViolation, RefuseReason::WriteRefused),
        (
            read("f", Mode::Unknown(b"mail")),
            ErrorCode::IllegalOperation,
            RefuseReason::ModeUnknown { mode: "mail".to_owned() },
        ),
    ] {
        client.send(server.address, &packet);
        assert!(matches!(client.hear().0, Heard::Error(heard, _) if heard == code), "{packet:?}");
        assert!(
            matches!(server.outcome(), TransferEvent::Refused { reason: told, .. } if told == reason),
            "{packet:?}"
        );
    }
}

#[test]
fn broken_packets_are_reported_and_disturb_nobody() {
    let server = Server::on_loopback();
    server.put("f", &content(2000));
    let client = Client::new();
    for bytes in [&b""[..], b"\0", b"\0\x01", b"\0\x01\0octet\0", b"\xff\xff\xff", b"\0\x04\0\x01", b"\0\x03\0\x01data"]
    {
        client.socket.send_to(bytes, server.address).expect("sent");
        match server.outcome() {
            TransferEvent::Malformed { reason, .. } => {
                assert_eq!(reason == MalformedReason::NotARequest, bytes.len() > 3 && bytes[1] > 2, "{bytes:?}");
            }
            other => panic!("{bytes:?}: {other:?}"),
        }
    }
    assert_eq!(Client::new().read(server.address, "f", window(512, 2), |_| false), content(2000));
}

/// Datagrams that are nearly right, from a seed: true packets with bytes changed, cut off or put behind.
fn noise(count: u64) -> Vec<Vec<u8>> {
    let packets: [&[u8]; 6] = [
        b"\0\x01f\0octet\0blksize\x001468\0windowsize\x0064\0tsize\x000\0",
        b"\0\x02f\0netascii\0timeout\x001\0",
        b"\0\x03\0\x01data",
        b"\0\x04\0\x01",
        b"\0\x05\0\x08enough\0",
        b"\0\x06blksize\x001468\0",
    ];
    let dice = |seed: u64, sides: usize| {
        let mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::try_from((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33).expect("31 bits") % sides
    };
    let one = |number: u64| {
        let seed = number * 8;
        let mut packet = packets[dice(seed, packets.len())].to_vec();
        for turn in 1..4 {
            let at = dice(seed + turn, packet.len());
            packet[at] = u8::try_from(dice(seed + turn + 3, 256)).expect("a byte");
        }
        packet.truncate(dice(seed + 7, packet.len() + 8));
        packet
    };
    (0..count).map(one).collect()
}

#[test]
fn noise_on_every_port_ends_in_no_transfer_that_stays_and_the_next_client_is_served() {
    let server = Server::on_loopback();
    server.put("f", &content(5000));
    let (flooder, client) = (Client::at("127.0.0.7:0"), Client::new());
    client.ask(server.address, "f", window(512, 2));
    let (_, transfer) = client.hear();
    for datagram in noise(4_000) {
        flooder.socket.send_to(&datagram, server.address).expect("sent");
        // Another machine's packets to a transfer's port mean nothing to it.
        flooder.socket.send_to(&datagram, transfer).expect("sent");
    }
    // What comes while a port's queue is full of noise is lost, so both sides say again what was not answered.
    let insist = |client: &Client, say: &dyn Fn(), answer: &dyn Fn(&Heard) -> bool| {
        client.socket.set_read_timeout(Some(Duration::from_millis(250))).expect("a patience");
        let mut buffer = [0; 2048];
        let heard = (0..240).any(|_| {
            say();
            let Ok((length, _)) = client.socket.recv_from(&mut buffer) else { return false };
            match decode(&buffer[..length]) {
                Ok(Packet::Data { block, payload }) => answer(&Heard::Data(block, payload.to_vec())),
                Ok(Packet::Error { code, .. }) => answer(&Heard::Error(code, String::new())),
                _ => false,
            }
        });
        assert!(heard, "a client is not served after the noise");
    };
    let first = Heard::Data(1, content(5000)[..512].to_vec());
    insist(&client, &|| client.send(transfer, &Packet::Ack { block: 0 }), &|heard| *heard == first);
    let asker = Client::new();
    insist(&asker, &|| asker.ask(server.address, "absent", Options::default()), &|heard| {
        matches!(heard, Heard::Error(..))
    });
    assert_eq!(Client::new().read(server.address, "f", window(1468, 4), |_| false), content(5000));
    let events = server.stop();
    let ended = |event: &TransferEvent| matches!(event, TransferEvent::Failed { .. } | TransferEvent::Finished { .. });
    let started = events.iter().filter(|event| matches!(event, TransferEvent::Started { .. })).count();
    assert_eq!(started, events.iter().filter(|event| ended(event)).count(), "every transfer was told of to its end");
}

#[test]
fn a_repeated_request_does_not_start_a_second_transfer() {
    let server = Server::on_loopback();
    server.put("f", &content(100));
    let client = Client::new();
    for _ in 0..3 {
        client.ask(server.address, "f", Options::default());
    }
    // Requests are taken in order, so when this one is answered, the three have been seen.
    let other = Client::new();
    other.ask(server.address, "absent", Options::default());
    other.hear();
    let (_, transfer) = client.hear();
    client.send(transfer, &Packet::Ack { block: 1 });
    let mut events = vec![server.event(), server.event(), server.event()];
    events.extend(server.stop());
    let started = events.iter().filter(|event| matches!(event, TransferEvent::Started { .. })).count();
    assert_eq!((started, events.len()), (1, 3), "{events:?}");
}

#[test]
fn a_port_that_asks_for_another_file_gets_it() {
    let server = Server::on_loopback();
    server.put("first", &content(5000));
    server.put("second", &content(600));
    let client = Client::new();
    client.ask(server.address, "first", Options::default());
    let (_, first) = client.hear();
    client.ask(server.address, "second", Options::default());
    let second = loop {
        let (heard, from) = client.hear();
        if from != first {
            assert_eq!(heard, Heard::Data(1, content(600)[..512].to_vec()));
            break from;
        }
    };
    client.send(second, &Packet::Ack { block: 1 });
    client.hear();
    client.send(second, &Packet::Ack { block: 2 });
    let mut outcomes = [server.outcome(), server.outcome()];
    outcomes.sort_by_key(|event| matches!(event, TransferEvent::Finished { .. }));
    assert!(matches!(&outcomes[0], TransferEvent::Failed { reason: FailReason::Superseded, .. }), "{outcomes:?}");
    assert_eq!(finished_bytes(&outcomes[1]), 600);
}

#[test]
fn beyond_its_bound_a_client_hears_nothing_until_a_place_is_free() {
    let server =
        Server::start("127.0.0.1:0", ServerOptions { transfers_per_client_max: 2, ..ServerOptions::default() });
    server.put("f", &content(10));
    let clients = [Client::new(), Client::new(), Client::new()];
    for client in &clients {
        client.ask(server.address, "f", Options::default());
    }
    let refused = server.outcome();
    assert!(matches!(refused, TransferEvent::Refused { reason: RefuseReason::ClientBusy { limit: 2 }, .. }));
    for client in &clients[..2] {
        let (_, transfer) = client.hear();
        client.send(transfer, &Packet::Ack { block: 1 });
        finished_bytes(&server.outcome());
    }
    // A place may be given back a moment after the event, so the client asks as firmware does: until it is heard.
    loop {
        clients[2].ask(server.address, "f", Options::default());
        match server.event() {
            TransferEvent::Refused { .. } => {}
            event => break assert!(matches!(event, TransferEvent::Started { .. }), "{event:?}"),
        }
    }
    assert_eq!(clients[2].hear().0, Heard::Data(1, content(10)));
}

#[test]
fn a_file_that_is_cut_short_while_it_is_read_fails_with_a_word_to_the_client() {
    let server = Server::on_loopback();
    server.put("f", &content(1_000_000));
    let client = Client::new();
    client.ask(server.address, "f", Options { blksize_bytes: Some(65_000), ..Options::default() });
    let transfer = client.hear().1;
    client.send(transfer, &Packet::Ack { block: 0 });
    client.hear();
    let file = fs::File::options().write(true).open(server.folder.path().join("f")).expect("the file");
    file.set_len(70_000).expect("cut");
    let mut block = 0;
    let heard = loop {
        block += 1;
        client.send(transfer, &Packet::Ack { block });
        match client.hear().0 {
            Heard::Data(..) => assert!(block < 15, "the whole file came"),
            heard => break heard,
        }
    };
    assert!(matches!(heard, Heard::Error(ErrorCode::NotDefined, _)), "{heard:?}");
    let outcome = server.outcome();
    assert!(matches!(outcome, TransferEvent::Failed { reason: FailReason::ReadFailed { .. }, .. }), "{outcome:?}");
}

#[test]
fn a_client_whose_port_is_closed_is_let_go() {
    let server = Server::on_loopback();
    server.put("f", &content(5000));
    let client = Client::new();
    client.ask(server.address, "f", Options::default());
    drop(client);
    let outcome = server.outcome();
    assert!(
        matches!(outcome, TransferEvent::Failed { at_block: 0, reason: FailReason::ClientGone, .. }),
        "{outcome:?}"
    );
}

#[test]
fn stopping_the_server_tells_its_clients_and_reports_every_transfer() {
    let server = Server::on_loopback();
    server.put("f", &content(5000));
    let client = Client::new();
    client.ask(server.address, "f", Options::default());
    client.hear();
    let left = server.stop();
    assert!(matches!(left.last(), Some(TransferEvent::Failed { reason: FailReason::ShutDown, .. })), "{left:?}");
    assert!(matches!(client.hear().0, Heard::Error(ErrorCode::NotDefined, _)));
}

#[test]
fn a_port_that_is_taken_is_named_in_the_error() {
    let server = Server::on_loopback();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let error = runtime.block_on(async { bind(server.address, ServerOptions::default()) }).expect_err("taken");
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
}
