//! `directory` with `purge`: what no state lists goes, and comes back exactly.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use jos_schemas::documents::ledger::OutcomeKind;
use jos_trust::Channel;
use serde_json::{Value, json};

use super::file;
use crate::testing::*;

fn purged(path: &str) -> Value {
    json!({ "type": "directory", "path": path, "purge": true })
}

fn populated() -> Machine {
    let m = Machine::new();
    m.write("/srv/d/kept", "kept", 0o644);
    m.write("/srv/d/old", "old", 0o640);
    m.write("/srv/d/sub/deep/x", "x", 0o600);
    m.write("/srv/d/sub/listed", "l", 0o644);
    m.write("/srv/d/tree/a/b", "b", 0o755);
    symlink("../../elsewhere", m.at("/srv/d/tree/link")).unwrap();
    symlink("old", m.at("/srv/d/link")).unwrap();
    m.write("/elsewhere", "others'", 0o644);
    if nix::unistd::geteuid().is_root() {
        chown(m.at("/srv/d/old"), Some(12), Some(34)).unwrap();
        chown(m.at("/srv/d/tree/a"), Some(56), Some(78)).unwrap();
    }
    std::fs::set_permissions(m.at("/srv/d/tree/a"), std::fs::Permissions::from_mode(0o711)).unwrap();
    m
}

fn spec() -> Value {
    json!([
        purged("/srv/d"),
        file("/srv/d/kept", "kept"),
        file("/srv/d/sub/listed", "l")
    ])
}

#[test]
fn what_no_state_lists_goes_at_any_depth_and_the_second_time_nothing_does() {
    let m = populated();
    let plan = m.plane().plan(&m.local(1, spec())).unwrap();
    let going: Vec<&str> = plan.changes.iter().map(|c| c.what.as_str()).collect();
    assert_eq!(going, ["/srv/d/link", "/srv/d/old", "/srv/d/sub/deep", "/srv/d/tree"]);
    let outcome = m.apply(1, spec());
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    let left: Vec<String> = m.snapshot().into_keys().filter(|p| p.starts_with("srv/d")).collect();
    assert_eq!(left, ["srv/d", "srv/d/kept", "srv/d/sub", "srv/d/sub/listed"]);
    assert_eq!(m.read("/elsewhere"), "others'", "a link goes, not what it names");
    assert_eq!(m.apply(1, spec()).kind, OutcomeKind::Unchanged);
    // Drift: what appears later goes too.
    m.write("/srv/d/sub/new", "new", 0o644);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    assert!(!m.at("/srv/d/sub/new").exists());
}

