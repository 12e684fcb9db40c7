//! Storms without sockets: nobody starves, nobody is forgotten, and no bound is passed.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn client(number: usize) -> IpAddr {
    IpAddr::from(u32::try_from(number).expect("few").to_be_bytes())
}

fn admission(transfers_max: usize, queue_max: usize) -> Admission {
    Admission::new(Bounds { transfers_max, queue_max })
}

#[test]
fn places_are_given_then_the_queue_fills_and_then_a_client_is_sent_away() {
    let mut table = admission(2, 1);
    let verdicts: Vec<Verdict> = (0..4).map(|number| table.ask(client(number), number as u64)).collect();
    assert_eq!(verdicts, [Verdict::Go, Verdict::Go, Verdict::Wait, Verdict::Full]);
    assert_eq!(table.leave(client(0)), Some(2));
    assert_eq!(table.leave(client(1)), None);
    assert_eq!(table.ask(client(3), 3), Verdict::Go);
}

#[test]
fn a_client_with_many_requests_waits_behind_those_with_fewer_places() {
    let mut table = admission(2, 100);
    for name in 0..10 {
        table.ask(client(1), name);
    }
    table.ask(client(2), 20);
    table.ask(client(3), 30);
    assert_eq!(table.leave(client(1)), Some(20), "client 1 has one place left, client 2 none");
    assert_eq!(table.leave(client(1)), Some(2), "it has none now, and has waited longest");
    assert_eq!(table.leave(client(2)), Some(30));
}

#[test]
fn who_gives_up_is_not_called() {
    let mut table = admission(1, 10);
    for name in 0..3 {
        table.ask(client(name as usize), name);
    }
    table.cancel(client(1), 1);
    assert_eq!((table.waiting(), table.leave(client(0))), (1, Some(2)));
    assert_eq!((table.leave(client(2)), table.running(), table.clients.len()), (None, 0, 0));
}

#[test]
fn a_thousand_clients_of_many_parts_all_finish_in_turns() {
    const PARTS: usize = 20;
    let mut table = admission(16, 4_096);
    let mut left = vec![PARTS; 1_000];
    let mut running: VecDeque<usize> = VecDeque::new();
    for number in 0..left.len() {
        if table.ask(client(number), number as u64) == Verdict::Go {
            running.push_back(number);
        }
    }
    while let Some(number) = running.pop_front() {
        left[number] -= 1;
        if let Some(next) = table.leave(client(number)) {
            running.push_back(usize::try_from(next).unwrap());
        }
        if left[number] > 0 && table.ask(client(number), number as u64) == Verdict::Go {
            running.push_back(number);
        }
        let (most, least) = (left.iter().max().unwrap(), left.iter().min().unwrap());
        assert!(most - least <= 2, "one client is {} parts ahead of another", most - least);
    }
    assert!(left.iter().all(|left| *left == 0));
}

#[test]
fn a_client_is_told_to_come_again_the_later_the_more_wait() {
    assert_eq!(retry_after_s(0, 16, 0), 1);
    assert_eq!(retry_after_s(320, 16, 1_000), 10);
    assert_eq!(retry_after_s(usize::MAX, 1, u64::MAX), RETRY_AFTER_MAX_S);
    assert_eq!(retry_after_s(10, 0, 10), 1);
}

proptest! {
    #[test]
    fn bounds_hold_and_no_place_is_free_while_somebody_waits(
        transfers_max in 1usize..5, queue_max in 0usize..8, steps in prop::collection::vec((0usize..6, 0u8..4), 0..300),
    ) {
        let mut table = admission(transfers_max, queue_max);
        let (mut running, mut waiting) = (Vec::<(usize, u64)>::new(), Vec::<(usize, u64)>::new());
        for (name, (who, what)) in steps.into_iter().enumerate() {
            let name = name as u64;
            match what {
                0 | 1 => match table.ask(client(who), name) {
                    Verdict::Go => running.push((who, name)),
                    Verdict::Wait => waiting.push((who, name)),
                    Verdict::Full => prop_assert_eq!(waiting.len(), queue_max),
                },
                2 if !running.is_empty() => {
                    let (left, _) = running.remove(who % running.len());
                    if let Some(next) = table.leave(client(left)) {
                        let at = waiting.iter().position(|(_, name)| *name == next);
                        let called = waiting.remove(at.expect("who is called waits"));
                        let fewest = waiting.iter().map(|(who, _)| running.iter().filter(|(r, _)| r == who).count()).min();
                        let own = running.iter().filter(|(r, _)| *r == called.0).count();
                        prop_assert!(fewest.is_none_or(|fewest| own <= fewest));
                        running.push(called);
                    }
                }
                3 if !waiting.is_empty() => {
                    let (who, name) = waiting.remove(who % waiting.len());
                    table.cancel(client(who), name);
                }
                _ => {}
            }
            prop_assert_eq!((table.running(), table.waiting()), (running.len(), waiting.len()));
            prop_assert!(running.len() <= transfers_max && waiting.len() <= queue_max);
            prop_assert!(waiting.is_empty() || running.len() == transfers_max);
            let there: HashSet<usize> = running.iter().chain(&waiting).map(|(who, _)| *who).collect();
            prop_assert_eq!(table.clients.len(), there.len());
        }
    }
}
