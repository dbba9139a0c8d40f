//! New versions reach a fleet in phases, over the real wire, and stop when devices fail.

use std::collections::BTreeMap;

use jos_hub::rollout::steward;
use jos_schemas::documents::desired_state;
use serde_json::{Value, json};

use crate::common::{Device, Reply, Running, admin_key, signed, state, unique};

fn signed_state(version: u64) -> String {
    signed(&state(version), desired_state::KIND, &[&admin_key()]).to_string()
}

/// A plan for version 2 with these members.
pub(crate) fn plan(more: &Value) -> Value {
    let mut plan =
        json!({ "kind": "jos.rollout", "name": "portal", "version": 2, "phases": [{ "percent": 100, "soak": 0 }] });
    for (key, value) in more.as_object().into_iter().flatten() {
        plan[key] = value.clone();
    }
    plan
}

pub(crate) fn begin(running: &Running, plan: &Value) -> Reply {
    let asked = json!({ "rollout": plan, "state": signed_state(2) });
    running.admin("POST", "/api/v1/rollouts", &asked)
}

/// A hub with devices that have version 1, and a rollout of version 2.
struct Fleet {
    running: Running,
    devices: Vec<Device>,
    id: String,
}

impl Fleet {
    fn new(labels: &[Value], more: &Value) -> Self {
        let running = Running::trusted();
        assert_eq!(running.push(&state(1)).0, 200);
        let devices: Vec<Device> = labels.iter().map(|labels| running.device(labels)).collect();
        let (status, made) = begin(&running, &plan(more));
        assert_eq!(status, 200, "{made}");
        let id = made["rollout"]["id"].as_str().expect("an id").to_owned();
        Self { running, devices, id }
    }

    /// Of `count` devices alike.
    fn of(count: usize, more: &Value) -> Self {
        Self::new(&vec![json!({}); count], more)
    }

    fn turn(&self) {
        self.running
            .runtime
            .block_on(steward::turn(&self.running.hub))
            .expect("a look");
    }

    /// After so many seconds.
    fn later(&self, seconds: i64) {
        self.running.clock.advance(seconds);
        self.turn();
    }

    fn show(&self) -> Value {
        self.running.get(&format!("/api/v1/rollouts/{}", self.id))
    }

    fn status(&self) -> String {
        self.show()["rollout"]["status"].as_str().expect("a status").to_owned()
    }

    fn act(&self, verb: &str) -> Reply {
        let path = format!("/api/v1/rollouts/{}/{verb}", self.id);
        self.running.admin("POST", &path, &json!({ "reason": "a test" }))
    }

    /// The version that each device is offered now; to fetch it counts.
    fn offered(&self) -> Vec<u64> {
        self.devices.iter().map(offered).collect()
    }
}

fn offered(device: &Device) -> u64 {
    let (status, _, bytes) = device.state(None, 0);
    if status != 200 {
        return 0;
    }
    let state: Value = serde_json::from_slice(&bytes).expect("JSON");
    state["meta"]["version"].as_u64().expect("a version")
}

fn report(device: &Device, version: u64, outcome: &str) {
    let hash = jos_trust::sha256(unique("record").as_bytes()).to_string();
    let report = json!({
        "kind": "jos.report", "name": "portal", "version": version, "outcome": outcome, "time": "2026-11-21T00:00:00Z",
        "reason": "as the test says", "changed": 1, "ledger": { "index": version, "hash": hash },
    });
    assert_eq!(device.ask("POST", "/v1/report", Some(&report)).0, 204);
}

fn count(offered: &[u64], version: u64) -> usize {
    offered.iter().filter(|one| **one == version).count()
}

