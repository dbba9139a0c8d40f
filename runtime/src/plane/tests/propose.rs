//! What agents of the runtime propose: granted by their own names, done once, kept away from what is not theirs.

use std::rc::Rc;

use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::documents::policy::Source;
use jos_schemas::read;
use serde_json::{Value, json};

use super::file;
use crate::disk::Tap;
use crate::outcome::Outcome;
use crate::plane::Proposed;
use crate::replay::{Happened, Watch};
use crate::testing::*;

/// A machine on which the agent `tuner` may write below `/srv/box`, restart `cups` and run one command.
fn machine() -> Machine {
    let mut m = Machine::new();
    let granted = json!({ "files": ["/srv/box/**"], "services": ["cups"], "shell": ["do it"] });
    m.policy = read::from_json(&json!({
        "kind": "jos.policy", "grants": { "local": wide() }, "agents": { "tuner": granted },
    }))
    .unwrap();
    m
}

fn by(agent: &str, job: &str, steps: Value) -> Proposed {
    Proposed {
        agent: name(agent),
        node: "key-1".into(),
        job: job.into(),
        decision: "change".into(),
        steps: read::from_json(&steps).unwrap(),
    }
}

fn propose(m: &Machine, proposed: &Proposed) -> Outcome {
    let outcome = m.plane().propose(proposed).unwrap();
    m.replays();
    outcome
}

/// Expects a refusal for this reason that touched nothing and stands in the ledger.
fn refused(m: &Machine, agent: &str, steps: Value, why: &str) {
    let (before, told, ran) = (m.snapshot(), m.told.borrow().len(), m.ran.borrow().len());
    let outcome = propose(m, &by(agent, "j", steps));
    assert_eq!(
        (outcome.kind, outcome.recorded),
        (OutcomeKind::Refused, true),
        "{outcome}"
    );
    let reasons = outcome.reasons.join("\n");
    assert!(reasons.contains(why), "expected {why:?} in:\n{reasons}");
    assert!(reasons.starts_with(&format!("agent {agent}, job j: ")), "{reasons}");
    assert_eq!(m.snapshot(), before);
    assert_eq!((m.told.borrow().len(), m.ran.borrow().len()), (told, ran));
}

#[test]
fn an_agent_does_what_it_was_granted_and_the_ledger_says_which_agent_it_was() {
    let m = machine();
    m.service("cups", true, true);
    let steps = json!([
        { "type": "file", "path": "/srv/box/limits", "content": "parallel = 2\n", "notify": ["cups"] },
        { "type": "shell", "command": "do it" },
    ]);
    let outcome = propose(&m, &by("tuner", "j1", steps));
    assert_eq!(
        (outcome.kind, outcome.source),
        (OutcomeKind::Applied, Source::Agent),
        "{outcome}"
    );
    assert_eq!(m.read("/srv/box/limits"), "parallel = 2\n");
    assert_eq!((m.told.borrow().len(), m.ran.borrow().len()), (1, 1));
    let disk = crate::disk::Disk::open(&m.data().join("portal"), "").unwrap();
    let archive = crate::ledger::Archive::folder(&disk, "ledger", "blobs");
    let replayed = crate::replay::run(&archive, Watch::Everything).unwrap();
    let event = &replayed.machine.history()["/srv/box/limits"][0];
    assert_eq!(
        (event.event, event.agent.as_ref()),
        (Happened::Created, Some(&name("tuner")))
    );
    assert!(!replayed.machine.paths()["/srv/box/limits"].held);
}

#[test]
fn without_a_grant_nothing_is_touched_and_the_refusal_names_the_table_of_that_agent() {
    let mut m = machine();
    refused(
        &m,
        "tuner",
        json!([file("/srv/other", "x")]),
        "[agents.tuner] files = [\"/srv/other\"]",
    );
    refused(
        &m,
        "tuner",
        json!([{ "type": "shell", "command": "do that" }]),
        "[agents.tuner] shell = [\"do that\"]",
    );
    refused(
        &m,
        "stranger",
        json!([file("/srv/box/limits", "x")]),
        "[agents.stranger] files",
    );
    // What others were granted is not an agent's, and one's is not another's.
    m.policy.grants.insert(
        Source::Agent,
        read::from_json(&json!({ "files": ["/srv/all"] })).unwrap(),
    );
    assert_eq!(
        propose(&m, &by("stranger", "j", json!([file("/srv/all", "x")]))).kind,
        OutcomeKind::Applied
    );
    refused(&m, "tuner", json!([file("/srv/all", "y")]), "the path is not granted");
}

