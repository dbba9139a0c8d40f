//! The ledger over a long time: damage survived, checkpoints, history that goes, limits that hold.

use std::path::Path;
use std::rc::Rc;

use jos_schemas::documents::ledger::OutcomeKind;
use serde_json::{Value, json};

use super::file;
use crate::disk::Tap;
use crate::ledger::{self, Archive};
use crate::replay;
use crate::testing::*;

/// A machine whose agent may keep little.
fn small(bytes: u64) -> Machine {
    let mut m = Machine::new();
    m.policy.ledger.bytes = bytes;
    m
}

/// Four thousand bytes that differ by version, below what would go to a blob.
fn spec(version: u64) -> Value {
    json!([
        file("/etc/a", &format!("{version} {}", "a".repeat(2500))),
        file("/etc/b", "the same"),
    ])
}

fn used(m: &Machine) -> u64 {
    let files = ["ledger", "blobs"].map(|dir| m.data().join("portal").join(dir));
    let sizes = files
        .iter()
        .flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten());
    sizes.map(|entry| entry.metadata().unwrap().len()).sum()
}

/// What the ledger says, when its chain is whole and it needs nothing that is gone.
fn whole(m: &Machine) -> ledger::Verdict {
    let disk = crate::disk::Disk::open(&m.data().join("portal"), "0").unwrap();
    let archive = Archive::folder(&disk, "ledger", "blobs");
    let key = crate::public_ledger_key(&m.data()).unwrap();
    let verdict = ledger::verify(&archive, key.as_ref(), None).unwrap();
    assert!(verdict.is_whole(), "{verdict:?}");
    let mut machine = replay::Machine::default();
    archive
        .lines(&mut |line| {
            let taken = machine.take_line(line, &mut |digest| archive.blob(digest).unwrap());
            taken.unwrap_or_else(|e| panic!("#{}: {e}", line.index));
        })
        .unwrap();
    for (path, managed) in machine.paths() {
        let found = std::fs::symlink_metadata(m.at(path)).is_ok();
        assert_eq!(managed.shape.is_some(), found, "{path}");
    }
    verdict
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_ledger_is_set_aside_and_nothing_of_the_device_is_lost() {
    let m = Machine::new();
    m.apply(1, spec(1));
    m.apply(2, spec(2));
    let segment = m.data().join("portal/ledger/00000000.jsl");
    let good = ledger_head(&m);
    flip(&segment, 700);
    let damaged = std::fs::read(&segment).unwrap();
    assert!(m.plane().status().is_err(), "who only looks is told");
    let outcome = m.apply(3, spec(3));
    assert_eq!(outcome.kind, OutcomeKind::Applied);
    let aside = m.data().join("portal/ledger.damaged-1");
    assert_eq!(
        std::fs::read(aside.join("00000000.jsl")).unwrap(),
        damaged,
        "evidence stays"
    );
    let status = m.plane().status().unwrap();
    assert_eq!((status.set_aside.len(), status.in_force[0].version), (1, 3));
    let mut records = Vec::new();
    m.plane()
        .open_ledger()
        .unwrap()
        .read(&mut |r, _| records.push(r.clone()))
        .unwrap();
    assert_eq!(
        records.iter().map(|r| r.kind.as_str()).collect::<Vec<_>>(),
        ["broken", "decision", "outcome"]
    );
    let said = &records[0].payload;
    assert_eq!(said["segment"], 0);
    assert_eq!(said["claimed"]["count"], good.count);
    assert_eq!(said["streams"]["state"]["version"], 2);
    assert_eq!(said["floors"][0]["version"], 2);
    whole(&m);
    // The machine state is a cache of this ledger too.
    m.apply(4, spec(4));
    std::fs::remove_file(m.data().join("portal/state.json")).unwrap();
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Unchanged);
    assert_eq!(m.plane().status().unwrap().in_force[0].version, 4);
}

fn ledger_head(m: &Machine) -> ledger::LedgerHead {
    m.plane().verify_ledger().unwrap()
}

