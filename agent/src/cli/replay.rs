//! `jos replay`: the state machine and the managed files, rebuilt from the ledger alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jos_runtime::disk::{Disk, DiskError};
use jos_runtime::ledger::{Archive, source_word};
use jos_runtime::outcome_word;
use jos_runtime::replay::{self, Difference, Known, Machine, Run, Watch};
use jos_schemas::layout::Layout;
use jos_schemas::text::Name;
use jos_trust::Stream;
use serde_json::{Value, json};

use super::archive::{At, Found};
use super::{Done, Failure, Ui};
use crate::seal;

/// A secret of more bytes is none.
const SECRET_LIMIT: u64 = 64 * 1024;

/// Rebuild an agent's state and files from its ledger alone, and say whether they agree
///
/// Every decision passes the gate again, with the policy recorded beside it; every outcome is computed again from the signed
/// state. It runs twice and compares. No command runs, no model is asked, no socket opens: a kernel filter ends the program
/// if it tried.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos replay portal                                and hold the result against this machine\n  \
    jos replay portal --into /tmp/portal             write the managed files, and machine.json\n  \
    jos replay --ledger portal.jos-ledger --into out an export, on another machine\n  \
    jos replay --ledger data/portal --root scratch   a root that was prepared with --root\n  \
    jos replay --data-dir .jos-data                  a node of `jos runtime`; --ledger takes its ledger too\n\n\
    Exit codes: 0 all agrees, 1 a record does not follow or the tree differs, 2 bad use.")]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    at: At,
    /// Write the managed tree and machine.json into this folder, which must be empty or not there yet
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Write the values of secrets, where this machine has them, instead of markers
    #[arg(long)]
    with_secrets: bool,
    /// Where secrets lie, one file each
    #[arg(long, value_name = "DIR", default_value = Layout::HERE.secrets)]
    secrets: PathBuf,
    /// Hold the result against this tree [default: / for an agent of this machine, none for an export]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Of a node: every file that decisions wrote, every result that is from a capture
    #[cfg(feature = "runtime")]
    #[arg(long)]
    pub(super) verbose: bool,
}

#[cfg(feature = "runtime")]
impl ReplayArgs {
    /// Whether a node's history is meant: its data directory was named, or nothing was and there is one here.
    pub(super) fn is_of_a_node(&self, named: bool) -> bool {
        named || (self.at.is_nothing() && super::runtime::is_meant())
    }
}

pub(super) fn run(args: &ReplayArgs, ui: &Ui) -> Done {
    let found = args.at.find()?;
    #[cfg(feature = "runtime")]
    if !args.at.is_agent() && found.is_of_a_node() {
        if args.into.is_some() || args.root.is_some() || args.with_secrets {
            let message = format!("{}: this is the ledger of a node, which manages no tree", found.shown());
            return Err(Failure::invalid(message).help("leave --into, --root and --with-secrets out"));
        }
        return super::runtime::replay_ledger(&found, args.verbose, ui);
    }
    // All doors are opened before the filter closes behind us.
    let live = live_root(args, &found)?;
    let into = args.into.as_deref().map(|dir| fresh(dir, &found)).transpose()?;
    let secrets = args.with_secrets.then(|| Disk::open(&args.secrets, "0")).transpose();
    let secrets = secrets.map_err(|e| Failure::failed(e).help("leave --with-secrets out, or run it as root"))?;
    let archive = found.archive()?;
    let sealed = seal::seal();
    let (first, second) = replay::run_twice(&archive, &Watch::Nothing).map_err(|e| found.damaged(&e))?;
    let mut blob = |digest: &jos_trust::Digest| archive.blob(digest).ok().flatten();
    let hashes = (first.machine.tree_hash(&mut blob), second.machine.tree_hash(&mut blob));
    let twice = first.machine == second.machine && first.divergence == second.divergence && hashes.0 == hashes.1;
    let secret = |name: &Name| {
        secrets
            .as_ref()?
            .read(name.as_str(), SECRET_LIMIT)
            .ok()
            .map(|(bytes, _)| bytes)
    };
    let whole = first.divergence.is_none();
    let mut written = None;
    if let Some(disk) = into.as_ref().filter(|_| whole) {
        write(disk, &first.machine, &secret, &archive).map_err(Failure::failed)?;
        let tree = Disk::open(&disk.root().join("tree"), "0").map_err(Failure::failed)?;
        let wrong = first
            .machine
            .differences(&tree, &secret, &mut blob)
            .map_err(Failure::failed)?;
        written = Some(wrong.into_iter().filter(|d| !owners_only(d)).collect::<Vec<_>>());
    }
    let meant = whole && (args.root.is_some() || first.machine.is_live());
    let tree = match live.filter(|_| meant) {
        Some(disk) => {
            // A value that only the device knows is compared where the device is asked for it.
            let all = first
                .machine
                .differences(&disk, &secret, &mut blob)
                .map_err(Failure::failed)?;
            Some((disk.root().display().to_string(), all))
        }
        None => None,
    };
    let differs = |all: &[Difference]| all.iter().any(|d| d.held);
    let good = whole
        && twice
        && written.as_ref().is_none_or(Vec::is_empty)
        && tree.as_ref().is_none_or(|(_, all)| !differs(all));
    let report = Report {
        shown: found.shown(),
        run: &first,
        twice,
        sealed: &sealed,
        known: first.machine.knowledge(&mut blob),
        hash_only: paths_known(&first.machine, Known::HashOnly, &archive),
        into: args.into.as_deref().filter(|_| whole),
        written: written.as_deref(),
        tree: tree.as_ref().map(|(root, all)| (root.as_str(), all.as_slice())),
    };
    ui.result(&report.value(good), report.text(ui));
    Ok(u8::from(!good))
}

