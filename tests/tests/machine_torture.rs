//! The plane under torture from outside: the release program, killed at each of its write-like calls, or told by the
//! kernel that the call failed. After the next start the tree is wholly old or wholly new, the ledger verifies, and
//! replay agrees.
//!
//! `scripts/test` tries a seeded part of the calls (`JOS_TORTURE_STRIDE`, every 29th, from a seed that is printed);
//! `scripts/soak torture` sets it to 1 and tries every one.

use std::fs;
use std::path::Path;
use std::process::Command;

use jos_tests::command::{LIMIT, Ran, run, run_within};
use jos_tests::programs::jos;
use jos_tests::torture::{Bench, Call, Harm, World, differences};
use serde_json::{Value, json};

/// What is tried, where nothing else is said: one call of so many.
const STRIDE: usize = 29;

/// A bench on which version 1 is in force, and version 2 lies ready: `good.json`, and `bad.json`, whose health check
/// fails.
struct Trial {
    _scratch: tempfile::TempDir,
    bench: Bench,
    old: World,
}

fn file(path: &str, content: &str) -> Value {
    json!({"type": "file", "path": path, "content": content})
}

/// A file whose content is named by its hash and lies in `blobs/`.
fn blob(path: &str, letter: &str) -> Value {
    let content = letter.repeat(BLOB);
    json!({"type": "file", "path": path, "source": {"sha256": sha256(&content), "size": BLOB}})
}

/// More than a record of the ledger holds.
const BLOB: usize = 100_000;

fn sha256(content: &str) -> String {
    let said = run_within(&mut Command::new("sha256sum"), LIMIT, content.as_bytes())
        .ok()
        .stdout;
    said.split(' ').next().unwrap_or_default().to_owned()
}

fn uci(section: &str, kind: &str, options: Value) -> Value {
    json!({"type": "uci", "config": "network", "section": section, "section_type": kind, "options": options})
}

fn cron(name: &str, schedule: &str) -> Value {
    json!({"type": "cron", "name": name, "schedule": schedule, "command": "/srv/app/job"})
}

fn sysctl(key: &str, value: &str) -> Value {
    json!({"type": "sysctl", "key": key, "value": value})
}

/// What version 1 lists: something of everything that version 2 then changes, drops or leaves.
fn before() -> Vec<Value> {
    vec![
        file("/srv/app/kept.conf", "the same in both versions\n"),
        file("/srv/app/changed.conf", "old\n"),
        file("/srv/app/long.txt", &"old line\n".repeat(4000)),
        file("/srv/app/mode.conf", "only its mode changes\n"),
        file("/srv/app/pruned.conf", "version 2 no longer lists it\n"),
        file("/srv/app/goes.conf", "version 2 removes it\n"),
        blob("/srv/model.bin", "a"),
        json!({"type": "directory", "path": "/srv/data", "mode": "0750"}),
        file("/srv/tree/one", "1\n"),
        file("/srv/tree/below/two", "2\n"),
        json!({"type": "link", "path": "/srv/current", "target": "app"}),
        json!({"type": "link", "path": "/srv/stays", "target": "/srv/app/kept.conf"}),
        uci("lan", "interface", json!({"ipaddr": "192.168.1.1", "dns": ["1.1.1.1"]})),
        cron("nightly", "30 3 * * *"),
        sysctl("net.ipv4.ip_forward", "0"),
        json!({"type": "group", "name": "scanner"}),
        json!({"type": "user", "name": "kiosk", "comment": "old"}),
    ]
}

