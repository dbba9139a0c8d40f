//! From version N−1 to N on OpenWrt, by its own means: a package over a package, and sysupgrade, which flashes a new root
//! and brings back what `/lib/upgrade/keep.d` and changed conffiles name. Identity, ledger and settings stay.
//!
//! opkg and sysupgrade themselves are not packaged for this machine: what they do to files is done here by hand, in their
//! order, and every program that runs is the package's own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jos_tests::baked::{Vendor, only};
use jos_tests::command::{Ran, run};

/// Versions 1.0.0 and 1.0.1 of an appliance for routers, with baselines 1 and 2: the `.ipk` of each.
fn two_versions(vendor: &Vendor) -> [PathBuf; 2] {
    [("1.0.0", 1, "40"), ("1.0.1", 2, "60")].map(|(version, number, brightness)| {
        let profile = vendor.at(&format!("{version}/router.toml"));
        let text = format!(
            "extends = \"base/openwrt\"\n\n[brand]\nvendor = \"Acme\"\nproduct = \"Router\"\n\n[package]\nname = \"router\"\n\
             version = \"{version}\"\nmaintainer = \"Acme <a@acme.example>\"\n\n[target]\ntargets = [\"openwrt/x86_64\"]\n\n\
             [state]\nbaseline = \"baseline.toml\"\n\n[policy.grants.baseline]\nfiles = [\"/etc/lamp\"]\n"
        );
        let baseline = format!(
            "kind = \"jos.agent.desired_state\"\n\n[meta]\nname = \"router\"\nversion = {number}\n\n[[spec.apply]]\n\
             type = \"file\"\npath = \"/etc/lamp\"\ncontent = \"{brightness}\\n\"\n"
        );
        fs::create_dir_all(profile.parent().expect("a folder")).expect("made");
        fs::write(profile.with_file_name("baseline.toml"), baseline).expect("written");
        fs::write(&profile, text).expect("written");
        let path = profile.to_str().expect("text").to_owned();
        only(&vendor.bake(&path, &["openwrt/x86_64"], &format!("out-{version}")), ".ipk")
    })
}

/// A router's root folder.
struct Root(PathBuf);

impl Root {
    /// As a flashed image with the package in it.
    fn flashed(vendor: &Vendor, name: &str, ipk: &Path) -> Self {
        let root = Self(vendor.at(name));
        fs::create_dir(&root.0).expect("made");
        root.shell("tar -xzOf \"$1\" ./data.tar.gz | tar -xzp", &[ipk]);
        root
    }

    fn shell(&self, script: &str, more: &[&Path]) -> Ran {
        run(Command::new("sh")
            .args(["-euc", script, "sh"])
            .args(more)
            .current_dir(&self.0))
        .ok()
    }

    /// As opkg upgrades: every file of the package anew, but a conffile that the owner changed.
    fn upgrade(&self, ipk: &Path) {
        let script = "tar -xzOf \"$1\" ./control.tar.gz | tar -xzO ./conffiles | sed 's|^/||' >.conffiles; \
                      tar -xzOf \"$1\" ./data.tar.gz | tar -xzp --exclude-from=.conffiles; rm .conffiles";
        self.shell(script, &[ipk]);
    }

    /// As sysupgrade saves: the files that keep.d names, in a tar that the new root unpacks at its first start.
    fn save(&self, to: &Path) -> Vec<String> {
        let script = "sed 's|^/||' lib/upgrade/keep.d/* | while read -r path; do find \"$path\" ! -type d; done | sort >\"$1.list\"; \
                      tar -czf \"$1\" -T \"$1.list\"; cat \"$1.list\"";
        self.shell(script, &[to]).stdout.lines().map(str::to_owned).collect()
    }

    /// The package's own program, on the package's own baseline.
    fn apply(&self) -> Ran {
        let at = |path: &str| self.0.join(path);
        run(Command::new(at("usr/bin/jos"))
            .args(["agent", "apply"])
            .arg(at("usr/share/jos/baseline.json"))
            .args(["--source", "baseline", "--json", "--root"])
            .arg(&self.0)
            .arg("--policy")
            .arg(at("etc/jos/policy.toml"))
            .arg("--trust")
            .arg(at("usr/share/jos/trust.json"))
            .arg("--state-dir")
            .arg(at("etc/jos/state")))
    }

