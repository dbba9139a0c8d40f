//! Another system: moved to by a state, tried in it, kept or left again, wherever the power goes.

use std::rc::Rc;

use jos_schemas::documents::ledger::OutcomeKind;
use jos_trust::{Channel, Refused, Standing};
use serde_json::{Value, json};

use super::file;
use crate::disk::Tap;
use crate::outcome::Outcome;
use crate::plane::{PlaneError, Stage};
use crate::testing::*;

/// A machine that runs 1.0 with version 1 of a state in force, and may be moved.
fn machine() -> Machine {
    let mut m = Machine::slotted("1.0");
    let mut grant = wide();
    grant["images"] = json!([FOR]);
    m.policy = policy(json!({ "local": grant }));
    assert_eq!(m.apply(1, json!([file("/etc/a", "old")])).kind, OutcomeKind::Applied);
    m
}

fn image(m: &Machine, version: &str) -> Value {
    json!({ "type": "image", "compatible": FOR, "version": version, "source": m.bundle(version) })
}

/// A state that moves to 2.0 and changes files there, one of which every system brings.
fn spec(m: &Machine) -> Value {
    json!({
        "apply": [file("/etc/a", "new"), file("/etc/system", "mine"), image(m, "2.0")],
        "health_check": { "type": "http", "url": "http://localhost/", "retries": 0 },
    })
}

fn with_hub(m: &Machine, seconds: u64) -> Value {
    m.has_hub.set(true);
    json!({ "apply": [file("/etc/a", "new"), file("/etc/system", "mine"), image(m, "2.0")], "confirm": { "hub_within": seconds } })
}

/// The move begins, and the machine is to start anew.
#[track_caller]
fn moved(m: &Machine, version: u64, spec: Value) {
    let begun = m.plane().apply(&m.local(version, spec));
    assert!(
        matches!(&begun, Err(PlaneError::Restarting { image, .. }) if image == "2.0"),
        "{begun:?}"
    );
    assert!(m.slots.restarting.get());
}

/// What an agent does at its start, as often as the machine is started; gives the last outcome.
#[track_caller]
fn run(m: &Machine) -> Option<Outcome> {
    for _ in 0..10 {
        if m.slots.restarting.get() {
            m.boot();
        }
        m.plane().recover().unwrap();
        m.slots.agent_is_up();
        match m.plane().resume() {
            Err(PlaneError::Restarting { .. }) => {}
            other => {
                let outcome = other.unwrap();
                m.plane().converge().unwrap();
                return outcome;
            }
        }
    }
    panic!("no end to it: {:?}", m.slots.asked.borrow());
}

/// Which system runs under which state, and that nothing is left to do.
#[track_caller]
fn stands(m: &Machine, version: &str, state: u64) {
    assert_eq!(m.version(), version);
    let status = m.plane().status().unwrap();
    assert_eq!(status.in_force[0].version, state);
    assert_eq!(m.read("/etc/a"), if state == 1 { "old" } else { "new" });
    let own = if state == 1 { version } else { "mine" };
    assert_eq!(m.read("/etc/system"), own, "no other system's files are put back here");
    assert_eq!((status.moving, status.trial), (None, None));
    assert!(!m.slots.trial.get(), "others may call a system good again");
    assert_eq!(m.slots.confirmed.get(), m.slots.booted.get(), "it is called good");
    let journal = std::fs::read_dir(m.data().join("portal/journal")).unwrap();
    assert_eq!(journal.count(), 0, "the journal is empty");
    assert!(!m.data().join("portal/move.json").exists());
    assert_eq!(std::fs::read_dir(m.data().join("portal/states")).unwrap().count(), 1);
    m.plane().verify_ledger().unwrap();
    m.replays();
    // And it stays so.
    m.boot();
    assert_eq!(m.version(), version);
    assert!(run(m).is_none());
}

fn standing(m: &Machine, spec: Value) -> Result<Standing, Refused> {
    let state = state("portal", 2, spec);
    m.verified(Channel::Local, &state).map(|verified| verified.standing())
}

