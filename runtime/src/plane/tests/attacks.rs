//! Rows of "What must fail": Applying, Commands by the back door, Secrets. After each, the tree is as before.

use jos_schemas::documents::ledger::OutcomeKind;
use serde_json::{Value, json};

use super::file;
use crate::testing::*;

/// Applies and expects a refusal that says `why`, with nothing touched.
pub(super) fn refused(m: &Machine, version: u64, spec: Value, why: &str) {
    let before = m.snapshot();
    let outcome = m.apply(version, spec);
    assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
    let reasons = outcome.reasons.join("\n");
    assert!(reasons.contains(why), "expected {why:?} in:\n{reasons}");
    assert_eq!(m.snapshot(), before);
    assert!(m.told.borrow().is_empty() && m.ran.borrow().is_empty());
}

#[test]
fn symlink_in_any_component() {
    let m = Machine::new();
    std::fs::create_dir_all(m.at("/outside/inner")).unwrap();
    std::os::unix::fs::symlink("../outside", m.at("/srv/a")).unwrap();
    std::fs::create_dir_all(m.at("/srv/b")).unwrap();
    std::os::unix::fs::symlink("/outside", m.at("/srv/b/c")).unwrap();
    refused(
        &m,
        1,
        json!([file("/srv/a/x", "x")]),
        "is a symbolic link to ../outside",
    );
    refused(
        &m,
        2,
        json!([file("/srv/a/inner/x", "x")]),
        "is a symbolic link to ../outside",
    );
    refused(
        &m,
        3,
        json!([file("/srv/b/c/inner/x", "x")]),
        "is a symbolic link to /outside",
    );
    refused(
        &m,
        4,
        json!([{ "type": "directory", "path": "/srv/a" }]),
        "links are never followed",
    );
    refused(
        &m,
        5,
        json!([{ "type": "absent", "path": "/srv/a/inner", "recursive": true }]),
        "symbolic link",
    );
    refused(
        &m,
        6,
        json!([{ "type": "link", "path": "/srv/l", "target": "/outside" }, file("/srv/l/x", "x")]),
        "symbolic link",
    );
}

#[test]
fn symlink_swapped_between_check_and_use() {
    let m = Machine::new();
    m.write("/srv/d/conf", "old", 0o644);
    m.write("/outside/conf", "secret of others", 0o644);
    let root = m.root();
    // While the first step runs, somebody swaps the directory of the second for a link.
    *m.on_run.borrow_mut() = Some(Box::new(move |text| {
        if text == "do it" {
            std::fs::rename(root.join("srv/d"), root.join("srv/moved")).unwrap();
            std::os::unix::fs::symlink("../outside", root.join("srv/d")).unwrap();
        }
    }));
    let outcome = m.apply(
        1,
        json!([{ "type": "shell", "command": "do it" }, file("/srv/d/conf", "new")]),
    );
    assert!(
        matches!(outcome.kind, OutcomeKind::RolledBack | OutcomeKind::Broken),
        "{outcome}"
    );
    assert!(outcome.reasons[0].contains("symbolic link"), "{:?}", outcome.reasons);
    assert_eq!(m.read("/outside/conf"), "secret of others");
    assert_eq!(m.read("/srv/moved/conf"), "old");
}

#[test]
fn a_link_at_the_target_is_replaced_itself_and_not_followed() {
    let m = Machine::new();
    m.write("/outside", "others'", 0o600);
    std::os::unix::fs::symlink("../outside", m.at("/etc/conf")).unwrap();
    assert_eq!(
        m.apply(1, json!([file("/etc/conf", "ours")])).kind,
        OutcomeKind::Applied
    );
    assert_eq!(
        (m.read("/outside"), m.read("/etc/conf")),
        ("others'".into(), "ours".into())
    );
}

