//! Replay on the ledgers of machines in temporary folders.

mod corpus;
mod properties;

use jos_schemas::documents::ledger::OutcomeKind;
use jos_trust::{Channel, Stream};
use serde_json::{Value, json};

use super::*;
use crate::disk::Disk;
use crate::testing::{self, state};

/// Replays the ledger of `m`.
pub(super) fn replayed(m: &testing::Machine, watch: Watch) -> Run {
    let disk = Disk::open(&m.data(), "").unwrap();
    let at = |what: &str| format!("{}/{what}", m.name);
    let archive = crate::ledger::Archive::folder(&disk, &at("ledger"), &at("blobs"));
    run(&archive, watch).unwrap()
}

/// The machine at the end of a ledger that replays.
pub(super) fn agreed(m: &testing::Machine) -> Machine {
    let run = replayed(m, Watch::Everything);
    assert_eq!(run.divergence, None, "{}", run.divergence.as_ref().unwrap());
    run.machine
}

fn file(path: &str, content: &str) -> Value {
    json!({ "type": "file", "path": path, "content": content })
}

#[test]
fn a_ledger_says_what_is_in_force_and_who_put_each_file_there() {
    let m = testing::Machine::new();
    m.write("/etc/old", "same\n", 0o644);
    let spec = json!([
        { "type": "directory", "path": "/srv/data", "mode": "0750" },
        file("/srv/data/a", "one\n"),
        { "type": "link", "path": "/srv/link", "target": "data" },
        { "type": "absent", "path": "/etc/gone" },
        file("/etc/old", "same\n"),
    ]);
    assert_eq!(m.apply(1, spec.clone()).kind, OutcomeKind::Applied);
    let machine = agreed(&m);
    let state = &machine.in_force()[&Stream::State];
    assert_eq!(
        (state.version, state.decision, state.signers.join(" ")),
        (1, Some(0), "admin-1".into())
    );
    let a = &machine.paths()["/srv/data/a"];
    assert_eq!(
        (a.decision, a.version, a.signers.join(" ")),
        (0, Some(1), "admin-1".into())
    );
    assert_eq!(machine.paths()["/etc/gone"].shape, None);
    let events = |path: &str| machine.history()[path].iter().map(|e| e.event).collect::<Vec<_>>();
    assert_eq!(events("/srv/data/a"), [Happened::Created]);
    assert_eq!(events("/etc/old"), [Happened::TakenOver]);
    // The next version lets one go and changes another.
    m.apply(
        2,
        json!([{ "type": "directory", "path": "/srv/data", "mode": "0750" }, file("/srv/data/a", "two\n")]),
    );
    let machine = agreed(&m);
    assert_eq!(machine.history()["/srv/data/a"].len(), 2);
    assert_eq!(machine.history()["/etc/old"].last().unwrap().event, Happened::Released);
    assert!(!machine.paths().contains_key("/etc/old"));
}

#[test]
fn drift_that_is_put_right_reported_or_met_by_a_new_version_replays() {
    let m = testing::Machine::new();
    m.apply(1, json!([file("/etc/a", "a"), file("/etc/b", "b")]));
    m.write("/etc/a", "drifted", 0o644);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    agreed(&m);
    // The same drift again within a day is put right under the first decision.
    m.write("/etc/a", "drifted", 0o644);
    m.plane().converge().unwrap();
    agreed(&m);
    // Drift that a new version finds: on a path that it changes, and on one that already is as it wants it.
    m.write("/etc/a", "drifted", 0o600);
    m.write("/etc/b", "bb", 0o644);
    m.apply(2, json!([file("/etc/a", "aa"), file("/etc/b", "bb")]));
    let machine = agreed(&m);
    assert_eq!(machine.counts().values().map(|c| c.decisions).sum::<u64>(), 3);
}

#[test]
fn what_was_taken_back_leaves_the_machine_as_it_was() {
    let m = testing::Machine::new();
    m.apply(1, json!([file("/etc/a", "a")]));
    let before = agreed(&m);
    m.failing.borrow_mut().push("do it".into());
    let outcome = m.apply(2, json!([file("/etc/a", "b"), { "type": "shell", "command": "do it" }]));
    assert_eq!(outcome.kind, OutcomeKind::RolledBack);
    let after = agreed(&m);
    assert_eq!(after.paths(), before.paths());
    assert_eq!(after.in_force(), before.in_force());
    assert_eq!(after.history()["/etc/a"].last().unwrap().event, Happened::RolledBack);
    let failure = &after.failures()[0];
    assert_eq!(
        (failure.version, failure.signers.join(" ")),
        (Some(2), "admin-1".into())
    );
}

