//! `jos agent plan` and `jos agent apply`, driven as at a shell: by the built program on a scratch root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// A desk with keys and a trust root, and a machine in a folder beside them.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().expect("a directory"),
        };
        for folder in ["root/etc", "root/srv", "secrets"] {
            fs::create_dir_all(bench.path(folder)).expect("made");
        }
        bench.ok("key new --out desk.key --id desk");
        bench.ok("trust init --key desk.key --out trust.json");
        bench.policy(json!({ "files": ["/etc/**", "/srv/**"], "services": ["cups"], "shell": ["true"] }));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn policy(&self, grant: Value) {
        let policy = json!({ "kind": "jos.policy", "grants": { "local": grant, "baseline": grant } });
        fs::write(self.path("policy.json"), policy.to_string()).expect("written");
    }

    /// Writes and signs a state of these steps.
    fn state(&self, version: u64, apply: Value) {
        let state = json!({
            "kind": "jos.agent.desired_state", "meta": { "name": "portal", "version": version }, "spec": { "apply": apply },
        });
        fs::write(self.path("state.json"), state.to_string()).expect("written");
        self.ok("sign --key desk.key state.json");
    }

    fn run(&self, line: &str) -> Output {
        let args = line.split(' ').filter(|a| !a.is_empty());
        Command::new(env!("CARGO_BIN_EXE_jos"))
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .expect("it runs")
    }

    fn ok(&self, line: &str) -> String {
        let (code, out, err) = self.all(line);
        assert_eq!(code, 0, "jos {line}\n{out}{err}");
        out
    }

    fn all(&self, line: &str) -> (i32, String, String) {
        let output = self.run(line);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code().unwrap_or(-1),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    fn agent(&self, verb: &str, more: &str) -> (i32, String, String) {
        let places = "--root root --policy policy.json --trust trust.json --state-dir data --secrets secrets";
        self.all(&format!("agent {verb} state.json {places} {more}"))
    }

    fn apply(&self) -> (i32, String, String) {
        self.agent("apply", "")
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path("root").join(path)).expect("readable")
    }

    fn exists(&self, path: &str) -> bool {
        self.path("root").join(path).symlink_metadata().is_ok()
    }
}

fn file(path: &str, content: &str) -> Value {
    json!({ "type": "file", "path": path, "content": content })
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).map(Iterator::count).unwrap_or(0)
}

#[test]
fn a_plan_shows_a_diff_and_changes_nothing() {
    let b = Bench::new();
    fs::write(b.path("root/etc/motd"), "one\ntwo\n").expect("written");
    b.state(1, json!([file("/etc/motd", "one\nthree\n"), file("/srv/new", "x\n")]));
    let (code, out, err) = b.agent("plan", "");
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("~ file /etc/motd: content"), "{out}");
    assert!(out.contains("-two") && out.contains("+three"), "{out}");
    assert!(out.contains("1 to create, 1 to update"), "{out}");
    assert_eq!(b.read("etc/motd"), "one\ntwo\n");
    assert!(
        !b.path("data").exists() && !b.exists("var"),
        "a plan leaves nothing behind"
    );
    let (_, out, _) = b.agent("plan", "--json");
    let plan: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(plan["changes"][0]["action"], "update");
}

#[test]
fn applying_changes_and_applying_again_does_not() {
    let b = Bench::new();
    b.state(
        1,
        json!([file("/etc/motd", "hello\n"), { "type": "link", "path": "/srv/l", "target": "x" }]),
    );
    let (code, out, err) = b.apply();
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        out.contains("portal version 1: applied") && out.contains("ledger: 2 records"),
        "{out}"
    );
    assert_eq!(b.read("etc/motd"), "hello\n");
    let (code, out, _) = b.apply();
    assert!(
        code == 0 && out.contains("unchanged") && out.contains("2 records") && out.contains("nothing appended"),
        "{out}"
    );
    // What drifted is put right by the same command.
    fs::write(b.path("root/etc/motd"), "broken").expect("written");
    let (code, out, _) = b.apply();
    assert!(code == 0 && out.contains("applied"), "{out}");
    assert_eq!(b.read("etc/motd"), "hello\n");
}

#[test]
fn an_older_version_is_refused_and_so_is_another_state_of_the_same() {
    let b = Bench::new();
    b.state(2, json!([file("/etc/motd", "two\n")]));
    assert_eq!(b.apply().0, 0);
    b.state(1, json!([file("/etc/motd", "one\n")]));
    let (code, out, err) = b.apply();
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("refused"), "{err}");
    b.state(2, json!([file("/etc/motd", "other\n")]));
    assert_eq!(b.apply().0, 1);
    assert_eq!(b.read("etc/motd"), "two\n");
}