#[test]
fn one_step_that_is_not_granted_refuses_all_of_them() {
    let m = machine();
    let steps = json!([file("/srv/box/a", "a"), { "type": "service", "name": "web", "action": "restart" }]);
    refused(&m, "tuner", steps, "the service web is not granted");
}

#[test]
fn what_is_protected_code_or_secret_is_no_agents_whatever_it_was_granted() {
    let mut m = machine();
    m.secret("wifi", "hunter2");
    let wide = json!({ "files": ["/**"], "packages": ["jos-agent as the agent"] });
    m.policy.agents.insert(name("tuner"), read::from_json(&wide).unwrap());
    refused(
        &m,
        "tuner",
        json!([file("/etc/jos/policy.toml", "")]),
        "protected whatever is granted",
    );
    refused(
        &m,
        "tuner",
        json!([file("/usr/bin/vendor-agent", "")]),
        "protected whatever is granted",
    );
    refused(
        &m,
        "tuner",
        json!([file("/etc/cron.d/x", "")]),
        "only data is granted there",
    );
    let secret = json!([{ "type": "file", "path": "/srv/box/x", "content": { "secret": "wifi" }, "mode": "0644" }]);
    refused(&m, "tuner", secret, "an agent puts no secret anywhere");
}

#[test]
fn a_nodes_own_ledger_is_protected_and_its_agents_are_code() {
    let m = machine();
    let mut setup = m.setup();
    setup.node = Some("/srv/box/node".into());
    let plane = crate::plane::Plane::open(setup, m.world()).unwrap();
    for (path, why) in [
        (
            "/srv/box/node/state/runtime/ledger/1.jsl",
            "protected whatever is granted",
        ),
        ("/srv/box/node/agents/tuner.jos", "only data is granted there"),
    ] {
        let outcome = plane.propose(&by("tuner", "j", json!([file(path, "x")]))).unwrap();
        assert!(outcome.reasons.join("\n").contains(why), "{path}: {outcome}");
    }
}

#[test]
fn what_a_state_in_force_lists_is_changed_by_its_signer_alone() {
    let m = machine();
    m.service("cups", true, true);
    let state = json!([
        file("/srv/box/kept", "k"),
        { "type": "directory", "path": "/srv/box/purged", "purge": true },
        { "type": "service", "name": "cups", "action": "enable" },
    ]);
    m.apply(1, state);
    let why = "the state in force says";
    refused(&m, "tuner", json!([file("/srv/box/kept", "mine")]), why);
    refused(
        &m,
        "tuner",
        json!([{ "type": "absent", "path": "/srv/box", "recursive": true }]),
        why,
    );
    refused(&m, "tuner", json!([file("/srv/box/purged/new", "x")]), why);
    refused(
        &m,
        "tuner",
        json!([{ "type": "service", "name": "cups", "action": "stop" }]),
        why,
    );
    let restart = json!([{ "type": "service", "name": "cups", "action": "restart" }]);
    assert_eq!(propose(&m, &by("tuner", "j", restart)).kind, OutcomeKind::Applied);
    assert_eq!(
        m.plane().converge().unwrap().kind,
        OutcomeKind::Unchanged,
        "nothing drifted"
    );
}

#[test]
fn a_path_of_another_name_is_not_touched() {
    let mut m = machine();
    m.name = name("other");
    m.apply(1, json!([file("/srv/box/theirs", "t")]));
    m.name = name("portal");
    refused(
        &m,
        "tuner",
        json!([file("/srv/box/theirs", "mine")]),
        "belongs to the agent other",
    );
}

