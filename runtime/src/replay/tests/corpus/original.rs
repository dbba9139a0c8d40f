//! How the ledger that is right was made. It is committed as it was, so that what replays today replays tomorrow.
//!
//! ```text
//! #0  #1   local    version 1: files, a link, a secret, a command, a service      applied
//! #2  #3   drift    /etc/a                                                        applied
//! #4  #5   local    version 2: /etc/a changes, /etc/extra is released             applied
//! #6       local    version 3, of which policy grants one path not                refused
//! #7  #8   local    version 3                                                     rolled back
//! #9  #10  artifact a file by a flow                                              applied
//! #11 #12  baseline version 1, under the state                                    applied
//! #13 #14  local    version 4: prunes, edits a file by parts                      applied
//! #15               checkpoint
//! #16 #17  drift    /etc/a                                                        applied
//! ```

use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::text::{AbsPath, Utc};
use jos_trust::Channel;
use serde_json::{Value, json};

use crate::disk::Disk;
use crate::ledger::{Archive, Blobs, Entry, Ledger, export};
use crate::plane::{FlowAct, FlowStep};
use crate::replay::{Watch, run};
use crate::testing::{Machine, name, policy, root, state, wide};

const NETWORK: &str = "config interface 'lan'\n\toption proto 'static'\n\toption ipaddr '192.168.1.1'\n";

fn file(path: &str, content: &str) -> Value {
    json!({ "type": "file", "path": path, "content": content })
}

fn first() -> Vec<Value> {
    vec![
        json!({ "type": "directory", "path": "/srv/data", "mode": "0750" }),
        file("/srv/data/a", "one\n"),
        json!({ "type": "file", "path": "/etc/a", "content": "a\n", "owner": "root", "notify": ["web"] }),
        json!({ "type": "link", "path": "/srv/link", "target": "data" }),
        json!({ "type": "absent", "path": "/etc/gone" }),
        json!({ "type": "file", "path": "/etc/wpa", "content": { "secret": "wifi" } }),
        json!({ "type": "shell", "command": "do it", "unless": "is it done" }),
        json!({ "type": "service", "name": "cups", "action": "restart" }),
        file("/etc/extra", "x\n"),
    ]
}

fn applied(m: &Machine, channel: Channel, document: &Value, kind: OutcomeKind) {
    let verified = m.verified(channel, document).unwrap();
    let outcome = m.plane().apply(&verified).unwrap();
    assert_eq!(outcome.kind, kind, "{outcome}");
}

