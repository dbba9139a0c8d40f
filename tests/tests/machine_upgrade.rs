//! The agent replaces its own package, on a real systemd with the real apt, and is killed at every stage of that: what comes
//! of it is the whole old agent with the whole old state, or the whole new one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use jos_tests::command::{run, sh};
use jos_tests::fleet::Hub;
use jos_tests::nspawn::Machine;
use jos_tests::programs::jos_path;
use jos_tests::wait;
use serde_json::{Value, json};

/// Everything that this file waits for comes from apt, dpkg and systemd on a busy machine.
const SOON: Duration = Duration::from_secs(140);
const UNIT: &str = "jos-agent-lamp";
const JOURNAL: &str = "/var/lib/jos/lamp/journal";
const BOOT_UNIT: &str = "/etc/systemd/system/jos-upgrade-lamp.service";
/// Says that a stage is reached, and holds there until it is let go.
const HOLD: &str = "touch /srv/gate/reached; while [ ! -e /srv/gate/go ]; do sleep 0.1; done";

/// Where an upgrade is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The old agent is at another step of the same state.
    Before,
    /// dpkg is about to unpack.
    Unpacking,
    /// The new package is unpacked and half configured.
    Postinst,
    /// The new agent has been started, and is not ready.
    Starting,
    /// The new program asks whether the change is to be kept.
    Confirm,
    Nowhere,
}

/// What the new package is, besides a number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    Good,
    /// It ends at once.
    Broken,
}

struct Bench {
    desk: tempfile::TempDir,
    machine: Machine,
}

/// The program under test without what only a debugger reads: it is packed, copied and started often.
fn program() -> &'static Path {
    static STRIPPED: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = STRIPPED.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("jos");
        let (from, to) = (jos_path().display().to_string(), path.display().to_string());
        sh("strip", &["-o", &to, &from]).ok();
        (dir, path)
    });
    path
}

impl Bench {
    /// A machine with version 1.0 of the agent's package, and an agent that keeps version 1 of its state.
    fn new() -> Self {
        let desk = tempfile::tempdir().expect("a folder");
        jos(desk.path(), &["key", "new", "--out", "desk.key", "--id", "desk"]);
        jos(
            desk.path(),
            &["trust", "init", "--key", "desk.key", "--out", "trust.json"],
        );
        let bench = Self::of(desk, Machine::boot());
        bench.install(&[]);
        bench
    }

    /// The same with an agent that is enrolled at this hub, whose admin's key is the desk's.
    fn enrolled(hub: &Hub) -> Self {
        let desk = tempfile::tempdir().expect("a folder");
        for (theirs, ours) in [("root.key", "desk.key"), ("trust.v2.json", "trust.json")] {
            fs::copy(hub.path(theirs), desk.path().join(ours)).expect("copied");
        }
        let bench = Self::of(desk, Machine::builder().network().boot());
        fs::write(bench.at("token"), hub.token()).expect("written");
        fs::set_permissions(bench.at("token"), fs::Permissions::from_mode(0o600)).expect("its mode");
        bench.machine.put(&bench.at("token"), "/root/desk/token");
        bench.install(&["--token-file", "token"]);
        bench
    }

    fn of(desk: tempfile::TempDir, machine: Machine) -> Self {
        let bench = Self { desk, machine };
        let grant = json!({ "files": ["/srv/**"], "shell": [HOLD, "test -e /srv/well"],
                            "packages": ["jos-agent as the agent from file:/srv/repo"] });
        let policy = json!({ "kind": "jos.policy", "grants": { "local": grant, "hub": grant } });
        fs::write(bench.at("policy.json"), policy.to_string()).expect("written");
        let m = &bench.machine;
        m.sh("mkdir -p /root/desk /srv/repo /srv/gate && rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*")
            .ok();
        m.sh("echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list; touch /srv/well")
            .ok();
        for file in ["trust.json", "policy.json"] {
            m.put(&bench.at(file), &format!("/root/desk/{file}"));
        }
        bench.offer("1.0", Program::Good, Stage::Nowhere);
        m.sh("apt-get -q update; apt-get -y -q install jos-agent").ok();
        bench
    }

    fn install(&self, more: &[&str]) {
        self.sign(1, &json!([lamp("40\n")]), None);
        let words = "jos agent install state.json --policy policy.json --trust trust.json --interval 3600 --yes";
        self.machine
            .sh(&format!("cd /root/desk && {words} {}", more.join(" ")))
            .ok();
        wait::until("version 1 is in force", SOON, || {
            let status = self.settled();
            if status["version"] == 1 { Ok(()) } else { Err(status) }
        });
        self.is(1, "1.0");
    }

