//! The examples of RFC 9110, and properties of any range.

use proptest::prelude::*;

use super::*;

const TAG: &str = "\"abc\"";

fn ranged(range: &str, length_bytes: u64) -> Reply {
    decide(Method::Get, Fields { range: Some(range), ..Fields::default() }, length_bytes, TAG)
}

fn partial(first: u64, last: u64) -> Reply {
    Reply::Partial(Part { first, last })
}

#[test]
fn the_ranges_of_the_standard_mean_what_it_says() {
    assert_eq!(ranged("bytes=0-499", 10_000), partial(0, 499));
    assert_eq!(ranged("bytes=500-999", 10_000), partial(500, 999));
    assert_eq!(ranged("bytes=-500", 10_000), partial(9_500, 9_999));
    assert_eq!(ranged("bytes=9500-", 10_000), partial(9_500, 9_999));
    assert_eq!(ranged("bytes=0-0", 10_000), partial(0, 0));
    assert_eq!(ranged("bytes=0-99999", 10_000), partial(0, 9_999));
    assert_eq!(ranged("bytes=-99999", 10_000), partial(0, 9_999));
    assert_eq!(ranged("BYTES= , 5-7 ,", 10_000), partial(5, 7));
    assert_eq!(ranged("bytes=5-99999999999999999999999", 10), partial(5, 9));
}

#[test]
fn a_range_behind_the_end_cannot_be_had() {
    for range in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"] {
        assert_eq!(ranged(range, 10), Reply::Unsatisfiable, "{range}");
    }
    assert_eq!(ranged("bytes=0-", 0), Reply::Unsatisfiable);
    assert_eq!(ranged("bytes=-1", 0), Reply::Unsatisfiable);
}

#[test]
fn what_is_no_single_range_of_bytes_is_answered_with_the_whole() {
    for range in [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5",
        "bytes=7-5",
        "bytes=a-b",
        "lines=1-2",
        "bytes=0-1,3-4",
        "bytes=+1-2",
        "bytes=1 -2",
    ] {
        assert_eq!(ranged(range, 10), Reply::Whole, "{range}");
    }
}

#[test]
fn head_has_no_ranges() {
    let fields = Fields { range: Some("bytes=0-1"), ..Fields::default() };
    assert_eq!(decide(Method::Head, fields, 10, TAG), Reply::Whole);
}

#[test]
fn a_client_that_has_the_file_is_told_so() {
    for tags in [TAG, "*", "\"x\", \"abc\"", "W/\"abc\""] {
        let fields = Fields { if_none_match: Some(tags), range: Some("bytes=0-1"), ..Fields::default() };
        assert_eq!(decide(Method::Get, fields, 10, TAG), Reply::NotModified, "{tags}");
        assert_eq!(decide(Method::Head, fields, 10, TAG), Reply::NotModified, "{tags}");
    }
    let fields = Fields { if_none_match: Some("\"x\""), ..Fields::default() };
    assert_eq!(decide(Method::Get, fields, 10, TAG), Reply::Whole);
}

#[test]
fn a_part_is_sent_only_of_the_file_that_the_client_began_with() {
    let with = |tag| Fields { range: Some("bytes=5-"), if_range: Some(tag), ..Fields::default() };
    assert_eq!(decide(Method::Get, with(TAG), 10, TAG), partial(5, 9));
    for other in ["\"x\"", "W/\"abc\"", "Sat, 21 Nov 2026 02:47:26 GMT"] {
        assert_eq!(decide(Method::Get, with(other), 10, TAG), Reply::Whole, "{other}");
    }
    let wrong = Fields { if_match: Some("W/\"abc\", \"x\""), ..Fields::default() };
    assert_eq!(decide(Method::Get, wrong, 10, TAG), Reply::PreconditionFailed);
    let right = Fields { if_match: Some("\"x\",\"abc\""), ..Fields::default() };
    assert_eq!(decide(Method::Get, right, 10, TAG), Reply::Whole);
}

proptest! {
    #[test]
    fn a_part_lies_within_the_file_whatever_is_asked(range in "bytes=[0-9, -]{0,30}|\\PC{0,30}", length_bytes in 0u64..200) {
        if let Reply::Partial(part) = ranged(&range, length_bytes) {
            prop_assert!(part.first <= part.last && part.last < length_bytes);
            prop_assert_eq!(part.length_bytes(), part.last - part.first + 1);
        }
    }

    #[test]
    fn parts_in_a_row_make_up_the_whole(length_bytes in 1u64..5_000, step in 1u64..700) {
        let mut at = 0;
        while at < length_bytes {
            match ranged(&format!("bytes={at}-{}", at + step - 1), length_bytes) {
                Reply::Partial(part) => {
                    prop_assert_eq!(part.first, at);
                    at = part.last + 1;
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(ranged(&format!("bytes={at}-"), length_bytes), Reply::Unsatisfiable);
    }
}