#[test]
fn a_state_moves_the_device_to_another_system_and_is_kept_there() {
    let m = machine();
    let spec = spec(&m);
    let plan = m.plane().plan(&m.local(2, spec.clone())).unwrap();
    assert_eq!(plan.changes.len(), 1, "the system alone: {plan}");
    assert!(
        plan.to_string().contains("! image kiosk-played: 1.0 → 2.0, 16 bytes"),
        "{plan}"
    );
    moved(&m, 2, spec.clone());
    assert_eq!(m.read("/etc/a"), "old", "nothing else is done here");
    let moving = m.plane().status().unwrap().moving.unwrap();
    assert_eq!(
        (moving.stage, moving.from.version.as_str(), moving.version),
        (Stage::Restarting, "1.0", 2)
    );
    // Whatever is asked of it meanwhile waits.
    assert!(matches!(m.plane().converge(), Err(PlaneError::Restarting { .. })));
    m.boot();
    assert_eq!(m.version(), "2.0");
    m.slots.agent_is_up();
    assert_eq!(m.slots.confirmed.get(), 0, "an agent that is up is not enough");
    let outcome = run(&m).unwrap();
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    assert!(outcome.health.is_some());
    stands(&m, "2.0", 2);
    assert_eq!(m.apply(2, spec).kind, OutcomeKind::Unchanged);
    assert_eq!(*m.slots.asked.borrow(), ["install", "reboot", "reboot", "keep", "keep"]);
    assert_eq!(m.slots.within.get().as_secs(), 3600);
}

#[test]
fn a_system_that_does_not_come_up_is_left_by_itself_and_not_tried_again() {
    let m = machine();
    m.slots.dead.borrow_mut().push("2.0".into());
    moved(&m, 2, spec(&m));
    let outcome = run(&m).unwrap();
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert!(
        outcome.reasons[0].contains("2.0 did not come up: 1.0 runs again"),
        "{outcome}"
    );
    stands(&m, "1.0", 1);
    let again = standing(&m, spec(&m));
    assert!(matches!(again, Err(Refused::AlreadyFailed { version: 2 })), "{again:?}");
}

#[test]
fn a_state_that_is_not_healthy_in_the_new_system_brings_the_old_one_back() {
    let m = machine();
    m.answer.set(Ok(500));
    moved(&m, 2, spec(&m));
    let outcome = run(&m).unwrap();
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert!(outcome.reasons[0].contains("the health check failed"), "{outcome}");
    stands(&m, "1.0", 1);
    assert!(standing(&m, spec(&m)).is_err());
    // The slot is there for the next one.
    m.answer.set(Ok(200));
    moved(&m, 3, spec(&m));
    run(&m);
    stands(&m, "2.0", 3);
}

#[test]
fn a_system_that_cuts_off_the_hub_is_left_and_an_outage_of_the_hub_fails_nobody() {
    let m = machine();
    let spec = with_hub(&m, 60);
    *m.hub.borrow_mut() = Box::new(|m| m.version() == "1.0");
    moved(&m, 2, spec.clone());
    assert_eq!(m.slots.within.get().as_secs(), 3660);
    let outcome = run(&m).unwrap();
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert!(
        outcome.reasons.iter().any(|r| r.contains("so it was the change")),
        "{outcome}"
    );
    stands(&m, "1.0", 1);
    assert!(standing(&m, spec).is_err());

    let m = machine();
    let spec = with_hub(&m, 60);
    moved(&m, 2, spec.clone());
    *m.hub.borrow_mut() = Box::new(|_| false);
    let outcome = run(&m).unwrap();
    assert_eq!(outcome.kind, OutcomeKind::Unconfirmed, "{outcome}");
    stands(&m, "1.0", 1);
    assert_eq!(standing(&m, spec.clone()).unwrap(), Standing::Again);
    assert!(
        m.plane().patience_with(&m.local(2, spec)).unwrap() > 0,
        "no loop of moves"
    );
}

#[test]
fn a_network_that_takes_its_time_in_the_new_system_is_waited_for() {
    let m = machine();
    let spec = with_hub(&m, 60);
    moved(&m, 2, spec);
    let begun = m.passed.get();
    *m.hub.borrow_mut() = Box::new(move |m| m.passed.get() - begun > std::time::Duration::from_secs(120));
    assert_eq!(run(&m).unwrap().kind, OutcomeKind::Applied);
    stands(&m, "2.0", 2);
}

#[test]
fn somebody_who_cannot_ask_the_hub_decides_nothing_about_a_system_on_trial() {
    let m = machine();
    moved(&m, 2, with_hub(&m, 60));
    m.boot();
    m.has_hub.set(false);
    for _ in 0..5 {
        let error = m.plane().converge().unwrap_err();
        assert!(error.to_string().contains("2.0 is on trial"), "{error}");
    }
    m.has_hub.set(true);
    assert_eq!(run(&m).unwrap().kind, OutcomeKind::Applied);
    stands(&m, "2.0", 2);
}

