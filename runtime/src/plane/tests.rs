//! The plane on machines in temporary folders: what it does, what it takes back, what it leaves alone.

mod accounts;
mod attacks;
mod blobs;
mod confirm;
mod crash;
mod drift;
mod hostile;
mod image;
mod keep;
mod names;
mod packages;
mod power;
mod propose;
mod purge;
mod regain;
mod roots;
mod system;
mod upgrade;

use jos_schemas::documents::ledger::OutcomeKind;
use jos_trust::{Channel, Refused};
use serde_json::{Value, json};

use crate::testing::*;

fn file(path: &str, content: &str) -> Value {
    json!({ "type": "file", "path": path, "content": content })
}

#[test]
fn a_state_is_applied_and_the_second_time_nothing_is_changed_or_appended() {
    let m = Machine::new();
    let spec = json!([
        file("/etc/motd", "hello\n"),
        { "type": "directory", "path": "/srv/data", "mode": "0750" },
        { "type": "link", "path": "/srv/link", "target": "data" },
    ]);
    let outcome = m.apply(1, spec.clone());
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    assert_eq!((outcome.changes.len(), outcome.ledger.count), (3, 2));
    assert_eq!(m.read("/etc/motd"), "hello\n");
    let again = m.apply(1, spec);
    assert_eq!(
        (again.kind, again.recorded, again.ledger.count),
        (OutcomeKind::Unchanged, false, 2)
    );
    assert_eq!(again.ledger, outcome.ledger);
    let status = m.plane().status().unwrap();
    assert_eq!((status.in_force[0].version, status.in_force.len()), (1, 1));
    assert_eq!(status.ledger, m.plane().verify_ledger().unwrap());
}

#[test]
fn a_failed_health_check_puts_everything_back_exactly() {
    let m = Machine::new();
    m.write("/etc/a", "old", 0o640);
    m.write("/etc/gone/deep/file", "kept", 0o600);
    m.service("cups", false, true);
    std::os::unix::fs::symlink("a", m.at("/etc/link")).unwrap();
    let before = m.snapshot();
    m.answer.set(Ok(500));
    let outcome = m.apply(
        1,
        json!({
            "apply": [
                { "type": "file", "path": "/etc/a", "content": "new", "notify": ["cups"] },
                file("/etc/new/deep/b", "b"),
                { "type": "link", "path": "/etc/link", "target": "elsewhere" },
                { "type": "absent", "path": "/etc/gone", "recursive": true },
                { "type": "service", "name": "cups", "action": "enable" },
            ],
            "health_check": { "type": "http", "url": "http://localhost/", "retries": 1 },
        }),
    );
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert!(outcome.reasons[0].contains("answered 500"), "{:?}", outcome.reasons);
    assert_eq!(m.snapshot(), before);
    assert_eq!(
        *m.told.borrow(),
        ["enable cups", "restart cups", "disable cups", "restart cups"]
    );
    assert!(!m.services.borrow()["cups"].enabled);
    // The version failed: nobody tries it again, a higher one may be tried.
    let state = state("portal", 1, json!([file("/etc/a", "x")]));
    assert!(matches!(
        m.verified(Channel::Local, &state),
        Err(Refused::SameVersionOtherContent { .. })
    ));
    m.answer.set(Ok(200));
    assert_eq!(m.apply(2, json!([file("/etc/a", "newer")])).kind, OutcomeKind::Applied);
}

#[test]
fn a_version_that_failed_is_not_tried_again() {
    let m = Machine::new();
    m.answer.set(Err("refused"));
    let spec = json!({ "apply": [file("/etc/a", "x")], "health_check": { "type": "tcp", "host": "h", "port": 1, "retries": 0 } });
    assert_eq!(m.apply(1, spec.clone()).kind, OutcomeKind::RolledBack);
    m.answer.set(Ok(200));
    let state = state("portal", 1, spec);
    assert!(matches!(
        m.verified(Channel::Local, &state),
        Err(Refused::AlreadyFailed { version: 1 })
    ));
}

