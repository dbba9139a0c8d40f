//! Rows of "What must fail" where jos' own files have a second name: by what is mounted, by links, by whatever else.

use jos_schemas::documents::ledger::OutcomeKind;
use serde_json::json;

use super::attacks::refused;
use super::file;
use crate::testing::*;

/// Everything that lies on the data partition is granted, as data.
fn machine() -> Machine {
    let mut m = Machine::new();
    let mut grant = wide();
    grant["files"] = json!(["/data", "/data/**", "/srv/**"]);
    m.policy = jos_schemas::read::from_json(&json!({
        "kind": "jos.policy", "grants": { "local": grant, "artifact": grant }, "agents": { "tuner": grant },
    }))
    .unwrap();
    m
}

#[test]
fn joss_own_files_behind_a_link() {
    let m = machine();
    m.write("/data/settings/policy.toml", "theirs", 0o644);
    std::os::unix::fs::symlink("../data/settings", m.at("/etc/jos")).unwrap();
    let why = "/data/settings (another name of /etc/jos) is protected whatever is granted";
    refused(&m, 1, json!([file("/data/settings/policy.toml", "mine")]), why);
    let all = json!([{ "type": "absent", "path": "/data", "recursive": true }]);
    refused(&m, 2, all, "(another name of /etc/jos) lies below it and is protected");
    let good = m.apply(3, json!([file("/data/www/index.html", "x")]));
    assert_eq!(good.kind, OutcomeKind::Applied, "{good}");
}

#[cfg(target_os = "linux")]
mod mounted {
    use std::path::Path;

    use jos_schemas::read;
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::plane::{FlowAct, FlowStep, Plane, Proposed};

    /// Mounts that only this thread sees.
    struct Mounts(Vec<std::path::PathBuf>);

    impl Mounts {
        /// `None` where only root may mount.
        fn apart() -> Option<Self> {
            if unshare(CloneFlags::CLONE_NEWNS).is_err() {
                assert!(!nix::unistd::geteuid().is_root() || in_a_sandbox());
                return None;
            }
            let (none, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
            mount(none, "/", none, private, none).unwrap();
            Some(Self(Vec::new()))
        }

        fn put(&mut self, what: &str, at: &Path, kind: Option<&str>, flags: MsFlags, options: Option<&str>) {
            std::fs::create_dir_all(at).unwrap();
            mount(Some(what), at, kind, flags, options).unwrap_or_else(|e| panic!("{what} on {}: {e}", at.display()));
            self.0.push(at.to_owned());
        }

        fn bind(&mut self, m: &Machine, what: &str, at: &str) {
            let what = m.at(what);
            std::fs::create_dir_all(&what).unwrap();
            self.put(what.to_str().unwrap(), &m.at(at), None, MsFlags::MS_BIND, None);
        }

        /// A machine as an image with a read-only root makes it: agent's data and settings lie on one partition with others'.
        fn read_only_root(&mut self, m: &Machine) {
            self.put("data", &m.at("/data"), Some("tmpfs"), MsFlags::empty(), None);
            m.write("/data/state/portal/ledger/head", "head", 0o600);
            m.write("/lower/policy.toml", "policy", 0o644);
            m.write("/data/settings/token", "token", 0o600);
            std::fs::create_dir_all(m.at("/data/settings.work")).unwrap();
            self.bind(m, "/data/state", "/var/lib/jos");
            let at = |path: &str| m.at(path).display().to_string();
            let (lower, upper, work) = (at("/lower"), at("/data/settings"), at("/data/settings.work"));
            let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
            let (kind, none) = (Some("overlay"), MsFlags::empty());
            self.put("settings", &m.at("/etc/jos"), kind, none, Some(&options));
        }
    }

    impl Drop for Mounts {
        fn drop(&mut self) {
            for at in self.0.iter().rev() {
                let _ = umount2(at, MntFlags::MNT_DETACH);
            }
        }
    }