    fn head(&self) -> String {
        let mut command = Command::new(self.0.join("usr/bin/jos"));
        command
            .args(["ledger", "head", "--state-dir"])
            .arg(self.0.join("etc/jos/state"));
        run(&mut command).ok().text().to_owned()
    }

    /// The whole history is there, and what was noted before is a part of it.
    fn continues(&self, noted: &str) {
        let mut command = Command::new(self.0.join("usr/bin/jos"));
        command.args(["ledger", "verify", "--anchor", noted, "--state-dir"]);
        run(command.arg(self.0.join("etc/jos/state"))).ok();
    }

    /// Keys, floors, secrets and settings, byte for byte.
    fn own(&self) -> BTreeMap<String, String> {
        let paths =
            "find etc/jos/state/identity etc/jos/state/floors.* etc/jos/secrets etc/jos/*.toml etc/config -type f";
        let listed = self.shell(paths, &[]).stdout;
        let read = |path: &str| {
            let bytes = fs::read(self.0.join(path)).expect("a file");
            (path.to_owned(), bytes.escape_ascii().to_string())
        };
        listed.lines().map(read).collect()
    }

    /// What a year of use leaves.
    fn live(&self) {
        assert_eq!(self.apply().ok().json()["outcome"], "applied");
        let script = "sed -i 's/^interval = .*/interval = 61/' etc/jos/agent.toml; echo '# mine' >>etc/jos/policy.toml; \
                      umask 077; mkdir -p etc/jos/state/identity; echo key >etc/jos/state/identity/tls.key; \
                      echo hidden >etc/jos/secrets/wifi; echo '# mine' >>etc/config/jos";
        self.shell(script, &[]);
    }

    fn lamp(&self) -> String {
        fs::read_to_string(self.0.join("etc/lamp")).expect("text")
    }
}

#[test]
fn a_newer_package_over_an_older_one_keeps_identity_ledger_and_settings_and_an_older_one_brings_no_older_state() {
    let vendor = Vendor::new();
    let [older, newer] = two_versions(&vendor);
    let root = Root::flashed(&vendor, "router", &older);
    root.live();
    let (own, head) = (root.own(), root.head());
    assert!(own.contains_key("etc/jos/state/identity/tls.key") && own.contains_key("etc/jos/secrets/wifi"));

    root.upgrade(&newer);
    assert_eq!(root.own(), own, "all that is the device's own");
    assert_eq!(root.apply().ok().json()["outcome"], "applied");
    assert_eq!(root.lamp(), "60\n");
    root.continues(&head);
    let (own, head) = (root.own(), root.head());

    root.upgrade(&older);
    let refused = root.apply();
    assert!(!refused.succeeded(), "{refused}");
    assert!(refused.stderr.contains("version"), "{refused}");
    assert_eq!(root.lamp(), "60\n", "what was newer stays in force");
    assert_eq!(root.own(), own, "a downgrade takes nothing away");
    // Nothing but the refusal was added to its history.
    root.continues(&head);
    root.upgrade(&newer);
    assert_eq!(root.apply().ok().json()["outcome"], "unchanged");
}

#[test]
fn sysupgrades_keep_list_names_all_that_is_the_devices_own_and_a_flashed_root_goes_on_with_it() {
    let vendor = Vendor::new();
    let [older, newer] = two_versions(&vendor);
    let root = Root::flashed(&vendor, "before", &older);
    root.live();
    let (own, head) = (root.own(), root.head());
    let saved = vendor.at("sysupgrade.tgz");
    let kept = root.save(&saved);
    let ledger = "etc/jos/state/router/ledger/00000000.jsl".to_owned();
    for path in own.keys().chain([&ledger]) {
        assert!(kept.contains(path), "{path} is not kept: {kept:#?}");
    }
    assert!(
        kept.iter().all(|path| path.starts_with("etc/")),
        "no program is kept: {kept:#?}"
    );

    let flashed = Root::flashed(&vendor, "after", &newer);
    flashed.shell("tar -xzpf \"$1\"", &[&saved]);
    assert_eq!(flashed.own(), own);
    assert_eq!(flashed.head(), head);
    assert_eq!(flashed.apply().ok().json()["outcome"], "applied");
    assert_eq!(flashed.lamp(), "60\n");
    flashed.continues(&head);
    let program = |root: &Root| fs::read(root.0.join("usr/bin/jos")).expect("a program");
    let packaged = Root::flashed(&vendor, "fresh", &newer);
    assert!(
        program(&flashed) == program(&packaged),
        "the program is that of the flashed image"
    );
}