/// The tree that the result is held against.
fn live_root(args: &ReplayArgs, found: &Found) -> Result<Option<Disk>, Failure> {
    let root = match (&args.root, found) {
        (Some(root), _) => root.clone(),
        (None, Found::Folder { .. }) if args.at.is_agent() => PathBuf::from("/"),
        _ => return Ok(None),
    };
    Disk::open(&root, "0").map(Some).map_err(Failure::invalid)
}

/// Makes the folder that the tree is written into.
fn fresh(dir: &Path, found: &Found) -> Result<Disk, Failure> {
    let help = "name a folder that is not there yet; replay never writes over anything";
    replay::is_fresh(dir).map_err(|e| Failure::invalid(e).help(help))?;
    let made = jos_runtime::disk::make_private(dir);
    made.map_err(|e| Failure::failed(format!("{}: {e}", dir.display())))?;
    if let Found::Folder {
        state_dir: Some(data), ..
    } = found
    {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        if real(dir)
            .zip(real(data))
            .is_some_and(|(dir, data)| dir.starts_with(data))
        {
            let message = format!("{}: this lies in the data of the agent", dir.display());
            return Err(Failure::invalid(message).help(help));
        }
    }
    Disk::open(dir, "replay").map_err(Failure::failed)
}

fn write(disk: &Disk, machine: &Machine, secret: replay::SecretOf<'_>, archive: &Archive<'_>) -> Result<(), DiskError> {
    let mut blob = |digest: &jos_trust::Digest| archive.blob(digest).ok().flatten();
    disk.ensure_dir("tree")?;
    let tree = Disk::open(&disk.root().join("tree"), "replay")?;
    machine.write_tree(&tree, secret, &mut blob)?;
    let text = serde_json::to_vec_pretty(&state(machine)).unwrap_or_default();
    disk.write_private("machine.json", &text)
}

/// The state machine as a document.
fn state(machine: &Machine) -> Value {
    let parts = machine.to_checkpoint_parts();
    json!({ "records": machine.count(), "streams": parts.streams, "gate": parts.gate, "trust": parts.trust,
        "paths": parts.paths, "recent_flows": parts.recent_flows })
}

/// Whoever is not root cannot give files away.
fn owners_only(difference: &Difference) -> bool {
    !jos_runtime::disk::may_give_away() && difference.details.iter().all(|d| d.starts_with("owner: "))
}

fn paths_known(machine: &Machine, how: Known, archive: &Archive<'_>) -> Vec<String> {
    let mut blob = |digest: &jos_trust::Digest| archive.blob(digest).ok().flatten();
    let all = machine.paths().iter();
    all.filter(|(_, managed)| machine.content(managed, &mut blob).0 == how)
        .map(|(path, _)| path.clone())
        .collect()
}

/// What there is to say.
struct Report<'r> {
    shown: &'r str,
    run: &'r Run,
    twice: bool,
    sealed: &'r Result<String, String>,
    known: BTreeMap<Known, u64>,
    hash_only: Vec<String>,
    into: Option<&'r Path>,
    written: Option<&'r [Difference]>,
    tree: Option<(&'r str, &'r [Difference])>,
}