#[test]
fn what_may_not_be_moved_is_said_before_anything_is_touched() {
    let mut m = machine();
    let moves = |m: &Machine, version: u64, spec: Value, kind: OutcomeKind, why: &str| {
        let outcome = m.apply(version, spec);
        assert_eq!(outcome.kind, kind, "{outcome}");
        assert!(outcome.reasons[0].contains(why), "{outcome}");
        assert!(m.slots.asked.borrow().is_empty());
        stands(m, "1.0", 1);
    };
    let twice = json!([image(&m, "2.0"), image(&m, "3.0")]);
    moves(&m, 2, twice, OutcomeKind::Refused, "already that of step 1");
    let mut other = image(&m, "2.0");
    other["compatible"] = json!("till-played");
    moves(
        &m,
        3,
        json!([other.clone()]),
        OutcomeKind::Refused,
        "[grants.local] images = [\"till-played\"]",
    );
    let mut grant = wide();
    grant["images"] = json!([FOR, "till-played"]);
    m.policy = policy(json!({ "local": grant }));
    moves(
        &m,
        4,
        json!([other]),
        OutcomeKind::Refused,
        "this device runs an image for kiosk-played",
    );
    let mut nowhere = image(&m, "2.0");
    nowhere["source"]["sha256"] = json!("ab".repeat(32));
    moves(&m, 5, json!([nowhere]), OutcomeKind::Refused, "it is in no folder");
    let asks = json!([image(&m, "2.0")]);
    assert!(m.plane().features().iter().any(|f| f.as_str() == "image"));
    m.slots.has.set(false);
    let outcome = m.apply(6, asks);
    assert_eq!(outcome.kind, OutcomeKind::Unsupported, "{outcome}");
    assert!(!m.plane().features().iter().any(|f| f.as_str() == "image"));
}

#[test]
fn a_bundle_that_is_another_one_or_that_rauc_does_not_take_leaves_everything_as_it_is() {
    let m = machine();
    let mut lies = image(&m, "2.0");
    lies["version"] = json!("3.0");
    let outcome = m.apply(2, json!([lies]));
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert!(
        outcome.reasons[0].contains("the bundle is kiosk-played 2.0"),
        "{outcome}"
    );
    stands(&m, "1.0", 1);
    m.failing.borrow_mut().push("2.0".into());
    let outcome = m.apply(3, spec(&m));
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert!(
        outcome.reasons[0].contains("RAUC said: signature verification failed"),
        "{outcome}"
    );
    stands(&m, "1.0", 1);
}

#[test]
fn a_machine_that_does_not_start_anew_takes_it_back_after_ten_minutes() {
    let m = machine();
    m.slots.deaf.set(true);
    let begun = m.plane().apply(&m.local(2, spec(&m)));
    assert!(matches!(begun, Err(PlaneError::Restarting { .. })));
    assert!(
        matches!(m.plane().resume(), Err(PlaneError::Restarting { .. })),
        "told once more"
    );
    m.clock.set(m.clock.get() + 600);
    let outcome = m.plane().resume().unwrap().unwrap();
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert_eq!(standing(&m, spec(&m)).unwrap(), Standing::Again, "nobody's fault");
    stands(&m, "1.0", 1);
}

#[test]
fn a_machine_that_cannot_go_back_stays_where_it_is_and_says_so() {
    let m = machine();
    m.answer.set(Ok(500));
    m.slots.stuck.set(true);
    moved(&m, 2, spec(&m));
    let outcome = run(&m).unwrap();
    assert_eq!(outcome.kind, OutcomeKind::Broken, "{outcome}");
    assert!(outcome.left[0].contains("2.0 still runs"), "{outcome}");
    stands(&m, "2.0", 1);
    assert_eq!(m.slots.asked.borrow().iter().filter(|a| **a == "leave").count(), 3);
}

#[test]
fn an_agent_that_ends_again_and_again_in_the_new_system_leaves_it() {
    let m = machine();
    moved(&m, 2, spec(&m));
    m.boot();
    for _ in 0..3 {
        // Ended in the middle of the trial: nothing that it was about to write is written.
        let tap = Cut::power(30);
        let plane = m.plane_with(Some(Rc::clone(&tap) as Rc<dyn Tap>)).unwrap();
        drop(plane.resume());
        assert!(tap.happened());
        assert_eq!(m.plane().status().unwrap().moving.unwrap().stage, Stage::Trying);
        m.plane().recover().unwrap();
    }
    let outcome = run(&m).unwrap();
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert!(outcome.reasons[0].contains("interrupted 3 times"), "{outcome}");
    assert!(standing(&m, spec(&m)).is_err());
    stands(&m, "1.0", 1);
}

