//! The `.deb` on a Debian whose PID 1 is systemd, installed by its own apt: the service's whole life, and its end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jos_tests::baked::{Vendor, only};
use jos_tests::command::{run, sh};
use jos_tests::nspawn::Machine;
use jos_tests::wait;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);
const BRIGHTNESS: &str = "/etc/night-light/brightness";

/// Version 1.0.0 with baseline 1, and 1.0.1 with baseline 2, of one vendor.
fn two_versions(vendor: &Vendor) -> (PathBuf, PathBuf) {
    let first = vendor.appliance("night-light", "first");
    let second = vendor.appliance("night-light", "second");
    second
        .edit("night-light.toml", "version = \"1.0.0\"", "version = \"1.0.1\"")
        .edit("baseline.toml", "version = 1", "version = 2")
        .edit("baseline.toml", "40\\n", "60\\n");
    let bake = |profile: &str, into: &str| only(&vendor.bake(profile, &["debian/amd64"], into), ".deb");
    (bake(first.profile(), "out-1"), bake(second.profile(), "out-2"))
}

/// `jos agent status` once version `version` of the baseline is in force.
fn settled(machine: &Machine, version: u64) -> Value {
    wait::until(&format!("baseline {version} is in force"), SOON, || {
        let status = machine.run(&["jos", "agent", "status", "night-light", "--json"]);
        let value: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
        if value["version"] == version && value["state"] == "running" && value["phase"] == "waiting" {
            Ok(value)
        } else {
            Err(format!("{status}\n{}", machine.journal("night-light")))
        }
    })
}

#[track_caller]
fn agrees_with_systemctl(machine: &Machine, status: &Value) {
    assert_eq!(status["init"], "systemd", "{status:#}");
    assert_eq!(status["service"], "night-light", "{status:#}");
    assert_eq!(machine.property("night-light", "ActiveState"), "active");
    assert_eq!(
        machine.run(&["systemctl", "is-enabled", "night-light"]).ok().text(),
        "enabled"
    );
    assert_eq!(
        machine
            .run(&["systemctl", "is-enabled", "night-light-recover"])
            .ok()
            .text(),
        "enabled"
    );
    assert_eq!(status["enabled"], true, "{status:#}");
    let pid = status["pid"].as_u64().expect("a process").to_string();
    assert_eq!(pid, machine.property("night-light", "MainPID"), "{status:#}");
    assert_eq!(status["trouble"], Value::Null, "{status:#}");
}

fn content(machine: &Machine, path: &str) -> String {
    fs::read_to_string(machine.host_path(path)).unwrap_or_else(|error| format!("{path}: {error}"))
}

