//! A sign of life on anything that takes longer than a second: what is waited for and for how long, on the standard
//! error when that is a terminal.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Between two signs, and before the first.
const SIGN_EVERY: Duration = Duration::from_secs(1);
const CLEAR_LINE: &str = "\r\u{1b}[2K";

/// Waits for `work`, and shows meanwhile what it is.
pub async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    if !io::stderr().is_terminal() {
        return work.await;
    }
    tokio::pin!(work);
    let mut seconds = 0_u64;
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                if seconds > 0 {
                    sign(CLEAR_LINE);
                }
                return done;
            }
            () = tokio::time::sleep(SIGN_EVERY) => {
                seconds = seconds.saturating_add(1);
                sign(&format!("{CLEAR_LINE}{what}, {seconds} s"));
            }
        }
    }
}

fn sign(text: &str) {
    let mut stderr = io::stderr();
    // A sign that cannot be shown is no reason to stop the work.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
