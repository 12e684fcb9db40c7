//! Tests of the belief, and of probes against sockets on loopback.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const LIMIT: Duration = Duration::from_secs(5);
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Answers every connection with `answer` after a request's first bytes.
async fn server(answer: &'static str) -> NonZeroU16 {
    let listener = TcpListener::bind((HOME, 0)).await.unwrap();
    let port = NonZeroU16::new(listener.local_addr().unwrap().port()).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 1024];
            let _ = stream.read(&mut bytes).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

fn http(port: NonZeroU16) -> HealthCheck {
    HealthCheck::Http { path: "/health".into(), port }
}

#[tokio::test]
async fn http_is_well_with_2xx_and_3xx_and_unwell_with_the_rest() {
    let ok = server("HTTP/1.1 204 No Content\r\n\r\n").await;
    probe(&http(ok), HOME, LIMIT).await.unwrap();
    probe(&HealthCheck::Tcp { port: ok }, HOME, LIMIT).await.unwrap();
    let moved = server("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n").await;
    probe(&http(moved), HOME, LIMIT).await.unwrap();
    let broken = server("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n").await;
    assert!(matches!(probe(&http(broken), HOME, LIMIT).await, Err(Unhealthy::Status { status: 500, .. })));
    let other = server("220 mail ready\r\n").await;
    assert!(matches!(probe(&http(other), HOME, LIMIT).await, Err(Unhealthy::NotHttp { .. })));
}

#[tokio::test]
async fn a_closed_port_refuses_and_a_silent_one_is_late() {
    let listener = TcpListener::bind((HOME, 0)).await.unwrap();
    let port = NonZeroU16::new(listener.local_addr().unwrap().port()).unwrap();
    let late = probe(&http(port), HOME, Duration::from_millis(50)).await;
    assert!(matches!(late, Err(Unhealthy::TimedOut { .. })), "{late:?}");
    drop(listener);
    let refused = probe(&HealthCheck::Tcp { port }, HOME, LIMIT).await;
    assert!(matches!(refused, Err(Unhealthy::Refused { .. })), "{refused:?}");
    probe(&HealthCheck::Alive, HOME, LIMIT).await.unwrap();
}

proptest! {
    #[test]
    fn unhealthy_means_that_the_last_probes_failed(max in 0_u32..5, outcomes: Vec<bool>) {
        let mut state = HealthState::new(max);
        let mut row = 0;
        let mut seen_well = false;
        for well in outcomes {
            row = if well { 0 } else { row + 1 };
            seen_well |= well;
            let before = state.health();
            let change = state.observe(if well { Outcome::Well } else { Outcome::Unwell });
            prop_assert_eq!(change.is_some(), before != state.health());
            match state.health() {
                Health::Unhealthy => prop_assert!(row >= max.max(1)),
                Health::Healthy => prop_assert!(seen_well && row < max.max(1)),
                Health::Starting => prop_assert!(!seen_well && row < max.max(1)),
            }
        }
    }
}
