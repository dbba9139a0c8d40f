//! `package` steps against the real apt, and accounts against the real tools: a Debian without a network, and a
//! repository of tiny packages in a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jos_tests::command::{Ran, run, sh};
use jos_tests::nspawn::Machine;
use jos_tests::programs::jos_path;
use jos_tests::wait;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(120);
/// Every answer that this file waits for comes from apt or dpkg on a busy machine.
const LONG: Duration = Duration::from_secs(300);

/// A desk with keys, a machine, and a repository that the machine's apt reads.
struct Bench {
    desk: tempfile::TempDir,
    machine: Machine,
    version: u64,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            desk: tempfile::tempdir().expect("a directory"),
            machine: Machine::boot(),
            version: 0,
        };
        bench.jos(&["key", "new", "--out", "desk.key", "--id", "desk"]);
        bench.jos(&["trust", "init", "--key", "desk.key", "--out", "trust.json"]);
        let grant = json!({ "files": ["/srv/**"], "shell": ["test ! -e /srv/sick"], "users": ["kiosk", "ops"],
                            "packages": ["tiny", "tiny-old from file:/srv/repo", "tiny-slow"] });
        let policy = json!({ "kind": "jos.policy", "grants": { "local": grant } });
        fs::write(bench.at("policy.json"), policy.to_string()).expect("written");
        let m = &bench.machine;
        m.put(jos_path(), "/usr/bin/jos");
        m.sh("mkdir -p /root/desk /srv/repo && rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*")
            .ok();
        m.sh("echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list")
            .ok();
        for file in ["trust.json", "policy.json"] {
            m.put(&bench.at(file), &format!("/root/desk/{file}"));
        }
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.desk.path().join(name)
    }

    fn jos(&self, words: &[&str]) {
        run(Command::new(jos_path()).args(words).current_dir(self.desk.path())).ok();
    }

    /// Builds a package into the repository; `scripts` are its maintainer scripts.
    fn offer(&self, name: &str, version: &str, depends: &str, scripts: &[(&str, &str)]) {
        let tree = self.at(&format!("{name}-{version}"));
        fs::create_dir_all(tree.join("DEBIAN")).expect("made");
        fs::create_dir_all(tree.join("usr/share/tiny")).expect("made");
        fs::create_dir_all(tree.join("etc/tiny")).expect("made");
        let depends = if depends.is_empty() {
            String::new()
        } else {
            format!("Depends: {depends}\n")
        };
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example>\n{depends}Description: tiny\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).expect("written");
        fs::write(tree.join(format!("usr/share/tiny/{name}")), version).expect("written");
        fs::write(
            tree.join(format!("etc/tiny/{name}.conf")),
            format!("as shipped with {version}\n"),
        )
        .expect("written");
        fs::write(tree.join("DEBIAN/conffiles"), format!("/etc/tiny/{name}.conf\n")).expect("written");
        for (script, text) in scripts {
            let path = tree.join("DEBIAN").join(script);
            fs::write(&path, format!("#!/bin/sh\nset -e\n{text}\n")).expect("written");
            sh("chmod", &["0755", &path.display().to_string()]).ok();
        }
        let deb = self.at(&format!("{name}_{version}_all.deb"));
        let words = ["--root-owner-group", "--build", path(&tree), path(&deb)];
        sh("dpkg-deb", &words).ok();
        self.machine.put(&deb, &format!("/srv/repo/{name}_{version}_all.deb"));
        let index = run(Command::new("dpkg-scanpackages")
            .args(["--multiversion", ".", "/dev/null"])
            .current_dir(self.machine.host_path("/srv/repo")))
        .ok();
        fs::write(self.machine.host_path("/srv/repo/Packages"), index.stdout).expect("written");
    }

    fn withdraw(&self, name: &str, version: &str) {
        fs::remove_file(self.machine.host_path(&format!("/srv/repo/{name}_{version}_all.deb"))).expect("removed");
        let index = run(Command::new("dpkg-scanpackages")
            .args(["--multiversion", ".", "/dev/null"])
            .current_dir(self.machine.host_path("/srv/repo")))
        .ok();
        fs::write(self.machine.host_path("/srv/repo/Packages"), index.stdout).expect("written");
        self.machine.run_within(&["apt-get", "update"], LONG).ok();
    }

    /// Signs a state of these steps and puts it on the machine.
    fn sign(&mut self, spec: Value) {
        self.version += 1;
        let spec = if spec.is_array() {
            json!({ "apply": spec })
        } else {
            spec
        };
        let state = json!({ "kind": "jos.agent.desired_state", "meta": { "name": "tiny", "version": self.version }, "spec": spec });
        fs::write(self.at("state.json"), state.to_string()).expect("written");
        self.jos(&["sign", "--key", "desk.key", "state.json"]);
        self.machine.put(&self.at("state.json"), "/root/desk/state.json");
    }

    fn again(&self) -> Ran {
        self.machine.run_within(&APPLY, LONG)
    }

    fn apply(&mut self, spec: Value) -> Ran {
        self.sign(spec);
        self.again()
    }

    /// `NAME VERSION` of what is installed, marked `auto` where apt does.
    fn installed(&self) -> Vec<String> {
        let list = self
            .machine
            .sh("dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n' 'tiny*' 2>/dev/null; true");
        let auto = self.machine.sh("apt-mark showauto").ok();
        let lines = list.stdout.lines().filter_map(|l| l.strip_prefix("ii "));
        lines
            .map(|l| {
                let name = l.trim().split(' ').next().unwrap_or_default();
                let mark = if auto.stdout.lines().any(|a| a == name) {
                    " auto"
                } else {
                    ""
                };
                format!("{}{mark}", l.trim())
            })
            .collect()
    }

    fn content(&self, path: &str) -> String {
        fs::read_to_string(self.machine.host_path(path)).unwrap_or_default()
    }
}

