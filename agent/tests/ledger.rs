//! `jos ledger`, driven as at a shell: by the built program on what `jos agent apply` recorded.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

/// A machine in a folder whose agent has applied two versions and refused a third.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().expect("a directory"),
        };
        for folder in ["root/etc", "secrets"] {
            fs::create_dir_all(bench.path(folder)).expect("made");
        }
        bench.ok("key new --out desk.key --id desk");
        bench.ok("trust init --key desk.key --out trust.json");
        let policy = json!({ "kind": "jos.policy", "grants": { "local": { "files": ["/etc/**"] } } });
        fs::write(bench.path("policy.json"), policy.to_string()).expect("written");
        bench.apply(1, "/etc/motd", "one\n", 0);
        bench.apply(2, "/etc/motd", &"two\n".repeat(2000), 0);
        bench.apply(3, "/root/.profile", "not granted\n", 1);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn apply(&self, version: u64, path: &str, content: &str, code: i32) {
        let state = json!({
            "kind": "jos.agent.desired_state", "meta": { "name": "portal", "version": version },
            "spec": { "apply": [{ "type": "file", "path": path, "content": content }] },
        });
        fs::write(self.path("state.json"), state.to_string()).expect("written");
        self.ok("sign --key desk.key state.json");
        let places = "--root root --policy policy.json --trust trust.json --state-dir data --secrets secrets";
        let (found, out, err) = self.run(&format!("agent apply state.json {places}"));
        assert_eq!(found, code, "{out}{err}");
    }

    fn run(&self, line: &str) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_jos"))
            .args(line.split(' ').filter(|a| !a.is_empty()))
            .env("HOME", self.dir.path())
            .current_dir(self.dir.path())
            .output()
            .expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code().unwrap_or(-1),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    fn ok(&self, line: &str) -> String {
        let (code, out, err) = self.run(line);
        assert_eq!(code, 0, "jos {line}\n{out}{err}");
        out
    }

    fn fails(&self, code: i32, line: &str) -> String {
        let (found, out, err) = self.run(line);
        assert_eq!(found, code, "jos {line}\n{out}{err}");
        out + &err
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(line)).expect("JSON")
    }

    /// Every file of its data with its bytes.
    fn data(&self) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
        let (mut all, mut open) = (std::collections::BTreeMap::new(), vec![self.path("data")]);
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    all.insert(path.clone(), fs::read(path).expect("a file"));
                }
            }
        }
        all
    }

    fn segment(&self) -> PathBuf {
        self.path("data/portal/ledger/00000000.jsl")
    }
}

#[test]
fn a_ledger_is_verified_shown_and_its_head_noted() {
    let b = Bench::new();
    let out = b.ok("ledger verify portal --state-dir data");
    assert!(out.contains("whole, 5 records") && out.contains("unanchored"), "{out}");
    assert!(!out.contains('\x1b'), "no colour where nobody looks");
    let head = b.ok("ledger head --state-dir data");
    assert!(
        head.starts_with("5:") && head.trim().len() == 2 + 64 && head.ends_with('\n'),
        "{head}"
    );
    let out = b.ok("ledger show --state-dir data");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 5, "{out}");
    assert!(
        lines[0].starts_with("#0") && lines[0].contains("state.apply portal-1"),
        "{out}"
    );
    assert!(
        lines[1].contains("applied (#0), 1 changes") && lines[4].contains("refused"),
        "{out}"
    );
    let out = b.ok("ledger show --state-dir data --kind refused --json");
    let record: Value = serde_json::from_str(&out).expect("one line, one record");
    assert_eq!((&record["index"], &record["kind"]), (&json!(4), &json!("refused")));
    assert_eq!(format!("5:{}", record["hash"].as_str().expect("text")), head.trim());
    assert_eq!(b.ok("ledger show --state-dir data --last 2").lines().count(), 2);
    assert_eq!(
        b.ok("ledger show --state-dir data --since 2000-01-01").lines().count(),
        5
    );
    assert_eq!(b.ok("ledger show --state-dir data --since 2999-01-01"), "");
    // Named by its folder, by its ledger folder, and by its name.
    for at in [
        "--ledger data/portal",
        "--ledger data/portal/ledger",
        "portal --state-dir data",
    ] {
        assert_eq!(b.ok(&format!("ledger head {at}")), head);
    }
}