/// Thirty mixed steps, at least two of each type that needs neither network nor service manager.
fn after() -> Vec<Value> {
    let mut secret = file("/srv/app/secret.conf", "not for everybody\n");
    secret["mode"] = json!("0600");
    let mut mode = file("/srv/app/mode.conf", "only its mode changes\n");
    mode["mode"] = json!("0640");
    let mut owned = file("/srv/app/owned.conf", "of somebody else\n");
    owned["owner"] = json!("daemon:daemon");
    let steps = vec![
        file("/srv/app/kept.conf", "the same in both versions\n"),
        file("/srv/app/changed.conf", "new\n"),
        file("/srv/app/long.txt", &"new line, longer than before\n".repeat(4000)),
        mode,
        secret,
        owned,
        file("/srv/app/deep/er/est.conf", "folders above it are made\n"),
        blob("/srv/model.bin", "b"),
        blob("/srv/second.bin", "c"),
        json!({"type": "shell", "command": "echo began >> /srv/data/log", "undo": "rm -f /srv/data/log"}),
        json!({"type": "absent", "path": "/srv/app/goes.conf"}),
        json!({"type": "absent", "path": "/srv/tree", "recursive": true}),
        json!({"type": "directory", "path": "/srv/data", "mode": "0700"}),
        json!({"type": "directory", "path": "/srv/new/below", "mode": "0711"}),
        json!({"type": "directory", "path": "/srv/purged", "purge": true}),
        json!({"type": "directory", "path": "/srv/other", "mode": "0750", "purge": true}),
        json!({"type": "link", "path": "/srv/current", "target": "app/deep"}),
        json!({"type": "link", "path": "/srv/added", "target": "new"}),
        uci(
            "lan",
            "interface",
            json!({"ipaddr": "192.168.9.1", "dns": ["1.1.1.1", "9.9.9.9"]}),
        ),
        uci("guest", "interface", json!({"proto": "static"})),
        cron("nightly", "15 4 * * 1-5"),
        cron("weekly", "0 5 * * 0"),
        sysctl("net.ipv4.ip_forward", "1"),
        sysctl("net.ipv4.ip_default_ttl", "65"),
        json!({"type": "group", "name": "scanner"}),
        json!({"type": "group", "name": "operators"}),
        json!({"type": "user", "name": "kiosk", "comment": "new", "groups": ["scanner", "operators"]}),
        json!({"type": "user", "name": "robot", "home": "/srv/robot", "make_home": true}),
        file("/srv/purged/listed", "stays\n"),
        json!({"type": "shell", "command": "echo went on >> /srv/data/log2", "undo": "rm -f /srv/data/log2"}),
    ];
    assert_eq!(steps.len(), 30);
    for kind in [
        "file",
        "shell",
        "absent",
        "directory",
        "link",
        "uci",
        "cron",
        "sysctl",
        "group",
        "user",
    ] {
        assert!(steps.iter().filter(|step| step["type"] == kind).count() >= 2, "{kind}");
    }
    steps
}

fn policy() -> String {
    // What undo and the health check run is listed by its exact bytes, as anything that is executed.
    "kind = \"jos.policy\"\n\
     [grants.local]\n\
     files = [{ path = \"/srv/**\", code = true }]\n\
     shell = [\"echo began >> /srv/data/log\", \"rm -f /srv/data/log\", \"echo went on >> /srv/data/log2\", \
     \"rm -f /srv/data/log2\", \"test -e /srv/never\", \"/srv/app/job\"]\n\
     uci = [\"network\"]\n\
     sysctl = [\"net.ipv4.*\"]\n\
     users = [\"kiosk\", \"robot\", \"scanner\", \"operators\"]\n"
        .to_owned()
}

fn sign(bench: &Bench, name: &str, version: u64, steps: Vec<Value>, more: &[(&str, Value)]) {
    let mut state = json!({
        "kind": "jos.agent.desired_state",
        "meta": {"name": "torture", "version": version, "prune": true},
        "spec": {"apply": steps},
    });
    for (key, value) in more {
        state["spec"][*key] = value.clone();
    }
    let path = bench.at(name);
    fs::write(&path, state.to_string()).expect("a state can be written");
    run(jos().args(["sign", "--key"]).arg(bench.at("admin.key")).arg(&path)).ok();
}

fn words<'a>(command: &'a str, state: &'a str) -> Vec<&'a str> {
    let common = [
        "--policy",
        "policy.toml",
        "--trust",
        "trust.json",
        "--state-dir",
        "data",
        "--secrets",
        "secrets",
        "--blobs",
        "blobs",
    ];
    let mut words = vec!["agent", command, state];
    words.extend(common);
    words
}