#[test]
fn a_ledger_that_is_gone_is_not_taken_for_a_new_device() {
    let m = Machine::new();
    m.apply(1, spec(1));
    std::fs::remove_dir_all(m.data().join("portal/ledger")).unwrap();
    std::fs::remove_file(m.data().join("portal/state.json")).unwrap();
    m.write("/etc/b", "drifted", 0o644);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    let mut first = None;
    let ledger = m.plane();
    let ledger = ledger.open_ledger().unwrap();
    ledger
        .read(&mut |r, _| first = first.take().or(Some(r.clone())))
        .unwrap();
    let first = first.unwrap();
    assert_eq!(first.kind, "broken");
    assert!(first.payload["what"].as_str().unwrap().contains("missing"));
}

#[test]
fn unreadable_floors_stop_everything_and_say_what_to_do() {
    let m = Machine::new();
    m.apply(1, spec(1));
    let state = m.local(2, spec(2));
    flip(&m.data().join("portal/ledger/00000000.jsl"), 700);
    for file in ["floors.0", "floors.1"] {
        std::fs::write(m.data().join(file), "junk").unwrap();
    }
    let before = m.snapshot();
    for error in [
        m.plane().apply(&state).unwrap_err().to_string(),
        m.plane().converge().unwrap_err().to_string(),
    ] {
        assert!(error.contains("floors") && error.contains("restore"), "{error}");
    }
    assert_eq!(m.snapshot(), before);
    assert!(
        !m.data().join("portal/ledger.damaged-1").exists(),
        "the damaged ledger stays where it is"
    );
}

#[test]
fn damaged_ledgers_have_a_limit_of_bytes_and_the_oldest_go() {
    let m = small(64 << 10);
    for version in 1..=9 {
        m.apply(version, spec(version));
        flip(&m.data().join("portal/ledger/00000000.jsl"), 700);
    }
    m.apply(10, spec(10));
    let asides: Vec<_> = std::fs::read_dir(m.data().join("portal"))
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with("ledger.damaged-"))
        .collect();
    let size: u64 = asides
        .iter()
        .flat_map(|dir| std::fs::read_dir(dir.path()).unwrap().flatten())
        .map(|file| file.metadata().unwrap().len())
        .sum();
    assert!(
        size <= 16 << 10 && !asides.is_empty() && asides.len() < 9,
        "{size} in {}",
        asides.len()
    );
    assert!(m.data().join("portal/ledger.damaged-9").exists());
}

#[test]
fn a_flash_never_fills_and_history_begins_at_a_signed_checkpoint() {
    let m = small(64 << 10);
    let (mut most, mut pruned) = (0, 0);
    for version in 1..=60 {
        let outcome = m.apply(version, spec(version));
        assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
        most = most.max(used(&m));
        pruned = whole(&m).extent.first;
    }
    assert!(most <= 64 << 10, "{most} bytes");
    let verdict = whole(&m);
    assert!(pruned > 0 && verdict.checkpoints.len() >= 2, "{verdict:?}");
    let good = |c: &ledger::Sealed| matches!(c.seal, Some(jos_trust::checkpoint::Seal::Good(_)));
    assert!(verdict.checkpoints.iter().all(good), "{:?}", verdict.checkpoints);
    let key = std::fs::metadata(m.data().join("identity/ledger.key")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777,
        0o600
    );
    // What is in force is known from the checkpoint alone.
    std::fs::remove_file(m.data().join("portal/state.json")).unwrap();
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Unchanged);
    let status = m.plane().status().unwrap();
    assert_eq!(
        (status.in_force[0].version, status.in_force[0].source),
        (60, Some(jos_schemas::documents::policy::Source::Local))
    );
    // A pruned beginning is one thing, a beginning that was taken away another.
    let oldest = std::fs::read_dir(m.data().join("portal/ledger")).unwrap().flatten();
    let mut segments: Vec<_> = oldest.map(|e| e.path()).filter(|p| p.extension().is_some()).collect();
    segments.sort();
    for segment in &segments[..segments.len() - 1] {
        std::fs::remove_file(segment).unwrap();
    }
    let last = whole_or_not(&m);
    assert!(
        last.is_ok() == last_begins_with_checkpoint(segments.last().unwrap()),
        "{last:?}"
    );
}

