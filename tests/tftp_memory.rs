//! What many TFTP transfers at once cost in memory, with the largest block and the longest window.
//!
//! The clients run in the same process, so what is measured is more than what the server takes. Its own test program,
//! so that no other test's memory is counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bootes::boot::tftp::codec::{Mode, Options, Packet, Request, decode, encode};
use bootes::boot::tftp::files::READ_AHEAD_BYTES;
use bootes::boot::tftp::{BlksizeMax, Roots, ServerOptions, TransferEvent, bind};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Barrier};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const TRANSFERS: usize = 64;
const FILE_BYTES: usize = 12 * 1024 * 1024;
const BLOCK_MAX_BYTES: usize = 65_536;
/// What a transfer may cost beside its packet and its read-ahead: its task, the client's thread and its buffer.
const SLACK_BYTES: usize = 256 * 1024;

/// A line of `/proc/self/status`, in bytes.
fn status(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the field");
    line.split_whitespace().nth(1).expect("a number").parse::<usize>().expect("a number") * 1024
}

/// Reads the file, and keeps none of it. Where the system dropped part of a window, it says what it has.
fn read(server: SocketAddr, began: &Barrier) -> usize {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a patience");
    let options = Options {
        blksize_bytes: Some(65_464),
        windowsize_blocks: Some(u16::MAX),
        tsize_bytes: Some(0),
        ..Options::default()
    };
    let mut packet = Vec::new();
    encode(&Packet::Read(Request { name: "large", mode: Mode::Octet, options }), &mut packet);
    socket.send_to(&packet, server).expect("sent");
    let mut buffer = vec![0; BLOCK_MAX_BYTES];
    let (transfer, blksize, windowsize) = loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let Ok(Packet::OptionAck(granted)) = decode(&buffer[..length]) else { panic!("no options were granted") };
        break (from, granted.blksize_bytes.expect("granted"), granted.windowsize_blocks.expect("granted"));
    };
    // All transfers are under way before the first one is read.
    began.wait();
    let acknowledge = |block| {
        let mut packet = Vec::new();
        encode(&Packet::Ack { block }, &mut packet);
        socket.send_to(&packet, transfer).expect("sent");
    };
    acknowledge(0);
    let (mut last, mut in_window, mut received) = (0u16, 0, 0);
    loop {
        let Ok((length, _)) = socket.recv_from(&mut buffer) else {
            in_window = 0;
            acknowledge(last);
            continue;
        };
        match decode(&buffer[..length]).expect("a packet") {
            Packet::Data { block, payload } if block == last.wrapping_add(1) => {
                last = block;
                in_window += 1;
                received += payload.len();
                let ended = payload.len() < usize::from(blksize);
                if ended || in_window == windowsize {
                    in_window = 0;
                    acknowledge(block);
                }
                if ended {
                    return received;
                }
            }
            Packet::Error { message, .. } => panic!("{}", String::from_utf8_lossy(message)),
            _ => {}
        }
    }
}

#[test]
fn the_memory_of_sixty_four_transfers_is_that_of_their_packets_and_read_aheads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = fs::File::create(folder.path().join("large")).expect("a file");
    file.set_len(FILE_BYTES as u64).expect("its length");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let before = status("VmRSS");
    let shutdown = CancellationToken::new();
    let options = ServerOptions {
        blksize_max: BlksizeMax::Bytes(65_464),
        transfers_per_client_max: TRANSFERS,
        ..ServerOptions::default()
    };
    let bound = runtime.block_on(async { bind("127.0.0.1:0".parse().expect("an address"), options) }).expect("bound");
    let server = bound.local_addr();
    let roots = Roots::new([folder.path().to_owned()]).expect("the root exists");
    let failed = |event| {
        if let TransferEvent::Failed { .. } | TransferEvent::Refused { .. } = event {
            eprintln!("{event:?}");
        }
    };
    let running = runtime.spawn(bound.run(Arc::new(roots), failed, shutdown.clone()));
    let began = Barrier::new(TRANSFERS);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..TRANSFERS).map(|_| scope.spawn(|| read(server, &began))).collect();
        for client in clients {
            assert_eq!(client.join().expect("a client"), FILE_BYTES);
        }
    });
    let peak = status("VmHWM").saturating_sub(before);
    shutdown.cancel();
    runtime.block_on(running).expect("the server ends without a panic");
    println!("{TRANSFERS} transfers: {} KiB at the peak, clients included", peak / 1024);
    let bound = TRANSFERS * (READ_AHEAD_BYTES + BLOCK_MAX_BYTES + SLACK_BYTES);
    assert!(peak < bound, "{peak} bytes at the peak, more than {bound}");
}