impl Report<'_> {
    fn value(&self, good: bool) -> Value {
        let machine = &self.run.machine;
        let parts = machine.to_checkpoint_parts();
        json!({
            "ledger": self.shown, "good": good, "head": self.run.extent.head, "first": self.run.extent.first,
            "sources": machine.counts(), "in_force": parts.streams, "paths": machine.paths().len(),
            "known": self.known, "hash_only": self.hash_only, "failures": machine.failures(),
            "divergence": self.run.divergence, "twice": self.twice,
            "confined": self.sealed.is_ok(), "confinement": self.sealed.as_ref().unwrap_or_else(|why| why),
            "into": self.into, "written": self.written,
            "tree": self.tree.map(|(root, all)| json!({ "root": root, "differences": all })),
        })
    }

    fn text(&self, ui: &Ui) -> String {
        let (machine, extent) = (&self.run.machine, &self.run.extent);
        let mut out = String::new();
        let head = &extent.head;
        let _ = writeln!(
            out,
            "{}: {} records, head {}, unanchored",
            self.shown, head.count, head.hash
        );
        if extent.first > 0 {
            let _ = writeln!(
                out,
                "history before #{} was pruned: replay begins at its checkpoint",
                extent.first
            );
        }
        for (source, counts) in machine.counts() {
            let words = [
                (counts.decisions, "decisions"),
                (counts.applied, "applied"),
                (counts.unchanged, "unchanged"),
                (counts.rolled_back, "rolled back"),
                (counts.unconfirmed, "unconfirmed"),
                (counts.refused, "refused"),
                (counts.unsupported, "unsupported"),
                (counts.broken, "BROKEN"),
                (counts.drifted, "drifts reported"),
            ];
            let said: Vec<String> = words
                .iter()
                .filter(|(n, _)| *n > 0)
                .map(|(n, w)| format!("{n} {w}"))
                .collect();
            let _ = writeln!(out, "  {:<9} {}", source_word(*source), said.join(", "));
        }
        for (stream, kept) in machine.in_force() {
            let stream = match stream {
                Stream::Baseline => "baseline",
                Stream::State => "state",
            };
            let _ = writeln!(
                out,
                "in force: {stream} version {}, by {}, signed by {}, since {}",
                kept.version,
                source_word(kept.source),
                nobody(&kept.signers),
                kept.since
            );
        }
        for failure in machine.failures() {
            let how = failure.outcome.map_or("damage", outcome_word).replace('_', " ");
            let version = failure.version.map(|v| format!(" version {v}")).unwrap_or_default();
            let signed = if failure.signers.is_empty() {
                String::new()
            } else {
                format!(", signed by {}", failure.signers.join(", "))
            };
            let _ = writeln!(
                out,
                "{} #{} {how}{version} by {}{signed}: {}",
                ui.paint("33", "failed:"),
                failure.record,
                source_word(failure.source),
                failure.reasons.join("; ")
            );
        }
        let words = [
            (Known::Exact, "rebuilt exactly"),
            (Known::Secret, "secret, as marker"),
            (Known::HashOnly, "known by hash only"),
            (Known::Recorded, "taken from the record"),
        ];
        let said: Vec<String> = words
            .iter()
            .filter_map(|(known, word)| Some(format!("{} {word}", self.known.get(known)?)))
            .collect();
        let _ = writeln!(out, "managed: {} paths: {}", machine.paths().len(), said.join(", "));
        for path in &self.hash_only {
            let _ = writeln!(out, "  {path}: hash only, not rebuilt");
        }
        let twice = if self.twice {
            "two replays agree".to_owned()
        } else {
            ui.paint("31", "TWO REPLAYS DIFFER")
        };
        let held = match self.sealed {
            Ok(what) => format!("confined ({what})"),
            Err(why) => format!("not confined ({why})"),
        };
        let _ = writeln!(out, "{twice}; {held}");
        if let Some(divergence) = &self.run.divergence {
            let _ = writeln!(out, "{} {divergence}", ui.paint("31", "does not follow:"));
        }
        if let (Some(into), Some(wrong)) = (self.into, self.written) {
            let _ = writeln!(out, "written: {}", into.display());
            out += &differences(wrong, ui);
        }
        if let Some((root, all)) = self.tree {
            let word = if all.iter().any(|d| d.held) {
                ui.paint("31", "differs")
            } else {
                "agrees".to_owned()
            };
            let _ = writeln!(out, "{root} {word}");
            out += &differences(all, ui);
        }
        out
    }
}

fn nobody(signers: &[String]) -> String {
    if signers.is_empty() {
        "nobody".into()
    } else {
        signers.join(", ")
    }
}

/// Differences between ledger and tree, for people.
pub(super) fn differences(all: &[Difference], ui: &Ui) -> String {
    let mut out = String::new();
    for difference in all {
        let note = if difference.held {
            ""
        } else {
            " (not held: a flow wrote it, or it is shared)"
        };
        let (sign, colour) = if difference.held { ("~", "31") } else { ("·", "33") };
        let _ = writeln!(
            out,
            "{} {}{note}: {}",
            ui.paint(colour, sign),
            difference.path,
            difference.details.join(", ")
        );
        for line in difference.diff.lines() {
            let colour = match line.as_bytes().first() {
                Some(b'+') => "32",
                Some(b'-') => "31",
                Some(b'@') => "36",
                _ => "0",
            };
            let line = if colour == "0" {
                line.to_owned()
            } else {
                ui.paint(colour, line)
            };
            let _ = writeln!(out, "    {line}");
        }
    }
    out
}