    /// Root without the right to mount.
    fn in_a_sandbox() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let held = status.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap().trim();
        u64::from_str_radix(held, 16).unwrap() & (1 << 21) == 0
    }

    #[test]
    fn joss_own_files_by_the_partition_that_they_lie_on() {
        let m = machine();
        let Some(mut mounts) = Mounts::apart() else { return };
        // It is what is mounted that makes the difference, not the name.
        let before = m.apply(1, json!([file("/data/state/x", "x")]));
        assert_eq!(before.kind, OutcomeKind::Applied, "{before}");
        let before = m.apply(2, json!([{ "type": "absent", "path": "/data/state/x" }]));
        assert_eq!(before.kind, OutcomeKind::Applied, "{before}");
        mounts.read_only_root(&m);
        let own = |name: &str, of: &str| format!("{name} (another name of {of}) is protected whatever is granted");
        let state = own("/data/state", "/var/lib/jos");
        for (version, (path, why)) in (3..).zip([
            ("/data/state/portal/ledger/head", &state),
            ("/data/state", &state),
            ("/data/settings/policy.toml", &own("/data/settings", "/etc/jos")),
            ("/data/settings.work/x", &own("/data/settings.work", "/etc/jos")),
        ]) {
            refused(&m, version, json!([file(path, "x")]), why);
        }
        for (version, step) in (10..).zip([
            json!({ "type": "directory", "path": "/data/state/portal", "mode": "0777" }),
            json!({ "type": "link", "path": "/data/state/portal/journal", "target": "/srv" }),
            json!({ "type": "absent", "path": "/data/state/portal/ledger", "recursive": true }),
            json!({ "type": "directory", "path": "/data/state", "purge": true }),
        ]) {
            refused(&m, version, json!([step]), &state);
        }
        let below = "(another name of /var/lib/jos)";
        refused(
            &m,
            20,
            json!([{ "type": "directory", "path": "/data", "purge": true }]),
            below,
        );
        assert_eq!(m.read("/var/lib/jos/portal/ledger/head"), "head");

        // Who proposes does not matter: an artifact's flow, an agent of the runtime.
        let flow = FlowStep {
            artifact: "flow".into(),
            step: "s".into(),
            what: FlowAct::File {
                path: read::from_json(&json!("/data/state/portal/x")).unwrap(),
                content: "x".into(),
                mode: None,
            },
            timeout: std::time::Duration::from_secs(1),
            env: Vec::new(),
            avoid: Vec::new(),
        };
        let outcome = m.plane().run_flow_step(&flow).unwrap();
        assert!(outcome.reason.unwrap().contains(&state));
        let proposed = Proposed {
            agent: name("tuner"),
            node: "key-1".into(),
            job: "j".into(),
            decision: "change".into(),
            steps: read::from_json(&json!([file("/data/settings/policy.toml", "x")])).unwrap(),
        };
        let outcome = m.plane().propose(&proposed).unwrap();
        assert!(outcome.reasons[0].contains("another name of /etc/jos"), "{outcome}");

        // What else lies there is whose it was; the ledger tells what the gate knew, and replays.
        let good = m.apply(30, json!([file("/data/www/index.html", "x")]));
        assert_eq!(good.kind, OutcomeKind::Applied, "{good}");
        let knew = r#""second_names":{"protected":{"/data/settings":"/etc/jos","/data/settings.work":"/etc/jos","/data/state":"/var/lib/jos""#;
        let kept = m.stored_bytes();
        let tells = |(_, bytes): &&(std::path::PathBuf, Vec<u8>)| String::from_utf8_lossy(bytes).contains(knew);
        assert!(kept.iter().any(|kept| tells(&kept)), "{knew} is in no blob");
    }