impl Trial {
    fn new() -> Self {
        let scratch = tempfile::Builder::new()
            .prefix("jos-torture")
            .tempdir_in("/var/tmp")
            .expect("a folder");
        let dir = scratch.path().join("bench");
        fs::create_dir(&dir).expect("a folder");
        let bench = Bench::new(&dir);
        let passwd = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/usr/sbin/nologin\n";
        fs::write(bench.at("etc/passwd"), passwd).expect("written");
        fs::write(bench.at("etc/group"), "root:x:0:\ndaemon:x:1:\n").expect("written");
        fs::write(
            bench.at("etc/shadow"),
            "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n",
        )
        .expect("written");
        fs::write(bench.at("etc/gshadow"), "root:*::\ndaemon:*::\n").expect("written");
        fs::write(bench.at("etc/.pwd.lock"), "").expect("written");
        for folder in ["etc/config", "etc/cron.d", "etc/sysctl.d", "blobs"] {
            fs::create_dir(bench.at(folder)).expect("a folder");
        }
        fs::write(
            bench.at("etc/config/network"),
            "# of a person\nconfig interface 'loopback'\n\toption proto 'static'\n",
        )
        .expect("written");
        for letter in ["a", "b", "c"] {
            let content = letter.repeat(BLOB);
            fs::write(bench.at("blobs").join(sha256(&content)), content).expect("written");
        }
        fs::write(bench.at("policy.toml"), policy()).expect("written");
        let (policy, trust) = (bench.at("policy.toml"), bench.at("trust.json"));
        let settings = format!("name = \"torture\"\npolicy = {policy:?}\ntrust = {trust:?}\n");
        fs::write(bench.at("agent.toml"), settings).expect("written");
        run(jos().args(["key", "new", "--out"]).arg(bench.at("admin.key"))).ok();
        let trust = bench.at("trust.json");
        run(jos()
            .args(["trust", "init", "--key"])
            .arg(bench.at("admin.key"))
            .arg("--out")
            .arg(&trust))
        .ok();
        sign(&bench, "first.json", 1, before(), &[]);
        sign(&bench, "good.json", 2, after(), &[]);
        let never = json!({"type": "command", "command": "test -e /srv/never", "retries": 0});
        sign(&bench, "bad.json", 2, after(), &[("health_check", never)]);
        bench.jos(&words("apply", "first.json")).ok();
        // What nobody lists, for the purges: at some depth, and of several kinds.
        for folder in ["srv/purged/deep/er", "srv/other"] {
            fs::create_dir_all(bench.at(folder)).expect("folders");
        }
        for unlisted in ["srv/purged/one", "srv/purged/deep/er/two", "srv/other/three"] {
            fs::write(bench.at(unlisted), unlisted).expect("written");
        }
        std::os::unix::fs::symlink("one", bench.at("srv/purged/link")).expect("linked");
        let old = bench.world();
        Self {
            _scratch: scratch,
            bench,
            old,
        }
    }

    /// A fresh copy under `name`, removed when the closure is done.
    fn on_a_copy<T>(&self, name: &str, act: impl FnOnce(&Bench) -> T) -> T {
        let to = self._scratch.path().join(name);
        let copy = self.bench.copy(&to);
        let result = act(&copy);
        fs::remove_dir_all(&to).expect("a copy can be removed");
        result
    }
}

/// The calls that are tried: every one at stride 1, else a part that begins at a seeded place.
fn tried(calls: Vec<Call>) -> Vec<Call> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let stride = number("JOS_TORTURE_STRIDE").unwrap_or(STRIDE).max(1);
    let begin = number("JOS_TORTURE_SEED").unwrap_or_else(|| std::process::id() as usize) % stride;
    println!(
        "{} write-like calls, each {stride}th from number {begin} (JOS_TORTURE_STRIDE, JOS_TORTURE_SEED)",
        calls.len()
    );
    calls.into_iter().skip(begin).step_by(stride).collect()
}

/// The next start.
const RESTART: [&str; 6] = ["agent", "recover", "--config", "agent.toml", "--state-dir", "data"];

fn restart(bench: &Bench) -> Ran {
    bench.jos(&RESTART).ok()
}

/// After a restart nothing may be half done, whatever happened before.
#[track_caller]
fn is_whole(bench: &Bench, worlds: &[(&str, &World)], told: &dyn std::fmt::Display) -> String {
    let found = bench.world();
    let all = worlds.iter().map(|(name, world)| (*name, differences(&found, world)));
    let mut report = String::new();
    for (name, lines) in all {
        if lines.is_empty() {
            let verified = bench.jos(&["ledger", "verify", "torture", "--state-dir", "data"]);
            assert!(
                verified.succeeded(),
                "the ledger does not verify: {verified}\nafter {told}"
            );
            let replayed = bench.jos(&["replay", "torture", "--state-dir", "data"]);
            assert!(replayed.succeeded(), "replay does not agree: {replayed}\nafter {told}");
            return name.to_owned();
        }
        report += &format!("not the {name} world:\n  {}\n", lines.join("\n  "));
    }
    panic!("{report}after {told}");
}