#[test]
fn an_outcome_names_its_own_record_also_where_a_checkpoint_follows_it() {
    let m = small(64 << 10);
    let mut followed = 0;
    for version in 1..=40 {
        let outcome = m.apply(version, spec(version));
        let record = outcome.record.clone();
        followed += usize::from(record.as_ref() != Some(&outcome.ledger));
        let plane = m.plane();
        let ledger = plane.look_at_ledger().unwrap();
        let own = ledger.last_placed(&|r| r.kind == "outcome").unwrap();
        assert_eq!(record, own.map(|(_, place)| place), "version {version}");
        assert_eq!(plane.status().unwrap().last.unwrap().record, record);
        // The same where only the ledger is left, as far back as it goes.
        std::fs::remove_file(m.data().join("portal/state.json")).unwrap();
        if let Some(last) = plane.status().unwrap().last {
            assert_eq!(last.record, record, "version {version}");
        }
    }
    assert!(followed > 0, "no checkpoint followed an outcome");
}

fn whole_or_not(m: &Machine) -> Result<(), String> {
    m.plane().verify_ledger().map(drop).map_err(|e| e.to_string())
}

fn last_begins_with_checkpoint(segment: &Path) -> bool {
    let text = std::fs::read_to_string(segment).unwrap();
    text.lines()
        .nth(1)
        .is_some_and(|line| line.contains("\"kind\":\"checkpoint\""))
}

#[test]
fn large_states_go_to_blobs_and_blobs_that_nothing_names_go() {
    let m = small(64 << 10);
    for version in 1..=20 {
        let outcome = m.apply(
            version,
            json!([file("/etc/a", &format!("{version} {}", "a".repeat(6000)))]),
        );
        assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
        assert!(used(&m) <= 64 << 10, "version {version}: {} bytes", used(&m));
        whole(&m);
    }
    let blobs = std::fs::read_dir(m.data().join("portal/blobs")).unwrap().count();
    assert!((1..20).contains(&blobs), "{blobs} blobs");
}

#[test]
fn a_state_larger_than_may_be_kept_is_kept_by_its_hash() {
    let mut m = small(64 << 10);
    m.policy.ledger.content = 5000;
    assert_eq!(
        m.apply(1, json!([file("/etc/a", &"a".repeat(9000))])).kind,
        OutcomeKind::Applied
    );
    let text = std::fs::read_to_string(m.data().join("portal/ledger/00000000.jsl")).unwrap();
    assert!(text.contains("\"hash_only\":\""));
    assert_eq!(m.read("/etc/a").len(), 9000);
    assert!(!m.stored_bytes().iter().any(|(path, _)| {
        path.parent().is_some_and(|p| p.ends_with("blobs")) && std::fs::metadata(path).unwrap().len() > 5000
    }));
}

#[test]
fn a_refusal_repeated_in_other_words_does_not_fill_the_flash() {
    let m = small(64 << 10);
    m.apply(1, spec(1));
    for n in 0..300 {
        m.plane()
            .refuse(
                jos_schemas::documents::policy::Source::Hub,
                Some(n),
                &format!("{n} {}", "why ".repeat(200)),
            )
            .unwrap();
        assert!(used(&m) <= 64 << 10, "{n}: {} bytes", used(&m));
    }
    assert!(whole(&m).extent.first > 0);
}

#[test]
fn old_history_goes_by_its_age() {
    let mut m = Machine::new();
    m.policy.ledger.days = 8;
    for version in 1..=12 {
        m.apply(version, spec(version));
        m.clock.set(m.clock.get() + 3 * 86_400);
    }
    let verdict = whole(&m);
    assert!(
        verdict.extent.first > 0 && verdict.checkpoints.len() >= 2,
        "{verdict:?}"
    );
}