    #[test]
    fn joss_own_files_by_a_mount_of_a_part_of_them_or_of_all_around_them() {
        let m = machine();
        let Some(mut mounts) = Mounts::apart() else { return };
        m.write("/var/lib/jos/portal/ledger/head", "head", 0o600);
        mounts.bind(&m, "/var/lib/jos/portal", "/srv/part");
        mounts.bind(&m, "/", "/srv/all");
        refused(
            &m,
            1,
            json!([file("/srv/part/ledger/head", "x")]),
            "/srv/part (another name of /var/lib/jos) is protected",
        );
        for (version, path) in (2..).zip([
            "/srv/all/var/lib/jos/portal/ledger/head",
            "/srv/all/etc/jos/policy.toml",
            "/srv/all/usr/bin/vendor-agent",
            "/srv/all/etc/systemd/system/jos-agent.service",
            "/srv/all/etc/rc.d/S99jos-agent",
        ]) {
            refused(
                &m,
                version,
                json!([file(path, "x")]),
                "is protected whatever is granted",
            );
        }
        for (version, path) in (10..).zip(["/srv/all/etc/init.d/evil", "/srv/all/home/ada/.profile"]) {
            refused(&m, version, json!([file(path, "x")]), "the path becomes code");
        }
        let good = m.apply(20, json!([file("/srv/all/srv/x", "x")]));
        assert_eq!(good.kind, OutcomeKind::Applied, "{good}");
        assert_eq!(m.read("/srv/x"), "x");
    }

    #[test]
    fn joss_own_files_by_a_mount_that_is_made_between_judgement_and_act() {
        let m = machine();
        let Some(mut mounts) = Mounts::apart() else { return };
        m.write("/var/lib/jos/portal/ledger/head", "head", 0o600);
        std::fs::create_dir_all(m.at("/srv/late")).unwrap();
        let (what, at) = (m.at("/var/lib/jos"), m.at("/srv/late"));
        mounts.0.push(at.clone());
        *m.on_run.borrow_mut() = Some(Box::new(move |text| {
            if text == "do it" {
                mount(Some(&what), &at, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
            }
        }));
        let steps = json!([{ "type": "shell", "command": "do it" }, file("/srv/late/portal/ledger/head", "x")]);
        let outcome = m.apply(1, steps);
        assert_eq!(outcome.kind, OutcomeKind::Broken, "{outcome}");
        let why = "it leads to /var/lib/jos, which is protected";
        assert!(outcome.reasons[0].contains(why), "{outcome}");
        // Nor does it take back there what it would have made, now or at a later start, until somebody unmounts it.
        assert!(outcome.left.iter().all(|left| left.contains(why)), "{outcome}");
        let again = m.plane().apply(&m.local(2, json!([]))).unwrap_err().to_string();
        assert!(
            again.contains(why) || again.contains("/srv/late (another name of"),
            "{again}"
        );
        assert_eq!(m.read("/var/lib/jos/portal/ledger/head"), "head");
        drop(mounts);
        let good = m.apply(3, json!([file("/srv/late/x", "x")]));
        assert_eq!(good.kind, OutcomeKind::Applied, "{good}");
        assert_eq!(m.read("/var/lib/jos/portal/ledger/head"), "head");
    }

    #[test]
    fn a_node_of_the_runtime_has_a_second_name_too() {
        let m = machine();
        let Some(mut mounts) = Mounts::apart() else { return };
        mounts.bind(&m, "/data/node", "/srv/node");
        let mut setup = m.setup();
        setup.node = Some("/srv/node".into());
        let plane = Plane::open(setup, m.world()).unwrap();
        for (path, why) in [
            (
                "/data/node/state/x",
                "/data/node/state (another name of /srv/node/state) is protected",
            ),
            ("/data/node/agents/tuner.jos", "only data is granted there"),
        ] {
            let state = m.local(1, json!([file(path, "x")]));
            let plan = plane.plan(&state).unwrap();
            assert!(plan.to_string().contains(why), "{path}: {plan}");
        }
    }
}
