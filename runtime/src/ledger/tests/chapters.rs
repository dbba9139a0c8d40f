//! Chapters: begun under the lock, dropped segment by segment, and whole wherever the power goes.

use super::*;
use crate::testing::Cut;

/// A checkpoint that says which record it was made after.
fn after(head: &LedgerHead) -> Entry {
    Entry {
        payload: json!({ "head": { "index": head.count - 1, "hash": head.hash } }),
        ..entry(0)
    }
}

fn large(n: u64) -> Entry {
    Entry {
        payload: json!({ "n": n, "text": "x".repeat(50_000) }),
        ..entry(n)
    }
}

/// Three chapters of several segments each, of which the middle one has an ordinary checkpoint where a segment would begin.
fn three(place: &Place) -> LedgerHead {
    let mut ledger = place.ledger().unwrap();
    for chapter in 0..3 {
        if chapter > 0 {
            ledger.begin_chapter(&mut |head| Ok(after(head))).unwrap();
        }
        for n in 0..10 {
            ledger.append(vec![large(n)]).unwrap();
            let seal = Entry {
                kind: CHECKPOINT,
                ..entry(n)
            };
            ledger.append(vec![seal]).unwrap();
        }
    }
    ledger.head()
}

#[test]
fn a_chapter_begins_with_the_one_checkpoint_that_names_the_record_before_it() {
    let place = place();
    three(&place);
    let records = place.all().unwrap();
    let found = chapters(&place.disk, "l", &[]).unwrap();
    let firsts: Vec<(u64, bool)> = found.iter().map(|c| (c.first, c.whole)).collect();
    assert_eq!(firsts, [(0, false), (20, true), (41, true)]);
    assert!(found.iter().all(|c| c.segments.len() > 2), "{found:?}");
    for chapter in &found[1..] {
        let first = &records[usize::try_from(chapter.first).unwrap()];
        assert_eq!(first.payload["head"]["hash"].as_str(), Some(first.prev.as_str()));
    }
    // A segment never begins with another checkpoint, so that history never begins with one.
    let begun = (1..found[2].segments.end).filter(|number| {
        let bytes = place.bytes(&format!("{number:08}.jsl"));
        segment::first(*number, &bytes).unwrap().unwrap().kind == CHECKPOINT
    });
    assert_eq!(begun.count(), 2);
    assert_eq!(chapters(&place.disk, "l", &found).unwrap(), found, "known or not");
}

#[test]
fn wherever_the_power_goes_while_a_chapter_is_dropped_history_is_whole_and_the_rest_goes_the_next_time() {
    for k in 0.. {
        let place = place();
        let head = three(&place);
        let found = chapters(&place.disk, "l", &[]).unwrap();
        let cut = Cut::power(k);
        let disk = Disk::open(place.dir.path(), "cut").unwrap().with_tap(cut.clone());
        let dropped: Result<(), LedgerError> = found[0]
            .segments
            .clone()
            .try_for_each(|number| drop_segment(&disk, "l", number));
        let first = read_lines(&place.disk, "l", &mut |_| {}).unwrap();
        assert_eq!(first.head, head, "cut at {k}");
        let begins = if place.path("00000000.jsl").exists() {
            0
        } else {
            found[1].first
        };
        assert_eq!(first.first, begins, "cut at {k}");
        assert_eq!(place.ledger().unwrap().head(), head);
        // What was known before is not believed: the oldest of it is another one now.
        let left = chapters(&place.disk, "l", &found).unwrap();
        let rest = left.iter().filter(|c| c.segments.end <= found[0].segments.end);
        rest.flat_map(|c| c.segments.clone())
            .for_each(|number| drop_segment(&place.disk, "l", number).unwrap());
        let left = chapters(&place.disk, "l", &found).unwrap();
        assert_eq!(left, found[1..], "cut at {k}");
        if !cut.happened() {
            dropped.unwrap();
            assert!(k > 3, "several calls");
            break;
        }
    }
}

#[test]
fn what_the_power_leaves_of_the_beginning_of_a_chapter_is_none_or_all_of_it() {
    for k in 0.. {
        let place = Place::written(3);
        let cut = Cut::power(k);
        let disk = Disk::open(place.dir.path(), "cut").unwrap().with_tap(cut.clone());
        let begun = Ledger::open(&disk, "l").and_then(|mut ledger| ledger.begin_chapter(&mut |head| Ok(after(head))));
        let count = place.ledger().unwrap().head().count;
        assert_eq!(place.all().unwrap().len() as u64, count);
        let found = chapters(&place.disk, "l", &[]).unwrap();
        assert_eq!(found.len() as u64, count - 2, "cut at {k}");
        assert!(begun.is_err() || count == 4, "cut at {k}");
        if !cut.happened() {
            assert_eq!(begun.unwrap(), 3);
            break;
        }
    }
}
