//! Every way in which a ledger can be wrong, and the two that are no damage: a torn tail, a head that lags.

mod chain;
mod chapters;
mod export;
mod follow;
mod range;

use jos_schemas::documents::ledger::Record;
use jos_schemas::documents::policy::Source;
use jos_schemas::text::{Name, Utc};
use serde_json::json;

use super::*;
use crate::disk::Disk;

fn entry(n: u64) -> Entry {
    Entry {
        time: Utc::new("2026-11-21T12:00:00Z").unwrap(),
        source: Source::Local,
        name: Name::new("portal").unwrap(),
        version: Some(n),
        cause: None,
        kind: "decision",
        payload: json!({ "n": n, "text": "é\n\"", "list": [1, null, true] }),
    }
}

struct Place {
    dir: tempfile::TempDir,
    disk: Disk,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::open(dir.path(), "0123").unwrap();
    Place { dir, disk }
}

impl Place {
    fn ledger(&self) -> Result<Ledger<'_>, LedgerError> {
        Ledger::open(&self.disk, "l")
    }
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("l").join(name)
    }
    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
    fn set(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }
    fn all(&self) -> Result<Vec<Record>, LedgerError> {
        let mut records = Vec::new();
        read_all(&self.disk, "l", &mut |r, _| records.push(r.clone()))?;
        Ok(records)
    }
    fn written(n: u64) -> Self {
        let place = place();
        let mut ledger = place.ledger().unwrap();
        for i in 0..n {
            ledger.append(vec![entry(i)]).unwrap();
        }
        place
    }
}

#[test]
fn what_is_appended_is_read_back_in_order_and_chained() {
    let p = place();
    let mut ledger = p.ledger().unwrap();
    assert_eq!(ledger.append(vec![entry(0), entry(1)]).unwrap(), 0);
    assert_eq!(ledger.append(vec![entry(2)]).unwrap(), 2);
    let records = p.all().unwrap();
    assert_eq!(
        records.iter().map(|r| (r.index, r.version)).collect::<Vec<_>>(),
        [(0, Some(0)), (1, Some(1)), (2, Some(2))]
    );
    assert_eq!(records[0].prev.as_str(), "0".repeat(64));
    assert_eq!(ledger.head(), p.ledger().unwrap().head());
    assert_eq!(ledger.last().unwrap().unwrap().index, 2);
}

#[test]
fn two_writers_never_fork_the_chain() {
    let p = place();
    let (mut a, mut b) = (p.ledger().unwrap(), p.ledger().unwrap());
    for i in 0..10 {
        a.append(vec![entry(i)]).unwrap();
        b.append(vec![entry(i)]).unwrap();
    }
    assert_eq!(p.all().unwrap().len(), 20);
}

#[test]
fn a_full_segment_is_followed_by_the_next() {
    let p = place();
    let mut ledger = p.ledger().unwrap();
    let mut large = entry(0);
    large.payload = json!({ "text": "x".repeat(100_000) });
    for _ in 0..6 {
        ledger.append(vec![large.clone()]).unwrap();
    }
    assert!(p.path("00000002.jsl").exists());
    assert_eq!(p.all().unwrap().len(), 6);
    assert_eq!(p.ledger().unwrap().head(), ledger.head());
    // A segment in the middle that is gone is no shorter ledger.
    std::fs::remove_file(p.path("00000001.jsl")).unwrap();
    assert!(matches!(p.all(), Err(LedgerError::Corrupt { segment: 1, .. })));
    // Nor is one whose beginning is gone: only a checkpoint can take its place.
    std::fs::remove_file(p.path("00000000.jsl")).unwrap();
    assert!(matches!(p.all(), Err(LedgerError::Corrupt { segment: 2, .. })));
    assert!(matches!(
        p.ledger().map(drop),
        Err(LedgerError::Corrupt { segment: 2, .. })
    ));
}