const APPLY: [&str; 11] = [
    "jos",
    "agent",
    "apply",
    "/root/desk/state.json",
    "--policy",
    "/root/desk/policy.json",
    "--trust",
    "/root/desk/trust.json",
    "--state-dir",
    "/var/lib/jos-test",
    "--json",
];

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of ours is UTF-8")
}

fn package(name: &str) -> Value {
    json!({ "type": "package", "name": name, "state": "installed" })
}

fn pinned(name: &str, version: &str) -> Value {
    json!({ "type": "package", "name": name, "state": "installed", "version": version })
}

#[test]
fn real_apt_installs_upgrades_goes_back_and_removes() {
    let mut b = Bench::new();
    b.offer("tiny", "1.0", "", &[]);
    b.offer("tiny", "2.0", "tiny-lib", &[]);
    b.offer("tiny-lib", "1.0", "", &[]);
    b.offer("tiny-old", "1.0", "", &[]);

    // apt's lists are empty: the repository is asked first.
    let plan = b.apply(json!([pinned("tiny", "1.0"), package("tiny-old")])).ok().json();
    assert_eq!(plan["outcome"], "applied", "{plan:#}");
    assert_eq!(b.installed(), ["tiny 1.0", "tiny-old 1.0"]);
    assert_eq!(b.again().ok().json()["outcome"], "unchanged");

    // An upgrade that brings a dependency, a removal, and a health check that fails: everything as before.
    fs::write(b.machine.host_path("/etc/tiny/tiny.conf"), "changed by hand\n").expect("written");
    fs::write(b.machine.host_path("/srv/sick"), "").expect("written");
    let absent = json!({ "type": "package", "name": "tiny-old", "state": "absent" });
    let steps = json!([pinned("tiny", "2.0"), absent, { "type": "file", "path": "/srv/x", "content": "x" }]);
    let check = json!({ "type": "command", "command": "test ! -e /srv/sick", "retries": 0 });
    let back = b
        .apply(json!({ "apply": steps, "health_check": check }))
        .exits(1)
        .json();
    assert_eq!(back["outcome"], "rolled_back", "{back:#}");
    assert_eq!(b.installed(), ["tiny 1.0", "tiny-old 1.0"]);
    assert_eq!(b.content("/usr/share/tiny/tiny"), "1.0");
    assert_eq!(
        b.content("/etc/tiny/tiny.conf"),
        "changed by hand\n",
        "configuration that was changed here stays"
    );
    assert_eq!(b.content("/etc/tiny/tiny-old.conf"), "as shipped with 1.0\n");
    assert!(
        !b.machine.host_path("/etc/tiny/tiny-lib.conf").exists(),
        "what was never here leaves nothing"
    );
    let audit = b.machine.run(&["dpkg", "--audit"]).ok();
    assert_eq!(audit.text(), "");

    // The same, and healthy.
    fs::remove_file(b.machine.host_path("/srv/sick")).expect("removed");
    let kept = b.apply(json!({ "apply": steps, "health_check": check })).ok().json();
    assert_eq!(kept["outcome"], "applied", "{kept:#}");
    assert_eq!(b.installed(), ["tiny 2.0", "tiny-lib 1.0 auto"]);
    let saved: Vec<_> = fs::read_dir(b.machine.host_path("/var/lib/jos-test/tiny/journal"))
        .expect("there")
        .collect();
    assert!(saved.is_empty(), "saved packages go with the journal: {saved:?}");

    // Downwards by a pin; then the repository loses what is installed, and there would be no way back.
    assert_eq!(
        b.apply(json!([pinned("tiny", "1.0")])).ok().json()["outcome"],
        "applied"
    );
    b.withdraw("tiny", "1.0");
    let refused = b.apply(json!([pinned("tiny", "2.0")])).exits(1).json();
    assert_eq!(refused["outcome"], "refused", "{refused:#}");
    assert!(
        refused["reasons"][0]
            .as_str()
            .is_some_and(|r| r.contains("in no repository any more")),
        "{refused:#}"
    );
    let mut allowed = pinned("tiny", "2.0");
    allowed["allow_no_undo"] = json!(true);
    assert_eq!(b.apply(json!([allowed])).ok().json()["outcome"], "applied");
}