#[test]
fn what_cannot_be_taken_back_in_the_new_system_is_left_behind_with_it() {
    let m = machine();
    m.service("web", true, true);
    let mut spec = spec(&m);
    spec["apply"][0]["notify"] = json!(["web"]);
    moved(&m, 2, spec);
    m.boot();
    // It starts neither under the new file nor under the old one.
    m.lame.borrow_mut().push("web".into());
    m.slots.deaf.set(true);
    assert!(matches!(m.plane().resume(), Err(PlaneError::Restarting { .. })));
    assert_eq!(m.plane().status().unwrap().moving.unwrap().stage, Stage::Leaving);
    assert!(matches!(m.plane().converge(), Err(PlaneError::Restarting { .. })));
    m.slots.deaf.set(false);
    m.boot();
    let outcome = run(&m).unwrap();
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    stands(&m, "1.0", 1);
}

#[test]
fn another_system_under_a_state_in_force_is_reported_and_everything_else_put_right() {
    let m = machine();
    moved(&m, 2, spec(&m));
    run(&m);
    stands(&m, "2.0", 2);
    // Somebody installs one by hand.
    m.slots.versions.borrow_mut()[m.slots.booted.get()] = Some("2.1".into());
    m.boot();
    m.slots.agent_is_up();
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    assert_eq!(m.read("/etc/a"), "new");
    let outcome = m.plane().converge().unwrap();
    assert_eq!(
        (outcome.kind, outcome.recorded),
        (OutcomeKind::Drifted, true),
        "{outcome}"
    );
    assert_eq!(outcome.changes[0].details, ["2.1 → 2.0"]);
    assert!(!m.plane().converge().unwrap().recorded, "once");
    let outcome = m.apply(2, spec(&m));
    assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
    assert!(
        outcome.reasons[0].contains("a new version of it moves the device again"),
        "{outcome}"
    );
    assert_eq!(m.version(), "2.1");
    m.replays();
    moved(&m, 3, spec(&m));
    run(&m);
    stands(&m, "2.0", 3);
}

/// One way that a move can go: its name, how the machine is, what it comes to where nothing interrupts it.
type Way = (&'static str, fn(&Machine), &'static str);

#[test]
#[ignore = "soak: some hundred moves, for minutes"]
fn power_cut_at_every_write_of_a_move_ends_in_one_system_under_its_state() {
    cut_at_every(1);
}

#[test]
fn power_cut_at_some_writes_of_a_move_ends_in_one_system_under_its_state() {
    cut_at_every(13);
}

/// The power goes at every `step`-th write, RAUC's and the loader's included.
fn cut_at_every(step: usize) {
    let ways: [Way; 3] = [
        ("kept", |_| {}, "2.0"),
        ("not healthy", |m| m.answer.set(Ok(500)), "1.0"),
        (
            "does not come up",
            |m| m.slots.dead.borrow_mut().push("2.0".into()),
            "1.0",
        ),
    ];
    for (name, how, end) in ways {
        let mut seen = [0, 0];
        for k in (0..).step_by(step) {
            let m = machine();
            how(&m);
            let state = m.local(2, spec(&m));
            let tap = Cut::power(k);
            *m.slots.power.borrow_mut() = Some(Rc::clone(&tap));
            let plane = || m.plane_with(Some(Rc::clone(&tap) as Rc<dyn Tap>));
            if let Ok(plane) = plane() {
                drop(plane.apply(&state));
            }
            for _ in 0..6 {
                if tap.happened() || !m.slots.restarting.get() {
                    break;
                }
                m.boot();
                if let Ok(plane) = plane() {
                    drop(plane.recover());
                    drop(plane.resume());
                }
            }
            *m.slots.power.borrow_mut() = None;
            let cut = tap.happened();
            if cut {
                m.boot();
                // Early at boot, every other time.
                if k % 2 == 0 {
                    m.plane().recover_files().unwrap_or_else(|e| panic!("{name} {k}: {e}"));
                }
            }
            run(&m);
            let two = m.version() == "2.0";
            seen[usize::from(two)] += 1;
            assert!(!two || end == "2.0", "{name} {k}");
            stands(&m, if two { "2.0" } else { "1.0" }, if two { 2 } else { 1 });
            if !cut {
                assert_eq!(m.version(), end, "{name} {k}");
                break;
            }
            // Again, where it may be: then it ends as it would have.
            if let Ok(Standing::New | Standing::Again) = standing(&m, spec(&m)) {
                drop(m.plane().apply(&m.local(2, spec(&m))));
                run(&m);
                stands(&m, end, if end == "2.0" { 2 } else { 1 });
            }
        }
        let few = [30 / step, 10 / step];
        assert!(
            seen[0] > few[0] && (end == "1.0" || seen[1] > few[1]),
            "{name}: {seen:?}"
        );
    }
}