    fn at(&self, name: &str) -> PathBuf {
        self.desk.path().join(name)
    }

    /// Builds a version of the agent's package into the repository.
    fn offer(&self, version: &str, program_is: Program, hold: Stage) {
        let tree = self.at(&format!("jos-agent-{version}"));
        let put = |path: &str, text: &[u8], mode: u32| {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        };
        let control = format!(
            "Package: jos-agent\nVersion: {version}\nArchitecture: amd64\nMaintainer: Test <test@example>\nDescription: agent\n"
        );
        put("DEBIAN/control", control.as_bytes(), 0o644);
        let held = |stage| if hold == stage { HOLD } else { ":" };
        let preinst = format!("#!/bin/sh\nset -e\n{}\n", held(Stage::Unpacking));
        put("DEBIAN/preinst", preinst.as_bytes(), 0o755);
        // As the packages do that `jos-image` bakes.
        let postinst = format!(
            "#!/bin/sh\nset -e\n{}\nif [ -n \"$2\" ]; then\n\tsystemctl --system daemon-reload\n\
             \tdeb-systemd-invoke restart '{UNIT}.service' >/dev/null || true\nfi\n",
            held(Stage::Postinst)
        );
        put("DEBIAN/postinst", postinst.as_bytes(), 0o755);
        if hold == Stage::Starting {
            let text = format!("[Service]\nExecStartPre=/bin/sh -c '{HOLD}'\n");
            put(
                &format!("usr/lib/systemd/system/{UNIT}.service.d/hold.conf"),
                text.as_bytes(),
                0o644,
            );
        }
        match program_is {
            Program::Good => put("usr/bin/jos", &fs::read(program()).expect("the program"), 0o755),
            Program::Broken => put("usr/bin/jos", b"#!/bin/sh\nexit 1\n", 0o755),
        }
        let deb = self.at(&format!("jos-agent_{version}_amd64.deb"));
        let (from, to) = (tree.display().to_string(), deb.display().to_string());
        sh("dpkg-deb", &["-Znone", "--root-owner-group", "--build", &from, &to]).ok();
        self.machine
            .put(&deb, &format!("/srv/repo/jos-agent_{version}_amd64.deb"));
        let index = run(Command::new("dpkg-scanpackages")
            .args(["--multiversion", ".", "/dev/null"])
            .current_dir(self.machine.host_path("/srv/repo")))
        .ok();
        fs::write(self.machine.host_path("/srv/repo/Packages"), index.stdout).expect("written");
    }

    fn sign(&self, version: u64, steps: &Value, confirm: Option<&str>) {
        let mut spec = json!({ "apply": steps });
        if let Some(command) = confirm {
            spec["confirm"] = json!({ "command": command });
        }
        let state =
            json!({ "kind": "jos.agent.desired_state", "meta": { "name": "lamp", "version": version }, "spec": spec });
        fs::write(self.at("state.json"), state.to_string()).expect("written");
        jos(self.desk.path(), &["sign", "--key", "desk.key", "state.json"]);
        self.machine.put(&self.at("state.json"), "/root/desk/state.json");
    }

    /// Gives the agent a state with version `version` of its own package and another content of the file.
    fn upgrade(&self, to: &str, hold: Stage) {
        let held = json!({ "type": "shell", "command": HOLD, "timeout": 600 });
        let own = json!({ "type": "package", "name": "jos-agent", "state": "installed", "version": to });
        let mut steps = vec![own, lamp("60\n")];
        if hold == Stage::Before {
            steps.push(held);
        }
        self.sign(2, &json!(steps), (hold == Stage::Confirm).then_some(HOLD));
        self.machine
            .sh(&format!(
                "cp /root/desk/state.json /root/.jos/agents/lamp/artifact.json; systemctl reload {UNIT}"
            ))
            .ok();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.machine.host_path(path)
    }

    fn reached(&self) {
        wait::until("the stage is reached", SOON, || {
            if self.path("/srv/gate/reached").exists() {
                Ok(())
            } else {
                Err(self.log())
            }
        });
    }

    fn go(&self) {
        fs::write(self.path("/srv/gate/go"), "").expect("written");
    }

    /// Everything that was said, for a failure's sake.
    fn log(&self) -> String {
        let said = self.machine.run(&[
            "journalctl",
            "--boot",
            "--no-pager",
            "--output=short-monotonic",
            "-n",
            "120",
        ]);
        let tree = self.machine.run(&["ls", "-l", JOURNAL]);
        format!("{}\n{}", said.stdout, tree.stdout)
    }

