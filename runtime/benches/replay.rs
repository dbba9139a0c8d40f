//! Replay of many small decisions, against plain SHA-256 over the same bytes in the same run.
//!
//! `cargo bench -p jos-runtime --bench replay [-- DECISIONS]` prints a line for a half, the whole and twice as many: what is
//! linear stays level. Each decision is a step of a flow that writes a file: parsed, judged by the gate, its outcome computed.

use std::time::Instant;

use jos_runtime::disk::Disk;
use jos_runtime::ledger::{Archive, Blobs, Entry, Ledger};
use jos_runtime::replay::{self, Watch};
use jos_schemas::documents::policy::Source;
use jos_schemas::text::{Name, Utc};
use jos_trust::sha256;
use serde_json::{Value, json};

const GROUP: u64 = 2_000;

fn main() {
    // `cargo test --benches` runs this too, for whether it builds.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let wanted = std::env::args()
        .filter_map(|a| a.parse::<u64>().ok())
        .next()
        .unwrap_or(100_000);
    for decisions in [wanted / 2, wanted, wanted * 2] {
        measure(decisions);
    }
}

fn measure(decisions: u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Disk::open(dir.path(), "0").expect("a disk");
    let blobs = Blobs::open(&disk, "blobs").expect("a store");
    let facts = json!({ "features": ["file"], "live": true, "own_services": [], "protected": [], "schemes": ["http"],
        "policy": { "kind": "jos.policy", "grants": { "artifact": { "files": ["/srv/**"] } } } });
    let gate = blobs.put(facts.to_string().as_bytes()).expect("a blob").to_string();
    let mut ledger = Ledger::open(&disk, "ledger").expect("a ledger");
    for first in (0..decisions).step_by(GROUP as usize) {
        let group = (first..decisions.min(first + GROUP))
            .flat_map(|n| pair(n, &gate))
            .collect();
        ledger.append(group).expect("appended");
    }
    let archive = Archive::folder(&disk, "ledger", "blobs");
    let mut bytes = Vec::new();
    archive
        .lines(&mut |line| bytes.extend_from_slice(line.json))
        .expect("readable");
    // The best of three: this machine may be shared.
    let best = |work: &mut dyn FnMut()| {
        let times = (0..3).map(|_| {
            let begin = Instant::now();
            work();
            begin.elapsed().as_secs_f64()
        });
        times.fold(f64::INFINITY, f64::min)
    };
    let hashing = best(&mut || {
        std::hint::black_box(sha256(&bytes));
    });
    let replaying = best(&mut || {
        let run = replay::run(&archive, Watch::Nothing).expect("readable");
        assert_eq!(run.divergence, None);
        assert_eq!(run.machine.count(), 2 * decisions);
    });
    println!(
        "{decisions} decisions, {} MB: {:.0} decisions/s, {:.1} % of plain SHA-256 over the same bytes",
        bytes.len() / 1_000_000,
        decisions as f64 / replaying,
        100.0 * hashing / replaying
    );
}

/// A decision and its outcome.
fn pair(n: u64, gate: &str) -> [Entry; 2] {
    let (path, content) = (format!("/srv/{}", n % 100), n.to_string());
    let act = json!({ "type": "file", "path": path, "content": content });
    let decision = json!({ "id": "kiosk-page", "source": "artifact", "kind": "flow.step", "payload":
        { "artifact": "kiosk", "step": "page", "act": act, "gate": gate, "ids": { "": "0:0" } } });
    let after = json!({ "kind": "file", "mode": "0644", "owner": "0:0", "size": content.len(),
        "sha256": sha256(content.as_bytes()).to_string() });
    let change = json!({ "step": format!("step 1 (file {path})"), "source": "artifact", "action": "create", "what": path,
        "after": after });
    let outcome = json!({ "outcome": "applied", "changes": [change] });
    [
        entry("decision", None, decision),
        entry("outcome", Some(format!("#{}", 2 * n)), outcome),
    ]
}

fn entry(kind: &'static str, cause: Option<String>, payload: Value) -> Entry {
    Entry {
        time: Utc::from_unix(1_800_000_000),
        source: Source::Artifact,
        name: Name::new("portal").expect("a name"),
        version: None,
        cause,
        kind,
        payload,
    }
}
