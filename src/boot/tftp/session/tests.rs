//! The transfer against a client and a network that lose, double and reorder, from a seed.

mod network;

use super::*;
use crate::boot::tftp::codec::{Options, encode};
use network::{Dice, Weather, content, simulate, weather};
use proptest::prelude::*;

const BLKSIZE: u16 = 8;

fn terms(windowsize: u16) -> Terms {
    Terms { blksize_bytes: BLKSIZE, windowsize_blocks: windowsize, ..Terms::default() }
}

fn ack(block: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&Packet::Ack { block }, &mut bytes);
    bytes
}

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

#[test]
fn the_file_arrives_intact_through_loss_doubling_and_reordering() {
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let content = content(usize::try_from(dice.roll(4000)).expect("small"));
        let windowsize = 1 + dice.roll(40) as u16;
        let outcome = simulate(seed, &content, windowsize, weather(&mut dice, 10));
        assert_eq!(outcome.ending, Ending::Acknowledged, "seed {seed}");
        assert!(outcome.received == content, "seed {seed}: the content differs");
    }
}

#[test]
fn a_terrible_network_may_end_a_transfer_but_never_falsifies_it() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let content = content(usize::try_from(dice.roll(2000)).expect("small"));
        let windowsize = 1 + dice.roll(40) as u16;
        let outcome = simulate(seed, &content, windowsize, weather(&mut dice, 60));
        match outcome.ending {
            Ending::Acknowledged => assert!(outcome.received == content, "seed {seed}: the content differs"),
            ending => assert!(matches!(ending, Ending::NoAck { .. }), "seed {seed}: {ending:?}"),
        }
        assert!(content.starts_with(&outcome.received), "seed {seed}: the content differs");
    }
}

proptest! {
    #[test]
    fn doubled_packets_cost_nothing_in_lock_step_and_a_bounded_factor_in_windows(seed: u64, windowsize in 1u16..40) {
        let content = content(4000);
        let all_doubled = Weather { lost_percent: 0, doubled_percent: 100, delay_max_ms: 1 };
        let outcome = simulate(seed, &content, windowsize, all_doubled);
        prop_assert_eq!(outcome.ending, Ending::Acknowledged);
        prop_assert_eq!(outcome.received, content);
        let factor = if windowsize == 1 { 1 } else { 2 + REPEATS_PER_BLOCK_MAX };
        prop_assert!(outcome.data_packets <= factor * 501, "{} packets for 501 blocks", outcome.data_packets);
    }

    #[test]
    fn arbitrary_packets_never_panic_and_never_leave_the_file(
        length in 0u64..100_000, windowsize in 0u16..=u16::MAX,
        packets in proptest::collection::vec((0u64..3000, proptest::collection::vec(any::<u8>(), 0..12)), 0..60),
    ) {
        let mut session = Session::new(length, terms(windowsize));
        let mut now = Duration::ZERO;
        session.start(now);
        for (pause, packet) in packets {
            now += ms(pause);
            for step in [session.on_packet(now, &packet), session.on_timeout(now)] {
                if let Step::SendBlocks { first, last } = step {
                    prop_assert!(first >= 1 && first <= last);
                    prop_assert!(session.span(first).is_some() && session.span(last).is_some());
                }
            }
        }
    }
}

#[test]
fn a_calm_network_costs_no_retransmission() {
    for windowsize in [1, 4, 32] {
        let calm = Weather { lost_percent: 0, doubled_percent: 0, delay_max_ms: 1 };
        let outcome = simulate(1, &content(800), windowsize, calm);
        assert_eq!((outcome.ending, outcome.data_packets), (Ending::Acknowledged, 101));
    }
}

#[test]
fn block_numbers_roll_over_to_zero_and_the_transfer_goes_on() {
    let blocks = 70_000u64;
    let content = content(usize::try_from(blocks).expect("small") * 8);
    let outcome = simulate(3, &content, 32, Weather { lost_percent: 1, doubled_percent: 1, delay_max_ms: 3 });
    assert_eq!(outcome.ending, Ending::Acknowledged);
    assert_eq!(outcome.received, content);
}