    /// Waits until no change is under way and the agent is at rest; gives what it says of itself.
    fn settled(&self) -> Value {
        wait::until("the agent is at rest", SOON, || {
            let said = self.machine.run(&["jos", "agent", "status", "lamp", "--json"]);
            let value: Value = serde_json::from_str(&said.stdout).unwrap_or_default();
            let trial = self.path(JOURNAL).join("trial.json").exists();
            let guards = self.machine.run(&["pgrep", "-f", "agent guard"]).code == Some(0);
            if value["phase"] == "waiting" && value["state"] == "running" && !trial && !guards {
                Ok(value)
            } else {
                Err(format!("trial {trial}, guardian {guards}\n{said}\n{}", self.log()))
            }
        })
    }

    /// Wholly this version of the state and of the package; nothing is left, and the ledger tells it.
    #[track_caller]
    fn is(&self, state: u64, package: &str) {
        let status = self.settled();
        let log = || self.log();
        assert_eq!(status["version"], state, "{status:#}\n{}", log());
        let content = fs::read_to_string(self.path("/srv/lamp")).unwrap_or_default();
        assert_eq!(content, if state == 1 { "40\n" } else { "60\n" }, "{}", log());
        let show = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}|${Version}", "jos-agent"];
        assert_eq!(
            self.machine.run(&show).ok().text(),
            format!("ii |{package}"),
            "{}",
            log()
        );
        assert_eq!(self.machine.run(&["dpkg", "--audit"]).ok().text(), "");
        let left: Vec<_> = fs::read_dir(self.path(JOURNAL))
            .expect("the journal")
            .flatten()
            .collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(!self.path(BOOT_UNIT).exists(), "{}", log());
        assert_eq!(self.machine.property(UNIT, "ActiveState"), "active");
        self.machine.run(&["jos", "ledger", "verify", "lamp"]).ok();
        self.machine.run(&["jos", "replay", "lamp"]).ok();
        // The process that runs is the program that is installed.
        let pid = self.machine.property(UNIT, "MainPID");
        let exe = self.machine.run(&["readlink", &format!("/proc/{pid}/exe")]).ok();
        assert_eq!(exe.text(), "/usr/bin/jos");
    }

    /// What the last decision came to, and why.
    fn last(&self) -> (String, String) {
        let show = [
            "jos", "ledger", "show", "lamp", "--json", "--kind", "outcome", "--last", "1",
        ];
        let line = self.machine.run(&show).ok().stdout;
        let value: Value = serde_json::from_str(line.trim()).unwrap_or_else(|e| panic!("{e}: {line}"));
        let payload = value
            .pointer("/record/payload")
            .or(value.get("payload"))
            .cloned()
            .unwrap_or_default();
        let word = payload["outcome"].as_str().unwrap_or_default().to_owned();
        (word, payload["reasons"].to_string())
    }

    /// Waits until the upgrade has come to this end.
    #[track_caller]
    fn comes_to(&self, outcome: &str) {
        wait::until(&format!("the upgrade is {outcome}"), SOON, || {
            self.settled();
            let (last, why) = self.last();
            if last == outcome && self.tried() {
                Ok(())
            } else {
                Err(format!("{last}: {why}\n{}", self.log()))
            }
        });
    }

    /// Whether version 2 was decided on.
    fn tried(&self) -> bool {
        let show = ["jos", "ledger", "show", "lamp", "--json", "--kind", "decision"];
        self.machine.run(&show).ok().stdout.contains("\"lamp-2\"")
    }
}

fn jos(desk: &Path, words: &[&str]) {
    run(Command::new(jos_path()).args(words).current_dir(desk)).ok();
}

fn lamp(content: &str) -> Value {
    json!({ "type": "file", "path": "/srv/lamp", "content": content })
}

/// Holds an upgrade there, does `harm`, and lets it go. True where the new agent came of it.
fn held(stage: Stage, harm: impl FnOnce(&mut Bench)) -> bool {
    let mut bench = Bench::new();
    bench.offer("2.0", Program::Good, stage);
    bench.upgrade("2.0", stage);
    bench.reached();
    harm(&mut bench);
    bench.go();
    let new = bench.settled()["version"] == 2;
    let (state, package) = if new { (2, "2.0") } else { (1, "1.0") };
    bench.is(state, package);
    bench.comes_to(if new { "applied" } else { "rolled_back" });
    new
}

fn power_cut(bench: &mut Bench) {
    bench.machine.power_cut();
    bench.go();
    bench.machine.power_on();
}