#[test]
fn the_deb_installs_runs_heals_and_comes_back_after_kill_and_reboot() {
    let vendor = Vendor::new();
    let (deb, _) = two_versions(&vendor);
    let mut machine = Machine::boot();
    machine.apt_install(&deb).ok();

    let status = settled(&machine, 1);
    agrees_with_systemctl(&machine, &status);
    assert_eq!(status["last_outcome"]["outcome"], "applied", "{status:#}");
    assert_eq!(content(&machine, BRIGHTNESS), "40\n");
    let mode = fs::metadata(machine.host_path(BRIGHTNESS)).expect("there").mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert_eq!(machine.property("night-light-lamp", "ActiveState"), "active");
    assert_eq!(
        machine
            .run(&["systemctl", "is-enabled", "night-light-lamp"])
            .ok()
            .text(),
        "enabled"
    );
    let active: Vec<&str> = confined(&status);
    assert!(!active.is_empty(), "nothing confines the network half: {status:#}");

    // Both halves together, while they wait.
    let pss = ["pid", "fetcher"].map(|half| {
        let pid = status[half].as_u64().unwrap_or_else(|| panic!("no {half}: {status:#}"));
        let rollup = machine.run(&["cat", &format!("/proc/{pid}/smaps_rollup")]).ok().stdout;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.unwrap_or_else(|| panic!("no Pss in {rollup}"))
    });
    eprintln!(
        "resident, idle: plane {} KiB, network half {} KiB (PSS)",
        pss[0], pss[1]
    );
    assert!(pss.iter().sum::<u64>() <= 8 * 1024, "both halves hold {pss:?} KiB");

    // Broken by hand, put right at the next look, which SIGHUP brings about at once.
    machine
        .sh(&format!("echo broken >{BRIGHTNESS}; chmod 0666 {BRIGHTNESS}"))
        .ok();
    machine.run(&["systemctl", "reload", "night-light"]).ok();
    wait::until("the broken file is whole again", SOON, || {
        let found = (
            content(&machine, BRIGHTNESS),
            fs::metadata(machine.host_path(BRIGHTNESS)).map_or(0, |meta| meta.mode() & 0o7777),
        );
        if found == ("40\n".to_owned(), 0o640) {
            Ok(())
        } else {
            Err(format!("{found:?}\n{}", machine.journal("night-light")))
        }
    });

    let first = machine.property("night-light", "MainPID");
    machine.run(&["kill", "-KILL", &first]).ok();
    wait::until("systemd has started it again", SOON, || {
        let (state, pid) = (
            machine.property("night-light", "ActiveState"),
            machine.property("night-light", "MainPID"),
        );
        if state == "active" && pid != first && pid != "0" {
            Ok(())
        } else {
            Err(format!("{state}, process {pid}"))
        }
    });
    agrees_with_systemctl(&machine, &settled(&machine, 1));

    let boot = machine.boot_id();
    machine.reboot();
    assert_ne!(machine.boot_id(), boot);
    let status = settled(&machine, 1);
    agrees_with_systemctl(&machine, &status);
    assert_eq!(machine.property("night-light-lamp", "ActiveState"), "active");

    // An admin's own look by hand finds the same: nothing to do.
    let plan = machine
        .run(&[
            "jos",
            "agent",
            "plan",
            "/usr/share/jos/baseline.json",
            "--source",
            "baseline",
            "--json",
        ])
        .ok()
        .json();
    assert_eq!(plan["changes"], Value::Array(Vec::new()), "{plan:#}");
    assert_eq!(plan["in_force"], true, "{plan:#}");

    // Its words reach the journal, and stopping it takes no time.
    let stop = machine.run(&["systemctl", "stop", "night-light"]).ok();
    assert!(stop.took < Duration::from_secs(5), "{stop}");
    assert!(
        machine.journal("night-light").contains("stopped"),
        "{}",
        machine.journal("night-light")
    );
    let stopped = machine
        .run(&["jos", "agent", "status", "night-light", "--json"])
        .exits(1)
        .json();
    assert_eq!(stopped["state"], "stopped", "{stopped:#}");
}

fn confined(status: &Value) -> Vec<&str> {
    let all = status["confinement"].as_array().expect("mechanisms");
    all.iter()
        .filter(|mechanism| mechanism["active"] == true)
        .filter_map(|mechanism| mechanism["name"].as_str())
        .collect()
}

