//! How fast the ledger is, beside what limits it: durable appends against the disk's own fsync rate, reading against raw
//! SHA-256. All in one run, as rows of a Markdown table; run by `scripts/bench`.
//!
//! `JOS_BENCH_DIR` names a folder on the disk to be measured; the default is the folder of temporary files.

use std::collections::VecDeque;
use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use jos_runtime::disk::Disk;
use jos_runtime::ledger::{Committer, Entry, Ledger, read_lines};
use jos_schemas::documents::policy::Source;
use jos_schemas::text::{Name, Utc};
use serde_json::json;

/// Runs of each figure; their median counts.
const RUNS: usize = 5;
/// Appends that a writer has on their way, where it does not wait for each.
const AHEAD: usize = 8;
/// How long one run takes.
const RUN: Duration = Duration::from_millis(600);
/// Records that are read.
const RECORDS: u64 = 200_000;

fn main() {
    // `cargo test --benches` runs this too, for whether it builds.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let folder = match std::env::var_os("JOS_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let folder = folder.expect("a folder");
    let bytes = line_of(&folder.path().join("size"));
    let raw = median(|run| fsyncs(&folder.path().join(format!("raw{run}")), bytes));
    let one = median(|run| appends(&folder.path().join(format!("one{run}")), 1, 1));
    let many = median(|run| appends(&folder.path().join(format!("many{run}")), 64, 1));
    let ahead = median(|run| appends(&folder.path().join(format!("ahead{run}")), 64, AHEAD));
    row("fsyncs of an append of the same size, raw", format!("{raw:.0}/s"));
    row(
        "durable appends, 1 writer",
        format!("{one:.0}/s, {:.0} % of the raw rate", 100.0 * one / raw),
    );
    row(
        "durable appends, 64 writers, each waits for its own (64 times the raw rate is the most that can be)",
        format!("{many:.0}/s, {:.0} times the raw rate", many / raw),
    );
    row(
        &format!("durable appends, 64 writers, each with {AHEAD} on their way"),
        format!("{ahead:.0}/s, {:.0} times the raw rate", ahead / raw),
    );
    let (records, size) = written(&folder.path().join("read"));
    let sha = median(|_| hashed(size));
    let read = median(|_| scanned(&folder.path().join("read")));
    let rate = records as f64 / read;
    row(
        "records read and checked",
        format!(
            "{rate:.0}/s, {:.0} MB/s, {:.0} % of raw SHA-256",
            size as f64 / read / 1e6,
            100.0 * sha / read
        ),
    );
}

fn row(what: &str, figure: String) {
    println!("| ledger: {what} | {figure} |");
}

fn median(mut run: impl FnMut(usize) -> f64) -> f64 {
    let mut all: Vec<f64> = (0..RUNS).map(&mut run).collect();
    all.sort_by(f64::total_cmp);
    all[RUNS / 2]
}

/// A decision of the usual size.
fn entry(n: u64) -> Entry {
    Entry {
        time: Utc::from_unix(1_800_000_000 + i64::try_from(n).unwrap_or_default()),
        source: Source::Hub,
        name: Name::new("portal").expect("a name"),
        version: Some(n + 1),
        cause: None,
        kind: "decision",
        payload: json!({ "id": format!("portal-{n}"), "kind": "flow.step", "payload": { "step": "one", "set": "0".repeat(64) } }),
    }
}

fn line_of(dir: &Path) -> usize {
    std::fs::create_dir(dir).expect("made");
    let disk = Disk::open(dir, "0").expect("opened");
    let mut ledger = Ledger::open(&disk, "l").expect("opened");
    ledger.append(vec![entry(0)]).expect("appended");
    let before = std::fs::metadata(dir.join("l/00000000.jsl")).expect("there").len();
    ledger.append(vec![entry(1)]).expect("appended");
    let after = std::fs::metadata(dir.join("l/00000000.jsl")).expect("there").len();
    usize::try_from(after - before).expect("small")
}

/// What the disk can do: one write and one fsync a turn.
fn fsyncs(path: &Path, bytes: usize) -> f64 {
    let mut file = File::options().create(true).append(true).open(path).expect("opened");
    let (start, content, mut count) = (Instant::now(), vec![b'x'; bytes], 0_u32);
    while start.elapsed() < RUN {
        file.write_all(&content)
            .and_then(|()| file.sync_all())
            .expect("durable");
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn appends(dir: &Path, writers: u64, ahead: usize) -> f64 {
    std::fs::create_dir(dir).expect("made");
    let (committer, submitter) = Committer::new();
    let start = Instant::now();
    let count: u64 = std::thread::scope(|scope| {
        scope.spawn(move || {
            let disk = Disk::open(dir, "0").expect("opened");
            committer.run(&mut Ledger::open(&disk, "l").expect("opened"));
        });
        let all: Vec<_> = (0..writers)
            .map(|_| {
                let submitter = submitter.clone();
                scope.spawn(move || {
                    let (mut count, mut waiting) = (0, VecDeque::new());
                    while start.elapsed() < RUN {
                        waiting.push_back(submitter.submit(vec![entry(count)]).expect("handed in"));
                        count += 1;
                        if waiting.len() == ahead {
                            waiting
                                .pop_front()
                                .map_or(Ok(0), jos_runtime::ledger::Submitted::wait)
                                .expect("durable");
                        }
                    }
                    for last in waiting {
                        last.wait().expect("durable");
                    }
                    count
                })
            })
            .collect();
        drop(submitter);
        all.into_iter().map(|writer| writer.join().expect("it ends")).sum()
    });
    count as f64 / start.elapsed().as_secs_f64()
}

fn written(dir: &Path) -> (u64, u64) {
    std::fs::create_dir(dir).expect("made");
    let disk = Disk::open(dir, "0").expect("opened");
    let mut ledger = Ledger::open(&disk, "l").expect("opened");
    for from in (0..RECORDS).step_by(1000) {
        ledger
            .append((from..from + 1000).map(entry).collect())
            .expect("appended");
    }
    let extent = read_lines(&disk, "l", &mut |_| {}).expect("whole");
    (RECORDS, extent.bytes)
}

fn scanned(dir: &Path) -> f64 {
    let disk = Disk::open(dir, "0").expect("opened");
    let (start, mut count) = (Instant::now(), 0);
    read_lines(&disk, "l", &mut |line| count += u64::from(line.version.is_some())).expect("whole");
    assert_eq!(black_box(count), RECORDS);
    start.elapsed().as_secs_f64()
}

/// Seconds for the same bytes through SHA-256 alone, in pieces of a record.
fn hashed(bytes: u64) -> f64 {
    let record = vec![b'x'; usize::try_from(bytes / RECORDS).expect("small")];
    let start = Instant::now();
    for _ in 0..RECORDS {
        black_box(jos_trust::sha256(black_box(&record)));
    }
    start.elapsed().as_secs_f64()
}