#[test]
fn hard_link_fifo_and_socket_at_the_target() {
    let m = Machine::new();
    m.write("/srv/a", "a", 0o644);
    std::fs::hard_link(m.at("/srv/a"), m.at("/srv/b")).unwrap();
    nix::unistd::mkfifo(&m.at("/srv/fifo"), nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(m.at("/srv/socket")).unwrap();
    refused(&m, 1, json!([file("/srv/b", "x")]), "has 2 hard links");
    refused(
        &m,
        2,
        json!([{ "type": "absent", "path": "/srv/b" }]),
        "has 2 hard links",
    );
    refused(&m, 3, json!([file("/srv/fifo", "x")]), "a FIFO stands there");
    refused(
        &m,
        4,
        json!([{ "type": "absent", "path": "/srv/fifo" }]),
        "a FIFO stands there",
    );
    refused(&m, 5, json!([file("/srv/socket", "x")]), "a socket stands there");
    refused(
        &m,
        6,
        json!([{ "type": "link", "path": "/srv/socket", "target": "x" }]),
        "a socket stands there",
    );
    // What already has the content is left alone, however many names it has.
    assert_eq!(m.apply(7, json!([file("/srv/b", "a")])).kind, OutcomeKind::Unchanged);
}

#[test]
fn path_outside_the_grant_and_joss_own_files() {
    let m = Machine::new();
    refused(
        &m,
        1,
        json!([file("/opt/x", "x")]),
        "[grants.local] files = [\"/opt/x\"]",
    );
    for (version, path) in (2..).zip([
        "/etc/jos/policy.toml",
        "/etc/jos",
        "/var/lib/jos/portal/ledger/head",
        "/usr/share/jos/trust.json",
        "/usr/bin/vendor-agent",
        "/etc/systemd/system/jos-agent.service",
        "/etc/systemd/system/jos-agent.service.d/x.conf",
        "/etc/config/jos",
    ]) {
        refused(
            &m,
            version,
            json!([file(path, "x")]),
            "is protected whatever is granted",
        );
    }
    let spec = json!([{ "type": "absent", "path": "/etc", "recursive": true }]);
    refused(&m, 20, spec, "lies below it and is protected");
    refused(
        &m,
        21,
        json!([{ "type": "service", "name": "jos-agent", "action": "stop" }]),
        "is jos itself",
    );
    refused(
        &m,
        22,
        json!([{ "type": "service", "name": "sshd", "action": "stop" }]),
        "[grants.local] services = [\"sshd\"]",
    );
}

#[test]
fn setuid_bits_and_huge_mode_and_unknown_owner() {
    let m = Machine::new();
    let step = |mode: &str| json!([{ "type": "file", "path": "/srv/x", "content": "x", "mode": mode }]);
    refused(&m, 1, step("4644"), "setuid = true");
    refused(&m, 2, step("2644"), "setuid = true");
    refused(&m, 3, step("0755"), "code = true");
    refused(
        &m,
        4,
        json!([{ "type": "directory", "path": "/srv/x", "mode": "1777" }]),
        "setuid = true",
    );
    let owner = |owner: &str| json!([{ "type": "file", "path": "/srv/x", "content": "x", "owner": owner }]);
    refused(&m, 5, owner("nobody-knows:root"), "unknown owner");
    refused(&m, 6, owner("root:nobody-knows"), "unknown owner");
    refused(&m, 7, owner("4294967295"), "is no id");
    let huge = state("portal", 8, step("77777"));
    assert!(jos_schemas::read::from_json::<jos_schemas::documents::desired_state::DesiredState>(&huge).is_err());
}

#[test]
fn paths_that_are_none_never_reach_the_gate() {
    let m = Machine::new();
    for bad in [
        "/srv/../etc/x",
        "srv/x",
        "",
        "/srv//x",
        "/srv/./x",
        "/srv/x/",
        "/srv/\u{0}x",
        "/",
        "/srv/..",
    ] {
        let state = state("portal", 1, json!([file(bad, "x")]));
        assert!(
            jos_schemas::read::from_json::<jos_schemas::documents::desired_state::DesiredState>(&state).is_err(),
            "{bad:?}"
        );
    }
    // Nothing is decoded: %2e%2e is a name of six letters.
    assert_eq!(
        m.apply(1, json!([file("/srv/%2e%2e/x", "x")])).kind,
        OutcomeKind::Applied
    );
    assert_eq!(m.read("/srv/%2e%2e/x"), "x");
}

#[test]
fn shell_command_not_listed_with_other_white_space_or_with_more_appended() {
    let m = Machine::new();
    for (version, command) in (1..).zip(["do that", "do  it", " do it", "do it ", "do it; id", "do it\n", "DO IT"]) {
        refused(
            &m,
            version,
            json!([{ "type": "shell", "command": command }]),
            "the command is not listed",
        );
    }
}

#[test]
fn commands_by_the_back_door() {
    let m = Machine::new();
    let shell = |extra: Value| {
        let mut step = json!({ "type": "shell", "command": "do it" });
        step.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!([step])
    };
    refused(
        &m,
        1,
        shell(json!({ "unless": "id" })),
        "unless: the command is not listed",
    );
    refused(&m, 2, shell(json!({ "undo": "id" })), "undo: the command is not listed");
    let health = json!({ "apply": [], "health_check": { "type": "command", "command": "id" } });
    refused(&m, 3, health, "spec.health_check: the command is not listed");
    refused(
        &m,
        4,
        json!({ "apply": [], "confirm": { "command": "id" } }),
        "spec.confirm.command: the command is not listed",
    );
    for (version, path) in (5..).zip([
        "/etc/init.d/evil",
        "/etc/hotplug.d/iface/99-evil",
        "/etc/cron.d/evil",
        "/etc/crontabs/root",
        "/etc/sudoers.d/evil",
        "/etc/ld.so.preload",
        "/etc/udev/rules.d/99-evil.rules",
        "/etc/profile.d/evil.sh",
        "/etc/rc.local",
        "/etc/passwd",
        "/etc/uci-defaults/99-evil",
        "/etc/ssh/sshd_config",
        "/etc/pam.d/sshd",
        "/etc/apt/apt.conf.d/99evil",
    ]) {
        refused(&m, version, json!([file(path, "x")]), "the path becomes code");
    }
}

#[test]
fn a_listed_script_is_not_overwritten_as_data() {
    let mut m = Machine::new();
    let mut grant = wide();
    grant["shell"] = json!(["/srv/tool/run.sh --all", { "argv": ["/srv/bin/t", "{int}"] }]);
    m.policy = policy(json!({ "local": grant }));
    refused(&m, 1, json!([file("/srv/tool/run.sh", "x")]), "the path becomes code");
    refused(
        &m,
        2,
        json!([file("/srv/tool/beside.sh", "x")]),
        "the path becomes code",
    );
    refused(&m, 3, json!([file("/srv/bin/t", "x")]), "the path becomes code");
    refused(
        &m,
        4,
        json!([{ "type": "absent", "path": "/srv/tool", "recursive": true }]),
        "code = true",
    );
    refused(
        &m,
        5,
        json!([{ "type": "link", "path": "/srv/tool", "target": "/srv/other" }]),
        "the path becomes code",
    );
    assert_eq!(m.apply(6, json!([file("/srv/other", "x")])).kind, OutcomeKind::Applied);
}

#[test]
fn a_template_runs_without_a_shell() {
    let mut m = Machine::new();
    let mut grant = wide();
    grant["shell"] = json!([{ "argv": ["/bin/ping", "-c", "{int}", "{host}"] }]);
    m.policy = policy(json!({ "local": grant }));
    refused(
        &m,
        1,
        json!([{ "type": "shell", "command": "/bin/ping -c 1 a;id" }]),
        "not listed",
    );
    refused(
        &m,
        2,
        json!([{ "type": "shell", "command": "/bin/ping -c 1 $(id)" }]),
        "not listed",
    );
    assert_eq!(
        m.apply(3, json!([{ "type": "shell", "command": "/bin/ping -c 1 hub.example" }]))
            .kind,
        OutcomeKind::Applied
    );
    assert_eq!(*m.ran.borrow(), ["hub.example"]);
}

#[test]
fn a_source_without_a_grant_changes_no_byte() {
    let mut m = Machine::new();
    m.policy = policy(json!({ "hub": wide() }));
    refused(&m, 1, json!([file("/srv/x", "x")]), "the path is not granted");
}

#[test]
fn a_secret_is_found_nowhere_but_in_its_file() {
    let m = Machine::new();
    let (old, new) = ("old-passphrase-7391", "new-passphrase-5520");
    m.write("/etc/wpa.conf", old, 0o600);
    m.secret("wifi", new);
    m.failing.borrow_mut().push("is it well".into());
    let step = json!({ "type": "file", "path": "/etc/wpa.conf", "content": { "secret": "wifi" } });
    let plan = m.plane().plan(&m.local(1, json!([step]))).unwrap();
    let mut shown = vec![
        plan.to_string(),
        serde_json::to_string(&plan).unwrap(),
        format!("{plan:?}"),
    ];
    // Once taken back, once kept.
    let bad = m.apply(1, json!({ "apply": [step], "confirm": { "command": "is it well" } }));
    assert_eq!(
        (bad.kind, m.read("/etc/wpa.conf").as_str()),
        (OutcomeKind::RolledBack, old)
    );
    let good = m.apply(2, json!([step]));
    assert_eq!(
        (good.kind, m.read("/etc/wpa.conf").as_str()),
        (OutcomeKind::Applied, new)
    );
    assert_eq!(m.snapshot()["etc/wpa.conf"], format!("0600 0:0 file {new:?}"));
    for outcome in [&bad, &good] {
        shown.extend([outcome.to_string(), serde_json::to_string(outcome).unwrap()]);
    }
    // The next version writes it as text: what stood there is still not shown.
    let plan = m
        .plane()
        .plan(&m.local(3, json!([file("/etc/wpa.conf", "open")])))
        .unwrap();
    shown.extend([plan.to_string(), serde_json::to_string(&plan).unwrap()]);
    shown.push(serde_json::to_string(&m.plane().status().unwrap()).unwrap());
    let needles = [old.to_owned(), new.to_owned()]
        .into_iter()
        .chain([old, new].map(|s| jos_trust::sha256(s.as_bytes()).to_string()));
    for needle in needles {
        assert!(shown.iter().all(|s| !s.contains(&needle)), "{needle} was shown");
        for (path, bytes) in m.stored_bytes() {
            let found = bytes.windows(needle.len()).any(|w| w == needle.as_bytes());
            assert!(!found, "{needle} is in {}", path.display());
        }
    }
}

#[test]
fn a_secret_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let m = Machine::new();
    let spec = json!([{ "type": "file", "path": "/etc/wpa.conf", "content": { "secret": "wifi" } }]);
    refused(&m, 1, spec.clone(), "does not exist");
    m.secret("wifi", "x");
    let path = m.dir.path().join("secrets/wifi");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused(&m, 2, spec, "has mode 0644");
}