#[test]
fn a_change_that_makes_the_states_health_check_fail_is_taken_back() {
    let m = machine();
    let healthy = json!({ "type": "http", "url": "http://localhost/", "retries": 0 });
    m.apply(1, json!({ "apply": [file("/etc/a", "a")], "health_check": healthy }));
    let before = m.snapshot();
    m.answer.set(Ok(500));
    let outcome = propose(&m, &by("tuner", "j1", json!([file("/srv/box/limits", "too much")])));
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert_eq!(m.snapshot(), before);
    m.answer.set(Ok(200));
    assert_eq!(
        propose(&m, &by("tuner", "j2", json!([file("/srv/box/limits", "less")]))).kind,
        OutcomeKind::Applied
    );
}

#[test]
fn the_same_proposal_is_done_once_and_answered_alike() {
    let m = machine();
    let change = by("tuner", "j1", json!([{ "type": "shell", "command": "do it" }]));
    let first = propose(&m, &change);
    let again = propose(&m, &change);
    assert_eq!((first.kind, again.kind), (OutcomeKind::Applied, OutcomeKind::Applied));
    assert_eq!((first.recorded, again.recorded), (true, false));
    assert_eq!(first.ledger, again.ledger);
    assert_eq!(m.ran.borrow().len(), 1, "it ran once");
    // Another job's, another agent's or another node's is another proposal.
    propose(&m, &by("tuner", "j2", json!([{ "type": "shell", "command": "do it" }])));
    let elsewhere = Proposed {
        node: "key-2".into(),
        ..change
    };
    propose(&m, &elsewhere);
    assert_eq!(m.ran.borrow().len(), 3);
}

#[test]
fn power_cut_at_every_write_of_a_proposal_and_asked_again_it_is_done_once_or_not_at_all() {
    let steps = || json!([file("/srv/box/a", "new"), { "type": "shell", "command": "do it" }, file("/srv/box/b", "b")]);
    let (mut kept, mut taken) = (0, 0);
    for k in 0.. {
        let m = machine();
        m.write("/srv/box/a", "old", 0o644);
        let change = by("tuner", "j1", steps());
        let tap = Cut::power(k);
        let cut: Rc<dyn Tap> = tap.clone();
        if let Ok(plane) = m.plane_with(Some(cut)) {
            drop(plane.propose(&change));
        }
        let ran = m.ran.borrow().len();
        let recorded = m.plane().open_ledger().unwrap().head().count;
        let outcome = propose(&m, &change);
        match outcome.kind {
            OutcomeKind::Applied => {
                assert_eq!(
                    (m.read("/srv/box/a"), m.read("/srv/box/b")),
                    ("new".into(), "b".into()),
                    "k = {k}"
                );
                kept += 1;
            }
            OutcomeKind::RolledBack => {
                assert_eq!(m.read("/srv/box/a"), "old", "k = {k}");
                assert!(!m.at("/srv/box/b").exists(), "k = {k}");
                taken += 1;
            }
            other => panic!("k = {k}: {other:?}"),
        }
        // A decision on record is never acted on by who asks again.
        assert!(recorded == 0 || m.ran.borrow().len() == ran, "k = {k}: it ran again");
        if !tap.happened() {
            break;
        }
    }
    assert!(
        kept > 3 && taken > 10,
        "both ends were seen: {kept} kept, {taken} taken back"
    );
}

#[test]
fn a_forged_agent_or_grant_does_not_replay() {
    let m = machine();
    propose(&m, &by("tuner", "j1", json!([file("/srv/box/a", "a")])));
    let mut records = Vec::new();
    let ledger = crate::disk::Disk::open(&m.data(), "").unwrap();
    let archive = crate::ledger::Archive::folder(&ledger, "portal/ledger", "portal/blobs");
    m.plane()
        .open_ledger()
        .unwrap()
        .read(&mut |record, _| records.push(record.clone()))
        .unwrap();
    for (field, value) in [
        ("agent", "stranger"),
        ("job", "j2"),
        ("node", "key-2"),
        ("decision", "other"),
    ] {
        let mut forged = records[0].clone();
        forged.payload["payload"][field] = json!(value);
        let mut machine = crate::replay::Machine::default();
        let wrong = machine
            .take(&forged, &mut |digest| archive.blob(digest).unwrap())
            .unwrap_err();
        assert!(wrong.to_string().contains("id"), "{field}: {wrong}");
    }
    let mut machine = crate::replay::Machine::default();
    machine
        .take(&records[0], &mut |digest| archive.blob(digest).unwrap())
        .unwrap();
}
