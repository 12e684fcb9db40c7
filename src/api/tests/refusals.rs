//! Requests that make no sense: each is answered with a problem document, and the next one is answered as if nothing had
//! been.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::api::routes::ROUTES;

async fn problem_of(response: hyper::Response<hyper::body::Incoming>) -> (u16, Value) {
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{response:?}");
    let (status, problem) = read(response).await;
    assert_eq!(problem["status"], status.as_u16(), "{problem}");
    assert!(problem["type"].as_str().unwrap().starts_with("urn:bootes:problem:"), "{problem}");
    (status.as_u16(), problem)
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_refused_with_those_that_it_takes() {
    let api = appliance().await;
    for row in ROUTES {
        let path = row.path.replace("{name}", "n1").replace("{path}", "power");
        let request = Request::builder().method("PROPFIND").uri(&path).body(Full::default()).unwrap();
        let response = api.send(request).await;
        assert_eq!(response.status().as_u16(), 405, "{path}");
        let allow = response.headers()["allow"].to_str().unwrap().to_owned();
        assert!(allow.contains(row.method.as_str()), "{path}: {allow}");
        problem_of(response).await;
        let request = Request::builder().method("OPTIONS").uri(&path).body(Full::default()).unwrap();
        let response = api.send(request).await;
        assert_eq!((response.status().as_u16(), response.headers()["allow"].to_str().unwrap()), (204, allow.as_str()));
    }
}

#[tokio::test]
async fn head_has_the_head_of_get_and_no_body() {
    let api = appliance().await;
    api.post("/api/v1/apply", &description()).await;
    for path in ["/api/v1/nodes", "/api/v1/nodes/n1", "/api/v1/graph?format=svg", "/api/v1/openapi.json"] {
        let ask = |method: &str| Request::builder().method(method).uri(path).body(Full::<Bytes>::default()).unwrap();
        let (got, head) = (api.send(ask("GET")).await, api.send(ask("HEAD")).await);
        assert_eq!((head.status(), &head.headers()["content-type"]), (got.status(), &got.headers()["content-type"]));
        assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn an_answer_that_the_client_does_not_take_and_a_parameter_that_there_is_not_are_refused() {
    let api = appliance().await;
    for row in ROUTES {
        let path = row.path.replace("{name}", "n1").replace("{path}", "power");
        let request = |path: &str, accept: &str| {
            let request = Request::builder().method(row.method.clone()).uri(path).header("accept", accept);
            request.header("content-type", "application/json").body(Full::from("{}")).unwrap()
        };
        let (status, _) = problem_of(api.send(request(&path, "audio/ogg")).await).await;
        assert_eq!(status, 406, "{path}");
        let (status, problem) = problem_of(api.send(request(&format!("{path}?nodez=n1"), "*/*")).await).await;
        assert_eq!(status, 400, "{path}");
        assert!(problem["detail"].as_str().unwrap().contains("nodez"), "{problem}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_or_no_json_is_refused() {
    let api = appliance().await;
    for row in ROUTES.iter().filter(|row| row.method == Method::POST) {
        let path = row.path.replace("{name}", "n1").replace("{path}", "power");
        let request =
            |kind: &str, body: Bytes| Request::post(&path).header("content-type", kind).body(Full::from(body)).unwrap();
        let large = Bytes::from(vec![b' '; crate::model::limits::API_BODY_BYTES_MAX + 1]);
        for (kind, body, status) in [
            ("text/plain", Bytes::from("{}"), 415),
            ("application/json", Bytes::from("{"), 400),
            ("application/json", Bytes::from("\u{fffd}\0"), 400),
            ("application/json", large, 413),
        ] {
            assert_eq!(problem_of(api.send(request(kind, body)).await).await.0, status, "{path} {kind}");
        }
    }
}

/// What a stranger might send, whole: HTTP, almost HTTP, and no HTTP at all.
#[tokio::test]
async fn garbage_ends_at_most_its_own_connection() {
    let api = appliance().await;
    let mut garbage: Vec<Vec<u8>> = [
        "GET /api/v1/nodes/%ff%00 HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /api/v1/nodes/%zz HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /api/v1/nodes?nodes=n[1-99999999] HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /api/v1/nodes?nodes=%5B%5B%5B HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /api/v1/events?limit=-1 HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /api/v1/events?limit=99999999999999999999&after=18446744073709551615 HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /api/v1/events?after=18446744073709551615&since_ms=18446744073709551615 HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /api/v1/stream?after=18446744073709551615.18446744073709551615 HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /api/v1/stream HTTP/1.1\r\nhost: x\r\nlast-event-id: \u{e9}\r\n\r\n",
        "GET /api/v1/graph HTTP/1.1\r\nhost: x\r\naccept: ;q=;q=9.99999,,/,*\r\n\r\n",
        "GET /api/v1/ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n",
        "GET /api/v1/ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\u{0}\u{1}\u{2}garbage garbage garbage",
        "DELETE /api/v1/tokens/%2e%2e%2f HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST /api/v1/apply HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\n[[[[",
        "POST /api/v1/goals HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}",
        "\r\n\r\n\r\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    garbage.push(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)).into_bytes());
    garbage.push(format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1_000)).into_bytes());
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    garbage.push(
        format!("POST /api/v1/plan HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{nested}", nested.len())
            .into_bytes(),
    );
    // The same bytes in other orders, from a small generator that is the same at every run.
    let mut seed = 7_u64;
    for text in garbage.clone() {
        let mut torn = text;
        for _ in 0..8 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(seed >> 33).unwrap() % torn.len();
            torn[at] = u8::try_from(seed >> 56).unwrap();
        }
        garbage.push(torn);
    }
    for bytes in garbage {
        let mut socket = UnixStream::connect(&api.socket).await.unwrap();
        // The appliance may have closed it before all was sent.
        let _ = socket.write_all(&bytes).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(std::time::Duration::from_millis(500), socket.read_to_end(&mut answer)).await;
        assert!(!answer.windows(12).any(|window| window == b"HTTP/1.1 500"), "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(api.get("/api/v1/version").await.0, StatusCode::OK);
    }
}