#[test]
fn undo_copies_are_private_and_gone_at_the_end() {
    use std::os::unix::fs::MetadataExt;
    let m = Machine::new();
    m.write("/etc/a", "precious", 0o644);
    let data = m.data();
    *m.on_run.borrow_mut() = Some(Box::new(move |_| {
        let journal = data.join("portal/journal");
        let images: Vec<_> = std::fs::read_dir(journal).unwrap().flatten().collect();
        assert!(images.iter().any(|e| std::fs::read(e.path()).unwrap() == b"precious"));
        assert!(images.iter().all(|e| e.metadata().unwrap().mode() & 0o077 == 0));
    }));
    m.apply(
        1,
        json!([file("/etc/a", "new"), { "type": "shell", "command": "do it" }]),
    );
    assert_eq!(m.ran.borrow().len(), 1);
    assert_eq!(std::fs::read_dir(m.data().join("portal/journal")).unwrap().count(), 0);
}

#[test]
fn a_file_changed_by_somebody_else_meanwhile_is_not_overwritten() {
    let m = Machine::new();
    m.write("/etc/a", "old", 0o644);
    let root = m.root();
    *m.on_run.borrow_mut() = Some(Box::new(move |_| {
        std::fs::write(root.join("etc/a"), "changed by hand").unwrap()
    }));
    let outcome = m.apply(
        1,
        json!([{ "type": "shell", "command": "do it" }, file("/etc/a", "new")]),
    );
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert!(
        outcome.reasons[0].contains("when the plan was made"),
        "{:?}",
        outcome.reasons
    );
}
