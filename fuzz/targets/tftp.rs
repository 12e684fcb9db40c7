//! TFTP: any datagram is a packet or an error; a packet survives the round trip; a transfer bears any answers.
#![no_main]

use std::time::Duration;

use bootes::boot::tftp::codec::{Packet, decode, encode};
use bootes::boot::tftp::reply::{Limits, negotiate};
use bootes::boot::tftp::session::{Session, Step};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { blksize_max_bytes: 1_468, windowsize_max_blocks: 64 };
const LENGTH_BYTES: u64 = 70_000;

fuzz_target!(|bytes: &[u8]| {
    // The first datagram is a request, the others what the client says to the answers; each begins with its length.
    let mut datagrams = Vec::new();
    let mut rest = bytes;
    while let Some((length, more)) = rest.split_first() {
        let (datagram, more) = more.split_at(usize::from(*length).min(more.len()));
        datagrams.push(datagram);
        rest = more;
    }
    for datagram in datagrams.iter().chain([&bytes]) {
        if let Ok(packet) = decode(datagram) {
            let mut wire = Vec::new();
            encode(&packet, &mut wire);
            // A mode or message that holds a NUL ends there, so compare from the second time on.
            let again = decode(&wire).expect("what was encoded is a packet");
            let mut second = Vec::new();
            encode(&again, &mut second);
            assert_eq!(wire, second);
        }
    }
    let Some((first, answers)) = datagrams.split_first() else { return };
    let Ok(Packet::Read(request)) = decode(first) else { return };
    let mut session = Session::new(LENGTH_BYTES, negotiate(&request.options, LENGTH_BYTES, LIMITS));
    let mut now = Duration::ZERO;
    let mut step = session.start(now);
    for answer in answers {
        now += Duration::from_millis(150);
        match step {
            Step::SendBlocks { first, last } => {
                for block in first..=last {
                    let span = session.span(block).expect("what is to be sent is in the file");
                    assert!(span.offset_bytes + u64::from(span.length_bytes) <= LENGTH_BYTES);
                }
            }
            Step::End(_) => return,
            Step::OfferOptions | Step::Wait => {}
        }
        step = if now >= session.deadline() { session.on_timeout(now) } else { session.on_packet(now, answer) };
        assert!(session.acked_bytes() <= LENGTH_BYTES);
    }
});
