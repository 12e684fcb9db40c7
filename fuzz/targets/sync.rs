//! The tree protocol: any bytes are cut into frames and read as messages of either side, which survive the round trip.
#![no_main]

use bootes::sync::codec::{ChildMessage, Frames, ParentMessage, decode, encode, opening_version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut frames = Frames::new(64 << 10);
    for piece in bytes.chunks(7) {
        frames.push(piece);
        while let Ok(Some(body)) = frames.next_body() {
            look(&body);
        }
    }
    look(bytes);
});

fn look(body: &[u8]) {
    let _ = opening_version(body);
    if let Ok(message) = decode::<ChildMessage>(body) {
        let wire = encode(&message).expect("what was read is short enough");
        let again = decode::<ChildMessage>(wire.get(4..).unwrap_or_default()).expect("what was written is a message");
        assert_eq!(format!("{again:?}"), format!("{message:?}"));
    }
    let _ = decode::<ParentMessage>(body);
}