#[test]
fn the_agent_replaces_itself_and_the_new_one_keeps_the_change() {
    let bench = Bench::new();
    let before = bench.machine.property(UNIT, "MainPID");
    bench.offer("2.0", Program::Good, Stage::Nowhere);
    bench.upgrade("2.0", Stage::Nowhere);
    bench.comes_to("applied");
    bench.is(2, "2.0");
    assert_ne!(bench.machine.property(UNIT, "MainPID"), before);
    // A turn later nothing differs.
    bench.machine.run(&["systemctl", "reload", UNIT]).ok();
    bench.is(2, "2.0");
}

#[test]
fn a_new_agent_that_does_not_run_is_taken_back_by_the_old_one() {
    let bench = Bench::new();
    bench.offer("2.0", Program::Broken, Stage::Nowhere);
    bench.upgrade("2.0", Stage::Nowhere);
    bench.comes_to("rolled_back");
    bench.is(1, "1.0");
    let (_, why) = bench.last();
    assert!(why.contains("does not come up"), "{why}");
}

#[test]
fn a_power_cut_with_a_program_installed_that_does_not_run_is_taken_back_at_the_next_boot() {
    let mut bench = Bench::new();
    bench.offer("2.0", Program::Broken, Stage::Postinst);
    bench.upgrade("2.0", Stage::Postinst);
    bench.reached();
    power_cut(&mut bench);
    bench.is(1, "1.0");
    bench.comes_to("rolled_back");
}

#[test]
fn the_old_agent_killed_before_the_package_manager_runs_has_changed_nothing() {
    let kill = |b: &mut Bench| drop(b.machine.run(&["systemctl", "kill", "--signal=KILL", UNIT]).ok());
    assert!(!held(Stage::Before, kill));
    assert!(!held(Stage::Before, power_cut));
}

#[test]
fn the_guardian_killed_while_the_package_manager_runs_is_followed_by_another() {
    let kill = |b: &mut Bench| drop(b.machine.run(&["pkill", "-KILL", "-f", "agent guard"]).ok());
    assert!(!held(Stage::Unpacking, kill));
    assert!(!held(Stage::Unpacking, power_cut));
}

#[test]
fn the_package_manager_killed_in_the_middle_is_taken_back() {
    let kill = |b: &mut Bench| drop(b.machine.run(&["pkill", "-KILL", "-x", "dpkg"]).ok());
    assert!(!held(Stage::Postinst, kill));
    assert!(!held(Stage::Postinst, power_cut));
}

#[test]
fn the_new_agent_killed_before_it_is_ready_is_started_again() {
    let kill = |b: &mut Bench| drop(b.machine.run(&["systemctl", "kill", "--signal=KILL", UNIT]).ok());
    held(Stage::Starting, kill);
    assert!(!held(Stage::Starting, power_cut));
}

#[test]
fn the_new_program_killed_while_it_asks_for_confirmation_is_taken_back() {
    let kill = |b: &mut Bench| drop(b.machine.run(&["pkill", "-KILL", "-f", "agent guard .* --finish"]).ok());
    assert!(!held(Stage::Confirm, kill));
    assert!(!held(Stage::Confirm, power_cut));
}

/// A state of the hub: version 2.0 of the agent, which this same hub has to answer.
fn push_upgrade(hub: &Hub) {
    let own = json!({ "type": "package", "name": "jos-agent", "state": "installed", "version": "2.0" });
    let meta =
        json!({ "name": "lamp", "version": 2, "expires": "2030-01-01T00:00:00Z", "audience": { "tenant": "default" } });
    let spec = json!({ "apply": [lamp("60\n"), own], "confirm": { "hub_within": 30 } });
    let state = json!({ "kind": "jos.agent.desired_state", "meta": meta, "spec": spec });
    hub.push_state(&state, &[]);
}

#[test]
fn an_upgrade_that_the_hub_has_to_confirm_is_kept_when_the_new_program_reaches_it() {
    let hub = Hub::on("127.0.0.1");
    let bench = Bench::enrolled(&hub);
    bench.offer("2.0", Program::Good, Stage::Nowhere);
    push_upgrade(&hub);
    hub.until_reported(2, "applied");
    bench.is(2, "2.0");
}

#[test]
fn an_upgrade_after_which_the_hub_is_out_of_reach_is_taken_back_as_unconfirmed() {
    let mut hub = Hub::on("127.0.0.1");
    let bench = Bench::enrolled(&hub);
    bench.offer("2.0", Program::Good, Stage::Starting);
    push_upgrade(&hub);
    bench.reached();
    hub.kill();
    bench.go();
    bench.is(1, "1.0");
    hub.serve();
    hub.until_reported(2, "unconfirmed");
}
