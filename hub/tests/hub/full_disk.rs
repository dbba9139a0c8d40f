//! A disk that is full: devices and monitoring are told, and nothing acknowledged is lost.

use std::process::Command;
use std::time::Duration;

use jos_tests::wait::until_true;
use serde_json::json;

use crate::common::read;
use crate::process::{Served, agent, ask, enrolled, kept_reports, started};

#[test]
fn a_full_disk_is_said_to_devices_and_loses_no_acknowledged_report() {
    if jos_tests::postgres::is_wanted() {
        // The limit below is the hub's; PostgreSQL's disk fills elsewhere.
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