#[test]
fn killed_at_a_write_of_an_apply_the_device_is_wholly_old_or_wholly_new() {
    let trial = Trial::new();
    let apply = words("apply", "good.json");
    let (calls, new) = trial.on_a_copy("whole", |bench| {
        let (calls, ran) = bench.calls(&apply);
        ran.ok();
        (calls, bench.world())
    });
    let (mut olds, mut news) = (0, 0);
    for call in tried(calls) {
        trial.on_a_copy("killed", |bench| {
            let ran = bench.harm(&call, Harm::Kill, &apply);
            assert_eq!(ran.signal, Some(9), "{call:?} was not reached: {ran}");
            restart(bench);
            match is_whole(bench, &[("old", &trial.old), ("new", &new)], &format!("{call:?}")).as_str() {
                "old" => olds += 1,
                _ => news += 1,
            }
        });
    }
    println!("{olds} came back to the old world, {news} went on to the new one");
}

#[test]
fn killed_at_a_write_of_a_rollback_the_device_is_wholly_old() {
    let trial = Trial::new();
    let apply = words("apply", "bad.json");
    let calls = trial.on_a_copy("whole", |bench| {
        let (calls, ran) = bench.calls(&apply);
        ran.exits(1).says("rolled back");
        assert_eq!(differences(&bench.world(), &trial.old), Vec::<String>::new());
        calls
    });
    for call in tried(calls) {
        trial.on_a_copy("killed", |bench| {
            let ran = bench.harm(&call, Harm::Kill, &apply);
            assert_eq!(ran.signal, Some(9), "{call:?} was not reached: {ran}");
            restart(bench);
            is_whole(bench, &[("old", &trial.old)], &format!("{call:?}"));
        });
    }
}

#[test]
fn killed_at_a_write_of_recovery_itself_the_next_recovery_ends_it() {
    let trial = Trial::new();
    let apply = words("apply", "bad.json");
    // Killed where the most is to be taken back: at the last call before the rollback's own record.
    let halfway = trial.on_a_copy("whole", |bench| {
        let calls = bench.calls(&words("apply", "good.json")).0;
        calls[calls.len() * 2 / 3].clone()
    });
    let to = trial._scratch.path().join("half");
    let half = trial.bench.copy(&to);
    assert_eq!(half.harm(&halfway, Harm::Kill, &apply).signal, Some(9));
    assert_ne!(
        differences(&half.world(), &trial.old),
        Vec::<String>::new(),
        "nothing is to be taken back"
    );
    let half = Trial {
        _scratch: trial._scratch,
        bench: half,
        old: trial.old,
    };
    let calls = half.on_a_copy("whole", |bench| bench.calls(&RESTART).0);
    for call in tried(calls) {
        half.on_a_copy("killed", |bench| {
            let ran = bench.harm(&call, Harm::Kill, &RESTART);
            assert_eq!(ran.signal, Some(9), "{call:?} was not reached: {ran}");
            restart(bench);
            is_whole(
                bench,
                &[("old", &half.old)],
                &format!("{call:?} of recovery after {halfway:?}"),
            );
        });
    }
}

fn a_call_fails(harm: Harm) {
    let trial = Trial::new();
    let apply = words("apply", "good.json");
    let (calls, new) = trial.on_a_copy("whole", |bench| (bench.calls(&apply).0, bench.world()));
    let (mut clean, mut past) = (0, 0);
    for call in tried(calls) {
        trial.on_a_copy("failed", |bench| {
            let ran = bench.harm(&call, harm, &apply);
            assert!(ran.code.is_some_and(|code| code <= 2), "{call:?}: no clean end: {ran}");
            // With the disk as it was again, a start puts right what could not be put right then.
            restart(bench);
            let told = format!("{harm:?} at {call:?}: {ran}");
            match is_whole(bench, &[("old", &trial.old), ("new", &new)], &told).as_str() {
                "old" => clean += 1,
                _ => past += 1,
            }
        });
    }
    println!("{clean} were taken back, {past} were past the point of commit");
}

#[test]
fn a_write_that_fails_with_eio_is_a_clean_failure_taken_back() {
    a_call_fails(Harm::Fail);
}

#[test]
fn a_disk_that_fills_at_a_write_is_a_clean_failure_taken_back() {
    a_call_fails(Harm::Full);
}

#[test]
fn the_bench_sees_a_world_that_is_neither_old_nor_new() {
    let trial = Trial::new();
    let apply = words("apply", "good.json");
    let calls = trial.on_a_copy("whole", |bench| bench.calls(&apply).0);
    trial.on_a_copy("killed", |bench| {
        bench.harm(&calls[calls.len() / 2], Harm::Kill, &apply);
        assert_ne!(differences(&bench.world(), &trial.old), Vec::<String>::new());
        assert!(Path::exists(&bench.at("data/torture/journal/trial.json")));
    });
}