#[test]
fn the_canaries_come_first_then_a_share_then_everybody_and_the_old_version_is_retired() {
    let ring = |ring: &str| json!({ "ring": ring });
    let mut labels = vec![ring("canary"), ring("canary")];
    labels.extend(vec![ring("rest"); 8]);
    let phases = json!([
        { "percent": 100, "labels": { "ring": "canary" }, "soak": 100 }, { "percent": 50, "soak": 100 }, { "percent": 100, "soak": 0 },
    ]);
    let fleet = Fleet::new(&labels, &json!({ "phases": phases }));
    assert_eq!(fleet.offered(), [2, 2, 1, 1, 1, 1, 1, 1, 1, 1]);
    for device in &fleet.devices[..2] {
        report(device, 2, "applied");
    }
    fleet.turn();
    assert_eq!(count(&fleet.offered(), 2), 2, "it soaks");
    fleet.later(101);
    let half = fleet.offered();
    assert_eq!((count(&half, 2), count(&half, 1)), (5, 5));
    let who: Vec<&Device> = fleet
        .devices
        .iter()
        .zip(&half)
        .filter(|(_, one)| **one == 2)
        .map(|(d, _)| d)
        .collect();
    who.iter().for_each(|device| report(device, 2, "applied"));
    fleet.turn();
    fleet.later(101);
    assert_eq!(count(&fleet.offered(), 2), 10);
    fleet.devices.iter().for_each(|device| report(device, 2, "applied"));
    fleet.turn();
    assert_eq!(fleet.status(), "done");
    let states = fleet.running.get("/api/v1/states");
    assert_eq!(
        (&states[0]["rollout"], &states[0]["retired"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(states[1]["retired_why"], "version 2 took its place");
    // Whoever comes later gets it like any other state.
    assert_eq!(offered(&fleet.running.device(&json!({}))), 2);
    let shown = fleet.show();
    let wells: Vec<&Value> = shown["phases"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|phase| &phase["well"])
        .collect();
    assert_eq!(wells, [&json!(2), &json!(3), &json!(5)]);
    assert_eq!(
        shown["curve"]
            .as_array()
            .and_then(|curve| curve.last())
            .map(|point| &point["well"]),
        Some(&json!(10))
    );
}

#[test]
fn it_halts_with_the_report_that_is_one_too_many_and_no_further_device_gets_the_version() {
    let fleet = Fleet::of(6, &json!({ "halt_percent": 20 }));
    let [first, second, third, ..] = &*fleet.devices else {
        panic!("six devices")
    };
    assert_eq!((offered(first), offered(second), offered(third)), (2, 2, 2));
    report(first, 2, "rolled_back");
    assert_eq!(fleet.status(), "running");
    report(second, 2, "broken");
    // No look is needed in between: the report itself halts it.
    let shown = fleet.show();
    assert_eq!(shown["rollout"]["status"], "halted");
    assert_eq!(
        shown["rollout"]["why"],
        "2 of the 6 devices of phase 1 failed (2 said so, 0 went silent): more than 20 percent"
    );
    // Who got it keeps it; nobody else does.
    assert_eq!(fleet.offered(), [2, 2, 2, 1, 1, 1]);
    fleet.later(10_000);
    assert_eq!(fleet.offered(), [2, 2, 2, 1, 1, 1]);
    let failed = fleet
        .running
        .get(&format!("/api/v1/rollouts/{}/devices?outcome=failed", fleet.id));
    let reasons: Vec<&Value> = failed
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["reason"])
        .collect();
    assert_eq!(reasons, [&json!("as the test says"); 2]);
    let audit = fleet.running.get("/api/v1/audit");
    assert_eq!(
        (&audit["entries"][0]["action"], &audit["entries"][0]["actor"]),
        (&json!("rollout.halt"), &json!("hub"))
    );
    let client = crate::common::agent(fleet.running.hub.authorities().ca().certificate(), None);
    let url = format!("https://{}/metrics", fleet.running.admins_of_devices());
    let (_, metrics) = crate::common::read(client.get(url).call().expect("an answer"));
    let metrics = metrics.as_str().expect("text");
    assert!(
        metrics.contains("jos_hub_rollouts_halted_total 1\n")
            && metrics.contains("jos_hub_rollouts{status=\"halted\"} 1\n")
    );
    // Whoever resumes has looked at the two.
    assert_eq!(fleet.act("resume").1["status"], "running");
    assert_eq!(fleet.offered(), [2; 6]);
}

#[test]
fn a_device_that_goes_silent_after_the_offer_counts_as_failed_and_one_that_never_called_does_not() {
    let fleet = Fleet::of(3, &json!({ "halt_percent": 0, "silent_after": 600 }));
    fleet.later(5000);
    assert_eq!(fleet.status(), "running");
    assert_eq!(offered(&fleet.devices[0]), 2);
    fleet.later(599);
    assert_eq!(fleet.status(), "running");
    // Still at it, with its hub away: its time begins anew.
    report(&fleet.devices[0], 2, "unconfirmed");
    fleet.later(599);
    assert_eq!(fleet.status(), "running");
    fleet.later(2);
    assert_eq!(fleet.status(), "halted");
    assert_eq!(fleet.show()["phases"][0]["silent"], 1);
    // It was only slow.
    report(&fleet.devices[0], 2, "applied");
    let phase = &fleet.show()["phases"][0];
    assert_eq!((&phase["silent"], &phase["well"]), (&json!(0), &json!(1)));
}

#[test]
fn a_pause_offers_it_to_nobody_more_and_resuming_goes_on() {
    let fleet = Fleet::of(3, &json!({}));
    assert_eq!(offered(&fleet.devices[0]), 2);
    assert_eq!(fleet.act("pause").1["status"], "paused");
    fleet.later(60);
    assert_eq!(fleet.offered(), [2, 1, 1]);
    assert_eq!(fleet.act("pause").0, 409);
    assert_eq!(fleet.act("resume").0, 200);
    assert_eq!(fleet.offered(), [2; 3]);
}

#[test]
fn after_an_abort_who_has_it_keeps_it_and_the_next_version_goes_to_all() {
    let fleet = Fleet::of(3, &json!({}));
    assert_eq!(offered(&fleet.devices[0]), 2);
    let (status, refusal) = fleet.running.push(&state(3));
    assert_eq!((status, &refusal["code"]), (409, &json!("rollout-under-way")));
    assert_eq!(fleet.act("abort").1["status"], "aborted");
    assert_eq!(fleet.offered(), [2, 1, 1]);
    assert_eq!(fleet.act("resume").0, 409);
    assert_eq!(fleet.running.push(&state(3)).0, 200);
    assert_eq!(fleet.offered(), [3; 3]);
    // One that nobody had is gone altogether.
    let fleet = Fleet::of(2, &json!({ "approval": true }));
    assert_eq!(fleet.act("abort").0, 200);
    let states = fleet.running.get("/api/v1/states");
    assert!(
        states[0]["retired_why"]
            .as_str()
            .is_some_and(|why| why.contains("aborted before any device"))
    );
}

#[test]
fn it_begins_when_a_second_person_says_yes_and_not_when_the_first_does() {
    let fleet = Fleet::of(1, &json!({ "approval": true }));
    fleet.later(60);
    assert_eq!((fleet.status().as_str(), fleet.offered()), ("waiting", vec![1]));
    let (status, refusal) = fleet.act("approve");
    assert_eq!((status, &refusal["code"]), (403, &json!("own-rollout")));
    let done = crate::process::command(&["rollout", "approve", &fleet.id, "--json", "--data"])
        .arg(fleet.running.hub.dir.path())
        .output()
        .expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let approved: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert!(
        approved["approved_by"]
            .as_str()
            .is_some_and(|who| who.starts_with("local:"))
    );
    assert_eq!(fleet.offered(), [2]);
}

#[test]
fn a_held_device_keeps_its_version_through_rollouts_and_pushes() {
    let fleet = Fleet::of(2, &json!({ "approval": true }));
    let held = &fleet.devices[0];
    assert_eq!(held.heartbeat(&json!({ "version": 1, "outcome": "applied" })).0, 200);
    let path = |verb: &str| format!("/api/v1/devices/{}/{verb}", held.id);
    let (_, shown) = fleet
        .running
        .admin("POST", &path("hold"), &json!({ "reason": "trade fair" }));
    assert_eq!(shown["held"], "trade fair");
    fleet.running.runtime.block_on(async {
        let actor = jos_hub::actor::Actor("user:second".to_owned());
        let verb = jos_hub::rollout::act::Verb::Approve;
        let done = jos_hub::rollout::act::act(&fleet.running.hub, &actor, &fleet.id, verb, "").await;
        done.expect("it is approved");
    });
    assert_eq!(fleet.offered(), [1, 2]);
    report(&fleet.devices[1], 2, "applied");
    fleet.turn();
    assert_eq!(fleet.status(), "done");
    assert_eq!(fleet.offered(), [0, 2], "version 1 is retired, and the device keeps it");
    assert_eq!(fleet.running.push(&state(3)).0, 200);
    assert_eq!(fleet.offered(), [0, 3]);
    assert_eq!(fleet.running.admin("POST", &path("unhold"), &json!({})).0, 200);
    assert_eq!(fleet.offered(), [3, 3]);
}

#[test]
fn a_device_gets_it_in_its_maintenance_window_by_its_own_clock() {
    let running = Running::trusted();
    assert_eq!(running.push(&state(1)).0, 200);
    let devices: BTreeMap<&str, Device> = ["Etc/UTC", "Etc/GMT+6", "EST5"]
        .into_iter()
        .map(|zone| (zone, running.device(&json!({ "timezone": zone }))))
        .collect();
    let hour = running.clock.now() / 3600 % 24;
    let window = json!([{ "from": format!("{:02}:00", (hour + 23) % 24), "to": format!("{:02}:00", (hour + 3) % 24) }]);
    assert_eq!(
        begin(&running, &plan(&json!({ "windows": window, "silent_after": 86_400 }))).0,
        200
    );
    let offers = || {
        devices
            .iter()
            .map(|(zone, device)| (*zone, offered(device)))
            .collect::<Vec<_>>()
    };
    assert_eq!(offers(), [("EST5", 1), ("Etc/GMT+6", 1), ("Etc/UTC", 2)]);
    // Six hours on it is the hour there that it was here; five hours behind us it still is.
    running.clock.advance(6 * 3600);
    running.runtime.block_on(steward::turn(&running.hub)).expect("a look");
    assert_eq!(offers(), [("EST5", 2), ("Etc/GMT+6", 2), ("Etc/UTC", 2)]);
}

#[test]
fn after_a_halt_those_that_got_it_are_offered_the_state_that_was_signed_beforehand() {
    let running = Running::trusted();
    assert_eq!(running.push(&state(1)).0, 200);
    let devices: Vec<Device> = (0..3).map(|_| running.device(&json!({}))).collect();
    let asked = |revert: Option<u64>| {
        let plan = plan(&json!({ "revert_with": 3, "halt_percent": 0 }));
        let mut asked = json!({ "rollout": plan, "state": signed_state(2) });
        if let Some(version) = revert {
            asked["revert"] = signed_state(version).into();
        }
        asked
    };
    for (revert, expected) in [
        (None, "was not handed over"),
        (Some(4), "the plan is about portal version 3"),
    ] {
        let (status, refusal) = running.admin("POST", "/api/v1/rollouts", &asked(revert));
        assert!(
            (400..500).contains(&status) && refusal["message"].as_str().is_some_and(|m| m.contains(expected)),
            "{refusal}"
        );
    }
    let (status, made) = running.admin("POST", "/api/v1/rollouts", &asked(Some(3)));
    assert_eq!(status, 200, "{made}");
    assert_eq!((offered(&devices[0]), offered(&devices[1])), (2, 2));
    report(&devices[0], 2, "applied");
    report(&devices[1], 2, "rolled_back");
    assert_eq!(devices.iter().map(offered).collect::<Vec<_>>(), [3, 3, 1]);
    // What was taken back is not tried again under the same number.
    let path = format!(
        "/api/v1/rollouts/{}/resume",
        made["rollout"]["id"].as_str().expect("an id")
    );
    assert_eq!(running.admin("POST", &path, &json!({})).1["code"], "reverted");
    assert_eq!(
        running.push(&state(3)).1["standing"],
        "new",
        "and to all, if that is wanted"
    );
    assert_eq!(devices.iter().map(offered).collect::<Vec<_>>(), [3, 3, 3]);
}

#[test]
fn a_waiting_device_is_told_when_its_turn_comes() {
    let fleet = Fleet::of(1, &json!({ "approval": true }));
    let device = &fleet.devices[0];
    let (_, tag, _) = device.state(None, 0);
    let status = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| device.state(Some(&tag), 100));
        let done = crate::process::command(&["rollout", "approve", &fleet.id, "--data"])
            .arg(fleet.running.hub.dir.path())
            .output()
            .expect("it runs");
        assert!(done.status.success());
        let (status, _, bytes) = waiting.join().expect("no panic");
        let state: Value = serde_json::from_slice(&bytes).expect("JSON");
        (status, state["meta"]["version"].clone())
    });
    assert_eq!(status, (200, json!(2)));
}