#[test]
fn an_upgrade_keeps_a_changed_conffile_a_removal_keeps_the_state_and_a_purge_leaves_nothing() {
    let vendor = Vendor::new();
    let (first, second) = two_versions(&vendor);
    let machine = Machine::boot();
    let before = everything(&machine);
    machine.apt_install(&first).ok();
    settled(&machine, 1);

    // Two settings are changed by the admin: one read at the start, one by the plane.
    machine
        .sh("sed -i 's/^interval = .*/interval = 61/' /etc/jos/agent.toml; grep -q '^interval = 61' /etc/jos/agent.toml; \
             echo '# mine' >>/etc/jos/policy.toml")
        .ok();
    machine
        .sh("mkdir -p /etc/jos/secrets; umask 077; echo hidden >/etc/jos/secrets/wifi")
        .ok();
    let changed = ["/etc/jos/agent.toml", "/etc/jos/policy.toml"].map(|path| content(&machine, path));
    let main = machine.property("night-light", "MainPID");
    let identity = || {
        machine
            .sh("cd /var/lib/jos/identity && sha256sum -- *")
            .ok()
            .text()
            .to_owned()
    };
    let head = || {
        machine
            .run(&["jos", "ledger", "head", "night-light"])
            .ok()
            .text()
            .to_owned()
    };
    let (known, noted) = (identity(), head());
    machine.apt_install(&second).ok();
    let status = settled(&machine, 2);
    agrees_with_systemctl(&machine, &status);
    assert_eq!(identity(), known, "an upgrade keeps the device's keys");
    // The whole history is there, and what was noted before the upgrade is a part of it.
    machine
        .run(&["jos", "ledger", "verify", "night-light", "--anchor", &noted])
        .ok();
    assert_ne!(
        machine.property("night-light", "MainPID"),
        main,
        "an upgrade restarts the service"
    );
    assert_eq!(
        ["/etc/jos/agent.toml", "/etc/jos/policy.toml"].map(|path| content(&machine, path)),
        changed,
        "an upgrade keeps what the admin changed"
    );
    assert_eq!(content(&machine, BRIGHTNESS), "60\n");
    assert_eq!(content(&machine, "/etc/jos/secrets/wifi"), "hidden\n");

    let ledger = status["ledger"].clone();
    machine.run(&["apt-get", "remove", "-y", "night-light"]).ok();
    assert_eq!(machine.property("night-light", "ActiveState"), "inactive");
    assert_ne!(
        machine.property("night-light-lamp", "ActiveState"),
        "active",
        "what the package brought goes with it"
    );
    assert!(!machine.host_path("/usr/bin/jos").exists());
    assert!(
        machine.host_path("/var/lib/jos/night-light").is_dir(),
        "a removal keeps the state"
    );
    assert_eq!(content(&machine, "/etc/jos/agent.toml"), changed[0]);

    // Installed again it goes on where it was: same ledger, same floor.
    machine.apt_install(&second).ok();
    let again = settled(&machine, 2);
    assert!(
        again["ledger"]["count"].as_u64() >= ledger["count"].as_u64(),
        "the ledger was {ledger}, now {}",
        again["ledger"]
    );
    machine.apt_install_older(&first);
    let older = wait::until("the older baseline is refused", SOON, || {
        let status = machine.run(&["jos", "agent", "status", "night-light", "--json"]);
        let value: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
        if value["trouble"].is_string() && value["phase"] == "waiting" {
            Ok(value)
        } else {
            Err(status.to_string())
        }
    });
    assert_eq!(
        older["version"], 2,
        "an older package never brings an older state: {older:#}"
    );
    assert_eq!(content(&machine, BRIGHTNESS), "60\n");

    machine.run(&["apt-get", "purge", "-y", "night-light"]).ok();
    let after = everything(&machine);
    let left: BTreeSet<&String> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    // What the signed state wrote is the machine's own configuration by now, as with every tool of this kind.
    let expected = ["/etc/night-light", BRIGHTNESS].map(str::to_owned);
    assert_eq!(left, expected.iter().collect(), "a purge leaves nothing of the package");
    let changed: Vec<&String> = before
        .iter()
        .filter(|(path, was)| after.get(*path).is_some_and(|is| is != *was))
        .map(|(path, _)| path)
        .collect();
    assert!(
        changed.is_empty(),
        "a purge leaves these as they were not before: {changed:?}"
    );
    let gone: Vec<&String> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    assert!(gone.is_empty(), "a purge took these with it: {gone:?}");
    machine.run(&["getent", "passwd", "jos"]).exits(2);
    machine
        .sh("! ls -d /run/jos /run/systemd/system/night-light* 2>/dev/null")
        .ok();
    machine
        .sh("! systemctl list-unit-files 'night-light*' | grep night-light")
        .ok();
}

