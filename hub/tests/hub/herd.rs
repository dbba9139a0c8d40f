//! A reconnect herd: the hub goes, has nothing to give when it is back, and the whole fleet finds its way all the same.

use std::process::{Command, Stdio};
use std::time::Duration;

use jos_tests::wait::until;
use serde_json::Value;

use crate::common::read;
use crate::process::{Served, agent, command, started};

const FLEET: u64 = 60;

/// A number of `/metrics`.
fn metric(served: &Served, name: &str) -> u64 {
    let reply = agent(&served.data(), None)
        .get(format!("{}/metrics", served.url()))
        .call();
    let text = read(reply.expect("an answer")).1;
    let line = text
        .as_str()
        .into_iter()
        .flat_map(str::lines)
        .find_map(|line| line.strip_prefix(name));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

fn at_least(served: &Served, name: &str, least: u64) {
    until(name, Duration::from_secs(90), || {
        let found = metric(served, name);
        if found >= least { Ok(()) } else { Err(found) }
    });
}

#[test]
fn a_reconnect_herd_is_told_when_to_come_and_every_device_comes_back() {
    if jos_tests::postgres::is_wanted() {
        // What makes the hub refuse here is the limit on its own file.
        return;
    }
    let mut served = Served::new();
    let line = served.json(&["token", "new", "--uses", "60"])["line"]
        .as_str()
        .expect("a line")
        .to_owned();
    let mut fleet = command(&[
        "simulate",
        "--json",
        "--devices",
        "60",
        "--ramp",
        "0",
        "--interval",
        "1",
        "--for",
        "45",
    ]);
    fleet.args(["--token", &line, "--hub", &format!("https://{}", served.devices)]);
    let fleet = fleet.stdout(Stdio::piped()).spawn().expect("it starts");
    at_least(&served, "jos_hub_devices{standing=\"seen\"}", FLEET);

    // It comes back at its address, and can write nothing: all that call are refused at once.
    let listen = served.devices.clone();
    served.kill();
    let mut shell = Command::new("/bin/sh");
    let script = "trap '' XFSZ; ulimit -f 800; exec \"$0\" \"$@\"";
    shell.env_clear().args(["-c", script, env!("CARGO_BIN_EXE_jos-hub")]);
    (served.process, served.devices, served.admins) = started(shell, &served.data(), &listen);
    at_least(&served, "jos_hub_requests_refused_total", FLEET);

    served.kill();
    (served.process, served.devices, served.admins) = started(command(&[]), &served.data(), &listen);
    // Each was told of another moment, so that they come one after the other.
    at_least(&served, "jos_hub_heartbeats_total", 2 * FLEET);
    let ended = fleet.wait_with_output().expect("it ends");
    assert!(ended.status.success());
    let figures: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    assert_eq!(figures["connected"], FLEET, "{figures}");
    let refused = figures["errors"]["503: busy"].as_u64().unwrap_or(0);
    assert!(refused >= FLEET / 2, "{figures}");
    // Nobody asked again at once.
    assert!(refused <= 4 * FLEET, "{figures}");
}