#[test]
fn a_rollout_whose_version_is_retired_ends_and_says_so() {
    let fleet = Fleet::of(1, &json!({}));
    let retired = fleet
        .running
        .admin("POST", "/api/v1/states/portal/2/retire", &json!({ "reason": "typo" }));
    assert_eq!(retired.0, 204);
    fleet.turn();
    let shown = fleet.show();
    assert_eq!(shown["rollout"]["status"], "aborted");
    assert_eq!(shown["rollout"]["why"], "its version is offered no longer: typo");
    assert_eq!(fleet.offered(), [1]);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let running = Running::trusted();
    assert_eq!(running.push(&state(2)).0, 200);
    let refused = |plan: Value, code: &str| {
        let (status, refusal) = begin(&running, &plan);
        assert!((400..500).contains(&status), "{refusal}");
        assert_eq!(refusal["code"], code, "{refusal}");
    };
    refused(plan(&json!({})), "offered-already");
    refused(plan(&json!({ "version": 7 })), "other-version");
    refused(plan(&json!({ "phases": [{ "percent": 50 }] })), "malformed");
    refused(
        plan(&json!({ "windows": [{ "from": "25:00", "to": "03:00" }] })),
        "malformed",
    );
    let path = "/api/v1/rollouts/r-0/pause";
    assert_eq!(running.admin("POST", path, &json!({})).0, 404);
}

