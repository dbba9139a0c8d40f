//! `user` and `group` on the account files of a machine.

use jos_schemas::documents::ledger::OutcomeKind;
use jos_trust::Channel;
use serde_json::{Value, json};

use super::file;
use crate::testing::*;

const HASH: &str = "$6$saltsalt$Zo1xYQ3s.hash/of/a/password";

fn machine() -> Machine {
    let mut m = Machine::new();
    let mut grant = wide();
    grant["users"] = json!(["kiosk", "lp", "audio", "ops", "root"]);
    grant["files"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "path": "/home/*", "code": true }));
    m.policy = policy(json!({ "local": grant }));
    // A comment in Latin-1, a line of NIS: none of our business, and kept.
    m.write(
        "/etc/passwd",
        b"root:x:0:0:root:/root:/bin/sh\nlp:x:7:7:caf\xe9:/var/spool/lpd:/bin/false\n+::::::\n",
        0o644,
    );
    m.write("/etc/group", "root:x:0:\nlp:x:7:\naudio:x:29:lp\n", 0o644);
    m.write(
        "/etc/shadow",
        "root:*:19000:0:99999:7:::\nlp:*:19000:0:99999:7:::\n",
        0o640,
    );
    m.write("/etc/gshadow", "root:*::\nlp:*::\naudio:*::lp\n", 0o640);
    m.write("/etc/shells", "# shells\n/bin/sh\n", 0o644);
    m.write("/etc/.pwd.lock", "", 0o600);
    m
}

fn kiosk() -> Value {
    json!({ "type": "user", "name": "kiosk", "groups": ["audio", "ops"], "home": "/home/kiosk", "make_home": true,
            "shell": "/bin/sh", "comment": "The kiosk", "password": { "secret": "kiosk" } })
}

fn spec() -> Value {
    json!([
        { "type": "group", "name": "ops", "gid": 300 },
        kiosk(),
        { "type": "file", "path": "/srv/kiosk.conf", "content": "x", "owner": "kiosk:ops" },
    ])
}

#[test]
fn a_user_and_a_group_are_made_and_own_files_of_the_same_state() {
    let m = machine();
    m.secret("kiosk", &format!("{HASH}\n"));
    let plan = m.plane().plan(&m.local(1, spec())).unwrap().to_string();
    assert!(
        plan.contains("user kiosk: new (uid 100, gid 100, home /home/kiosk, shell /bin/sh)"),
        "{plan}"
    );
    let outcome = m.apply(1, spec());
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    let passwd = std::fs::read(m.at("/etc/passwd")).unwrap();
    assert!(
        passwd
            .ends_with(b"caf\xe9:/var/spool/lpd:/bin/false\nkiosk:x:100:100:The kiosk:/home/kiosk:/bin/sh\n+::::::\n")
    );
    assert!(
        m.read("/etc/group")
            .ends_with("audio:x:29:lp,kiosk\nops:x:300:kiosk\nkiosk:x:100:\n")
    );
    assert!(m.read("/etc/shadow").ends_with(&format!("\nkiosk:{HASH}:::::::\n")));
    let snapshot = m.snapshot();
    assert!(snapshot["home/kiosk"].starts_with("0700 100:100 dir"), "{snapshot:?}");
    assert!(snapshot["srv/kiosk.conf"].starts_with("0644 100:300 file"));
    assert!(snapshot["etc/shadow"].starts_with("0640 "));
    // Several steps, one task a file.
    let writes = outcome.changes.iter().filter(|c| c.what == "/etc/group").count();
    assert_eq!(writes, 1);
    assert_eq!(m.apply(1, spec()).kind, OutcomeKind::Unchanged);
    // Drift: a shell that somebody changed.
    let text = m.read("/etc/group").replace("lp,kiosk", "lp");
    m.write("/etc/group", text, 0o644);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    assert_eq!(m.snapshot(), snapshot);
}

