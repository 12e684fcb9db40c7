//! Many clients that want one image at the same moment.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use bootes::boot::http::{Bounds, HttpOptions};
use bootes::layer::fetch::schedule::Pace;
use bootes::layer::fetch::{Policy, Request, fetch};
use bootes::layer::manifest::{CHUNK_SIZE_MIN_BYTES, FORMAT, Filesystem, HealthCheck, Manifest};
use bootes::model::Digest;
use socket2::{Domain, Socket, Type};

use crate::harness::{Appliance, BOOT, PATIENCE, content, curl};

const IMAGE_BYTES: usize = 2_000_000;

/// A client of its own address, as a rack has them.
fn connect(server: SocketAddr, number: u32) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let own = IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number));
    socket.bind(&SocketAddr::new(own, 0).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Status, the seconds of `Retry-After`, and the body.
fn get(stream: &mut TcpStream, path: &str) -> (u16, Option<u64>, Vec<u8>) {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
    let mut body = vec![0; field("content-length:").expect("a length").parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, field("retry-after:").map(|value| value.parse().unwrap()), body)
}

fn narrow(transfers_max: usize, queue_max: usize) -> impl FnOnce(&std::path::Path, HttpOptions) -> HttpOptions {
    move |_, options| HttpOptions {
        images: Bounds { transfers_max, queue_max },
        image_wait_max: Duration::from_secs(1),
        connections_per_client_max: 10_000,
        ..options
    }
}

#[test]
fn four_hundred_clients_at_once_all_get_the_image_and_a_boot_goes_on_meanwhile() {
    const CLIENTS: u32 = 400;
    let appliance = Appliance::start_with(Ipv4Addr::LOCALHOST, narrow(2, 4));
    let image = appliance.put_image(&content(IMAGE_BYTES));
    let path = format!("/images/{}/blob", image.hex());
    let (sent_away, began) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(CLIENTS as usize + 1)));
    let clients: Vec<_> = (1..=CLIENTS)
        .map(|number| {
            let (server, path) = (appliance.address, path.clone());
            let (sent_away, began) = (Arc::clone(&sent_away), Arc::clone(&began));
            let client = move || {
                began.wait();
                let mut stream = connect(server, number);
                loop {
                    match get(&mut stream, &path) {
                        (200, None, body) => break assert!(body == content(IMAGE_BYTES), "client {number}"),
                        (503, Some(seconds), _) => {
                            sent_away.fetch_add(1, Ordering::Relaxed);
                            thread::sleep(Duration::from_secs(seconds));
                        }
                        (status, _, _) => panic!("client {number}: {status}"),
                    }
                }
            };
            thread::Builder::new().stack_size(256 << 10).spawn(client).unwrap()
        })
        .collect();
    began.wait();
    let kernel = appliance.url(&format!("{BOOT}/kernel"));
    for _ in 0..5 {
        assert!(curl(&[&kernel]) == content(3_000_000), "a kernel waits for no image");
    }
    for client in clients {
        client.join().expect("the client has its image");
    }
    assert!(sent_away.load(Ordering::Relaxed) > 0, "the storm was too small to be one");
}

#[test]
fn bootess_own_fetcher_comes_again_when_it_was_told_to_and_goes_on_where_it_was() {
    const NODES: u64 = 60;
    let appliance = Appliance::start_with(Ipv4Addr::LOCALHOST, narrow(2, 4));
    let blob = content(CHUNK_SIZE_MIN_BYTES as usize * 6 + 17);
    let manifest = Manifest {
        chunk_size_bytes: CHUNK_SIZE_MIN_BYTES,
        chunks: blob.chunks(CHUNK_SIZE_MIN_BYTES as usize).map(Digest::of).collect(),
        entrypoint: vec!["/bin/sh".into()],
        env: Default::default(),
        filesystem: Filesystem::Squashfs,
        format: FORMAT,
        health: HealthCheck::Alive,
        name: "web".parse().unwrap(),
        size_bytes: blob.len() as u64,
    };
    let manifest = manifest.encode().unwrap();
    let image = Digest::of(&manifest);
    std::fs::write(appliance.path("images").join(format!("{}.json", image.hex())), &manifest).unwrap();
    std::fs::write(appliance.path("images").join(image.hex()), &blob).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut nodes = tokio::task::JoinSet::new();
        for node in 0..NODES {
            let (sources, destination) = (vec![appliance.address], appliance.path(&format!("got{node}")));
            let pace = Pace { jitter_seed: node, ..Policy::default().pace };
            let request = Request { image, sources, destination, policy: Policy { pace, ..Policy::default() } };
            nodes.spawn(fetch(request, |_| {}));
        }
        while let Some(fetched) = nodes.join_next().await {
            let fetched = fetched.unwrap().expect("every node has its image");
            assert_eq!(fetched.fetched_bytes, blob.len() as u64, "nothing was fetched twice");
        }
    });
    for node in 0..NODES {
        assert!(std::fs::read(appliance.path(&format!("got{node}"))).unwrap() == blob);
    }
}