/// A folder as it is, with the rights of each.
pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
}

/// The machine with everything that is on its disks.
fn twin(of: &Machine) -> Machine {
    let m = small(of.policy.ledger.bytes);
    std::fs::remove_dir_all(m.dir.path().join("data")).unwrap();
    copy(of.dir.path(), m.dir.path());
    m
}

#[test]
fn power_cut_at_every_write_of_a_turn_that_prunes_loses_nothing() {
    let m = small(64 << 10);
    // The turn in which the oldest segments go.
    let mut version = 1;
    let before = loop {
        let before = twin(&m);
        let first = m
            .plane()
            .verify_ledger()
            .map(|_| whole(&m).extent.first)
            .unwrap_or_default();
        m.apply(version, spec(version));
        if whole(&m).extent.first > first {
            break before;
        }
        version += 1;
        assert!(version < 60, "it never prunes");
    };
    let (old, new) = (before.snapshot(), m.snapshot());
    for k in 0.. {
        let m = twin(&before);
        let state = m.local(version, spec(version));
        let tap = Cut::power(k);
        let tapped: Rc<dyn Tap> = tap.clone();
        if let Ok(plane) = m.plane_with(Some(tapped)) {
            drop(plane.apply(&state));
        }
        m.plane().recover().unwrap_or_else(|e| panic!("k = {k}: {e}"));
        let in_force = m.plane().status().unwrap().in_force[0].version;
        assert_eq!(
            m.snapshot(),
            if in_force == version { new.clone() } else { old.clone() },
            "k = {k}"
        );
        whole(&m);
        // The next turn goes on, and what was left over goes with it.
        assert_eq!(
            m.apply(version + 1, spec(version + 1)).kind,
            OutcomeKind::Applied,
            "k = {k}"
        );
        whole(&m);
        if !tap.happened() {
            return;
        }
    }
}

/// The change was decided in the ledger that is set aside, and ends under the one that follows it.
#[test]
fn a_ledger_damaged_in_the_middle_of_a_change_is_followed_by_one_that_records_what_came_of_it() {
    let mut ends = std::collections::BTreeSet::new();
    for k in (0..).step_by(2) {
        let m = Machine::new();
        m.apply(1, spec(1));
        let state = m.local(2, spec(2));
        let tap = Cut::power(k);
        if let Ok(plane) = m.plane_with(Some(tap.clone())) {
            drop(plane.apply(&state));
        }
        if !tap.happened() {
            break;
        }
        if !m.data().join("portal/journal/trial.json").exists() {
            continue;
        }
        flip(&m.data().join("portal/ledger/00000000.jsl"), 700);
        m.plane().recover().unwrap_or_else(|e| panic!("k = {k}: {e}"));
        let mut records = Vec::new();
        let ledger = m.plane();
        let ledger = ledger.open_ledger().unwrap();
        ledger.read(&mut |r, _| records.push(r.clone())).unwrap();
        let kinds: Vec<&str> = records.iter().map(|r| r.kind.as_str()).collect();
        assert_eq!(kinds, ["broken", "outcome"], "k = {k}");
        assert_eq!(records[1].cause.as_deref(), Some("#0"), "k = {k}");
        let kept = m.plane().status().unwrap().in_force[0].version == 2;
        let expected = if kept { "applied" } else { "rolled_back" };
        assert_eq!(records[1].payload["outcome"], expected, "k = {k}");
        ends.insert(expected);
        m.replays();
        // A decision that has the earlier one's number here has an outcome of its own.
        for version in 3..6 {
            assert_eq!(m.apply(version, spec(version)).kind, OutcomeKind::Applied, "k = {k}");
        }
        whole(&m);
    }
    assert_eq!(ends.len(), 2, "both ends were seen: {ends:?}");
}