#[test]
fn secrets_services_commands_and_flows_replay() {
    use crate::plane::{FlowAct, FlowStep};
    let m = testing::Machine::new();
    m.secret("wifi", "hunter2");
    m.service("cups", true, true);
    let spec = json!([
        { "type": "file", "path": "/etc/wpa", "content": { "secret": "wifi" }, "notify": ["cups"] },
        { "type": "file", "path": "/etc/hidden", "content": "x", "mode": "0600" },
        file("/etc/systemd/system/web.service", "[Service]\n"),
        { "type": "service", "name": "web", "action": "enable" },
        { "type": "shell", "command": "do it", "unless": "is it done" },
    ]);
    m.failing.borrow_mut().push("is it done".into());
    assert_eq!(m.apply(1, spec.clone()).kind, OutcomeKind::Applied);
    agreed(&m);
    m.secret("wifi", "hunter3");
    m.plane().converge().unwrap();
    let step = |what| FlowStep {
        artifact: "kiosk".into(),
        step: "one".into(),
        what,
        timeout: std::time::Duration::from_secs(5),
        env: Vec::new(),
        avoid: Vec::new(),
    };
    let plane = m.plane();
    plane.run_flow_step(&step(FlowAct::Command("do it".into()))).unwrap();
    let path = jos_schemas::text::AbsPath::new("/srv/flow").unwrap();
    let (content, mode) = ("text".to_owned(), None);
    plane
        .run_flow_step(&step(FlowAct::File { path, content, mode }))
        .unwrap();
    let machine = agreed(&m);
    assert_eq!(
        machine.paths()["/etc/wpa"].holds,
        Holding::Secret("wifi".parse().unwrap())
    );
    assert!(!machine.paths()["/srv/flow"].held);
}

#[test]
fn a_baseline_under_a_state_replays_and_so_does_pruning() {
    let m = testing::Machine::new();
    let baseline = state(
        "portal",
        1,
        json!([file("/etc/base", "b"), file("/etc/both", "of the baseline")]),
    );
    let verified = m.verified(Channel::Baseline, &baseline).unwrap();
    m.plane().apply(&verified).unwrap();
    m.apply(
        1,
        json!([file("/etc/both", "of the state"), file("/etc/mine", "m"), { "type": "directory", "path": "/srv/d" }]),
    );
    agreed(&m);
    let mut pruning = state("portal", 2, json!([file("/etc/both", "2")]));
    pruning["meta"]["prune"] = json!(true);
    let verified = m.verified(Channel::Local, &pruning).unwrap();
    assert_eq!(m.plane().apply(&verified).unwrap().kind, OutcomeKind::Applied);
    let machine = agreed(&m);
    let paths: Vec<&str> = machine.paths().keys().map(String::as_str).collect();
    assert_eq!(paths, ["/etc/base", "/etc/both"]);
}

/// A directory that is listed with what lies in it, and what a version puts in its place.
fn version_that_prunes(apply: Value) -> Value {
    let mut pruning = state("portal", 2, apply);
    pruning["meta"]["prune"] = json!(true);
    pruning
}

#[test]
fn a_path_that_somebody_removed_before_a_version_prunes_it_replays() {
    for instead in [
        file("/srv/d", "x"),
        json!({ "type": "directory", "path": "/srv/d", "mode": "0700" }),
    ] {
        let m = testing::Machine::new();
        m.apply(1, json!([file("/srv/d/in", "x")]));
        std::fs::remove_dir_all(m.at("/srv/d")).unwrap();
        let verified = m
            .verified(Channel::Local, &version_that_prunes(json!([instead])))
            .unwrap();
        assert_eq!(m.plane().apply(&verified).unwrap().kind, OutcomeKind::Applied);
        assert!(!agreed(&m).paths().contains_key("/srv/d/in"));
    }
}