#[test]
fn a_notified_service_restarts_once_after_all_files() {
    let m = Machine::new();
    m.service("cups", true, true);
    let step = |path: &str| json!({ "type": "file", "path": path, "content": "x", "notify": ["cups"] });
    let outcome = m.apply(1, json!([step("/etc/a"), step("/etc/b"), step("/etc/c")]));
    assert_eq!(outcome.notified, ["cups"]);
    assert_eq!(*m.told.borrow(), ["restart cups"]);
    m.apply(2, json!([step("/etc/a"), step("/etc/b"), step("/etc/c")]));
    assert_eq!(m.told.borrow().len(), 1, "nothing changed, nobody is notified");
}

#[test]
fn a_service_that_does_not_start_takes_its_files_back() {
    let m = Machine::new();
    m.write("/etc/cups.conf", "works", 0o644);
    m.service("cups", true, true);
    m.lame.borrow_mut().push("cups".into());
    let before = m.snapshot();
    let outcome = m.apply(
        1,
        json!([{ "type": "file", "path": "/etc/cups.conf", "content": "broken", "notify": ["cups"] }]),
    );
    // It does not start under the old file either in this world: that is left, and said.
    assert_eq!(outcome.kind, OutcomeKind::Broken, "{outcome}");
    assert!(outcome.left[0].contains("cups"), "{:?}", outcome.left);
    assert_eq!(m.snapshot(), before);
    // The journal is kept; once the reason is gone, recovery finishes.
    assert!(m.plane().apply(&m.local(2, json!([]))).is_err());
    m.lame.borrow_mut().clear();
    assert_eq!(m.plane().recover().unwrap().unwrap().kind, OutcomeKind::RolledBack);
    assert!(m.plane().recover().unwrap().is_none());
}

#[test]
fn restart_and_shell_run_once_for_each_version() {
    let m = Machine::new();
    m.service("web", true, true);
    let spec = json!([
        { "type": "service", "name": "web", "action": "restart" },
        { "type": "shell", "command": "do it" },
    ]);
    m.apply(1, spec.clone());
    m.apply(1, spec.clone());
    m.plane().converge().unwrap();
    assert_eq!((m.told.borrow().len(), m.ran.borrow().len()), (1, 1));
    m.apply(2, spec);
    assert_eq!((m.told.borrow().len(), m.ran.borrow().len()), (2, 2));
}

#[test]
fn a_command_is_skipped_when_unless_succeeds_and_undone_by_its_undo() {
    let m = Machine::new();
    let step = json!({ "type": "shell", "command": "do it", "unless": "is it done", "undo": "undo it" });
    m.apply(1, json!([step]));
    assert_eq!(*m.ran.borrow(), ["is it done"]);
    m.ran.borrow_mut().clear();
    m.failing
        .borrow_mut()
        .extend(["is it done".to_owned(), "is it well".to_owned()]);
    let outcome = m.apply(
        2,
        json!({
            "apply": [step],
            "health_check": { "type": "command", "command": "is it well", "retries": 0 },
        }),
    );
    assert_eq!(outcome.kind, OutcomeKind::RolledBack);
    assert_eq!(*m.ran.borrow(), ["is it done", "do it", "is it well", "undo it"]);
    assert_eq!(outcome.captured.len(), 2);
}

#[test]
fn a_command_that_failed_and_has_no_undo_is_named() {
    let m = Machine::new();
    m.failing.borrow_mut().push("do it".into());
    let outcome = m.apply(1, json!([file("/etc/a", "a"), { "type": "shell", "command": "do it" }]));
    assert_eq!(outcome.kind, OutcomeKind::RolledBack);
    assert!(
        outcome.reasons.iter().any(|r| r.contains("has no undo")),
        "{:?}",
        outcome.reasons
    );
    assert!(!m.at("/etc/a").exists());
}

#[test]
fn the_confirm_command_decides_at_the_end() {
    let m = Machine::new();
    m.failing.borrow_mut().push("is it well".into());
    let outcome = m.apply(
        1,
        json!({ "apply": [file("/etc/a", "a")], "confirm": { "command": "is it well" } }),
    );
    assert_eq!(outcome.kind, OutcomeKind::RolledBack);
    assert!(!m.at("/etc/a").exists());
}