#[test]
fn undo_is_byte_for_byte_and_the_hash_is_found_nowhere() {
    let m = machine();
    m.secret("kiosk", HASH);
    let before = m.snapshot();
    m.failing.borrow_mut().push("is it well".into());
    let outcome = m.apply(1, json!({ "apply": spec(), "confirm": { "command": "is it well" } }));
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert_eq!(m.snapshot(), before);
    let good = m.apply(2, spec());
    let shown = [
        outcome.to_string(),
        good.to_string(),
        serde_json::to_string(&good).unwrap(),
    ];
    assert!(shown.iter().all(|s| !s.contains("hash/of/a")), "{shown:?}");
    for (path, bytes) in m.stored_bytes() {
        assert!(!bytes.windows(9).any(|w| w == b"hash/of/a"), "{}", path.display());
    }
}

#[test]
fn removing_what_was_made_gives_the_same_files_again() {
    let m = machine();
    m.secret("kiosk", HASH);
    let before = m.snapshot();
    m.apply(1, spec());
    let gone = json!([
        { "type": "user", "name": "kiosk", "absent": true },
        { "type": "group", "name": "ops", "absent": true },
        { "type": "absent", "path": "/srv/kiosk.conf" },
        { "type": "absent", "path": "/home", "recursive": true },
    ]);
    let mut policy_of = wide();
    policy_of["users"] = json!(["kiosk", "ops"]);
    policy_of["files"] = json!(["/srv/**", { "path": "/home", "code": true }, { "path": "/home/**", "code": true }]);
    let mut m = m;
    m.policy = policy(json!({ "local": policy_of }));
    let outcome = m.apply(2, gone);
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    assert_eq!(m.snapshot(), before);
}

fn refused(m: &Machine, version: u64, step: Value, why: &str) {
    let before = m.snapshot();
    let outcome = m.apply(version, json!([file("/srv/first", "x"), step]));
    assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
    assert!(
        outcome.reasons.join("\n").contains(why),
        "expected {why:?} in {:?}",
        outcome.reasons
    );
    assert_eq!(m.snapshot(), before);
}