#[test]
fn what_is_said_to_lie_below_a_link_is_missing_and_no_error() {
    let m = testing::Machine::new();
    m.apply(1, json!([file("/srv/d/in", "x")]));
    let machine = agreed(&m);
    std::fs::remove_dir_all(m.at("/srv/d")).unwrap();
    std::os::unix::fs::symlink("elsewhere", m.at("/srv/d")).unwrap();
    let root = Disk::open(&m.root(), "").unwrap();
    let all = machine.differences(&root, &|_| None, &mut |_| None).unwrap();
    let said: Vec<&str> = all.iter().flat_map(|d| &d.details).map(String::as_str).collect();
    let link = format!("{} is a symbolic link to elsewhere", m.at("/srv/d").display());
    assert_eq!(said, [format!("path: found nothing: {link}, expected a file")]);
    // What is to be absent is.
    let m = testing::Machine::new();
    m.apply(1, json!([{ "type": "absent", "path": "/srv/d/in" }]));
    let machine = agreed(&m);
    std::fs::create_dir_all(m.at("/srv")).unwrap();
    std::os::unix::fs::symlink("elsewhere", m.at("/srv/d")).unwrap();
    let root = Disk::open(&m.root(), "").unwrap();
    let all = machine.differences(&root, &|_| None, &mut |_| None).unwrap();
    assert!(all.is_empty(), "{all:?}");
}

#[test]
fn a_root_that_is_not_running_replays_with_its_first_boot() {
    let mut m = testing::Machine::new();
    m.live = false;
    m.write(
        "/usr/lib/systemd/system/cups.service",
        "[Install]\nWantedBy=multi-user.target\n",
        0o644,
    );
    let spec = json!([file("/etc/a", "a"), { "type": "service", "name": "cups", "action": "enable" },
        { "type": "shell", "command": "do it" }]);
    let outcome = m.apply(1, spec);
    assert_eq!(
        (outcome.kind, outcome.pending),
        (OutcomeKind::Applied, true),
        "{outcome}"
    );
    let machine = agreed(&m);
    assert!(machine.paths()["/etc/systemd/system/multi-user.target.wants/cups.service"].recorded);
    assert!(machine.in_force()[&Stream::State].pending);
    m.live = true;
    m.service("cups", true, true);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    assert!(!agreed(&m).in_force()[&Stream::State].pending);
}

#[test]
fn a_machine_that_begins_at_a_checkpoint_goes_on_as_the_one_that_saw_it_all() {
    let m = testing::Machine::new();
    m.apply(1, json!([file("/etc/a", "a"), file("/etc/long", &"l".repeat(5000))]));
    m.apply(2, json!([file("/etc/a", "aa"), file("/etc/long", &"l".repeat(5000))]));
    let whole = agreed(&m);
    let parts = whole.to_checkpoint_parts();
    let checkpoint = testing_checkpoint(&parts, &whole);
    let mut begun = Machine::from_checkpoint(&checkpoint);
    assert_eq!(begun.to_checkpoint_parts().paths, parts.paths);
    m.write("/etc/a", "drifted", 0o644);
    m.plane().converge().unwrap();
    let disk = Disk::open(&m.data(), "").unwrap();
    let blobs = crate::ledger::Blobs::at(&disk, "portal/blobs");
    let mut get = |digest: &jos_trust::Digest| parts.blobs.get(digest).cloned().or_else(|| blobs.get(digest).unwrap());
    crate::ledger::read_lines(&disk, "portal/ledger", &mut |line| {
        if line.index >= whole.count() {
            begun.take_line(line, &mut get).unwrap();
        }
    })
    .unwrap();
    let at_once = agreed(&m);
    assert_eq!(begun.to_checkpoint_parts(), at_once.to_checkpoint_parts());
}

fn testing_checkpoint(parts: &CheckpointParts, machine: &Machine) -> jos_schemas::documents::checkpoint::Checkpoint {
    let payload = json!({ "kind": "jos.checkpoint", "name": "portal", "time": "2027-01-01T00:00:00Z",
        "head": { "index": machine.count() - 1, "hash": "0".repeat(64) },
        "streams": parts.streams, "gate": parts.gate, "paths": parts.paths, "recent_flows": parts.recent_flows });
    jos_schemas::read::from_json(&payload).unwrap()
}