#[test]
fn undo_brings_everything_back_with_modes_owners_links_and_inodes() {
    let m = populated();
    let before = m.snapshot();
    let inode = m.at("/srv/d/tree/a/b").metadata().unwrap().ino();
    m.failing.borrow_mut().push("is it well".into());
    let outcome = m.apply(1, json!({ "apply": spec(), "confirm": { "command": "is it well" } }));
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert_eq!(m.snapshot(), before);
    assert_eq!(
        m.at("/srv/d/tree/a/b").metadata().unwrap().ino(),
        inode,
        "the tree was moved, not copied"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn undo_brings_extended_attributes_back() {
    let m = populated();
    let set = |path: &str| {
        let done = std::process::Command::new("setfattr")
            .args(["-n", "user.note", "-v", "kept"])
            .arg(m.at(path))
            .status();
        done.is_ok_and(|s| s.success())
    };
    if !(set("/srv/d/old") && set("/srv/d/tree/a")) {
        eprintln!("left out: no setfattr(1), or no user attributes here");
        return;
    }
    m.failing.borrow_mut().push("is it well".into());
    m.apply(1, json!({ "apply": spec(), "confirm": { "command": "is it well" } }));
    for path in ["/srv/d/old", "/srv/d/tree/a"] {
        let said = std::process::Command::new("getfattr")
            .args(["--only-values", "-n", "user.note"])
            .arg(m.at(path))
            .output();
        assert_eq!(said.unwrap().stdout, b"kept", "{path}");
    }
}

#[test]
fn special_files_and_files_with_several_names_are_named_and_nothing_is_touched() {
    let m = populated();
    nix::unistd::mkfifo(
        &m.at("/srv/d/tree/fifo"),
        nix::sys::stat::Mode::from_bits_truncate(0o644),
    )
    .unwrap();
    std::fs::hard_link(m.at("/elsewhere"), m.at("/srv/d/sub/deep/second")).unwrap();
    let before = m.snapshot();
    let outcome = m.apply(1, spec());
    assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
    let reasons = outcome.reasons.join("\n");
    for why in [
        "tree/fifo: a FIFO stands there",
        "deep/second: the file has 2 hard links",
    ] {
        assert!(reasons.contains(why), "{reasons}");
    }
    assert_eq!(m.snapshot(), before);
}

#[test]
fn a_name_that_no_document_can_hold_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let m = populated();
    let odd = m.at("/srv/d/tree").join(std::ffi::OsStr::from_bytes(b"bad\xff"));
    if std::fs::write(odd, "x").is_err() {
        return; // The file system takes UTF-8 only.
    }
    let outcome = m.apply(1, spec());
    assert_eq!(outcome.kind, OutcomeKind::Refused);
    assert!(
        outcome.reasons[0].contains(r"/srv/d/tree/bad\xff"),
        "{:?}",
        outcome.reasons
    );
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_mounted_below_is_never_crossed() {
    let m = populated();
    std::fs::create_dir(m.at("/srv/d/tree/mnt")).unwrap();
    m.write("/outside/precious", "p", 0o644);
    let mount = |args: &[&std::ffi::OsStr]| {
        let done = std::process::Command::new("mount").args(args).status();
        done.is_ok_and(|s| s.success())
    };
    let (from, to) = (m.at("/outside"), m.at("/srv/d/tree/mnt"));
    if !mount(&["--bind".as_ref(), from.as_os_str(), to.as_os_str()]) {
        eprintln!("left out: nothing can be mounted here");
        return;
    }
    let outcome = m.apply(1, spec());
    let unmounted = std::process::Command::new("umount").arg(&to).status();
    assert!(unmounted.is_ok_and(|s| s.success()));
    assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
    assert!(
        outcome.reasons[0].contains("mnt: something is mounted there"),
        "{:?}",
        outcome.reasons
    );
    assert_eq!(m.read("/outside/precious"), "p");
}

#[test]
fn every_removed_path_needs_a_grant_of_its_own() {
    let mut m = populated();
    m.policy = policy(json!({ "local": { "files": ["/srv/d", "/srv/d/*", "/srv/d/sub/**"] } }));
    let before = m.snapshot();
    let outcome = m.apply(1, spec());
    assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
    let reasons = outcome.reasons.join("\n");
    assert!(
        reasons.contains("[grants.local] files = [\"/srv/d/tree/a/b\"]"),
        "{reasons}"
    );
    assert!(!reasons.contains("/srv/d/old\""), "{reasons}");
    assert_eq!(m.snapshot(), before);
}

#[test]
fn what_the_baseline_lists_is_kept_by_the_overlay_that_purges() {
    let m = populated();
    let base = state("portal", 1, json!([file("/srv/d/base", "base")]));
    m.plane().apply(&m.verified(Channel::Baseline, &base).unwrap()).unwrap();
    assert_eq!(m.apply(1, spec()).kind, OutcomeKind::Applied);
    assert_eq!(m.read("/srv/d/base"), "base");
}

#[test]
fn a_path_of_another_agent_is_not_purged() {
    let mut m = populated();
    m.apply(1, json!([file("/srv/d/mine", "mine")]));
    m.name = name("other");
    let outcome = m.apply(1, spec());
    assert_eq!(outcome.kind, OutcomeKind::Refused);
    assert!(
        outcome.reasons[0].contains("belongs to the agent portal"),
        "{:?}",
        outcome.reasons
    );
}

#[test]
fn what_a_newer_state_drops_and_purges_is_gone_and_not_called_released() {
    let m = Machine::new();
    m.apply(
        1,
        json!([purged("/srv/d"), file("/srv/d/a", "a"), file("/srv/d/b", "b")]),
    );
    let outcome = m.apply(2, json!([purged("/srv/d"), file("/srv/d/a", "a")]));
    assert_eq!(
        (outcome.kind, outcome.released.len()),
        (OutcomeKind::Applied, 0),
        "{outcome}"
    );
    assert!(!m.at("/srv/d/b").exists());
}
