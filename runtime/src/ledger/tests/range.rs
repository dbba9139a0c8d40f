//! Records by their index: those that a whole reading gives, and no more than are asked for.

use super::*;

#[test]
fn a_range_is_that_part_of_a_whole_reading_wherever_segments_begin_and_writes_were_cut_short() {
    let place = place();
    let mut ledger = place.ledger().unwrap();
    for n in 0..40 {
        let large = Entry {
            payload: json!({ "n": n, "text": "x".repeat(20_000) }),
            ..entry(n)
        };
        ledger.append(vec![large, entry(n)]).unwrap();
    }
    let all = place.all().unwrap();
    let newest = place
        .disk
        .list("l")
        .unwrap()
        .iter()
        .filter(|n| n.to_string_lossy().ends_with(".jsl"))
        .count()
        - 1;
    assert!(newest > 3, "several segments");
    let mut bytes = place.bytes(&format!("{newest:08}.jsl"));
    bytes.extend_from_slice(b"0000");
    place.set(&format!("{newest:08}.jsl"), &bytes);
    let read = |range: std::ops::Range<u64>| {
        let mut found = Vec::new();
        read_range(&place.disk, "l", range, &mut |line| found.push(line.record().unwrap())).unwrap();
        found
    };
    for first in [0, 1, 12, 13, 14, 39, 78, 79] {
        for length in [0, 1, 15, 80] {
            let last = (first + length).min(80);
            let (from, to) = (usize::try_from(first).unwrap(), usize::try_from(last).unwrap());
            assert_eq!(read(first..first + length), all[from..to], "{first}, {length}");
        }
    }
    assert_eq!(read(80..90), []);
    std::fs::remove_file(place.path("00000000.jsl")).unwrap();
    assert!(read(0..3).is_empty(), "what was pruned is not there");
    assert_eq!(read(40..80), all[40..80]);
}

#[test]
fn a_record_of_a_range_that_was_changed_is_damage() {
    let place = Place::written(5);
    let mut bytes = place.bytes("00000000.jsl");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    place.set("00000000.jsl", &bytes);
    place.set("00000001.jsl", b"jos-ledger 1 ");
    let read = read_range(&place.disk, "l", 0..5, &mut |_| {});
    assert!(matches!(read, Err(LedgerError::Corrupt { segment: 0, .. })), "{read:?}");
}
