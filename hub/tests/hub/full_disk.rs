//! A disk that is full: devices and monitoring are told, and nothing acknowledged is lost.

use std::process::Command;
use std::time::Duration;

use jos_tests::postgres::{Cluster, Database};
use jos_tests::wait::until_true;
use serde_json::{Value, json};

use crate::common::read;
use crate::process::{Device, Served, agent, ask, enrolled, kept_reports, started};

#[test]
fn a_full_disk_is_said_to_devices_and_loses_no_acknowledged_report() {
    if jos_tests::postgres::is_wanted() {
        // The limit below is the hub's; PostgreSQL's disk fills elsewhere, as the next test has it.
        return;
    }
    let mut served = Served::new();
    let line = served.json(&["token", "new"])["line"]
        .as_str()
        .expect("a line")
        .to_owned();
    let mut device = enrolled(&served, &line, 1);
    served.kill();
    // No file may grow beyond so many blocks of 512 bytes; the write that would fails, and no signal ends the process.
    let mut shell = Command::new("/bin/sh");
    let script = "trap '' XFSZ; ulimit -f 800; exec \"$0\" \"$@\"";
    shell.env_clear().args(["-c", script, env!("CARGO_BIN_EXE_jos-hub")]);
    (served.process, served.devices, served.admins) = started(shell, &served.data(), "127.0.0.1:0");
    device.url = format!("https://{}", served.devices);
    let mut acknowledged = 0;
    for index in 1..100_000u32 {
        let report = json!({
            "kind": "jos.report", "name": "portal", "version": index, "outcome": "rolled_back",
            "time": "2026-11-21T00:00:00Z", "changed": 1, "reason": "x".repeat(1024),
            "ledger": { "index": index, "hash": format!("{index:064x}") },
        });
        match ask(&device.agent, &format!("{}/v1/report", device.url), &report).expect("an answer") {
            (204, _) => acknowledged += 1,
            (429, _) => {}
            (503, refusal) => {
                assert_eq!(refusal["code"], "busy");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(acknowledged > 0);
    // Whoever watches it hears of it as well. What room is left is for a write or two.
    let monitor = agent(&served.data(), None);
    let health = |path: &str| {
        read(
            monitor
                .get(format!("https://{}{path}", served.admins))
                .call()
                .expect("an answer"),
        )
    };
    until_true("it says that it is not ready", Duration::from_secs(60), || {
        health("/readyz").0 == 503
    });
    assert_eq!(health("/readyz").1["code"], "no-writes");
    assert_eq!(health("/healthz").0, 200);
    served.kill();
    served.again();
    device.url = format!("https://{}", served.devices);
    assert_eq!(kept_reports(&served.data()), acknowledged);
    let got = device
        .agent
        .get(format!("{}/v1/state/portal", device.url))
        .call()
        .expect("an answer");
    assert_eq!(got.status(), 204);
    let ready = agent(&served.data(), None)
        .get(format!("https://{}/readyz", served.admins))
        .call();
    assert_eq!(ready.expect("an answer").status(), 200, "there is room again");
}

/// What became of the reports that a device sent: those that were acknowledged, by version.
#[derive(Default)]
struct Sent {
    next: u32,
    acknowledged: Vec<String>,
}

impl Sent {
    /// Sends the next one; gives the status and the problem.
    fn one(&mut self, device: &Device) -> (u16, Value) {
        self.next += 1;
        let report = json!({
            "kind": "jos.report", "name": "portal", "version": self.next, "outcome": "rolled_back",
            "time": "2026-11-21T00:00:00Z", "changed": 1, "reason": "x".repeat(1024),
            "ledger": { "index": self.next, "hash": format!("{:064x}", self.next) },
        });
        let answer = ask(&device.agent, &format!("{}/v1/report", device.url), &report).expect("an answer");
        if answer.0 == 204 {
            self.acknowledged.push(self.next.to_string());
        }
        answer
    }

    /// Sends until one is answered so. What has another answer was acknowledged, refused for want of room, or sent too fast.
    fn until(&mut self, device: &Device, status: u16) -> Value {
        for _ in 0..100_000 {
            match self.one(device) {
                (found, problem) if found == status => return problem,
                (204 | 429 | 503, _) => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("no report is answered by {status}");
    }
}

#[test]
fn a_full_disk_below_postgresql_is_said_to_devices_and_loses_no_acknowledged_report() {
    if !jos_tests::postgres::is_wanted() || !nix::unistd::Uid::effective().is_root() {
        // Only root mounts a disk.
        return;
    }
    let mut served = Served::on(Some(Database::on_a_small_disk(128)));
    let line = served.json(&["token", "new"])["line"]
        .as_str()
        .expect("a line")
        .to_owned();
    let device = enrolled(&served, &line, 1);
    let monitor = agent(&served.data(), None);
    let admins = served.admins.clone();
    let health = |path: &str| {
        read(
            monitor
                .get(format!("https://{admins}{path}"))
                .call()
                .expect("an answer"),
        )
    };
    let kept = |served: &Served| {
        let database = served.database.as_ref().expect("it is ours");
        database.rows("SELECT version FROM reports ORDER BY version")
    };
    let mut sent = Sent::default();
    sent.until(&device, 204);
    assert_eq!(health("/readyz"), (200, json!("ready\n")));

    cluster(&mut served).fill();
    let refusal = sent.until(&device, 503);
    assert_eq!(
        (&refusal["code"], refusal["message"].as_str()),
        (
            &json!("busy"),
            Some("the hub has no room to write; nothing of this was kept"),
        )
    );
    let unready = health("/readyz");
    assert_eq!((unready.0, &unready.1["code"]), (503, &json!("no-writes")));
    assert_eq!(health("/healthz"), (200, json!("ok\n")));
    assert_eq!(kept(&served), sent.acknowledged, "and nothing that was refused");

    // There is room again; nobody starts anything.
    cluster(&mut served).empty();
    sent.until(&device, 204);
    until_true("it is ready again", Duration::from_secs(120), || {
        health("/readyz").0 == 200
    });
    assert_eq!(kept(&served), sent.acknowledged);

    // Where its own log finds no room, PostgreSQL ends; whoever looks after it starts it once there is room.
    cluster(&mut served).fill();
    let database = served.database.as_ref().expect("it is ours");
    while database.tries("SELECT pg_logical_emit_message(true, 'test', repeat('x', 4000000))") {}
    cluster(&mut served).until_ended();
    sent.until(&device, 503);
    assert_eq!((health("/readyz").0, health("/healthz").0), (503, 200));
    cluster(&mut served).empty();
    cluster(&mut served).crash();
    sent.until(&device, 204);
    until_true("it is ready again", Duration::from_secs(120), || {
        health("/readyz").0 == 200
    });
    assert_eq!(kept(&served), sent.acknowledged);
    assert!(
        served.process.try_wait().expect("it is ours").is_none(),
        "one process all the while"
    );
}

fn cluster(served: &mut Served) -> &mut Cluster {
    let cluster = served.database.as_mut().and_then(Database::cluster);
    cluster.expect("a cluster of its own")
}
