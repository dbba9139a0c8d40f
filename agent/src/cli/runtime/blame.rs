//! `jos blame --data-dir`: which decisions wrote a file of a node.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jos_node::place::{BLOBS, LEDGER};
use jos_runtime::disk::Disk;
use jos_runtime::ledger::Archive;
use serde_json::{Value, json};

use super::data::Place;
use crate::cli::archive::Found;
use crate::cli::{Done, Failure, Ui};

/// Say which agent's decision wrote a file below the data directory
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos runtime blame artifacts/report.txt\n  \
    jos blame artifacts/report.txt --data-dir /srv/hive\n\n\
    Exit codes: 0 a decision wrote it, 1 none did, 2 bad use.")]
pub(crate) struct Args {
    /// The file, below the data directory
    #[arg(value_name = "PATH")]
    pub(super) path: PathBuf,
}

pub(crate) fn run(path: &Path, place: &Place, ui: &Ui) -> Done {
    let data = place.open()?;
    let _reading = jos_node::chapter::reading(&data.path("state/runtime"));
    let below = below(path, data.root()).to_string_lossy().into_owned();
    let disk = Disk::open(&data.path("state"), "0").map_err(Failure::invalid)?;
    let archive = Archive::folder(&disk, LEDGER, BLOBS);
    blamed(&below, &archive, &data.root().display().to_string(), ui)
}

/// The path as the ledger has it, however it was named.
fn below(path: &Path, root: &Path) -> PathBuf {
    if let Ok(below) = path.strip_prefix(root) {
        return below.to_owned();
    }
    // The file itself may be gone: its folder says where it was.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let real = std::fs::canonicalize(folder)
        .ok()
        .zip(path.file_name())
        .zip(std::fs::canonicalize(root).ok());
    let found = real.and_then(|((folder, name), root)| Some(folder.strip_prefix(root).ok()?.join(name)));
    found.unwrap_or_else(|| path.to_owned())
}

/// The same of a ledger that was named, wherever it lies.
pub(crate) fn of_ledger(path: &Path, found: &Found, ui: &Ui) -> Done {
    blamed(&path.to_string_lossy(), &found.archive()?, found.shown(), ui)
}

fn blamed(below: &str, archive: &Archive<'_>, shown: &str, ui: &Ui) -> Done {
    let mut events: Vec<Value> = Vec::new();
    let read = archive.lines(&mut |line| {
        let wrote = matches!(line.kind, "outcome" | "imported")
            && line.payload.windows(below.len()).any(|part| part == below.as_bytes());
        let payload: Value = if wrote {
            serde_json::from_slice(line.payload).unwrap_or_default()
        } else {
            Value::Null
        };
        let result = &payload["act"]["result"];
        if payload["kind"] == "fs.write" && result["path"] == below {
            events.push(json!({
                "record": line.index, "time": line.time, "agent": payload["agent"], "job": payload["job"],
                "decision": payload["decision"], "sha256": result["sha256"], "bytes": result["bytes"],
            }));
        }
    });
    let extent = read.map_err(|e| Failure::failed(format!("{shown}: {e}")).help("`jos replay` says more"))?;
    let mut text = String::new();
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for event in events.iter().rev() {
        let _ = writeln!(
            text,
            "#{} {} agent {}, {}, decision {}: {} bytes, {}",
            event["record"],
            word(&event["time"]),
            word(&event["agent"]),
            event["job"]
                .as_str()
                .map_or_else(|| "imported".to_owned(), |job| format!("job {job}")),
            word(&event["decision"]),
            event["bytes"],
            word(&event["sha256"])
        );
    }
    if events.is_empty() {
        let known = if extent.first > 0 { " that is still there" } else { "" };
        text = format!("{below}: no decision{known} wrote it\n");
    }
    if extent.first > 0 {
        let _ = writeln!(text, "  history before #{} pruned", extent.first);
    }
    let found = !events.is_empty();
    ui.result(&json!({ "path": below, "events": events, "since": extent.first }), text);
    Ok(u8::from(!found))
}
