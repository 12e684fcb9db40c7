//! HTTP clients: one thread and one connection each; bodies are thrown away by the kernel, so that the load is cheap.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::{CLIENTS, Load};

fn connect(server: SocketAddr, number: u32) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let own = IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 2, 0, 1)) + number));
    socket.bind(&SocketAddr::new(own, 0).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    TcpStream::from(socket)
}

/// Reads an answer's head, byte by byte at its end so that none of the body is read with it; the body's length.
fn head(stream: &mut TcpStream) -> u64 {
    let mut bytes = Vec::with_capacity(512);
    let mut seen = [0; 1_024];
    loop {
        let length = stream.peek(&mut seen).unwrap();
        let text = [&bytes[..], &seen[..length]].concat();
        let end = text.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        let take = end.map_or(length, |end| end - bytes.len());
        stream.read_exact(&mut seen[..take]).unwrap();
        bytes.extend_from_slice(&seen[..take]);
        if end.is_some() {
            break;
        }
    }
    let text = String::from_utf8(bytes).unwrap().to_lowercase();
    assert!(text.starts_with("http/1.1 200"), "{text}");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    length.trim().parse().unwrap()
}

/// Throws away what comes, where tcp(7) does it without a copy.
fn discard(stream: &TcpStream, mut length: u64, until: Instant) -> u64 {
    use std::os::fd::AsRawFd;
    let mut taken = 0;
    while length > 0 && Instant::now() < until {
        let wanted = usize::try_from(length.min(1 << 20)).unwrap();
        // SAFETY: with MSG_TRUNC a TCP socket writes nothing to the buffer, which may therefore be none.
        let got = unsafe { libc::recv(stream.as_raw_fd(), std::ptr::null_mut(), wanted, libc::MSG_TRUNC) };
        let got = u64::try_from(got).unwrap_or(0);
        assert!(got > 0, "the server closed the connection");
        (length, taken) = (length - got, taken + got);
    }
    taken
}

/// All clients at once, for so long. Bytes of a file that the end of the time cut off count, the file does not.
pub fn load(server: SocketAddr, path: &str, time: Duration) -> Load {
    let (files, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let ready = Barrier::new(CLIENTS as usize);
    let began = Instant::now();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (files, bytes, ready) = (&files, &bytes, &ready);
            scope.spawn(move || {
                let mut stream = connect(server, number);
                ready.wait();
                while began.elapsed() < time {
                    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").unwrap();
                    let length = head(&mut stream);
                    let taken = discard(&stream, length, began + time);
                    bytes.fetch_add(taken, Ordering::Relaxed);
                    files.fetch_add(u64::from(taken == length), Ordering::Relaxed);
                }
            });
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    Load { files: files.into_inner(), bytes: bytes.into_inner(), seconds, sent_again: 0 }
}
