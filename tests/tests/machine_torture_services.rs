//! The plane under torture on a running machine: real services under systemd and real packages by apt. The program is
//! killed at its write-like calls; after the next start services, packages and files are wholly old or wholly new, the
//! ledger verifies, and replay agrees.
//!
//! `scripts/test` tries a few calls (`JOS_TORTURE_SERVICES`, 4, spread over the run from a seed that is printed);
//! `scripts/soak torture` tries many more. Each costs several runs of apt.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jos_tests::command::{Ran, run, sh};
use jos_tests::nspawn::Machine;
use jos_tests::programs::{jos, jos_path};
use jos_tests::torture::WRITE_LIKE;
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(300);
/// How many calls are tried, where nothing else is said.
const TRIED: usize = 4;
const SERVICES: [&str; 3] = ["alpha", "beta", "gamma"];
const PLACES: [&str; 6] = [
    "--policy",
    "/root/desk/policy.json",
    "--trust",
    "/root/desk/trust.json",
    "--state-dir",
    "/var/lib/jos-test",
];

/// A desk with keys, and a machine with three services and a repository of one package in two versions.
struct Bench {
    desk: tempfile::TempDir,
    machine: Machine,
    version: u64,
}

/// What a person would look at: files by content, services by their two states, packages by version.
type World = BTreeMap<String, String>;

impl Bench {
    fn new() -> Self {
        let bench = Self {
            desk: tempfile::tempdir().expect("a directory"),
            machine: Machine::boot(),
            version: 0,
        };
        bench.jos(&["key", "new", "--out", "desk.key", "--id", "desk"]);
        bench.jos(&["trust", "init", "--key", "desk.key", "--out", "trust.json"]);
        let grant = json!({ "files": ["/srv/**"], "services": SERVICES, "packages": ["tiny"] });
        let policy = json!({ "kind": "jos.policy", "grants": { "local": grant } });
        fs::write(bench.at("policy.json"), policy.to_string()).expect("written");
        let m = &bench.machine;
        m.put(jos_path(), "/usr/bin/jos");
        for file in ["trust.json", "policy.json"] {
            m.put(&bench.at(file), &format!("/root/desk/{file}"));
        }
        let settings = "name = \"torture\"\npolicy = \"/root/desk/policy.json\"\ntrust = \"/root/desk/trust.json\"\n\
                        state_dir = \"/var/lib/jos-test\"\n";
        fs::write(m.host_path("/root/desk/agent.toml"), settings).expect("written");
        for name in SERVICES {
            let unit =
                format!("[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n# {name}\n");
            fs::write(m.host_path(&format!("/etc/systemd/system/{name}.service")), unit).expect("written");
        }
        m.sh("rm -rf /etc/apt/sources.list.d/*; mkdir -p /srv/repo; systemctl daemon-reload; systemctl enable --now beta gamma")
            .ok();
        fs::write(
            m.host_path("/etc/apt/sources.list"),
            "deb [trusted=yes] file:/srv/repo ./\n",
        )
        .expect("written");
        bench.offer("1.0");
        bench.offer("2.0");
        m.run_within(&["apt-get", "update"], LONG).ok();
        bench.bring_strace();
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.desk.path().join(name)
    }

    fn jos(&self, words: &[&str]) {
        run(jos().args(words).current_dir(self.desk.path())).ok();
    }