#[test]
fn what_this_build_cannot_do_is_unsupported_by_name_and_touches_nothing() {
    let m = Machine::new();
    let before = m.snapshot();
    let outcome = m.apply(9, json!({ "apply": [], "confirm": { "hub_within": 60 } }));
    assert_eq!(outcome.kind, OutcomeKind::Unsupported);
    let mut asks = state("portal", 10, json!([]));
    asks["meta"]["requires"] = json!(["teleport", "file"]);
    let outcome = m.plane().apply(&m.verified(Channel::Local, &asks).unwrap()).unwrap();
    assert_eq!(outcome.kind, OutcomeKind::Unsupported);
    assert!(outcome.reasons[0].contains("\"teleport\""));
    assert_eq!(m.snapshot(), before);
    // Once each: what is refused again in a row is not recorded again.
    let count = outcome.ledger.count;
    let again = m.plane().apply(&m.verified(Channel::Local, &asks).unwrap()).unwrap();
    assert_eq!((again.recorded, again.ledger.count), (false, count));
}

#[test]
fn a_dropped_path_is_released_and_with_prune_removed() {
    let m = Machine::new();
    m.apply(
        1,
        json!([{ "type": "directory", "path": "/srv/d" }, file("/srv/d/a", "a"), file("/etc/b", "b")]),
    );
    let outcome = m.apply(
        2,
        json!([{ "type": "directory", "path": "/srv/d" }, file("/srv/d/a", "a")]),
    );
    assert_eq!(outcome.released, ["/etc/b"]);
    assert_eq!(m.read("/etc/b"), "b");
    let mut state = state("portal", 3, json!([]));
    state["meta"]["prune"] = json!(true);
    let outcome = m.plane().apply(&m.verified(Channel::Local, &state).unwrap()).unwrap();
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    assert!(!m.at("/srv/d").exists() && m.at("/etc/b").exists());
}

#[test]
fn the_local_state_overlays_the_baseline_path_by_path() {
    let m = Machine::new();
    let base = |version, content: &str| {
        let spec = json!([file("/etc/a", content), file("/etc/b", content)]);
        m.plane()
            .apply(&m.verified(Channel::Baseline, &state("portal", version, spec)).unwrap())
            .unwrap()
    };
    base(1, "base 1");
    m.apply(7, json!([file("/etc/a", "overlay")]));
    assert_eq!(
        (m.read("/etc/a"), m.read("/etc/b")),
        ("overlay".into(), "base 1".into())
    );
    let outcome = base(2, "base 2");
    assert_eq!(outcome.kind, OutcomeKind::Applied);
    assert_eq!(
        (m.read("/etc/a"), m.read("/etc/b")),
        ("overlay".into(), "base 2".into())
    );
    // What the overlay drops falls back to the baseline.
    m.apply(8, json!([]));
    assert_eq!(m.read("/etc/a"), "base 2");
    assert_eq!(m.plane().status().unwrap().in_force.len(), 2);
}

#[test]
fn a_path_of_another_agent_is_refused() {
    let mut m = Machine::new();
    m.apply(1, json!([file("/srv/x/a", "mine")]));
    m.name = name("other");
    let outcome = m.apply(1, json!([file("/srv/x/a", "yours")]));
    assert_eq!(outcome.kind, OutcomeKind::Refused);
    assert!(
        outcome.reasons[0].contains("belongs to the agent portal"),
        "{:?}",
        outcome.reasons
    );
    let outcome = m.apply(2, json!([{ "type": "absent", "path": "/srv/x", "recursive": true }]));
    assert_eq!(outcome.kind, OutcomeKind::Refused);
    assert_eq!(m.read("/srv/x/a"), "mine");
}

