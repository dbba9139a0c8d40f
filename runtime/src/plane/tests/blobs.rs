//! `file` with `source`: content by hash, from the ledger's blobs, a folder or an address.

use jos_schemas::documents::ledger::OutcomeKind;
use jos_trust::sha256;
use serde_json::{Value, json};

use super::file;
use crate::testing::*;

const URL: &str = "http://mirror/blob";

fn from(path: &str, bytes: &[u8], urls: &[&str]) -> Value {
    json!({ "type": "file", "path": path,
            "source": { "sha256": sha256(bytes).to_string(), "size": bytes.len(), "urls": urls } })
}

fn incoming(m: &Machine) -> usize {
    std::fs::read_dir(m.data().join("portal/incoming")).map_or(0, Iterator::count)
}

/// Larger than what the ledger keeps and than what the journal copies.
fn large(byte: u8) -> Vec<u8> {
    vec![byte; 5 * 1024 * 1024 + 3]
}

#[test]
fn content_by_hash_is_fetched_once_and_put_right_from_what_the_ledger_keeps() {
    let m = Machine::new();
    m.shelf.borrow_mut().insert(URL.into(), b"content\n".to_vec());
    let spec = json!([from("/srv/x", b"content\n", &[URL])]);
    let outcome = m.apply(1, spec.clone());
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    assert_eq!(m.read("/srv/x"), "content\n");
    assert_eq!(m.apply(1, spec).kind, OutcomeKind::Unchanged);
    // Nobody offers it any more, but it was small enough for the ledger to keep.
    m.shelf.borrow_mut().clear();
    m.write("/srv/x", "drifted\n", 0o644);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    assert_eq!(m.read("/srv/x"), "content\n");
}

#[test]
fn a_folder_of_this_machine_is_asked_before_the_network() {
    let m = Machine::new();
    m.shelf
        .borrow_mut()
        .insert(sha256(b"here").to_string(), b"here".to_vec());
    assert_eq!(
        m.apply(1, json!([from("/srv/x", b"here", &[])])).kind,
        OutcomeKind::Applied
    );
    assert_eq!(m.read("/srv/x"), "here");
}

#[test]
fn large_content_is_not_kept_twice_and_its_earlier_file_comes_back_whole() {
    let m = Machine::new();
    let (old, new) = (large(b'o'), large(b'n'));
    m.write("/srv/x", &old, 0o640);
    m.shelf.borrow_mut().insert(URL.into(), new.clone());
    let before = m.snapshot();
    let step = from("/srv/x", &new, &[URL]);
    m.failing.borrow_mut().push("is it well".into());
    let outcome = m.apply(1, json!({ "apply": [step], "confirm": { "command": "is it well" } }));
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert!(m.snapshot() == before, "the file came back");
    assert_eq!(m.apply(2, json!([step])).kind, OutcomeKind::Applied);
    assert!(std::fs::read(m.at("/srv/x")).unwrap() == new);
    assert_eq!(
        (incoming(&m), m.snapshot().len()),
        (0, before.len()),
        "nothing is left behind"
    );
    let kept: u64 = m.stored_bytes().iter().map(|(_, b)| b.len() as u64).sum();
    assert!(kept < 1024 * 1024, "the ledger keeps the hash alone: {kept}");
}

/// Applies, expects a refusal that says `why`, with nothing touched and nothing left.
fn refused(m: &Machine, version: u64, step: Value, why: &str) {
    let before = m.snapshot();
    let outcome = m.apply(version, json!([file("/srv/first", "first"), step]));
    assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
    assert!(outcome.reasons[0].contains(why), "{:?}", outcome.reasons);
    assert_eq!(m.snapshot(), before);
    let blobs = m
        .stored_bytes()
        .into_iter()
        .filter(|(p, _)| p.ends_with("incoming") || p.to_string_lossy().contains(".jos-"));
    assert_eq!((incoming(m), blobs.count()), (0, 0));
}

/// Large content under its hash, and a plan that was refused because it broke off before byte `at`.
fn broken_off(m: &Machine, content: &[u8], at: usize) -> Value {
    m.shelf
        .borrow_mut()
        .insert(sha256(content).to_string(), content.to_vec());
    m.breaks_off.set(Some(at));
    let spec = json!([from("/srv/x", content, &[])]);
    let outcome = m.apply(1, spec.clone());
    assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
    assert!(
        outcome.reasons[0].contains("the line broke off"),
        "{:?}",
        outcome.reasons
    );
    assert_eq!(incoming(m), 1);
    m.asked_from.borrow_mut().clear();
    spec
}

/// Where the content lies that has come so far.
fn part(m: &Machine, content: &[u8]) -> std::path::PathBuf {
    m.data().join(format!("portal/incoming/{}.part", sha256(content)))
}

/// From which bytes it was fetched; looks at its last one are none.
fn fetched_from(m: &Machine, content: &[u8]) -> Vec<u64> {
    let last = content.len() as u64 - 1;
    m.asked_from.take().into_iter().filter(|from| *from != last).collect()
}

#[test]
fn large_content_that_broke_off_is_gone_on_with_and_only_its_rest_is_fetched() {
    let m = Machine::new();
    let mut content = large(b'a');
    content[4_000_000] = b'b';
    let spec = broken_off(&m, &content, 3_000_001);
    // Each try makes a plane of its own: this is the next start of the program.
    assert_eq!(m.apply(1, spec).kind, OutcomeKind::Applied);
    assert!(std::fs::read(m.at("/srv/x")).unwrap() == content);
    assert_eq!((fetched_from(&m, &content), incoming(&m)), (vec![3_000_001], 0));
}

