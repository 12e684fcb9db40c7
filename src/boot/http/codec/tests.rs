//! Heads as clients send them, whole, in pieces, and broken.

use hyper::Response;
use proptest::prelude::*;

use super::*;

fn head(text: &str) -> Head {
    decode(text.as_bytes()).expect("a request").expect("all of it")
}

#[test]
fn a_request_as_ovmf_sends_it_is_read_and_what_follows_is_left() {
    let text = "GET /loaders/snponly.efi HTTP/1.1\r\nHost: 10.77.0.1:8080\r\nAccept: */*\r\nUser-Agent: UefiHttpBoot/1.0\r\n\r\n";
    let read = head(&format!("{text}GET"));
    assert_eq!(
        (read.request.uri().path(), read.after, read.length_bytes),
        ("/loaders/snponly.efi", After::Keep, text.len())
    );
    assert_eq!(read.request.headers()["user-agent"], "UefiHttpBoot/1.0");
}

#[test]
fn a_target_with_a_host_or_a_query_leads_to_its_path() {
    for target in ["/a/b?c=d", "http://10.77.0.1:8080/a/b", "http://h/a/b?c"] {
        assert_eq!(head(&format!("GET {target} HTTP/1.1\r\n\r\n")).request.uri().path(), "/a/b", "{target}");
    }
}

#[test]
fn a_connection_is_kept_as_version_and_fields_say() {
    for (version, field, after) in [
        ("1.1", "X: y", After::Keep),
        ("1.1", "Connection: Close", After::Close),
        ("1.1", "Connection: TE, close", After::Close),
        ("1.0", "X: y", After::Close),
        ("1.0", "Connection: Keep-Alive", After::Keep),
        ("1.1", "Content-Length: 0", After::Keep),
        ("1.1", "Content-Length: 5", After::Close),
        ("1.1", "Transfer-Encoding: chunked", After::Close),
    ] {
        assert_eq!(head(&format!("GET / HTTP/{version}\r\n{field}\r\n\r\n")).after, after, "{version} {field}");
    }
}

#[test]
fn what_is_no_request_is_told_apart_from_what_is_too_long() {
    let error = |bytes: &[u8]| decode(bytes).expect_err("no request").status();
    assert_eq!(error(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400, "TLS");
    assert_eq!(error(b"GET / HTTP/9.9\r\n\r\n"), 505);
    assert_eq!(error(b"GET / HTTP/1.1\r\nA b\r\n\r\n"), 400);
    assert_eq!(error(b"GET / HTTP/1.1\r\nA: b\x01\r\n\r\n"), 400);
    assert_eq!(error(&[b"GET /".to_vec(), vec![b'x'; HEAD_MAX_BYTES]].concat()), 431);
    assert_eq!(error(["GET / HTTP/1.1\r\n", &"A: b\r\n".repeat(FIELDS_MAX + 1), "\r\n"].concat().as_bytes()), 431);
}

#[test]
fn an_answers_head_is_as_the_standard_has_it() {
    let (parts, ()) = Response::builder().status(206).header("etag", "\"x\"").body(()).unwrap().into_parts();
    let mut bytes = Vec::new();
    encode(&parts, "Sun, 06 Nov 1994 08:49:37 GMT", After::Close, &mut bytes);
    let wanted = "HTTP/1.1 206 Partial Content\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nconnection: close\r\netag: \"x\"\r\n\r\n";
    assert_eq!(String::from_utf8(bytes).unwrap(), wanted);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), start in "GET /|HEAD http://|") {
        let _ = decode(&[start.as_bytes(), &bytes].concat());
    }

    #[test]
    fn a_head_that_comes_in_pieces_is_read_when_the_last_one_is_there(cut in 0usize..62) {
        let text = "GET /boot/x/kernel HTTP/1.1\r\nHost: a\r\nRange: bytes=5-6\r\n\r\n";
        let cut = cut.min(text.len());
        let read = decode(&text.as_bytes()[..cut]).expect("good as far as it goes");
        prop_assert_eq!(read.is_some(), cut == text.len());
    }
}