    fn offer(&self, version: &str) {
        let tree = self.at(&format!("tiny-{version}"));
        fs::create_dir_all(tree.join("DEBIAN")).expect("made");
        fs::create_dir_all(tree.join("usr/share/tiny")).expect("made");
        let control = format!(
            "Package: tiny\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example>\nDescription: tiny\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).expect("written");
        fs::write(tree.join("usr/share/tiny/version"), version).expect("written");
        let deb = self.at(&format!("tiny_{version}_all.deb"));
        sh("dpkg-deb", &["--root-owner-group", "--build", text(&tree), text(&deb)]).ok();
        self.machine.put(&deb, &format!("/srv/repo/tiny_{version}_all.deb"));
        let index = run(Command::new("dpkg-scanpackages")
            .args(["--multiversion", ".", "/dev/null"])
            .current_dir(self.machine.host_path("/srv/repo")))
        .ok();
        fs::write(self.machine.host_path("/srv/repo/Packages"), index.stdout).expect("written");
    }

    /// The host's strace with its libraries: guest and host are the same release, and the guest has no network.
    fn bring_strace(&self) {
        let listed = sh("ldd", &["/usr/bin/strace"]).ok().stdout;
        let libraries = listed
            .lines()
            .filter_map(|line| line.split(" => ").nth(1)?.split(' ').next());
        for library in libraries.filter(|path| path.starts_with('/')) {
            let real = fs::canonicalize(library).expect("a library");
            if !self.machine.host_path(library).exists() {
                self.machine.put(&real, library);
            }
        }
        self.machine.put(Path::new("/usr/bin/strace"), "/usr/bin/strace");
    }

    /// Signs the next version.
    fn sign(&mut self, steps: &Value) {
        self.version += 1;
        let state = json!({ "kind": "jos.agent.desired_state", "meta": { "name": "torture", "version": self.version },
                            "spec": { "apply": steps } });
        fs::write(self.at("state.json"), state.to_string()).expect("written");
        self.jos(&["sign", "--key", "desk.key", "state.json"]);
        self.machine.put(&self.at("state.json"), "/root/desk/state.json");
    }

    fn apply(&self, before: &[&str]) -> Ran {
        let mut words = before.to_vec();
        words.extend(["jos", "agent", "apply", "/root/desk/state.json"]);
        words.extend(PLACES);
        self.machine.run_within(&words, LONG)
    }

    fn restart(&self) {
        let words = ["jos", "agent", "recover", "--config", "/root/desk/agent.toml"];
        self.machine.run_within(&words, LONG).ok();
    }

    /// The write-like calls of an apply, in its order.
    fn calls(&self) -> Vec<(String, usize)> {
        let trace = format!("trace={}", WRITE_LIKE.replace(' ', ""));
        let strace = ["strace", "-qq", "-o", "/root/calls", "-e", &trace, "-e", "signal=none"];
        self.apply(&strace).ok();
        let log = fs::read_to_string(self.machine.host_path("/root/calls")).expect("strace writes its log");
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let names = log.lines().filter_map(|line| Some(line.split_once('(')?.0));
        names
            .map(|name| {
                let nth = counts.entry(name).or_default();
                *nth += 1;
                (name.to_owned(), *nth)
            })
            .collect()
    }

    fn world(&self) -> World {
        let mut world = World::new();
        for name in SERVICES {
            let state = ["ActiveState", "UnitFileState"].map(|p| self.machine.property(name, p));
            world.insert(format!("service {name}"), state.join(" "));
        }
        let tiny = "dpkg-query -W -f '${db:Status-Abbrev}${Version}' tiny 2>/dev/null || true";
        world.insert("package tiny".into(), self.machine.sh(tiny).ok().text().to_owned());
        world.insert(
            "dpkg's complaints".into(),
            self.machine.run(&["dpkg", "--audit"]).ok().text().to_owned(),
        );
        let files = self
            .machine
            .sh("cd /srv && find app -printf '%p %M %U:%G %l\\n' -type f -exec cat {} + | sort")
            .ok();
        world.insert("files".into(), files.stdout);
        world
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours is UTF-8")
}

fn file(path: &str, content: &str, notify: &[&str]) -> Value {
    json!({ "type": "file", "path": path, "content": content, "notify": notify })
}

fn service(name: &str, action: &str) -> Value {
    json!({ "type": "service", "name": name, "action": action })
}

fn package(version: &str) -> Value {
    json!({ "type": "package", "name": "tiny", "state": "installed", "version": version })
}

fn old() -> Value {
    json!([
        file("/srv/app/one", "old\n", &["beta"]),
        file("/srv/app/two", "old\n", &["gamma"]),
        package("1.0"),
        service("alpha", "stop"),
        service("alpha", "disable"),
        service("gamma", "enable"),
        service("gamma", "start"),
    ])
}

fn new() -> Value {
    json!([
        file("/srv/app/one", "new\n", &["beta"]),
        file("/srv/app/two", "new\n", &["beta"]),
        package("2.0"),
        service("alpha", "enable"),
        service("alpha", "start"),
        service("gamma", "stop"),
        service("gamma", "disable"),
    ])
}

#[test]
fn killed_at_a_write_of_an_apply_services_packages_and_files_are_wholly_old_or_wholly_new() {
    let mut bench = Bench::new();
    bench.sign(&old());
    bench.apply(&[]).ok();
    let before = bench.world();
    bench.sign(&new());
    let calls = bench.calls();
    let after = bench.world();
    assert_ne!(before, after);
    bench.sign(&old());
    bench.apply(&[]).ok();
    assert_eq!(bench.world(), before);

    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let tried = number("JOS_TORTURE_SERVICES").unwrap_or(TRIED).clamp(1, calls.len());
    let stride = calls.len() / tried;
    let begin = number("JOS_TORTURE_SEED").unwrap_or_else(|| std::process::id() as usize) % stride;
    println!("{} write-like calls, each {stride}th from number {begin}", calls.len());
    let (mut olds, mut news) = (0, 0);
    for (name, nth) in calls.iter().skip(begin).step_by(stride) {
        bench.sign(&new());
        let (trace, kill) = (format!("trace={name}"), format!("inject={name}:signal=KILL:when={nth}"));
        let ran = bench.apply(&["strace", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &kill]);
        assert!(!ran.succeeded(), "{name} {nth} was not reached: {ran}");
        bench.restart();
        let found = bench.world();
        for check in [["ledger", "verify"].as_slice(), &["replay"]] {
            let mut words = vec!["jos"];
            words.extend(check);
            words.extend(["torture", "--state-dir", "/var/lib/jos-test"]);
            let said = bench.machine.run(&words);
            assert!(said.succeeded(), "{said}\nafter {name} {nth}");
        }
        if found == before {
            olds += 1;
        } else {
            assert_eq!(found, after, "neither old nor new after {name} {nth}: {ran}");
            news += 1;
            bench.sign(&old());
            bench.apply(&[]).ok();
            assert_eq!(bench.world(), before);
        }
    }
    println!("{olds} came back to the old world, {news} went on to the new one");
}
