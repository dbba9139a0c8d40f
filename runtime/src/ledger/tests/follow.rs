//! A ledger that is followed while it grows, and while it is another's.

use super::*;
use crate::ledger::{Follow, SEGMENT_LIMIT, segment};

#[test]
fn each_record_is_given_out_once_and_a_look_reads_no_more_than_the_last_segment_and_what_is_new() {
    let place = place();
    let mut ledger = place.ledger().unwrap();
    let mut follow = Follow::default();
    let (mut given, mut most) = (Vec::new(), 0);
    for turn in 0..400 {
        ledger.append((0..10).map(|n| entry(turn * 10 + n)).collect()).unwrap();
        let before = follow.bytes();
        let head = follow
            .next(&place.disk, "l", &mut |line| given.push(line.index))
            .unwrap();
        assert_eq!(head, ledger.head());
        most = most.max(follow.bytes() - before);
    }
    assert_eq!(given, (0..4000).collect::<Vec<_>>());
    let segments = segment::numbers(&place.disk, "l").unwrap().len();
    assert!(segments > 3, "{segments}");
    assert!(most < 2 * SEGMENT_LIMIT + 16 * 1024, "{most} bytes at one look");
}

#[test]
fn another_ledger_in_the_place_of_the_followed_one_is_not_taken_for_its_continuation() {
    let place = Place::written(2);
    let mut follow = Follow::default();
    follow.next(&place.disk, "l", &mut |_| {}).unwrap();
    std::fs::rename(place.dir.path().join("l"), place.dir.path().join("aside")).unwrap();
    let mut other = place.ledger().unwrap();
    other.append(vec![entry(7), entry(8), entry(9)]).unwrap();
    let mut given = 0;
    let moved = follow.next(&place.disk, "l", &mut |_| given += 1);
    assert!(matches!(moved, Err(LedgerError::Moved)), "{moved:?}");
    assert_eq!(given, 0);
}

#[test]
fn what_is_damaged_behind_the_followed_part_is_seen_and_a_torn_end_is_waited_for() {
    let place = Place::written(3);
    let mut follow = Follow::default();
    let mut given = 0;
    follow.next(&place.disk, "l", &mut |_| given += 1).unwrap();
    let good = place.bytes("00000000.jsl");
    place.set("00000000.jsl", &[&good[..], b"000001f0 0123"].concat());
    follow.next(&place.disk, "l", &mut |_| given += 1).unwrap();
    assert_eq!(given, 3);
    place.set("00000000.jsl", &good[..good.len() - 20]);
    follow.next(&place.disk, "l", &mut |_| given += 1).unwrap_err();
    assert_eq!(given, 3);
}
