//! The agent's life with its parent: connect, tell, do what is asked, and connect again when the connection ends.
//!
//! Invariants: images go on running whatever becomes of the parent; what happens to them while nobody listens is told in
//! full to the next parent; no wait here keeps a heartbeat back. After leaving the agent stays away for a while, and then
//! asks whether the mind was changed.
//! Deliberately absent: process 1 (`init`), how images are run (`runner`), and the protocol's rules (`sync::session`).

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::cmdline::BootArguments;
use super::image::Runner;
use super::join::{Connector, REFUSED_PAUSE, is_final, refusal_text};
use super::lines::Lines;
use super::surroundings::{self, Seen};
use super::tasks::{Tasks, Word};
use crate::model::hardware::Hardware;
use crate::sync::codec::{ChildMessage, Frames, ParentMessage, WireRefusal};
use crate::sync::identity::IdentityError;
use crate::sync::link::Link;
use crate::sync::session::{ChildEvent, ChildSession, Ledger};

/// How long the agent stays away after it has left: the power usually goes off meanwhile.
pub const AWAY: Duration = Duration::from_secs(10);
/// A session that lasted for this long was a good one: the next parent is looked for without a pause. One that ends sooner
/// counts as a failed try, so that a parent that ends every session is not asked in a tight loop.
const GOOD_SESSION: Duration = Duration::from_secs(10);
/// How long a message to a parent may take to be taken by the kernel.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// How long the last words may take.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(2);
/// Console lines in one message.
const LINES_AT_ONCE: usize = 64;
/// The pause between two messages of console lines: what a talkative image may take of the connection.
const LINES_PAUSE: Duration = Duration::from_millis(250);
/// How long images may take to stop when this machine is asked to end.
pub const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What the agent is made of, as values: nothing of it needs process 1.
pub struct Agent<R: Runner> {
    /// What the boot script said.
    pub arguments: BootArguments,
    /// What the machine is made of.
    pub hardware: Hardware,
    /// How images are run.
    pub runner: Arc<R>,
    /// Lines for the parent.
    pub lines: Lines,
    /// The network as it is, and whether the node is busy.
    pub seen: watch::Receiver<Seen>,
    /// Cancelled when this machine is asked to end.
    pub stop: CancellationToken,
}

/// How a session ended.
enum End {
    /// The connection ended, for this reason.
    Lost(String),
    /// The parent did not take the hello.
    Refused(WireRefusal),
    /// The agent left, as it was asked to.
    Left,
}

struct Life<R: Runner> {
    tasks: Tasks<R>,
    observed: Ledger,
    hardware: Hardware,
    lines: Lines,
    seen: watch::Receiver<Seen>,
    stop: CancellationToken,
    node: [u8; 16],
    born: Instant,
}

/// Lives until `agent.stop` is cancelled; then stops every image, tells the parent, and returns.
///
/// # Errors
/// When no key can be made.
pub async fn run<R: Runner>(agent: Agent<R>) -> Result<(), IdentityError> {
    let Agent { arguments, hardware, runner, lines, seen, stop } = agent;
    let mut connector = Connector::new(&arguments)?;
    let node = *connector.node().0.as_bytes();
    let (tasks, observed) = (Tasks::new(runner), Ledger::default());
    let mut life = Life { tasks, observed, hardware, lines, seen, stop: stop.clone(), node, born: Instant::now() };
    loop {
        let connected = life.meanwhile(connector.connect()).await;
        let Some((stream, parent)) = connected else { break };
        let begun = Instant::now();
        let end = life.session(stream, parent).await;
        if begun.elapsed() >= GOOD_SESSION {
            connector.encourage();
        }
        if stop.is_cancelled() {
            break;
        }
        let pause = match end {
            End::Left => AWAY,
            End::Refused(refusal) => {
                tracing::error!(%parent, reason = refusal_text(refusal), "the parent does not take this node back");
                if is_final(refusal) { REFUSED_PAUSE } else { Duration::ZERO }
            }
            End::Lost(reason) => {
                tracing::warn!(%parent, reason, "the parent is lost; images go on running");
                Duration::ZERO
            }
        };
        if life.meanwhile(tokio::time::sleep(pause)).await.is_none() {
            break;
        }
    }
    life.stop_images().await;
    Ok(())
}

