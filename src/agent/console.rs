//! What process 1 says: one line a record, to the console, and to a ring from which it is forwarded to the parent.
//!
//! Invariants: a record is one line, whatever it holds, and bounded; a console that takes nothing delays the agent once,
//! by a bound, and then loses lines, which are counted; the ring loses its oldest lines, which are counted. A record
//! never fails what it is about.
//! Deliberately absent: files, colours, sending (the upper half reads the ring), and the kernel's own messages.
//! Specification: Linux `Documentation/admin-guide/serial-console.rst`, `ABI/testing/dev-kmsg`.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::time::ClockId;
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use super::cmdline::LogLevel;

#[cfg(test)]
mod tests;

/// The longest line, in bytes; the rest of a record is cut off and marked.
pub const LINE_BYTES_MAX: usize = 1024;
/// Lines that are kept for forwarding; at this bound the oldest is dropped and counted.
pub const RING_LINES_MAX: usize = 1024;
/// How long one line may wait for a console that is busy, in milliseconds: at 9600 baud a line takes about a second, but
/// the kernel's buffer takes it at once.
const STALL_MS: u16 = 250;

/// A line that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Time since the kernel started.
    pub uptime: Duration,
    /// How grave it is.
    pub level: Level,
    /// The text, without time and level, without a line end.
    pub text: String,
}

/// What was said since the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The lines, oldest first.
    pub lines: Vec<Line>,
    /// Lines before these that were dropped.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Line>,
    dropped: u64,
}

impl Ring {
    fn push(&mut self, line: Line) {
        if self.lines.len() >= RING_LINES_MAX {
            self.lines.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        self.lines.push_back(line);
    }

    fn take(&mut self) -> Batch {
        Batch { lines: self.lines.drain(..).collect(), dropped: std::mem::take(&mut self.dropped) }
    }
}

/// Where lines go. Clones are the same console.
#[derive(Debug, Clone)]
pub struct Console {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    device: Mutex<Device>,
    ring: Mutex<Ring>,
    wake: Notify,
    level: AtomicU8,
}

#[derive(Debug)]
struct Device {
    file: Option<File>,
    state: Flow,
}

/// Whether the device took the last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Taking,
    /// It did not; this many lines were lost since.
    Stalled(u64),
}

impl Console {
    /// Opens `console` below `dev`, or `kmsg` where there is no console. Lines go to the ring also without either.
    #[must_use]
    pub fn open(dev: &Path) -> Self {
        let open = |name: &str| {
            let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
            OpenOptions::new().write(true).custom_flags(flags.bits()).open(dev.join(name)).ok()
        };
        Self::to(open("console").or_else(|| open("kmsg")))
    }

    fn to(file: Option<File>) -> Self {
        let inner = Inner {
            device: Mutex::new(Device { file, state: Flow::Taking }),
            ring: Mutex::new(Ring::default()),
            wake: Notify::new(),
            level: AtomicU8::new(rank(Level::INFO)),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Makes every record of this program go here. Only the first call of a program counts.
    pub fn install(&self) {
        let subscriber = tracing_subscriber::registry().with(Records { console: self.clone() });
        let _ = tracing::subscriber::set_global_default(subscriber);
    }

    /// Sets how much is said from now on.
    pub fn set_level(&self, level: LogLevel) {
        let level = match level {
            LogLevel::Error => Level::ERROR,
            LogLevel::Warn => Level::WARN,
            LogLevel::Info => Level::INFO,
            LogLevel::Debug => Level::DEBUG,
            LogLevel::Trace => Level::TRACE,
        };
        self.inner.level.store(rank(level), Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    /// Says a line.
    pub fn say(&self, level: Level, text: &str) {
        let line = Line { uptime: uptime(), level, text: one_line(text) };
        let shown =
            format!("[{:>5}.{:03}] {level:5} {}\n", line.uptime.as_secs(), line.uptime.subsec_millis(), line.text);
        lock(&self.inner.device).write(shown.as_bytes());
        lock(&self.inner.ring).push(line);
        self.inner.wake.notify_one();
    }

    /// Waits until something was said since the last call, and takes it. For one caller at a time; dropping the future
    /// loses nothing.
    pub async fn heard(&self) -> Batch {
        loop {
            let batch = lock(&self.inner.ring).take();
            if !batch.lines.is_empty() {
                return batch;
            }
            self.inner.wake.notified().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    fn write(&mut self, line: &[u8]) {
        let Some(file) = &mut self.file else { return };
        match self.state {
            Flow::Taking => {
                if write_within(file, line, STALL_MS).is_err() {
                    self.state = Flow::Stalled(1);
                }
            }
            Flow::Stalled(lost) => {
                let note = format!("[console] {lost} lines were lost here\n");
                let written = write_within(file, note.as_bytes(), 0).and_then(|()| write_within(file, line, STALL_MS));
                self.state = if written.is_ok() { Flow::Taking } else { Flow::Stalled(lost.saturating_add(1)) };
            }
        }
    }
}

fn write_within(file: &mut File, mut bytes: &[u8], stall_ms: u16) -> io::Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && stall_ms > 0 => {
                let ready = poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLOUT)], PollTimeout::from(stall_ms));
                if ready? == 0 {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Time since the kernel started, sleep included.
#[must_use]
pub fn uptime() -> Duration {
    nix::time::clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// Without control characters, so that no record forges another, and bounded.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if line.len() >= LINE_BYTES_MAX {
            line.push('…');
            break;
        }
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

fn rank(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

struct Records {
    console: Console,
}

impl<S: Subscriber> Layer<S> for Records {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // The libraries below speak of each packet at these levels; their warnings are ours to hear.
        let ours = metadata.target().starts_with(env!("CARGO_PKG_NAME"));
        let level = self.console.inner.level.load(Ordering::Relaxed);
        let level = if ours { level } else { level.min(rank(Level::INFO)) };
        rank(*metadata.level()) <= level
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let Text { mut message, fields } = text;
        message.push_str(&fields);
        self.console.say(*event.metadata().level(), &message);
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let _ = write!(self.fields, " {}={}", field.name(), chain(value));
    }
}

/// An error with all its causes, on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
