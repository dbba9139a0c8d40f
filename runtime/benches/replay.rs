//! Replay of many small decisions, beside plain SHA-256 over as many bytes in the same run, as rows of a Markdown table; run
//! by `scripts/bench`. Rates are by CPU time: everything happens in one thread.
//!
//! `cargo bench -p jos-runtime --bench replay [-- DECISIONS]` prints a row for a tenth and one for the whole: what is linear
//! stays level. Each decision is a step of a flow that writes a file: parsed, judged by the gate, its outcome computed. Twice
//! is what `jos replay` does: two machines over one reading. `JOS_BENCH_DIR` names a folder for the ledger.

use std::time::Instant;

use jos_runtime::disk::Disk;
use jos_runtime::ledger::{Archive, Blobs, Entry, Ledger};
use jos_runtime::replay::{self, Watch};
use jos_schemas::documents::policy::Source;
use jos_schemas::text::{Name, Utc};
use jos_trust::sha256;
use serde_json::{Value, json};

/// Decisions of one commit group.
const GROUP: u64 = 2_000;
/// Bytes that are hashed at a time: they stay in the cache, as those of a segment do.
const PIECE: usize = 128 * 1024;

fn main() {
    // `cargo test --benches` runs this too, for whether it builds.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let wanted = std::env::args().filter_map(|a| a.parse::<u64>().ok()).next();
    let wanted = wanted.unwrap_or(1_000_000);
    for decisions in [wanted / 10, wanted] {
        measure(decisions);
    }
    if let Some(peak) = peak() {
        println!("| replay: most memory, the writing of the ledger included | {peak} |");
    }
}

fn measure(decisions: u64) {
    let dir = match std::env::var_os("JOS_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let dir = dir.expect("a folder");
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
    // The best of three, of the CPU's own time: this machine may be shared.
    let start = Instant::now();
    let best = |work: &mut dyn FnMut()| {
        let times = (0..3).map(|_| {
            let begin = now(start);
            work();
            now(start) - begin
        });
        times.fold(f64::INFINITY, f64::min)
    };
    let mut bytes = 0;
    let reading = best(&mut || bytes = archive.lines(&mut |_| {}).expect("readable").bytes);
    let piece = vec![b'x'; PIECE];
    let hashing = best(&mut || {
        for _ in 0..bytes / PIECE as u64 {
            std::hint::black_box(sha256(std::hint::black_box(&piece)));
        }
    });
    let once = best(&mut || {
        let run = replay::run(&archive, Watch::Nothing).expect("readable");
        assert_eq!(run.divergence, None);
        assert_eq!(run.machine.count(), 2 * decisions);
    });
    let twice = best(&mut || {
        let (one, two) = replay::run_twice(&archive, &Watch::Nothing).expect("readable");
        assert!(one.divergence.is_none() && one.machine == two.machine);
    });
    let mb = bytes as f64 / 1e6;
    for (what, time) in [
        ("read and checked", reading),
        ("replayed once", once),
        ("replayed twice", twice),
    ] {
        println!(
            "| replay: {decisions} decisions with their outcomes, {mb:.0} MB, {what} | {:.0} decisions/s, {:.1} % of plain SHA-256 \
             ({:.0} MB/s) |",
            decisions as f64 / time,
            100.0 * hashing / time,
            mb / hashing
        );
    }
}

/// Seconds that this thread has run on a CPU; where the system does not tell, seconds since `start`.
fn now(start: Instant) -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|told| told.split(' ').next()?.parse::<f64>().ok());
    nanos.map_or_else(|| start.elapsed().as_secs_f64(), |nanos| nanos / 1e9)
}

/// The most memory that this process held, where the system tells.
fn peak() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().to_owned())
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
