//! Who is let in, and what they may do: over TLS, with real tokens.

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::api::routes::{Permission, ROUTES};

impl Appliance {
    async fn connect(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.identity.ca_certificate().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
    }

    /// A response over TLS, to a request with this `Authorization`.
    async fn ask(
        &self,
        authorization: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> hyper::Response<hyper::body::Incoming> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.connect().await)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = match authorization {
            "" => request,
            header => request.header("authorization", header),
        };
        sender.send_request(request.body(Full::new(Bytes::from(body.to_string()))).unwrap()).await.unwrap()
    }

    async fn with(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let response = self.ask(&format!("Bearer {token}"), method, path, body).await;
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        let (status, answer) = read(response).await;
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        described::check(&method, path, status, &kind.unwrap_or_default(), &answer);
        (status.as_u16(), answer)
    }

    pub(super) async fn create(&self, body: &Value) -> String {
        let (status, made) = self.post("/api/v1/tokens", body).await;
        assert_eq!(status, StatusCode::OK, "{made}");
        made["token"].as_str().unwrap().to_owned()
    }

    async fn tokens(&self) -> [String; 4] {
        self.post("/api/v1/apply", &description()).await;
        [
            self.create(&json!({"name": "look", "role": "viewer"})).await,
            self.create(&json!({"name": "one", "role": "operator", "nodes": "n1"})).await,
            self.create(&json!({"name": "ops", "role": "operator"})).await,
            self.create(&json!({"name": "boss", "role": "admin"})).await,
        ]
    }
}