#[test]
fn accounts_are_granted_by_name_and_so_are_the_groups_that_make_root() {
    let m = machine();
    let user = |more: Value| {
        let mut step = json!({ "type": "user", "name": "kiosk" });
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    refused(
        &m,
        1,
        json!({ "type": "user", "name": "mallory" }),
        "[grants.local] users = [\"mallory\"]",
    );
    refused(
        &m,
        2,
        user(json!({ "groups": ["sudo"] })),
        "[grants.local] users = [\"sudo\"]",
    );
    refused(&m, 3, user(json!({ "group": "disk" })), "users = [\"disk\"]");
    refused(&m, 4, user(json!({ "uid": 0 })), "uid 0 is root's");
    refused(
        &m,
        5,
        json!({ "type": "user", "name": "root", "absent": true }),
        "root stays",
    );
    refused(&m, 6, json!({ "type": "user", "name": "jos" }), "is the agent's own");
    refused(
        &m,
        7,
        user(json!({ "home": "/etc/cron.d/x", "make_home": true })),
        "code = true",
    );
    refused(
        &m,
        8,
        user(json!({ "shell": "/srv/first" })),
        "/etc/shells does not list it",
    );
    refused(&m, 9, user(json!({ "make_home": true })), "needs `home`");
    refused(
        &m,
        10,
        json!({ "type": "group", "name": "lp", "absent": true }),
        "primary group of lp",
    );
    refused(&m, 11, user(json!({ "uid": 7 })), "that of the user lp");
    m.secret("kiosk", "plain-text-password");
    refused(
        &m,
        12,
        user(json!({ "password": { "secret": "kiosk" } })),
        "is no password hash",
    );
}

#[test]
fn an_account_file_that_is_also_listed_whole_is_refused() {
    let mut m = machine();
    let mut grant = wide();
    grant["users"] = json!(["kiosk"]);
    grant["files"] = json!([{ "path": "/etc/**", "code": true }, "/srv/**"]);
    m.policy = policy(json!({ "local": grant }));
    let before = m.snapshot();
    let outcome = m.apply(
        1,
        json!([{ "type": "user", "name": "kiosk" }, file("/etc/passwd", "x")]),
    );
    assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
    assert!(
        outcome.reasons[0].contains("another step says what is at it"),
        "{:?}",
        outcome.reasons
    );
    assert_eq!(m.snapshot(), before);
}

#[test]
fn somebody_else_who_edits_the_accounts_is_waited_for_and_then_named() {
    use std::io::Write;
    let m = machine();
    // Another process, as fcntl(2) locks exclude processes: it says when it holds the lock.
    let script = "import fcntl,sys\nf=open(sys.argv[1],'r+')\nfcntl.lockf(f,fcntl.LOCK_EX)\nprint('held',flush=True)\nsys.stdin.read()";
    let child = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(m.at("/etc/.pwd.lock"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("left out: no python3");
        return;
    };
    let mut said = [0; 4];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
    let before = m.snapshot();
    let step = json!({ "type": "group", "name": "ops" });
    let outcome = m.apply(1, json!([file("/srv/first", "x"), step]));
    assert_ne!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    let reasons = outcome.reasons.join("\n");
    assert!(
        reasons.contains(&format!("process {} edits the accounts", child.id())),
        "{reasons}"
    );
    drop(child.stdin.take().map(|mut i| i.flush()));
    child.wait().unwrap();
    m.plane().recover().unwrap();
    assert_eq!(m.snapshot(), before);
    // The version did not fail: the device was busy.
    assert_eq!(
        m.apply(1, json!([file("/srv/first", "x"), step])).kind,
        OutcomeKind::Applied
    );
}

#[test]
fn the_real_tools_agree_with_what_was_written() {
    let m = machine();
    m.secret("kiosk", HASH);
    // Without what no tool could like: the Latin-1 comment and the line of NIS.
    m.write(
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nlp:x:7:7:lp:/var/spool/lpd:/bin/false\n",
        0o644,
    );
    m.apply(1, spec());
    let check = |tool: &str, files: [&str; 2]| {
        // In the root itself: they ask the system whether a member exists.
        let ran = std::process::Command::new(tool)
            .args(["-r", "-R"])
            .arg(m.root())
            .args(files)
            .output();
        match ran {
            Ok(ran) => {
                let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
                let known = |l: &str| l.contains("does not exist") || l.contains("no changes");
                let bad: Vec<&str> = said.lines().filter(|l| !known(l)).collect();
                assert!(bad.is_empty(), "{tool}: {said}");
            }
            Err(_) => eprintln!("left out: no {tool}"),
        }
    };
    check("/usr/sbin/pwck", ["/etc/passwd", "/etc/shadow"]);
    check("/usr/sbin/grpck", ["/etc/group", "/etc/gshadow"]);
}

#[test]
fn a_version_that_prunes_and_drops_an_account_is_refused_by_name_and_touches_nothing() {
    let m = machine();
    let group = json!({ "type": "group", "name": "ops" });
    assert_eq!(
        m.apply(1, json!([group, file("/srv/a", "a")])).kind,
        OutcomeKind::Applied
    );
    let before = m.snapshot();
    let mut pruned = state("portal", 2, json!([]));
    pruned["meta"]["prune"] = json!(true);
    let pruned = m.verified(Channel::Local, &pruned).unwrap();
    let outcome = m.plane().apply(&pruned).unwrap();
    assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
    assert!(
        outcome.reasons[0].contains("removes no group: list the group ops"),
        "{outcome}"
    );
    assert_eq!(m.snapshot(), before);
    // Said by name it goes, and so does the rest.
    let mut named = state("portal", 3, json!([{ "type": "group", "name": "ops", "absent": true }]));
    named["meta"]["prune"] = json!(true);
    let named = m.verified(Channel::Local, &named).unwrap();
    assert_eq!(m.plane().apply(&named).unwrap().kind, OutcomeKind::Applied);
    assert!(!m.read("/etc/group").contains("ops") && !m.at("/srv/a").exists());
}