#[test]
fn real_apt_killed_in_the_middle_is_taken_back_by_the_next_start() {
    let mut b = Bench::new();
    let waits = "touch /srv/begun; while [ ! -e /srv/go ]; do sleep 0.1; done";
    b.offer("tiny", "1.0", "", &[]);
    b.offer("tiny-slow", "1.0", "tiny-lib", &[("postinst", waits)]);
    b.offer("tiny-lib", "1.0", "", &[]);
    b.apply(json!([package("tiny")])).ok();
    let before = b.installed();
    b.sign(json!([{ "type": "file", "path": "/srv/x", "content": "x" }, package("tiny-slow")]));
    let mut child = b.machine.enter().args(APPLY).spawn().expect("it starts");
    wait::until_true("the package's script has begun", SOON, || {
        b.machine.host_path("/srv/begun").exists()
    });
    b.machine.sh("kill -9 $(pidof jos)").ok();
    child.wait().expect("waited for");
    // apt and dpkg live on: their lock is waited for, then what they did is taken back.
    fs::write(b.machine.host_path("/srv/go"), "").expect("written");
    b.version += 1;
    let next = b.apply(json!([])).ok();
    assert_eq!(b.installed(), before, "{next}");
    assert!(!b.machine.host_path("/srv/x").exists());
    assert_eq!(b.machine.run(&["dpkg", "--audit"]).ok().text(), "");
}

#[test]
fn a_package_whose_script_fails_and_one_from_another_place_change_nothing() {
    let mut b = Bench::new();
    b.offer("tiny", "1.0", "", &[("postinst", "exit 3")]);
    let failed = b.apply(json!([package("tiny")])).exits(1).json();
    assert_eq!(failed["outcome"], "rolled_back", "{failed:#}");
    assert_eq!(b.installed(), Vec::<String>::new());
    assert_eq!(b.machine.run(&["dpkg", "--audit"]).ok().text(), "");
    // A name that apt would take for a pattern, and a repository that is not granted.
    let policy =
        json!({ "kind": "jos.policy", "grants": { "local": { "packages": ["tin.", "tiny from http://elsewhere"] } } });
    fs::write(b.machine.host_path("/root/desk/policy.json"), policy.to_string()).expect("written");
    let pattern = b.apply(json!([package("tin.")])).exits(1).json();
    assert_eq!(pattern["outcome"], "refused", "{pattern:#}");
    let place = b.apply(json!([package("tiny")])).exits(1).json();
    assert!(
        place["reasons"][0]
            .as_str()
            .is_some_and(|r| r.contains("which is not granted")),
        "{place:#}"
    );
}