#[test]
fn an_anchor_shows_a_history_that_was_rewritten_or_cut() {
    let b = Bench::new();
    let noted = b.ok("ledger head --state-dir data");
    b.apply(4, "/etc/motd", "four\n", 0);
    let verify = format!("ledger verify --state-dir data --anchor {}", noted.trim());
    assert!(b.ok(&verify).contains("anchored"));
    let now = b.ok("ledger head --state-dir data");
    let wrong = format!("5:{}", "0".repeat(64));
    let out = b.fails(1, &format!("ledger verify --state-dir data --anchor {wrong}"));
    assert!(out.contains("rewritten"), "{out}");
    let later = now.replacen('7', "9", 1);
    let out = b.fails(1, &format!("ledger verify --state-dir data --anchor {}", later.trim()));
    assert!(out.contains("cut short"), "{out}");
    b.fails(2, "ledger verify --state-dir data --anchor 5");
    let value = b.json(&format!("{verify} --json"));
    assert_eq!((&value["anchor"], &value["whole"]), (&json!("anchored"), &json!(true)));
}

#[test]
fn an_export_is_the_same_bytes_and_stands_alone() {
    let b = Bench::new();
    b.ok("ledger export --state-dir data --out one");
    b.ok("ledger export --ledger data/portal --out two");
    let one = fs::read(b.path("one")).expect("readable");
    assert_eq!(one, fs::read(b.path("two")).expect("readable"));
    let out = b.fails(1, "ledger export --state-dir data --out one");
    assert!(out.contains("exists") && out.contains("help:"), "{out}");
    assert_eq!(b.ok("ledger export --state-dir data --out -").into_bytes(), one);
    let (shown, head) = (
        b.ok("ledger show --state-dir data --json"),
        b.ok("ledger head --state-dir data"),
    );
    fs::remove_dir_all(b.path("data")).expect("gone");
    assert_eq!(b.ok("ledger show --ledger one --json"), shown);
    assert_eq!(b.ok("ledger head --ledger one"), head);
    let value = b.json("ledger verify --ledger one --json");
    assert_eq!(value["whole"], true, "{value}");
    assert!(
        value["blobs"]["right"].as_u64().is_some_and(|n| n >= 1),
        "the second state is in a blob: {value}"
    );
    // No byte of it may differ.
    for at in (0..one.len()).step_by(one.len() / 97) {
        let mut bad = one.clone();
        bad[at] ^= 1;
        fs::write(b.path("bad"), &bad).expect("written");
        let (code, out, err) = b.run("ledger verify --ledger bad");
        assert!(code == 1 || code == 2, "byte {at}: {out}{err}");
    }
    fs::write(b.path("bad"), &one[..one.len() - 1]).expect("written");
    b.fails(1, "ledger verify --ledger bad");
}

#[test]
fn damage_is_named_and_the_next_turn_goes_on() {
    let b = Bench::new();
    let good = fs::read(b.segment()).expect("readable");
    let mut bad = good.clone();
    bad[300] ^= 1;
    fs::write(b.segment(), &bad).expect("written");
    for verb in ["verify", "show", "head"] {
        let out = b.fails(1, &format!("ledger {verb} --state-dir data"));
        assert!(
            out.contains("ledger damaged: segment 00000000, offset") && out.contains("help:"),
            "{out}"
        );
    }
    assert_eq!(
        fs::read(b.segment()).expect("readable"),
        bad,
        "evidence is left as it is"
    );
    b.apply(4, "/etc/motd", "four\n", 0);
    let out = b.ok("ledger verify --state-dir data");
    assert!(out.contains("after a damaged ledger"), "{out}");
    let out = b.ok("ledger show --state-dir data --kind broken --json");
    let record: Value = serde_json::from_str(&out).expect("one record");
    assert_eq!(record["payload"]["folder"], "ledger.damaged-1");
    assert_eq!(record["payload"]["streams"]["state"]["version"], 2);
    b.fails(1, "ledger verify --ledger data/portal/ledger.damaged-1");
}

#[test]
fn a_blob_that_is_missing_or_damaged_is_named() {
    let b = Bench::new();
    let blobs = b.path("data/portal/blobs");
    let biggest = fs::read_dir(&blobs)
        .expect("blobs")
        .flatten()
        .max_by_key(|e| e.metadata().map_or(0, |m| m.len()))
        .expect("one");
    let content = fs::read(biggest.path()).expect("readable");
    fs::write(biggest.path(), "other").expect("written");
    let out = b.fails(1, "ledger verify --state-dir data");
    assert!(out.contains("not whole") && out.contains("damaged:"), "{out}");
    fs::remove_file(biggest.path()).expect("gone");
    let out = b.fails(1, "ledger verify --state-dir data");
    assert!(out.contains("missing:"), "{out}");
    fs::write(biggest.path(), content).expect("written");
    b.ok("ledger verify --state-dir data");
}