#[test]
fn every_flipped_byte_of_a_small_ledger_is_detected() {
    let p = Place::written(3);
    let good = p.bytes("00000000.jsl");
    for at in 0..good.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= bit;
            p.set("00000000.jsl", &bad);
            let whole = p.all().expect_err("a flipped byte");
            assert!(
                matches!(whole, LedgerError::Corrupt { segment: 0, .. }),
                "byte {at}: {whole}"
            );
            assert!(p.ledger().is_err(), "byte {at}: opened for writing");
            assert_eq!(p.bytes("00000000.jsl"), bad, "byte {at}: evidence was changed");
        }
    }
    p.set("00000000.jsl", &good);
    assert_eq!(p.all().unwrap().len(), 3);
}

#[test]
fn every_truncated_length_is_detected() {
    let p = Place::written(3);
    let good = p.bytes("00000000.jsl");
    for length in 0..good.len() {
        p.set("00000000.jsl", &good[..length]);
        assert!(p.all().is_err(), "cut to {length}");
        assert!(p.ledger().is_err(), "cut to {length}");
    }
    std::fs::remove_file(p.path("00000000.jsl")).unwrap();
    assert!(matches!(p.all(), Err(LedgerError::Truncated { head: 3, found: 0 })));
    assert!(matches!(
        p.ledger().map(drop),
        Err(LedgerError::Truncated { head: 3, found: 0 })
    ));
}

#[test]
fn records_swapped_duplicated_or_spliced_from_another_ledger_are_detected() {
    let p = Place::written(3);
    let text = String::from_utf8(p.bytes("00000000.jsl")).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let other = place();
    let mut ledger = other.ledger().unwrap();
    for i in 7..10 {
        ledger.append(vec![entry(i)]).unwrap();
    }
    let foreign = String::from_utf8(other.bytes("00000000.jsl")).unwrap();
    let foreign: Vec<&str> = foreign.split_inclusive('\n').collect();
    let wrong = [
        vec![lines[0], lines[2], lines[1], lines[3]],
        vec![lines[0], lines[1], lines[1], lines[2], lines[3]],
        vec![lines[0], lines[1], lines[2], foreign[3]],
        vec![lines[0], lines[1], foreign[2], lines[3]],
        vec![lines[0], lines[1], "\n", lines[2], lines[3]],
        vec![lines[0], lines[1], "junk\n", lines[2], lines[3]],
        foreign.clone(),
    ];
    for (i, lines) in wrong.iter().enumerate() {
        p.set("00000000.jsl", lines.concat().as_bytes());
        assert!(p.all().is_err(), "case {i}");
    }
}

#[test]
fn a_torn_tail_beyond_the_head_is_cut_and_nothing_else_is_lost() {
    let p = Place::written(2);
    let (head, two) = (p.bytes("head"), p.bytes("00000000.jsl"));
    p.ledger().unwrap().append(vec![entry(2)]).unwrap();
    let three = p.bytes("00000000.jsl");
    for length in two.len() + 1..three.len() {
        // The power went while the third record was written: the head does not count it yet.
        p.set("head", &head);
        p.set("00000000.jsl", &three[..length]);
        assert_eq!(p.all().unwrap().len(), 2, "cut to {length}");
        let mut ledger = p.ledger().unwrap();
        assert_eq!(ledger.torn, (length - two.len()) as u64);
        assert_eq!(p.bytes("00000000.jsl"), two);
        assert_eq!(ledger.append(vec![entry(9)]).unwrap(), 2);
        assert_eq!(p.all().unwrap().len(), 3);
    }
}

#[test]
fn a_head_that_lags_is_caught_up() {
    let p = Place::written(2);
    let head = p.bytes("head");
    let mut ledger = p.ledger().unwrap();
    ledger.append(vec![entry(2)]).unwrap();
    p.set("head", &head);
    assert_eq!(p.all().unwrap().len(), 3);
    assert_eq!(p.ledger().unwrap().append(vec![entry(3)]).unwrap(), 3);
}