/// What is on the guest's disk: each path with its kind, mode, owner and, for a file of `/etc`, its content. Left out is
/// what apt, dpkg and the journal write for themselves, whatever is installed.
fn everything(machine: &Machine) -> BTreeMap<String, String> {
    const NOT_OURS: [&str; 13] = [
        "/var/lib/dpkg",
        "/var/lib/apt",
        "/var/lib/systemd",
        "/var/cache",
        "/var/log",
        "/var/tmp",
        "/root",
        "/run",
        "/tmp",
        "/proc",
        "/sys",
        "/dev",
        "/etc/ld.so.cache",
    ];
    // shadow's tools keep the version before beside each of their files.
    const BACKUPS: [&str; 6] = [
        "/etc/passwd-",
        "/etc/group-",
        "/etc/shadow-",
        "/etc/gshadow-",
        "/etc/subuid-",
        "/etc/subgid-",
    ];
    let mut found = BTreeMap::new();
    let mut todo = vec![machine.root()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("cannot read {}: {error}", dir.display())) {
            let path = entry.expect("an entry").path();
            let inside = format!("/{}", path.strip_prefix(machine.root()).expect("below it").display());
            let skipped = NOT_OURS.iter().any(|skip| Path::new(&inside).starts_with(skip));
            if skipped || BACKUPS.contains(&inside.as_str()) {
                continue;
            }
            let meta = path.symlink_metadata().expect("it is there");
            let mut shown = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
            if meta.is_symlink() {
                shown.push_str(&format!(" -> {}", fs::read_link(&path).expect("a link").display()));
            } else if meta.is_file() && inside.starts_with("/etc/") {
                shown.push_str(&format!(
                    " {:?}",
                    String::from_utf8_lossy(&fs::read(&path).expect("a file"))
                ));
            }
            if meta.is_dir() {
                todo.push(path);
            }
            found.insert(inside, shown);
        }
    }
    found
}

/// What this file needs of a machine besides.
trait Older {
    fn apt_install_older(&self, deb: &Path);
}

impl Older for Machine {
    fn apt_install_older(&self, deb: &Path) {
        let to = "/root/older.deb";
        self.put(deb, to);
        self.run_within(
            &[
                "apt-get",
                "install",
                "-y",
                "--allow-downgrades",
                "-o",
                "Dpkg::Options::=--force-confold",
                to,
            ],
            Duration::from_secs(300),
        )
        .ok();
    }
}

#[test]
fn every_shipped_debian_package_passes_lintian_and_its_unit_scores_3_or_better() {
    let vendor = Vendor::new();
    // Those for this processor; the others differ in their program and nothing that lintian or systemd look at.
    let own = vendor.appliance("night-light", "own");
    for profile in ["ai-box", own.profile()] {
        let folder = vendor.bake(profile, &["debian/amd64"], "out");
        let deb = only(&folder, ".deb");
        run(std::process::Command::new("lintian")
            .args(["--fail-on", "error"])
            .arg(&deb))
        .ok();
        let root = folder.with_extension("root");
        sh(
            "dpkg-deb",
            &["-x", &deb.display().to_string(), &root.display().to_string()],
        )
        .ok();
        let name = deb.file_name().expect("a name").to_string_lossy().into_owned();
        let control = folder.with_extension("control");
        sh(
            "dpkg-deb",
            &["-e", &deb.display().to_string(), &control.display().to_string()],
        )
        .ok();
        for script in ["postinst", "prerm", "postrm"] {
            sh("shellcheck", &[&control.join(script).display().to_string()]).ok();
        }
        let unit = root.join(format!(
            "usr/lib/systemd/system/{}.service",
            name.split('_').next().expect("a package's name comes first")
        ));
        let rated = sh(
            "systemd-analyze",
            &[
                "security",
                "--offline=true",
                "--threshold=30",
                "--no-pager",
                &unit.display().to_string(),
            ],
        )
        .ok();
        eprintln!("{}", rated.stdout.lines().last().unwrap_or_default());
        for (path, mode) in listing(&deb) {
            assert!(
                !mode.contains('s') && !mode.contains('t') && !mode.ends_with("w-") && !mode.ends_with("wx"),
                "{name}: {path} is {mode}"
            );
        }
    }
}

/// Path and mode of each entry, as dpkg-deb lists them.
fn listing(deb: &Path) -> Vec<(String, String)> {
    sh("dpkg-deb", &["-c", &deb.display().to_string()])
        .ok()
        .stdout
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[5].to_owned(), words[0].to_owned())
        })
        .collect()
}