#[test]
fn where_there_is_no_ledger_it_says_where_it_looked() {
    let b = Bench::new();
    for (line, says) in [
        ("ledger head --state-dir nothing", "no agent has a ledger here"),
        ("ledger head other --state-dir data", "there is no ledger"),
        ("ledger head --ledger policy.json", "this is no ledger"),
        ("ledger head --ledger secrets", "there is no ledger"),
        ("ledger head --ledger nothing", "No such file"),
        ("ledger show --state-dir data --kind nonsense", "possible values"),
    ] {
        let out = b.fails(2, line);
        assert!(out.contains(says), "{line}: {out}");
    }
    fs::create_dir_all(b.path("data/second/ledger")).expect("made");
    let out = b.fails(2, "ledger head --state-dir data");
    assert!(out.contains("portal, second"), "{out}");
}

#[test]
fn blame_of_a_path_below_a_root_names_decision_signer_version_and_history() {
    let bench = Bench::new();
    let said = bench.ok("blame root/etc/motd --root root --ledger data/portal");
    assert!(
        said.starts_with("/etc/motd: decision #") && said.contains("version 2, signed by desk"),
        "{said}"
    );
    assert!(said.contains("created") && said.contains("updated"), "{said}");
    let value = bench.json("blame root/etc/motd --root root --ledger data/portal --json");
    assert_eq!(
        (&value["path"], &value["managed"]["version"]),
        (&json!("/etc/motd"), &json!(2))
    );
    assert_eq!(value["history"].as_array().map(Vec::len), Some(2), "{value:#}");
    // The same path without the folder before it, and one that nobody managed.
    bench.ok("blame /etc/motd --ledger data/portal");
    bench.fails(1, "blame root/etc/passwd --root root --ledger data/portal");
}

#[test]
fn an_agent_whose_data_a_newer_jos_wrote_refuses_to_start_says_what_to_do_and_sets_nothing_aside() {
    let bench = Bench::new();
    let slot = |turn: u64| {
        let text = format!("jos-head 2 {turn:016x} ");
        let check = jos_trust::sha256(text.as_bytes()).to_string()[..16].to_owned();
        format!("{text}{check}\n")
    };
    let (ledger, identity) = (
        bench.path("data/portal/ledger/head"),
        bench.path("data/identity/hub.json"),
    );
    let kept = fs::read(&ledger).expect("a head");
    let floors = bench.path("data/floors.0");
    let kept_floors = fs::read(&floors).expect("floors");
    // Whatever came of it, this agent may touch nothing of the machine that runs the test.
    fs::write(bench.path("policy.json"), r#"{"kind":"jos.policy"}"#).expect("written");
    let config = ["policy.json", "trust.json", "data"].map(|name| bench.path(name).display().to_string());
    let config = format!(
        "name = \"portal\"\npolicy = {:?}\ntrust = {:?}\nstate_dir = {:?}\n",
        config[0], config[1], config[2]
    );
    fs::write(bench.path("agent.toml"), config).expect("written");
    let refuses = |what: &str| {
        let mut before = bench.data();
        // Who runs, and how it goes: of this start alone.
        before.retain(|path, _| !path.components().any(|part| part.as_os_str() == "run"));
        let said = bench.fails(1, "agent run --once --config agent.toml");
        assert!(said.contains("format 2, and this jos knows 1"), "{what}: {said}");
        assert!(
            said.contains("install that jos again, or a newer one"),
            "{what}: {said}"
        );
        let mut after = bench.data();
        let new: Vec<PathBuf> = after
            .keys()
            .filter(|path| !before.contains_key(*path))
            .cloned()
            .collect();
        after.retain(|path, _| before.contains_key(path));
        let aside = |path: &PathBuf| {
            ["damaged", "lost"]
                .iter()
                .any(|word| path.display().to_string().contains(word))
        };
        assert!(!new.iter().any(aside), "{what}: {new:?}");
        assert!(
            after == before,
            "{what}: {:?}",
            after.keys().filter(|p| after[*p] != before[*p]).collect::<Vec<_>>()
        );
    };
    fs::write(&ledger, slot(1) + &slot(2)).expect("written");
    refuses("ledger");
    fs::write(&ledger, kept).expect("written");

    let body = r#"{"format":2,"more":true}"#;
    let text = format!(
        "jos-floors 2 {:016x} {}\n{body}",
        99,
        jos_trust::sha256(body.as_bytes())
    );
    fs::write(&floors, text).expect("written");
    refuses("floors");
    fs::write(&floors, kept_floors).expect("written");

    fs::create_dir_all(bench.path("data/identity")).expect("made");
    fs::write(&identity, r#"{"format":2,"device":{"another":"shape"}}"#).expect("written");
    refuses("identity");
}