#[test]
fn a_torn_head_falls_back_to_its_other_slot_and_a_lost_one_is_damage() {
    let p = Place::written(3);
    let good = p.bytes("head");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        p.set("head", &bad);
        // One slot is left: it is the last or the one before, which may lag.
        assert_eq!(p.all().unwrap().len(), 3, "byte {at}");
    }
    p.set("head", &vec![0; good.len()]);
    assert!(matches!(p.all(), Err(LedgerError::Head { .. })));
    p.set("head", b"");
    assert!(matches!(p.ledger().map(drop), Err(LedgerError::Head { .. })));
    std::fs::remove_file(p.path("head")).unwrap();
    assert!(p.all().is_err() && p.ledger().is_err());
}

#[test]
fn a_record_that_cannot_be_written_leaves_no_trace() {
    let p = place();
    let mut bad = entry(0);
    bad.payload = json!({ "x": u64::MAX });
    let mut ledger = p.ledger().unwrap();
    assert!(matches!(
        ledger.append(vec![entry(0), bad.clone()]),
        Err(LedgerError::Unwritable(_))
    ));
    bad.payload = json!("x".repeat(9 << 20));
    assert!(matches!(ledger.append(vec![bad]), Err(LedgerError::Unwritable(_))));
    assert_eq!(p.all().unwrap().len(), 0);
    // A fraction is fine here: only what is signed may have none.
    let mut good = entry(0);
    good.payload = json!({ "temperature": 0.7 });
    assert_eq!(ledger.append(vec![good.clone()]).unwrap(), 0);
    assert_eq!(p.all().unwrap()[0].payload, good.payload);
}

#[test]
fn a_head_that_names_another_history_is_damage() {
    let (p, other) = (Place::written(2), place());
    let mut ledger = other.ledger().unwrap();
    for n in 7..12 {
        ledger.append(vec![entry(n)]).unwrap();
    }
    // A longer ledger of another device under this device's head.
    p.set("00000000.jsl", &other.bytes("00000000.jsl"));
    assert!(matches!(p.all(), Err(LedgerError::Head { .. })));
    assert!(matches!(p.ledger().map(drop), Err(LedgerError::Head { .. })));
}

#[test]
fn a_segment_that_the_disk_cannot_give_is_damage() {
    let p = Place::written(2);
    std::fs::File::options()
        .write(true)
        .open(p.path("00000000.jsl"))
        .unwrap()
        .set_len(READ_LIMIT + 1)
        .unwrap();
    assert!(p.all().unwrap_err().is_damage() && p.ledger().map(drop).unwrap_err().is_damage());
}

#[test]
fn the_lock_of_a_ledger_that_was_set_aside_is_not_that_of_the_new_one() {
    let p = Place::written(2);
    let mut ledger = p.ledger().unwrap();
    let held = lock(&p.disk, "l").unwrap();
    std::fs::rename(p.dir.path().join("l"), p.dir.path().join("l.damaged-1")).unwrap();
    // The old lock is held, the new one is free; and what is not there any more is not appended to.
    p.ledger().unwrap();
    drop(held);
    assert_eq!(ledger.append(vec![entry(0)]).unwrap(), 0);
    assert_eq!(p.all().unwrap().len(), 1);
}

#[test]
fn a_blob_is_named_by_its_hash_checked_and_put_right() {
    let p = place();
    let blobs = Blobs::open(&p.disk, "b").unwrap();
    let digest = blobs.put(b"content").unwrap();
    assert_eq!(blobs.get(&digest).unwrap().unwrap(), b"content");
    assert_eq!(blobs.get(&Digest::ZERO).unwrap(), None);
    std::fs::write(p.dir.path().join("b").join(digest.to_string()), "contend").unwrap();
    assert!(matches!(blobs.get(&digest), Err(LedgerError::Blob { .. })));
    blobs.put(b"content").unwrap();
    assert_eq!(blobs.get(&digest).unwrap().unwrap(), b"content");
}