#[test]
fn an_unsigned_state_and_one_by_a_stranger_change_nothing() {
    let b = Bench::new();
    b.state(1, json!([file("/etc/motd", "x")]));
    let signed = fs::read_to_string(b.path("state.json")).expect("readable");
    let mut value: Value = serde_json::from_str(&signed).expect("JSON");
    value["spec"]["apply"][0]["content"] = json!("forged");
    fs::write(b.path("state.json"), value.to_string()).expect("written");
    assert_eq!(b.apply().0, 1);
    value.as_object_mut().expect("a table").remove("signature");
    fs::write(b.path("state.json"), value.to_string()).expect("written");
    assert_eq!(b.apply().0, 1);
    fs::write(b.path("state.json"), "{").expect("written");
    let (code, _, err) = b.apply();
    assert_eq!(code, 2, "{err}");
    assert!(!b.exists("etc/motd"));
}

#[test]
fn what_policy_does_not_grant_is_refused_with_the_line_that_would() {
    let b = Bench::new();
    b.state(
        1,
        json!([file("/etc/motd", "x"), file("/opt/x", "x"), { "type": "shell", "command": "reboot" }]),
    );
    let (code, out, _) = b.agent("plan", "");
    assert_eq!(code, 1, "{out}");
    let (code, out, _) = b.apply();
    assert_eq!(code, 1);
    assert!(
        out.contains("step 2 (file /opt/x)") && out.contains("[grants.local] files = [\"/opt/x\"]"),
        "{out}"
    );
    assert!(out.contains("[grants.local] shell = [\"reboot\"]"), "{out}");
    assert!(out.contains("nothing was touched") && !b.exists("etc/motd"));
    // A refusal is no failure: with the grant the same state is taken.
    b.policy(json!({ "files": ["/etc/**", "/opt/x"], "shell": ["reboot"] }));
    assert_eq!(b.apply().0, 0);
}

#[test]
fn what_this_system_cannot_do_is_unsupported() {
    let b = Bench::new();
    b.policy(json!({ "uci": ["network.lan"] }));
    b.state(
        1,
        json!([{ "type": "uci", "config": "network", "section": "lan", "options": { "ipaddr": "192.168.9.1" } }]),
    );
    let (code, out, _) = b.apply();
    assert!(
        code == 1 && out.contains("unsupported: nothing was touched") && out.contains("/etc/config"),
        "{out}"
    );
}

#[test]
fn a_step_that_fails_halfway_takes_the_others_back() {
    let b = Bench::new();
    // A directory that cannot be left: the state wants it gone, and something lies in it that no step names.
    fs::create_dir_all(b.path("root/srv/full")).expect("made");
    fs::write(b.path("root/srv/full/x"), "x").expect("written");
    b.state(
        1,
        json!([file("/etc/motd", "x"), { "type": "absent", "path": "/srv/full" }]),
    );
    let (code, out, _) = b.apply();
    assert!(code == 1 && out.contains("is not empty"), "{out}");
    assert!(!b.exists("etc/motd") && b.exists("srv/full/x"));
}

#[test]
fn services_commands_and_health_wait_for_the_first_boot_of_a_root() {
    let b = Bench::new();
    b.policy(json!({
        "files": ["/etc/**", { "path": "/etc/systemd/system/**", "code": true }], "services": ["cups"], "shell": ["true"]
    }));
    let unit = "[Service]\nExecStart=/usr/sbin/cupsd\n\n[Install]\nWantedBy=multi-user.target\n";
    b.state(
        1,
        json!([
            file("/etc/systemd/system/cups.service", unit),
            { "type": "service", "name": "cups", "action": "enable" },
            { "type": "service", "name": "cups", "action": "restart" },
            { "type": "shell", "command": "true" },
        ]),
    );
    let (code, out, err) = b.agent("apply", "--source baseline");
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("wait for the first boot") && out.contains("… cups: service start at the first boot"),
        "{out}"
    );
    assert!(b.exists("etc/systemd/system/multi-user.target.wants/cups.service"));
}