#[test]
fn a_real_debian_knows_the_accounts_that_were_written() {
    let mut b = Bench::new();
    let steps = json!([
        { "type": "group", "name": "ops" },
        { "type": "user", "name": "kiosk", "groups": ["ops"], "home": "/srv/kiosk", "make_home": true, "comment": "The kiosk" },
        { "type": "file", "path": "/srv/kiosk.conf", "content": "x", "owner": "kiosk:ops" },
    ]);
    let policy = b
        .content("/root/desk/policy.json")
        .replace("\"/srv/**\"", "{\"path\":\"/srv/**\",\"code\":true}");
    fs::write(b.machine.host_path("/root/desk/policy.json"), policy).expect("written");
    assert_eq!(b.apply(steps).ok().json()["outcome"], "applied");
    let entry = b.machine.run(&["getent", "passwd", "kiosk"]).ok();
    assert!(entry.text().ends_with(":The kiosk:/srv/kiosk:/bin/false"), "{entry}");
    assert_eq!(b.machine.run(&["id", "-nG", "kiosk"]).ok().text(), "kiosk ops");
    assert!(
        b.machine
            .run(&["getent", "shadow", "kiosk"])
            .ok()
            .text()
            .starts_with("kiosk:!:")
    );
    assert_eq!(
        b.machine
            .run(&["stat", "-c", "%U:%G", "/srv/kiosk.conf", "/srv/kiosk"])
            .ok()
            .text(),
        "kiosk:ops\nkiosk:kiosk"
    );
    b.machine.run(&["grpck", "-r"]).ok();
    let said = b.machine.run(&["pwck", "-q", "-r"]);
    assert!(!said.stdout.contains("kiosk"), "{said}");
    // The system's own tools go on from there, and everything can be taken back.
    b.machine.run(&["useradd", "--system", "other"]).ok();
    let gone = json!([{ "type": "user", "name": "kiosk", "absent": true }, { "type": "group", "name": "ops", "absent": true }]);
    assert_eq!(b.apply(gone).ok().json()["outcome"], "applied");
    assert_eq!(b.machine.run(&["getent", "passwd", "kiosk"]).code, Some(2));
    b.machine.run(&["grpck", "-r"]).ok();
}

#[test]
fn a_package_that_needs_more_than_the_services_sandbox_is_installed_and_taken_back_from_within_it() {
    let mut b = Bench::new();
    // What the sandbox forbids: set-user-id bits, devices, homes, folders that no grant names.
    let script = "touch /usr/local/lib/mark && chmod 4755 /usr/local/lib/mark && mkdir -p /home/mark /opt/mark && \
                  chown 1:1 /home/mark && rm -f /opt/mark/null && mknod /opt/mark/null c 1 3 && systemctl daemon-reload";
    b.offer("tiny", "1.0", "", &[]);
    b.offer("tiny", "2.0", "tiny-lib", &[("postinst", script)]);
    b.offer("tiny-lib", "1.0", "", &[]);
    b.sign(json!([pinned("tiny", "2.0")]));
    b.machine
        .sh("cd /root/desk && jos agent install state.json --policy policy.json --trust trust.json --interval 3600 --yes")
        .ok();
    let outcome = |b: &Bench, version: u64| {
        wait::until(&format!("version {version} came to an end"), LONG, || {
            let said = b.machine.run(&["jos", "agent", "status", "tiny", "--json"]);
            let value: Value = serde_json::from_str(&said.stdout).unwrap_or_default();
            if value["phase"] == "waiting" && value["last_outcome"]["version"] == version {
                Ok(value)
            } else {
                Err(format!("{said}\n{}", b.machine.journal("jos-agent-tiny")))
            }
        })
    };
    let status = outcome(&b, 1);
    assert_eq!(
        status["last_outcome"]["outcome"],
        "applied",
        "{status:#}\n{}",
        b.machine.journal("jos-agent-tiny")
    );
    assert_eq!(b.installed(), ["tiny 2.0", "tiny-lib 1.0 auto"]);
    let seen = ["stat", "-c", "%a %F", "/usr/local/lib/mark", "/opt/mark/null"];
    let seen = b.machine.run(&seen).ok();
    assert_eq!(seen.text(), "4755 regular empty file\n644 character special file");
    // Back again, also from within: the health check of the next version fails.
    fs::write(b.machine.host_path("/srv/sick"), "").expect("written");
    let check = json!({ "type": "command", "command": "test ! -e /srv/sick", "retries": 0 });
    b.sign(json!({ "apply": [pinned("tiny", "1.0")], "health_check": check }));
    b.machine
        .sh("cp /root/desk/state.json /root/.jos/agents/tiny/artifact.json; systemctl reload jos-agent-tiny")
        .ok();
    let status = outcome(&b, 2);
    assert_eq!(status["last_outcome"]["outcome"], "rolled_back", "{status:#}");
    assert_eq!(b.installed(), ["tiny 2.0", "tiny-lib 1.0 auto"]);
    assert_eq!(b.machine.run(&["dpkg", "--audit"]).ok().text(), "");
    // The sandbox itself has not become wider for it.
    let unit = b
        .machine
        .run(&[
            "systemctl",
            "show",
            "-p",
            "ProtectSystem,ReadWritePaths",
            "jos-agent-tiny",
        ])
        .ok();
    assert!(unit.stdout.contains("ProtectSystem=strict"), "{unit}");
    assert!(!unit.stdout.lines().any(|line| line == "ReadWritePaths=-/"), "{unit}");
}