#[test]
fn content_over_the_limit_is_kept_by_its_hash_alone() {
    let p = place();
    let blobs = Blobs::open(&p.disk, "b").unwrap().limited(10_000, 15_000);
    let text = |n: usize| json!("x".repeat(n));
    let put = |n: usize| {
        let value = text(n);
        blobs.inline_or_put(&value, value.to_string().as_bytes()).unwrap()
    };
    assert_eq!(put(100), text(100));
    assert!(put(9_000)["blob"].is_string());
    assert_eq!(put(9_000)["size"], 9_002, "twice is one file");
    assert!(put(11_000)["hash_only"].is_string(), "larger than any may be");
    assert!(put(8_000)["hash_only"].is_string(), "no room");
    assert!(put(5_000)["blob"].is_string());
    assert_eq!(blobs.list().unwrap().len(), 2);
}

/// The head as a program of format `n` may write it: other members, the same frame.
fn head_of(n: u64) -> Vec<u8> {
    let slot = |turn: u64| {
        let text = format!("jos-head {n} {turn:016x} more-than-we-know ");
        let check = jos_trust::sha256(text.as_bytes()).to_string()[..16].to_owned();
        format!("{text}{check}\n")
    };
    (slot(1) + &slot(2)).into_bytes()
}

#[test]
fn a_ledger_that_a_newer_program_wrote_is_no_damage_and_no_byte_of_it_is_touched() {
    let place = Place::written(3);
    let (head, segment) = (head_of(2), place.bytes("00000000.jsl"));
    place.set("head", &head);
    let newer = [place.ledger().map(drop), place.all().map(drop)];
    for error in newer.map(|opened| opened.expect_err("it is not read")) {
        assert!(matches!(error, LedgerError::Newer { found: 2 }), "{error}");
        assert!(!error.is_damage());
        assert!(
            error.to_string().contains("a newer jos wrote it. Nothing was touched"),
            "{error}"
        );
    }
    assert_eq!(
        (place.bytes("head"), place.bytes("00000000.jsl")),
        (head.clone(), segment)
    );

    // Nobody sets it aside.
    place.disk.ensure_dir("portal").unwrap();
    std::fs::rename(place.path(""), place.dir.path().join("portal/ledger")).unwrap();
    let aside = set_aside_damaged(&place.disk, "portal", 1 << 20);
    assert!(matches!(aside, Err(LedgerError::Newer { found: 2 })), "{aside:?}");
    std::fs::rename(place.dir.path().join("portal/ledger"), place.path("")).unwrap();

    // A program that was stopped between two writes has left one slot of each.
    let old = Place::written(3).bytes("head");
    place.set("head", &[&old[..127], &head[..head.len() / 2]].concat());
    assert!(matches!(place.ledger().map(drop), Err(LedgerError::Newer { found: 2 })));
}

#[test]
fn a_flipped_bit_does_not_make_a_ledger_one_of_a_newer_program() {
    let place = Place::written(3);
    let head = String::from_utf8(place.bytes("head")).unwrap();
    for other in ["2", "3", "5", "9"] {
        place.set(
            "head",
            head.replace("jos-head 1", &format!("jos-head {other}")).as_bytes(),
        );
        let error = place.ledger().map(drop).expect_err("it is damaged");
        assert!(error.is_damage(), "{error}");
        place.set("head", head.as_bytes());
        let segment = place.bytes("00000000.jsl");
        place.set(
            "00000000.jsl",
            &[b"jos-ledger ", other.as_bytes(), &segment[12..]].concat(),
        );
        let error = place.ledger().map(drop).expect_err("it is damaged");
        assert!(error.is_damage(), "{error}");
        place.set("00000000.jsl", &segment);
    }
    place.ledger().map(drop).expect("as it was");
}