#[test]
fn block_numbers_roll_over_to_one_where_the_client_wants_it() {
    let blocks = 131_080u64;
    let mut session = Session::new(blocks * 8 - 1, Terms { rollover: Rollover::ToOne, ..terms(5) });
    let (mut step, mut expected) = (session.start(ms(0)), 1u16);
    for turn in 1u64.. {
        let (first, last) = match step {
            Step::SendBlocks { first, last } => (first, last),
            Step::End(ending) => {
                assert_eq!(ending, Ending::Acknowledged);
                break;
            }
            other => panic!("block number {expected}: {other:?}"),
        };
        let mut number = 0;
        for block in first..=last {
            number = session.span(block).expect("in the file").wire_block;
            assert_eq!(number, expected, "block {block}");
            expected = if expected == u16::MAX { 1 } else { expected + 1 };
        }
        if session.acked_block() > 0 {
            assert_eq!(session.on_packet(ms(turn), &ack(0)), Step::Wait, "0 is no block's number");
        }
        step = session.on_packet(ms(turn), &ack(number));
    }
    assert_eq!(session.acked_block(), blocks);
}

proptest! {
    #[test]
    fn an_ack_finds_its_place_under_either_rollover(acked in 0u64..1_000_000, news in 0u64..=1024) {
        for rollover in [Rollover::ToZero, Rollover::ToOne] {
            let number = wire(acked + news, rollover);
            prop_assert_eq!(distance(acked, number, rollover), Some(news), "{:?}", rollover);
        }
    }
}

#[test]
fn a_file_that_fills_its_last_block_is_ended_by_an_empty_one() {
    let mut session = Session::new(16, terms(1));
    assert_eq!(session.start(ms(0)), Step::SendBlocks { first: 1, last: 1 });
    session.on_packet(ms(1), &ack(1));
    assert_eq!(session.on_packet(ms(2), &ack(2)), Step::SendBlocks { first: 3, last: 3 });
    assert_eq!(session.span(3), Some(Span { wire_block: 3, offset_bytes: 16, length_bytes: 0 }));
    assert_eq!(session.on_packet(ms(3), &ack(3)), Step::End(Ending::Acknowledged));
    assert_eq!(session.span(4), None);
    assert_eq!(session.span(0), None);
}

#[test]
fn a_repeated_ack_in_lock_step_sends_nothing() {
    let mut session = Session::new(100, terms(1));
    session.start(ms(0));
    assert_eq!(session.on_packet(ms(1), &ack(1)), Step::SendBlocks { first: 2, last: 2 });
    assert_eq!(session.on_packet(ms(2), &ack(1)), Step::Wait);
    assert_eq!(session.on_packet(ms(2), &ack(0)), Step::Wait);
    assert_eq!(session.on_packet(ms(2), &ack(9)), Step::Wait);
}

#[test]
fn a_gap_in_the_window_goes_back_to_the_missing_block() {
    let mut session = Session::new(1000, terms(4));
    assert_eq!(session.start(ms(0)), Step::SendBlocks { first: 1, last: 4 });
    assert_eq!(session.on_packet(ms(5), &ack(2)), Step::SendBlocks { first: 3, last: 6 });
    assert_eq!(session.retransmissions(), 2);
    assert_eq!(session.on_packet(ms(9), &ack(2)), Step::Wait, "the echo of the same gap");
    assert_eq!(session.on_packet(ms(10), &ack(6)), Step::SendBlocks { first: 7, last: 10 });
}

#[test]
fn a_lost_first_block_of_a_window_is_sent_again_once_on_the_clients_word() {
    let mut session = Session::new(1000, terms(4));
    session.start(ms(0));
    assert_eq!(session.on_packet(ms(5), &ack(4)), Step::SendBlocks { first: 5, last: 8 });
    assert_eq!(session.on_packet(ms(9), &ack(4)), Step::SendBlocks { first: 5, last: 8 });
    assert_eq!(session.on_packet(ms(9), &ack(4)), Step::Wait);
}