#[test]
fn the_command_line_hands_over_a_plan_and_shows_how_it_goes() {
    let running = Running::trusted();
    assert_eq!(running.push(&state(1)).0, 200);
    let device = running.device(&json!({}));
    let file = |name: &str, content: &str| {
        let path = running.dir.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    };
    let toml = "kind = \"jos.rollout\"\nname = \"portal\"\nversion = 2\nhalt_percent = 0\n[[phases]]\npercent = 100\nsoak = 60\n";
    let (plan, state) = (file("plan.toml", toml), file("state.json", &signed_state(2)));
    let run = |args: &[&str]| {
        let mut command = crate::process::command(args);
        let done = command
            .arg("--data")
            .arg(running.hub.dir.path())
            .output()
            .expect("it runs");
        assert!(
            done.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8(done.stdout).expect("text")
    };
    let paths = [plan, state].map(|path| path.display().to_string());
    let pushed = run(&["push", "--rollout", &paths[0], &paths[1]]);
    assert!(pushed.contains("which is running, meant for 1 device"), "{pushed}");
    let listed: Value = serde_json::from_str(&run(&["rollout", "list", "--json"])).expect("JSON");
    let id = listed[0]["id"].as_str().expect("an id").to_owned();
    running.runtime.block_on(steward::turn(&running.hub)).expect("a look");
    assert_eq!(offered(&device), 2);
    report(&device, 2, "rolled_back");
    let shown = run(&["rollout", "show", &id]);
    assert!(
        shown.contains("1 of the 1 devices of phase 1 failed") && shown.contains("as the test says"),
        "{shown}"
    );
    assert!(run(&["rollout", "abort", &id, "--reason", "wrong driver"]).contains("is aborted"));
    assert!(run(&["device", "hold", &device.id, "--reason", "trade fair"]).contains("trade fair"));
    assert!(run(&["device", "show", &device.id]).contains("held       trade fair"));
}