fn made() -> Vec<u8> {
    let mut m = Machine::new();
    let mut grants = wide();
    grants["uci"] = json!(["network"]);
    grants["files"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "path": "/etc/config/**", "code": true }));
    m.policy = policy(json!({ "local": grants, "baseline": wide(), "artifact": wide() }));
    m.plane().trust_root(root(), None).unwrap();
    m.secret("wifi", "hunter2");
    m.service("cups", true, true);
    m.service("web", true, true);
    m.write("/etc/gone", "old\n", 0o644);
    m.write("/etc/config/network", NETWORK, 0o644);
    m.write("/etc/openwrt_release", "DISTRIB_ID='OpenWrt'\n", 0o644);
    m.failing.borrow_mut().push("is it done".into());
    let health = json!({ "type": "http", "url": "http://localhost:8080/health", "retries": 0 });
    let with = |steps: Vec<Value>| json!({ "apply": steps, "health_check": health });
    let portal = |version, steps| state("portal", version, with(steps));
    applied(&m, Channel::Local, &portal(1, first()), OutcomeKind::Applied);
    // From here on the command has nothing to do, so that no turn is about it.
    m.failing.borrow_mut().clear();
    m.clock.set(m.clock.get() + 60);
    m.write("/etc/a", "drifted\n", 0o600);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    let mut second = first();
    second.truncate(6);
    second[2]["content"] = "aa\n".into();
    applied(&m, Channel::Local, &portal(2, second.clone()), OutcomeKind::Applied);
    let mut third = second.clone();
    third.push(file("/usr/bin/tool", "#!/bin/sh\n"));
    applied(&m, Channel::Local, &portal(3, third), OutcomeKind::Refused);
    m.answer.set(Err("connection refused"));
    let mut third = second.clone();
    third[1]["content"] = "three\n".into();
    applied(&m, Channel::Local, &portal(3, third), OutcomeKind::RolledBack);
    m.answer.set(Ok(200));
    let flow = FlowStep {
        artifact: "kiosk".into(),
        step: "page".into(),
        what: FlowAct::File {
            path: AbsPath::new("/srv/page").unwrap(),
            content: "<p>\n".into(),
            mode: None,
        },
        timeout: std::time::Duration::from_secs(5),
        env: Vec::new(),
        avoid: Vec::new(),
    };
    assert_eq!(m.plane().run_flow_step(&flow).unwrap().kind, OutcomeKind::Applied);
    let baseline = state(
        "portal",
        1,
        json!([file("/etc/base", "b\n"), file("/etc/a", "under\n")]),
    );
    applied(&m, Channel::Baseline, &baseline, OutcomeKind::Applied);
    let mut fourth = second;
    fourth.remove(3);
    fourth
        .push(json!({ "type": "uci", "config": "network", "section": "lan", "options": { "ipaddr": "192.168.9.1" } }));
    let mut fourth = portal(4, fourth);
    fourth["meta"]["prune"] = json!(true);
    applied(&m, Channel::Local, &fourth, OutcomeKind::Applied);
    checkpoint(&m);
    m.clock.set(m.clock.get() + 60);
    m.write("/etc/a", "again\n", 0o644);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    m.replays();
    let disk = Disk::open(&m.data().join("portal"), "0").unwrap();
    let (mut out, blobs) = (Vec::new(), Blobs::at(&disk, "blobs"));
    export(&disk, "ledger", &blobs, &name("portal"), None, &mut out).unwrap();
    out
}

fn checkpoint(m: &Machine) {
    let disk = Disk::open(&m.data().join("portal"), "0").unwrap();
    let machine = run(&Archive::folder(&disk, "ledger", "blobs"), Watch::Nothing)
        .unwrap()
        .machine;
    let parts = machine.to_checkpoint_parts();
    let blobs = Blobs::open(&disk, "blobs").unwrap();
    for bytes in parts.blobs.values() {
        blobs.put(bytes).unwrap();
    }
    let mut ledger = Ledger::open(&disk, "ledger").unwrap();
    let (head, time) = (ledger.head(), Utc::from_unix(m.clock.get()));
    let payload = json!({ "kind": "jos.checkpoint", "name": "portal", "time": time,
        "head": { "index": head.count - 1, "hash": head.hash }, "streams": parts.streams, "gate": parts.gate,
        "trust": parts.trust, "paths": parts.paths, "recent_flows": parts.recent_flows });
    let entry = Entry {
        time,
        source: jos_schemas::documents::policy::Source::Local,
        name: name("portal"),
        version: None,
        cause: None,
        kind: "checkpoint",
        payload,
    };
    ledger.append(vec![entry]).unwrap();
}

/// After a wanted change of the form of records: `JOS_BLESS=1 cargo test -p jos-runtime what_is_made_today`, as root.
#[test]
fn what_is_made_today_is_as_the_committed_one() {
    let bytes = made();
    if std::env::var_os("JOS_BLESS").is_some() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/replay/tests/corpus");
        std::fs::write(format!("{dir}/original.jos-ledger"), bytes).unwrap();
        return;
    }
    let records = |bytes: &[u8]| {
        let export = crate::ledger::Export::open(bytes).unwrap();
        let mut all = Vec::new();
        export
            .lines(&mut |line| all.push((line.kind.to_owned(), line.source, line.version)))
            .unwrap();
        all
    };
    assert_eq!(records(&bytes), records(super::ORIGINAL));
}