#[tokio::test]
async fn without_a_token_the_network_is_told_nothing_at_all() {
    let api = appliance().await;
    for row in ROUTES {
        let path = row.path.replace("{name}", "n1").replace("{path}", "power");
        let (status, problem) = read(api.ask("", row.method.as_str(), &path, &Value::Null).await).await;
        // After a few of these the peer is told to wait, which tells as little.
        assert!(matches!(status.as_u16(), 401 | 429), "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("token"), "{problem}");
    }
    let answer = api.ask("", "GET", "/api/v1/nothing", &Value::Null).await;
    assert_ne!(answer.status(), StatusCode::NOT_FOUND, "what there is, is not told either");
}

#[tokio::test]
async fn every_request_is_answered_to_the_roles_that_its_row_names_and_to_no_other() {
    let api = appliance().await;
    let [look, _, ops, boss] = api.tokens().await;
    for row in ROUTES.iter().filter(|row| row.path != "/api/v1/stream") {
        let path = row.path.replace("{name}", "n1").replace("{path}", "power");
        let allowed = match row.permission {
            Permission::Read => [true, true, true],
            Permission::Operate => [false, true, true],
            Permission::Administer => [false, false, true],
        };
        for (token, allowed) in [&look, &ops, &boss].into_iter().zip(allowed) {
            let (status, answer) = api.with(token, row.method.as_str(), &path, &json!({"nodes": "n9"})).await;
            assert_eq!(status != 403, allowed, "{path}: {status} {answer}");
        }
    }
}

#[tokio::test]
async fn a_token_for_some_nodes_changes_these_alone_and_reads_all() {
    let api = appliance().await;
    let [_, one, ..] = api.tokens().await;
    for path in ["goals", "power", "release", "power/status"] {
        let body = |nodes: &str| match path {
            "goals" => json!({"nodes": nodes, "goals": {"power": "off"}}),
            "power" => json!({"nodes": nodes, "power": "cycle"}),
            _ => json!({ "nodes": nodes }),
        };
        let path = format!("/api/v1/{path}");
        assert_eq!(api.with(&one, "POST", &path, &body("n1")).await.0, 200, "{path}");
        let before = api.get("/api/v1/events?limit=1").await.1;
        let (status, problem) = api.with(&one, "POST", &path, &body("n[1-2]")).await;
        assert_eq!(status, 403, "{path}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("one (operator of n1) may not change n2"), "{detail}");
        assert_eq!(api.get("/api/v1/events?limit=1").await.1, before, "nothing of it was done");
    }
    let (_, nodes) = api.with(&one, "GET", "/api/v1/nodes", &Value::Null).await;
    assert_eq!(nodes["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_token_for_some_nodes_says_nothing_about_all_of_them_even_where_nothing_would_change() {
    let api = appliance().await;
    let [_, one, ops, _] = api.tokens().await;
    for (path, body) in
        [("mass-event/clear", json!({})), ("freeze", json!({"all": true})), ("thaw", json!({"all": true}))]
    {
        let path = format!("/api/v1/{path}");
        let (status, problem) = api.with(&one, "POST", &path, &body).await;
        assert_eq!(status, 403, "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("may change nodes alone"), "{problem}");
        assert_eq!(api.with(&ops, "POST", &path, &body).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn what_was_asked_says_who_asked() {
    let api = appliance().await;
    let [_, one, ..] = api.tokens().await;
    api.with(&one, "POST", "/api/v1/power", &json!({"nodes": "n1", "power": "off"})).await;
    let (_, events) = api.get("/api/v1/events?kind=operator&limit=1000").await;
    let told: Vec<&str> = events["items"].as_array().unwrap().iter().map(|e| e["what"].as_str().unwrap()).collect();
    let root = if nix::unistd::geteuid().is_root() {
        "root (socket)".to_owned()
    } else {
        format!("user {} (socket)", nix::unistd::geteuid())
    };
    for what in ["asked for power=off, by one".to_owned(), format!("token one created: operator of n1, by {root}")] {
        assert!(told.contains(&what.as_str()), "{what}: {told:#?}");
    }
}

#[tokio::test]
async fn a_token_is_shown_once_and_is_nowhere_afterwards() {
    let api = appliance().await;
    let token = api.create(&json!({"name": "ci", "role": "viewer", "expires_s": 86_400})).await;
    assert!(token.starts_with("bootes_") && token.len() == 71, "{token}");
    assert_eq!(api.with(&token, "GET", "/api/v1/version", &Value::Null).await.0, 200);
    let secret = token.trim_start_matches("bootes_");
    for path in ["tokens", "events?limit=1000", "whoami"] {
        let (_, answer) = api.get(&format!("/api/v1/{path}")).await;
        assert!(!answer.to_string().contains(secret), "{path}");
    }
    for entry in std::fs::read_dir(api.dir.path()).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{:?}", entry.path());
        }
    }
    let (_, tokens) = api.get("/api/v1/tokens").await;
    let listed = &tokens["items"][0];
    assert_eq!((&listed["name"], &listed["role"]), (&json!("ci"), &json!("viewer")));
    assert!(listed["expires_at"].is_string() && listed["last_used"].is_string(), "{listed}");
}

#[tokio::test]
async fn tokens_outlive_a_restart_of_the_appliance() {
    let api = appliance().await;
    let token = api.create(&json!({"name": "ci", "role": "viewer"})).await;
    let digest = crate::model::Digest::of(token.as_bytes());
    let seen = crate::journal::JournalReader::open(api.dir.path()).unwrap();
    let mut state = crate::state::State::default();
    let filter = crate::journal::Filter { limit: 1_000, ..crate::journal::Filter::default() };
    seen.read(&filter).unwrap().iter().for_each(|fact| state.apply(fact));
    assert_eq!(state.tokens.get(&digest).unwrap().spec.name.as_str(), "ci");
}

#[tokio::test]
async fn a_token_that_is_unknown_expired_or_malformed_is_refused_with_what_to_do() {
    let api = appliance().await;
    let short = api.create(&json!({"name": "short", "role": "viewer", "expires_s": 1})).await;
    while api.with(&short, "GET", "/api/v1/whoami", &Value::Null).await.0 == 200 {
        tokio::task::yield_now().await;
    }
    for (header, kind, word) in [
        (format!("Bearer {short}"), "expired-token", "the token short expired at 2"),
        (format!("Bearer bootes_{}", "0".repeat(64)), "unknown-token", "revoked"),
        (format!("Basic {short}"), "no-token", "bootes login"),
        ("Bearer".to_owned(), "no-token", "bootes login"),
        ("Bearer x y".to_owned(), "unknown-token", "bootes login"),
    ] {
        let response = api.ask(&header, "GET", "/api/v1/nodes", &Value::Null).await;
        let challenge = response.headers().get("www-authenticate").unwrap().to_str().unwrap().to_owned();
        assert!(challenge.starts_with("Bearer realm=\"bootes\""), "{challenge}");
        let (status, problem) = read(response).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(problem["type"], format!("urn:bootes:problem:{kind}"), "{header}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
    }
}

#[tokio::test]
async fn a_peer_that_fails_again_and_again_is_told_to_wait_and_a_right_token_is_let_in_all_the_same() {
    let api = appliance().await;
    let right = api.create(&json!({"name": "ci", "role": "viewer"})).await;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(api.with("wrong", "GET", "/api/v1/nodes", &Value::Null).await.0);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 10, "{statuses:?}");
    let response = api.ask("Bearer wrong", "GET", "/api/v1/nodes", &Value::Null).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().get("retry-after").unwrap().to_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(api.with(&right, "GET", "/api/v1/nodes", &Value::Null).await.0, 200);
}

#[tokio::test]
async fn a_revoked_token_is_refused_and_the_streams_that_it_opened_end() {
    let api = appliance().await;
    let [look, _, _, boss] = api.tokens().await;
    let stream = api.ask(&format!("Bearer {look}"), "GET", "/api/v1/stream", &Value::Null).await;
    assert_eq!(stream.status(), StatusCode::OK);
    assert_eq!(api.with(&boss, "DELETE", "/api/v1/tokens/look", &Value::Null).await.0, 200);
    let mut body = stream.into_body();
    // It would go on for ever: that this returns is what is tested.
    while let Some(Ok(_)) = body.frame().await {}
    assert_eq!(api.with(&look, "GET", "/api/v1/nodes", &Value::Null).await.0, 401);
    assert_eq!(api.with(&boss, "DELETE", "/api/v1/tokens/look", &Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_token_that_cannot_be_is_refused() {
    let api = appliance().await;
    api.create(&json!({"name": "ci", "role": "viewer"})).await;
    for (body, status) in [
        (json!({"name": "ci", "role": "admin"}), 409),
        (json!({"name": "c i", "role": "admin"}), 400),
        (json!({"name": "x", "role": "root"}), 400),
        (json!({"name": "x", "role": "admin", "nodes": "n1"}), 422),
        (json!({"name": "x", "role": "viewer", "nodes": "n1"}), 422),
        (json!({"name": "x", "role": "operator", "nodes": "n["}), 400),
        (json!({"name": "x", "role": "operator", "expires_s": 0}), 422),
        (json!({"name": "x", "role": "operator", "expires_s": 1_000_000_000_000_u64}), 422),
    ] {
        let (got, problem) = api.post("/api/v1/tokens", &body).await;
        assert_eq!(got.as_u16(), status, "{body}: {problem}");
    }
}

#[tokio::test]
async fn over_the_socket_a_token_stands_before_the_user() {
    let api = appliance().await;
    let look = api.create(&json!({"name": "look", "role": "viewer"})).await;
    let request = Request::get("/api/v1/whoami").header("authorization", format!("bearer {look}"));
    let (_, who) = read(api.send(request.body(Full::default()).unwrap()).await).await;
    assert_eq!((&who["name"], &who["role"]), (&json!("look"), &json!("viewer")));
    let (_, who) = api.get("/api/v1/whoami").await;
    assert_eq!(who["role"], "admin");
}

#[tokio::test]
async fn plain_http_on_the_port_for_tls_is_told_to_use_https() {
    let api = appliance().await;
    let mut socket = TcpStream::connect(api.address).await.unwrap();
    socket.write_all(b"GET /api/v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
}

#[tokio::test]
async fn the_certificate_is_told_and_http_1_1_is_what_is_spoken_inside() {
    let api = appliance().await;
    let (_, told) = api.get("/api/v1/certificate").await;
    assert_eq!(told["fingerprint"], api.identity.ca_digest().to_string());
    assert_eq!(told["listen"], api.address.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(api.identity.ca_certificate().clone()).unwrap();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut config = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let socket = TcpStream::connect(api.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
}