impl<R: Runner> Life<R> {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Does `work` without a parent, and keeps up with what happens to the images; none when this machine is to end.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let stop = self.stop.clone();
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                done = &mut work => return Some(done),
                event = self.tasks.next_event() => {
                    if let Some(Word::Failed { step, detail, .. }) = self.tasks.take_in(event, &mut self.observed) {
                        tracing::warn!(step = step.mutation, detail, "a step failed while no parent was there");
                    }
                }
            }
        }
    }

    /// Stops every image without a parent, within a bound.
    async fn stop_images(&mut self) {
        self.tasks.stop_all(None);
        let stopped = async {
            loop {
                let event = self.tasks.next_event().await;
                let over = matches!(event, super::tasks::TaskEvent::Stopped { .. });
                let _ = self.tasks.take_in(event, &mut self.observed);
                if over {
                    return;
                }
            }
        };
        if tokio::time::timeout(STOP_LIMIT, stopped).await.is_err() {
            tracing::error!("some images did not stop in time");
        }
    }

    async fn session(&mut self, stream: TlsStream<TcpStream>, parent: SocketAddr) -> End {
        let mut link: Link<ParentMessage, ChildMessage> =
            Link::new(stream, Frames::new(crate::model::limits::SYNC_FRAME_BYTES_MAX), WRITE_LIMIT);
        surroundings::tell(&self.seen.borrow_and_update(), &mut self.observed);
        let mut session = ChildSession::new(self.node, std::mem::take(&mut self.observed), self.now_ms());
        let end = self.converse(&mut link, &mut session, parent).await;
        for message in session.take_outgoing() {
            // The connection may be the reason for the end.
            let _ = link.send(&message);
        }
        self.observed = session.into_observed();
        if matches!(end, End::Left) {
            link.finish(LAST_WORDS_LIMIT).await;
        }
        end
    }

    async fn converse(
        &mut self,
        link: &mut Link<ParentMessage, ChildMessage>,
        session: &mut ChildSession,
        parent: SocketAddr,
    ) -> End {
        let mut hardware_told = false;
        let mut lines_from = Instant::now();
        let mut stopping = false;
        loop {
            if session.is_up() && !hardware_told {
                hardware_told = true;
                session.say(ChildMessage::Hardware(Box::new(self.hardware.clone())));
            }
            if let Err(error) = session.take_outgoing().iter().try_for_each(|message| link.send(message)) {
                return End::Lost(error.to_string());
            }
            let tick = Duration::from_millis(session.next_tick_ms().saturating_sub(self.now_ms()));
            let (up, stop, lines) = (session.is_up(), self.stop.clone(), self.lines.clone());
            tokio::select! {
                biased;
                message = link.next() => {
                    let message = match message {
                        Ok(message) => message,
                        Err(error) => return End::Lost(error.to_string()),
                    };
                    match session.received(self.now_ms(), message) {
                        Err(end) => return End::Lost(end.to_string()),
                        Ok(None) => {}
                        Ok(Some(ChildEvent::Refused(refusal))) => return End::Refused(refusal),
                        // It is one already.
                        Ok(Some(ChildEvent::Become(_))) => {}
                        Ok(Some(ChildEvent::Welcomed { session: number })) => {
                            tracing::info!(%parent, session = number, "the session with the parent is up");
                        }
                        Ok(Some(ChildEvent::Desired)) => {
                            let desired = session.desired().clone();
                            self.tasks.desired(&desired, session.observed_mut());
                        }
                        Ok(Some(ChildEvent::Perform { step, generation, digest })) => {
                            tracing::info!(step = step.mutation, image = step.image, generation, "a step is asked for");
                            let word = self.tasks.perform(&step, generation, digest, session.observed_mut());
                            if let Some(end) = speak(word, session) {
                                return end;
                            }
                        }
                    }
                }
                event = self.tasks.next_event() => {
                    let word = self.tasks.take_in(event, session.observed_mut());
                    if let Some(end) = speak(word, session) {
                        return end;
                    }
                }
                Ok(()) = self.seen.changed() => {
                    surroundings::tell(&self.seen.borrow_and_update(), session.observed_mut());
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.tasks.stop_all(None);
                }
                () = lines.waiting(), if up && Instant::now() >= lines_from => {
                    let (lines, dropped) = self.lines.take(LINES_AT_ONCE);
                    session.say(ChildMessage::Console { lines, dropped });
                    lines_from = Instant::now() + LINES_PAUSE;
                }
                () = tokio::time::sleep(tick.min(LINES_PAUSE)) => {
                    if let Err(end) = session.tick(self.now_ms()) {
                        return End::Lost(end.to_string());
                    }
                }
            }
        }
    }
}

/// Says a word to the parent; the end of the session where it is the last one.
fn speak(word: Option<Word>, session: &mut ChildSession) -> Option<End> {
    match word? {
        Word::Failed { step, generation, detail } => {
            session.say(ChildMessage::Failed { step, generation, detail });
            None
        }
        Word::Leave => {
            tracing::info!("everything is stopped; the agent leaves");
            session.say(ChildMessage::Bye);
            Some(End::Left)
        }
    }
}