#[test]
fn drift_is_put_right_and_recorded_when_its_set_changes() {
    let m = Machine::new();
    m.apply(1, json!([file("/etc/a", "a"), file("/etc/b", "b")]));
    assert!(!m.plane().converge().unwrap().recorded);
    m.write("/etc/a", "drifted", 0o644);
    let outcome = m.plane().converge().unwrap();
    assert_eq!(
        (outcome.kind, outcome.recorded, outcome.ledger.count),
        (OutcomeKind::Applied, true, 4)
    );
    assert_eq!(m.read("/etc/a"), "a");
    // The same again: put right under the decision that is there.
    m.write("/etc/a", "drifted", 0o644);
    let outcome = m.plane().converge().unwrap();
    assert_eq!(
        (outcome.recorded, outcome.ledger.count, m.read("/etc/a").as_str()),
        (false, 4, "a")
    );
    assert_eq!(m.plane().status().unwrap().drift_repeats, Some(1));
    std::fs::remove_file(m.at("/etc/b")).unwrap();
    assert_eq!(m.plane().converge().unwrap().ledger.count, 6);
    assert_eq!(m.read("/etc/b"), "b");
}

#[test]
fn drift_is_only_reported_where_policy_says_so() {
    let mut m = Machine::new();
    let mut grant = wide();
    grant["drift"] = json!("report");
    m.policy = policy(json!({ "local": grant }));
    m.apply(1, json!([file("/etc/a", "a")]));
    m.write("/etc/a", "drifted", 0o644);
    let outcome = m.plane().converge().unwrap();
    assert_eq!((outcome.kind, outcome.recorded), (OutcomeKind::Drifted, true));
    assert!(!m.plane().converge().unwrap().recorded);
    assert_eq!(m.read("/etc/a"), "drifted");
}

#[test]
fn a_flow_step_is_a_decision_of_the_source_artifact() {
    use crate::plane::{FlowAct, FlowStep};
    let m = Machine::new();
    let step = |what| FlowStep {
        artifact: "kiosk".into(),
        step: "one".into(),
        what,
        timeout: std::time::Duration::from_secs(5),
        env: Vec::new(),
        avoid: vec!["rm -rf".into()],
    };
    let plane = m.plane();
    let done = plane.run_flow_step(&step(FlowAct::Command("do it".into()))).unwrap();
    assert_eq!(
        (done.kind, done.ran.unwrap().output),
        (OutcomeKind::Applied, b"said\n".to_vec())
    );
    let refused = plane.run_flow_step(&step(FlowAct::Command("do that".into()))).unwrap();
    assert_eq!(refused.kind, OutcomeKind::Refused);
    assert!(
        refused
            .reason
            .unwrap()
            .contains("[grants.artifact] shell = [\"do that\"]")
    );
    let avoided = plane.run_flow_step(&step(FlowAct::Command("rm -rf /".into()))).unwrap();
    assert!(avoided.reason.unwrap().contains("guardrails"));
    let mut sources = Vec::new();
    plane
        .open_ledger()
        .unwrap()
        .read(&mut |r, _| sources.push((r.kind.clone(), r.source)))
        .unwrap();
    assert!(
        sources
            .iter()
            .all(|(_, s)| *s == jos_schemas::documents::policy::Source::Artifact)
    );
    assert_eq!(sources.len(), 4);
}

#[test]
fn the_machine_state_is_rebuilt_from_the_ledger_when_its_file_is_gone() {
    let m = Machine::new();
    m.apply(1, json!([file("/etc/a", "a")]));
    let before = m.plane().status().unwrap();
    let path = m.data().join("portal/state.json");
    for damage in [None, Some("{\"format\":9}"), Some("")] {
        match damage {
            None => std::fs::remove_file(&path).unwrap(),
            Some(text) => std::fs::write(&path, text).unwrap(),
        }
        let after = m.plane().status().unwrap();
        assert_eq!(
            serde_json::to_value(&after).unwrap(),
            serde_json::to_value(&before).unwrap()
        );
    }
}

#[test]
fn a_second_apply_names_the_first_ones_process() {
    let m = Machine::new();
    let plane = m.plane();
    let _held = plane.lock().unwrap();
    let error = m.plane().converge().unwrap_err().to_string();
    assert!(error.contains(&std::process::id().to_string()), "{error}");
}
