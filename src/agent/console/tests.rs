//! What a console shows, and what it forwards.

use std::os::fd::OwnedFd;

use proptest::prelude::*;
use tracing::subscriber::with_default;

use super::*;

fn silent() -> Console {
    Console::to(None)
}

#[tokio::test]
async fn a_record_is_one_line_with_its_fields_and_its_causes() {
    let console = silent();
    let subscriber = tracing_subscriber::registry().with(Records { console: console.clone() });
    with_default(subscriber, || {
        let cause = io::Error::other("two\nlines");
        tracing::warn!(module = %"e1000", number = 7, error = &cause as &dyn std::error::Error, "a module failed");
        tracing::debug!("not said");
    });
    let batch = console.heard().await;
    let [line] = batch.lines.as_slice() else { panic!("{batch:?}") };
    assert_eq!(line.text, r"a module failed module=e1000 number=7 error=two\nlines");
    assert_eq!((line.level, batch.dropped), (Level::WARN, 0));
}

#[tokio::test]
async fn a_full_ring_drops_its_oldest_lines_and_counts_them() {
    let console = silent();
    for number in 0..RING_LINES_MAX + 3 {
        console.say(Level::INFO, &number.to_string());
    }
    let batch = console.heard().await;
    assert_eq!((batch.lines.len(), batch.dropped), (RING_LINES_MAX, 3));
    assert_eq!(batch.lines.first().unwrap().text, "3");
    console.say(Level::INFO, "next");
    assert_eq!(console.heard().await.dropped, 0);
}

#[test]
fn a_console_that_takes_nothing_loses_lines_and_says_how_many() {
    let (read, write): (OwnedFd, OwnedFd) = nix::unistd::pipe2(OFlag::O_NONBLOCK).unwrap();
    let mut filler = File::from(write.try_clone().unwrap());
    while filler.write(&[b'x'; 4096]).is_ok() {}
    while filler.write(b"x").is_ok() {}
    let console = Console::to(Some(File::from(write)));
    console.say(Level::INFO, "lost");
    console.say(Level::INFO, "lost too");
    let mut reader = File::from(read);
    let mut buffer = [0; 4096];
    while io::Read::read(&mut reader, &mut buffer).is_ok() {}
    console.say(Level::INFO, "heard again");
    let mut text = String::new();
    let _ = io::Read::read_to_string(&mut reader, &mut text);
    assert!(text.contains("2 lines were lost") && text.contains("heard again"), "{text}");
}

#[test]
fn a_console_that_is_missing_falls_back_to_the_kernels_log() {
    let dev = tempfile::tempdir().unwrap();
    std::fs::write(dev.path().join("kmsg"), "").unwrap();
    Console::open(dev.path()).say(Level::ERROR, "said");
    assert!(std::fs::read_to_string(dev.path().join("kmsg")).unwrap().ends_with("ERROR said\n"));
}

proptest! {
    #[test]
    fn any_text_is_one_bounded_line(text in "(?s).{0,1500}") {
        let line = one_line(&text);
        prop_assert!(!line.chars().any(char::is_control));
        prop_assert!(line.len() <= LINE_BYTES_MAX + 16);
    }
}