#[test]
fn a_client_that_acknowledges_every_block_does_not_get_a_window_for_each() {
    let blocks = 10_000;
    let mut session = Session::new(blocks * u64::from(BLKSIZE) - 1, terms(64));
    let mut step = session.start(ms(0));
    let mut sent = 0;
    for block in 1..=blocks {
        if let Step::SendBlocks { first, last } = step {
            sent += last - first + 1;
        }
        step = session.on_packet(ms(block), &ack(block as u16));
    }
    assert_eq!(step, Step::End(Ending::Acknowledged));
    assert!(sent <= (2 + REPEATS_PER_BLOCK_MAX) * blocks, "{sent} packets for {blocks} blocks");
}

#[test]
fn options_are_offered_until_the_client_takes_them() {
    let granted = Options { tsize_bytes: Some(100), ..Options::default() };
    let mut session = Session::new(100, Terms { granted, ..terms(1) });
    assert_eq!(session.start(ms(0)), Step::OfferOptions);
    assert_eq!(session.on_timeout(ms(10)), Step::Wait, "too early");
    assert_eq!(session.on_timeout(session.deadline()), Step::OfferOptions);
    assert_eq!(session.on_packet(ms(3000), &ack(0)), Step::SendBlocks { first: 1, last: 1 });
}

#[test]
fn an_error_after_the_size_was_told_is_a_probe_and_elsewhere_a_failure() {
    let granted = Options { tsize_bytes: Some(100), ..Options::default() };
    let mut session = Session::new(100, Terms { granted, ..terms(1) });
    session.start(ms(0));
    assert_eq!(session.on_packet(ms(1), b"\0\x05\0\x08User aborted\0"), Step::End(Ending::Probed));
    session.on_packet(ms(1), &ack(0));
    let ending = Ending::ClientError { code: ErrorCode::DiskFull, message: "full".to_owned() };
    assert_eq!(session.on_packet(ms(2), b"\0\x05\0\x03full\0"), Step::End(ending));
}

#[test]
fn a_silent_client_is_let_go_after_the_last_try() {
    for timeout_s in [None, Some(1), Some(10), Some(255)] {
        let mut session = Session::new(100, Terms { timeout_s, ..terms(1) });
        session.start(ms(0));
        let mut tries = 1;
        let ending = loop {
            match session.on_timeout(session.deadline()) {
                Step::End(ending) => break ending,
                step => assert_eq!(step, Step::SendBlocks { first: 1, last: 1 }),
            }
            tries += 1;
        };
        assert_eq!(ending, Ending::NoAck { tries });
        assert!((2..=TRIES_MAX).contains(&tries));
        assert!(session.deadline() <= Duration::from_secs(512));
    }
}

#[test]
fn the_pause_follows_the_measured_round_trip_and_doubles_in_silence() {
    let mut session = Session::new(10_000, terms(1));
    session.start(ms(0));
    assert_eq!(session.deadline(), RTO_INITIAL);
    let mut now = ms(0);
    for block in 1..=50 {
        now += ms(2);
        session.on_packet(now, &ack(block));
    }
    assert_eq!(session.deadline(), now + RTO_MIN);
    let first = session.deadline();
    session.on_timeout(first);
    assert_eq!(session.deadline(), first + RTO_MIN * 2);
    assert!(session.has_stalled());
}

#[test]
fn a_closed_port_after_the_last_block_means_that_only_the_ack_was_lost() {
    let mut session = Session::new(10, terms(1));
    session.start(ms(0));
    assert_eq!(session.on_unreachable(), Step::End(Ending::ClientGone));
    session.on_packet(ms(1), &ack(1));
    assert_eq!(session.on_unreachable(), Step::End(Ending::LastAckLost));
}