#[test]
fn what_a_power_cut_left_of_a_content_is_thrown_away_where_it_is_not_its_beginning() {
    let content = large(b'a');
    let junk = |m: &Machine, length: usize| std::fs::write(part(m, &content), vec![b'j'; length]).unwrap();
    for (length, expected) in [
        (2_000_000, vec![2_000_000, 0]),
        (content.len() + 1, vec![0]),
        (0, vec![0]),
    ] {
        let m = Machine::new();
        let spec = broken_off(&m, &content, 1000);
        junk(&m, length);
        assert_eq!(m.apply(1, spec).kind, OutcomeKind::Applied, "{length} bytes");
        assert!(std::fs::read(m.at("/srv/x")).unwrap() == content);
        assert_eq!((fetched_from(&m, &content), incoming(&m)), (expected, 0));
    }
    // All of it, and killed before it had its name.
    let m = Machine::new();
    let spec = broken_off(&m, &content, 1000);
    std::fs::write(part(&m, &content), &content).unwrap();
    assert_eq!(m.apply(1, spec).kind, OutcomeKind::Applied);
    assert_eq!(fetched_from(&m, &content), [content.len() as u64]);
}

#[test]
fn what_came_of_a_content_goes_with_the_version_that_wanted_it() {
    let m = Machine::new();
    broken_off(&m, &large(b'a'), 1_000_000);
    assert_eq!(m.apply(2, json!([file("/srv/y", "y")])).kind, OutcomeKind::Applied);
    assert_eq!(incoming(&m), 0);
}

#[test]
fn mix_and_match_a_blob_that_is_not_the_one_signed() {
    let m = Machine::new();
    m.shelf.borrow_mut().insert(URL.into(), b"evil content".to_vec());
    refused(&m, 1, from("/srv/x", b"good content", &[URL]), "its SHA-256 is");
    refused(
        &m,
        2,
        from("/srv/x", b"good content!", &[URL]),
        "12 bytes, the state names 13",
    );
    // The next address has it.
    m.shelf
        .borrow_mut()
        .insert("http://b/".into(), b"good content".to_vec());
    let spec = json!([from("/srv/x", b"good content", &[URL, "http://nobody/", "http://b/"])]);
    assert_eq!(m.apply(3, spec).kind, OutcomeKind::Applied);
}

#[test]
fn endless_data_stops_at_the_size_that_was_signed() {
    let m = Machine::new();
    m.shelf.borrow_mut().insert(URL.into(), vec![b'x'; 100_000]);
    refused(&m, 1, from("/srv/x", b"small", &[URL]), "more than the 5 bytes");
    m.shelf
        .borrow_mut()
        .insert(sha256(b"small").to_string(), vec![b'x'; 100_000]);
    refused(&m, 2, from("/srv/x", b"small", &[]), "more than the 5 bytes");
}

#[test]
fn a_refusal_for_want_of_content_is_no_failure_of_the_version() {
    let m = Machine::new();
    let spec = json!([from("/srv/x", b"late", &[URL])]);
    let outcome = m.apply(1, spec.clone());
    assert_eq!(outcome.kind, OutcomeKind::Refused);
    assert!(outcome.reasons[0].contains("nobody answers"), "{:?}", outcome.reasons);
    let again = m.apply(1, spec.clone());
    assert!(!again.recorded, "the same reason twice is one record");
    m.shelf.borrow_mut().insert(URL.into(), b"late".to_vec());
    assert_eq!(m.apply(1, spec).kind, OutcomeKind::Applied);
}

#[test]
fn https_is_unsupported_by_name_unless_the_content_is_offered_here() {
    let m = Machine::new();
    let spec = json!([from("/srv/x", b"tls", &["https://mirror/blob"])]);
    let outcome = m.apply(1, spec.clone());
    assert_eq!(outcome.kind, OutcomeKind::Unsupported, "{outcome}");
    assert!(outcome.reasons[0].contains("https://"), "{:?}", outcome.reasons);
    m.shelf.borrow_mut().insert(sha256(b"tls").to_string(), b"tls".to_vec());
    assert_eq!(m.apply(1, spec).kind, OutcomeKind::Applied);
}

#[test]
fn a_kept_blob_that_rotted_is_fetched_again() {
    let m = Machine::new();
    m.shelf.borrow_mut().insert(URL.into(), b"content".to_vec());
    m.apply(1, json!([from("/srv/x", b"content", &[URL])]));
    let blob = m.data().join("portal/blobs").join(sha256(b"content").to_string());
    std::fs::write(&blob, "c0ntent").unwrap();
    std::fs::remove_file(m.at("/srv/x")).unwrap();
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    assert_eq!(
        (m.read("/srv/x").as_str(), std::fs::read(blob).unwrap()),
        ("content", b"content".to_vec())
    );
}

#[test]
fn a_plan_fetches_nothing() {
    let m = Machine::new();
    m.shelf.borrow_mut().insert(URL.into(), b"content".to_vec());
    let plan = m
        .plane()
        .plan(&m.local(1, json!([from("/srv/x", b"content", &[URL])])))
        .unwrap();
    assert!(plan.to_string().contains("7 bytes from http://mirror/blob"), "{plan}");
    assert!(
        !m.data()
            .join("portal/blobs")
            .join(sha256(b"content").to_string())
            .exists()
    );
}