#[test]
fn a_secret_reaches_its_file_and_nothing_else() {
    let b = Bench::new();
    let secret = "correct horse battery staple";
    fs::write(b.path("secrets/wifi"), secret).expect("written");
    fs::set_permissions(b.path("secrets/wifi"), fs::Permissions::from_mode(0o600)).expect("set");
    b.state(
        1,
        json!([{ "type": "file", "path": "/etc/wpa.conf", "content": { "secret": "wifi" } }]),
    );
    for verb in ["plan", "apply"] {
        for more in ["", "--json"] {
            let (_, out, err) = b.agent(verb, more);
            assert!(!out.contains(secret) && !err.contains(secret), "{out}{err}");
        }
    }
    assert_eq!(b.read("etc/wpa.conf"), secret);
    let mode = fs::metadata(b.path("root/etc/wpa.conf"))
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    let found = Command::new("grep")
        .args(["-rlF", secret, "data"])
        .current_dir(b.dir.path())
        .output()
        .expect("it runs");
    assert_eq!(
        String::from_utf8_lossy(&found.stdout),
        "",
        "the secret lies in the data directory"
    );
}

#[test]
fn data_and_undo_copies_are_private() {
    let b = Bench::new();
    b.state(1, json!([file("/etc/motd", "x")]));
    assert_eq!(b.apply().0, 0);
    let output = Command::new("find")
        .args(["data", "-perm", "/077"])
        .current_dir(b.dir.path())
        .output()
        .expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(count(&b.path("data/portal/journal")), 0);
}

#[test]
fn bad_use_names_what_is_missing_and_how_to_give_it() {
    let b = Bench::new();
    b.state(1, json!([]));
    let (code, _, err) = b.all("agent apply state.json --root root --trust trust.json --state-dir data");
    assert!(
        code == 2 && err.contains("policy.toml") && err.contains("--policy FILE"),
        "{err}"
    );
    let (code, _, err) = b.all("agent apply state.json --root nowhere --policy policy.json --trust trust.json");
    assert!(code == 2 && err.contains("nowhere"), "{err}");
    let (code, _, err) = b.agent("apply", "--name other");
    assert!(code == 1 && err.contains("other"), "{err}");
    assert!(!b.exists("etc/motd"));
}

#[test]
fn a_state_with_placeholders_is_neither_planned_nor_applied_and_each_is_named() {
    let b = Bench::new();
    let state = json!({
        "kind": "jos.agent.desired_state", "meta": { "name": "portal", "version": 1 },
        "spec": { "apply": [file("/etc/motd", "x"), file("...", "..."), { "type": "shell", "command": "..." }] },
    });
    fs::write(b.path("state.json"), state.to_string()).expect("written");
    for verb in ["plan", "apply"] {
        let (code, out, err) = b.agent(verb, "");
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(err.contains("at /spec/apply/1/path, /spec/apply/2/command"), "{err}");
    }
    assert!(!b.path("data").exists() && !b.exists("etc/motd"));
}

#[test]
fn an_apply_that_is_under_way_is_named() {
    let b = Bench::new();
    b.state(1, json!([file("/etc/motd", "x")]));
    assert_eq!(b.apply().0, 0);
    let lock = fs::OpenOptions::new()
        .write(true)
        .open(b.path("data/portal/apply.lock"))
        .expect("there");
    lock.lock().expect("locked");
    b.state(2, json!([file("/etc/motd", "y")]));
    let (code, _, err) = b.apply();
    assert!(
        code == 1 && err.contains("another apply of portal is under way (process "),
        "{err}"
    );
    drop(lock);
    assert_eq!(b.agent("apply", "--wait 5").0, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn what_an_image_lists_as_its_own_is_protected_whatever_is_granted() {
    let b = Bench::new();
    b.state(1, json!([file("/srv/identity/etc/rc.conf", "x")]));
    fs::create_dir_all(b.path("root/usr/share/jos")).expect("made");
    let list = b.path("root/usr/share/jos/protected");
    fs::write(&list, "# ours\n/srv/identity\nsrv/other\n").expect("written");
    let (code, out, err) = b.apply();
    let said = format!("{out}{err}");
    assert!(code != 0 && said.contains("protected:3: "), "{said}");
    fs::write(&list, "# ours\n/srv/identity\n").expect("written");
    let (code, out, err) = b.apply();
    let said = format!("{out}{err}");
    assert!(
        code != 0 && said.contains("/srv/identity is protected whatever is granted"),
        "{said}"
    );
    assert!(!b.exists("srv/identity"));
    fs::remove_file(&list).expect("removed");
    assert_eq!(b.apply().0, 0, "it is the list that makes the difference");
    assert_eq!(b.read("srv/identity/etc/rc.conf"), "x");
}
