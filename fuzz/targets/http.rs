//! HTTP: any bytes are a head, the beginning of one, or an error; a range lies within its file.
#![no_main]

use bootes::boot::http::codec::{HEAD_MAX_BYTES, decode};
use bootes::boot::http::encoding::accepted;
use bootes::boot::http::reply::{Fields, Method, Reply, decide};
use bootes::boot::http::route::route;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(head)) = decode(bytes) else { return };
    assert!(head.length_bytes <= bytes.len().min(HEAD_MAX_BYTES));
    let _ = route(head.request.uri().path());
    let field = |name: &str| head.request.headers().get(name).and_then(|value| value.to_str().ok());
    let _ = accepted(field("accept-encoding"));
    let fields = Fields {
        range: field("range"),
        if_range: field("if-range"),
        if_match: field("if-match"),
        if_none_match: field("if-none-match"),
    };
    for length_bytes in [0, 1, 1_000, u64::MAX] {
        if let Reply::Partial(part) = decide(Method::Get, fields, length_bytes, "\"tag\"") {
            assert!(part.first <= part.last && part.last < length_bytes);
        }
    }
});
