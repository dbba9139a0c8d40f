//! `jos ledger`: what was decided, by whom, and what came of it; and whether all of it is still there.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jos_runtime::ledger::{self, Anchor, Anchored, LedgerError, Line, Verdict, source_word};
use jos_schemas::text::{Name, Utc};
use jos_trust::checkpoint::Seal;
use jos_trust::keyfile;
use serde_json::{Value, json};

use super::archive::{At, Found};
use super::signing::moment;
use super::{Done, Failure, Ui};

/// Read an agent's ledger: what was decided, by whom, what came of it
///
/// Each agent keeps one: append-only records, each with the hash of the one before. None of these commands changes it.
#[derive(Args)]
pub(super) struct LedgerCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Verify(VerifyArgs),
    Show(ShowArgs),
    Head(HeadArgs),
    Export(ExportArgs),
}

/// Check the chain, the blobs that records name, and the signatures of checkpoints
///
/// Every byte is read. Whoever is root on a device can write another history that is whole in itself, so what was found is
/// called unanchored unless you give a head that was noted elsewhere.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos ledger verify portal\n  \
    jos ledger verify portal --anchor 1234:9f86d0…   the head that you noted last week\n  \
    jos ledger verify --ledger portal.jos-ledger     an export, on another machine\n  \
    jos ledger verify --ledger portal.jos-ledger --key router-7.ledger.key.pub\n\n\
    Exit codes: 0 whole, 1 damaged, incomplete or not the history of that anchor, 2 no ledger there.")]
struct VerifyArgs {
    #[command(flatten)]
    at: At,
    /// A head noted earlier, as `jos ledger head` prints it: this history must contain it
    #[arg(long, value_name = "COUNT:HASH", value_parser = anchor)]
    anchor: Option<Anchor>,
    /// The public half of the device's ledger key [default: identity/ledger.key.pub of the data directory]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Print records, oldest first
///
/// For scripts: with --json one record a line, as it was hashed, with its hash before it.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos ledger show portal --last 20\n  \
    jos ledger show portal --since 2026-11-01 --kind refused\n  \
    jos ledger show portal --json | jq 'select(.kind == \"outcome\").payload'\n  \
    jos ledger show --ledger portal.jos-ledger")]
struct ShowArgs {
    #[command(flatten)]
    at: At,
    /// Not before this moment, as 2027-01-31 or 2027-01-31T00:00:00Z
    #[arg(long, value_name = "UTC", value_parser = moment)]
    since: Option<Utc>,
    /// Only records of this kind: decision, outcome, refused, broken, floor, checkpoint; may be given several times
    #[arg(long, value_name = "KIND", value_parser = ["decision", "outcome", "refused", "broken", "floor", "checkpoint"])]
    kind: Vec<String>,
    /// Only the last N of them
    #[arg(long, value_name = "N")]
    last: Option<usize>,
}

/// Print the head in one line: number of records, hash of the last
///
/// Note it somewhere else, and `jos ledger verify --anchor` shows later whether the history was rewritten or cut since.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos ledger head portal\n  \
    ssh router jos ledger head portal >> heads.txt")]
struct HeadArgs {
    #[command(flatten)]
    at: At,
}

/// Write records and blobs as one file, to be verified, shown or kept elsewhere
///
/// The same ledger gives the same bytes. It holds every document that the agent was given, secrets excepted.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos ledger export portal --out portal.jos-ledger\n  \
    ssh router jos ledger export portal --out - > router.jos-ledger")]
struct ExportArgs {
    #[command(flatten)]
    at: At,
    /// The file to be made, mode 0600; `-` for standard output
    #[arg(long, value_name = "FILE", required = true)]
    out: PathBuf,
}

fn anchor(text: &str) -> Result<Anchor, String> {
    let expected = "expected COUNT:HASH, as `jos ledger head` prints it";
    let (count, hash) = text.trim().split_once(':').ok_or(expected)?;
    let count = count.parse().map_err(|_| expected)?;
    let hash = hash.parse().map_err(|e| format!("{expected}: {e}"))?;
    Ok(Anchor { count, hash })
}

pub(super) fn run(command: &LedgerCommand, ui: &Ui) -> Done {
    match &command.verb {
        Verb::Verify(args) => verify(args, ui),
        Verb::Show(args) => show(args, ui),
        Verb::Head(args) => head(args, ui),
        Verb::Export(args) => export(args, ui),
    }
}

fn verify(args: &VerifyArgs, ui: &Ui) -> Done {
    let found = args.at.find()?;
    let archive = found.archive()?;
    let given = match &args.key {
        Some(path) => {
            let key = keyfile::read_public(path).map_err(|e| Failure::invalid(&e))?;
            Some((key.id, key.public))
        }
        None => found.key()?,
    };
    let own_word = given.is_none() && archive.own_key().is_some();
    let key = given.or_else(|| archive.own_key());
    let judge = || ledger::verify(&archive, key.as_ref(), args.anchor.as_ref());
    let mut verdict = judge();
    // The agent may prune while we read: what looks incomplete is read once more before it is called so.
    if matches!(&verdict, Ok(v) if !v.is_whole()) || matches!(verdict, Err(LedgerError::Moved)) {
        verdict = judge();
    }
    let verdict = verdict.map_err(|e| found.damaged(&e))?;
    ui.result(
        &verdict_json(&found, &verdict),
        verdict_text(&found, &verdict, own_word, ui),
    );
    Ok(u8::from(!verdict.is_whole()))
}

fn word(seal: Option<&Seal>) -> &'static str {
    match seal {
        Some(Seal::Good(_)) => "good",
        Some(Seal::Absent) => "absent",
        Some(Seal::OtherKey(_)) => "other_key",
        Some(Seal::Bad(_)) => "bad",
        None => "not_checked",
    }
}

fn anchored_word(anchored: Option<Anchored>) -> &'static str {
    match anchored {
        None => "unanchored",
        Some(Anchored::Holds) => "anchored",
        Some(Anchored::Rewritten) => "rewritten",
        Some(Anchored::Beyond) => "cut_short",
        Some(Anchored::Pruned) => "pruned",
    }
}

fn verdict_json(found: &Found, v: &Verdict) -> Value {
    let checkpoints: Vec<Value> = v
        .checkpoints
        .iter()
        .map(|c| json!({ "index": c.index, "signature": word(c.seal.as_ref()) }))
        .collect();
    json!({
        "ledger": found.shown(), "whole": v.is_whole(), "names": v.names, "first": v.extent.first,
        "count": v.extent.head.count, "hash": v.extent.head.hash, "bytes": v.extent.bytes, "torn": v.extent.torn,
        "blobs": { "right": v.right, "bytes": v.blob_bytes, "missing": v.missing, "wrong": v.wrong, "hash_only": v.hash_only },
        "checkpoints": checkpoints, "broken": v.broken, "anchor": anchored_word(v.anchored),
    })
}

fn verdict_text(found: &Found, v: &Verdict, own_word: bool, ui: &Ui) -> String {
    let extent = &v.extent;
    let kept = extent.head.count - extent.first;
    let verdict = match v.is_whole() {
        true => ui.paint("32", "whole"),
        false => ui.paint("31", "not whole"),
    };
    let mut text = format!("{}: {verdict}, {kept} records", found.shown());
    if extent.first > 0 {
        text += &format!("; history before #{} pruned", extent.first);
    }
    text.push('\n');
    let mut row = |key: &str, value: String| text += &format!("  {key:<12} {value}\n");
    if v.names.len() > 1 {
        let names: Vec<&str> = v.names.iter().map(String::as_str).collect();
        row(
            "names",
            ui.paint("31", &format!("records of several agents: {}", names.join(", "))),
        );
    }
    if let Some(what) = &v.broken {
        row(
            "begins",
            ui.paint("33", &format!("after a damaged ledger: {}", clean(what))),
        );
    }
    row(
        "chain",
        format!("{} bytes in {} files", extent.bytes, extent.segments.1),
    );
    if extent.torn > 0 {
        row("tail", format!("{} bytes of a write that is not finished", extent.torn));
    }
    let hash_only = match v.hash_only {
        0 => String::new(),
        n => format!("; {n} contents kept by hash alone"),
    };
    row(
        "blobs",
        format!("{} there and right, {} bytes{hash_only}", v.right, v.blob_bytes),
    );
    for (digests, what) in [(&v.missing, "missing"), (&v.wrong, "damaged")] {
        for digest in digests {
            row("", ui.paint("31", &format!("{what}: {digest}")));
        }
    }
    let listed = |wanted: &str| {
        let judged = v.checkpoints.iter().filter(|c| word(c.seal.as_ref()) == wanted);
        judged.map(|c| format!("#{}", c.index)).collect::<Vec<_>>().join(", ")
    };
    let whose = if own_word {
        "the key that the export itself names"
    } else {
        "the device's ledger key"
    };
    for (wanted, says, sgr) in [
        ("good", format!("signed by {whose}"), "32"),
        ("absent", "without a signature: there was no key".to_owned(), "33"),
        ("other_key", format!("signed by another key than {whose}"), "33"),
        ("bad", "WRONG SIGNATURE".to_owned(), "31"),
        (
            "not_checked",
            "signature not checked: give the key with --key".to_owned(),
            "33",
        ),
    ] {
        let these = listed(wanted);
        if !these.is_empty() {
            row("checkpoints", format!("{these}: {}", ui.paint(sgr, &says)));
        }
    }
    let head = format!("{}:{}", extent.head.count, extent.head.hash);
    row("head", head);
    let (sgr, says) = match v.anchored {
        None => (
            "33",
            "whoever is root on the device can write another history; only a head noted elsewhere shows it",
        ),
        Some(Anchored::Holds) => ("32", "this history contains the head that you gave"),
        Some(Anchored::Rewritten) => (
            "31",
            "another record stands where the head that you gave was: history was rewritten",
        ),
        Some(Anchored::Beyond) => (
            "31",
            "there are fewer records than when that head was noted: history was cut short",
        ),
        Some(Anchored::Pruned) => (
            "33",
            "the record of the head that you gave has been pruned; nothing can be said of it",
        ),
    };
    row(
        &ui.paint(sgr, &format!("{:<12}", anchored_word(v.anchored))),
        says.to_owned(),
    );
    text
}

fn show(args: &ShowArgs, ui: &Ui) -> Done {
    let found = args.at.find()?;
    let archive = found.archive()?;
    let most = args.last.unwrap_or(usize::MAX);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut kept: VecDeque<String> = VecDeque::new();
    let mut closed = false;
    let extent = archive.lines(&mut |line| {
        let wanted = args.since.as_ref().is_none_or(|since| line.time >= since.as_str())
            && (args.kind.is_empty() || args.kind.iter().any(|kind| kind == line.kind));
        if !wanted || most == 0 || closed {
            return;
        }
        let text = if ui.json { raw(line) } else { row(line, ui) };
        if most == usize::MAX {
            closed = writeln!(out, "{text}").is_err();
            return;
        }
        if kept.len() == most {
            kept.pop_front();
        }
        kept.push_back(text);
    });
    for text in kept {
        closed = closed || writeln!(out, "{text}").is_err();
    }
    // A closed pipe ends quietly.
    let _ = out.flush();
    let extent = extent.map_err(|e| found.damaged(&e))?;
    if !ui.json && extent.first > 0 && !closed {
        let _ = writeln!(std::io::stderr(), "history before #{} pruned", extent.first);
    }
    Ok(0)
}

/// The record as it was hashed, with its hash before its members.
fn raw(line: &Line<'_>) -> String {
    format!(
        "{{\"hash\":\"{}\",{}",
        line.hash,
        String::from_utf8_lossy(&line.json[1..])
    )
}

fn row(line: &Line<'_>, ui: &Ui) -> String {
    let version = line.version.map(|v| format!("v{v}")).unwrap_or_default();
    let (sgr, says) = summary(line);
    format!(
        "{:<7} {}  {:<9} {version:<6} {}  {}",
        format!("#{}", line.index),
        line.time,
        source_word(line.source),
        ui.paint("1", &format!("{:<10}", line.kind)),
        ui.paint(sgr, &clean(&says)),
    )
}

/// What a record says, in a line.
fn summary(line: &Line<'_>) -> (&'static str, String) {
    let Ok(payload) = line.payload() else {
        return ("31", "a payload that does not read".into());
    };
    let text = |key: &str| payload[key].as_str().unwrap_or_default().to_owned();
    let reasons = || match payload["reasons"]
        .as_array()
        .and_then(|all| all.first())
        .and_then(Value::as_str)
    {
        Some(reason) => format!(": {reason}"),
        None => String::new(),
    };
    match line.kind {
        "decision" => ("0", format!("{} {}", text("kind"), text("id"))),
        "outcome" | "refused" => {
            let word = text("outcome").replace('_', " ");
            let of = line.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
            let changes = payload["changes"].as_array().map_or(0, Vec::len);
            let changes = if changes > 0 {
                format!(", {changes} changes")
            } else {
                String::new()
            };
            let sgr = match word.as_str() {
                "applied" | "unchanged" => "32",
                "broken" | "rolled back" | "refused" => "31",
                _ => "33",
            };
            (sgr, format!("{word}{of}{changes}{}", reasons()))
        }
        "broken" => ("31", text("what")),
        "floor" => ("33", format!("versions below {} are old", payload["floor"])),
        "checkpoint" => {
            let paths = payload["paths"].as_object().map_or(0, serde_json::Map::len);
            ("36", format!("history may begin here; {paths} managed paths"))
        }
        _ => ("0", String::new()),
    }
}

/// What others wrote, for a terminal: no control characters, no endless lines.
fn clean(text: &str) -> String {
    let plain: String = text
        .chars()
        .take(200)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(200).is_some() {
        plain + "…"
    } else {
        plain
    }
}

fn head(args: &HeadArgs, ui: &Ui) -> Done {
    let found = args.at.find()?;
    let archive = found.archive()?;
    let mut name = String::new();
    let extent = archive.lines(&mut |line| {
        if name.is_empty() {
            line.name.clone_into(&mut name);
        }
    });
    let head = extent.map_err(|e| found.damaged(&e))?.head;
    let value = json!({ "name": name, "count": head.count, "hash": head.hash });
    ui.result(&value, format!("{}:{}", head.count, head.hash));
    Ok(0)
}

fn export(args: &ExportArgs, ui: &Ui) -> Done {
    let found = args.at.find()?;
    let Found::Folder { disk, dir, .. } = &found else {
        return Err(Failure::invalid(format!("{} is an export", found.shown())).help("copy it"));
    };
    let mut name = None;
    let archive = found.archive()?;
    archive
        .lines(&mut |line| name = name.take().or_else(|| Name::new(line.name).ok()))
        .map_err(|e| found.damaged(&e))?;
    let Some(name) = name else {
        return Err(Failure::failed(format!("{}: there is no record yet", found.shown())));
    };
    let key = found.key()?;
    let blobs = ledger::Blobs::at(disk, "blobs");
    let write = |out: &mut dyn Write| ledger::export(disk, dir, &blobs, &name, key.as_ref(), out);
    if args.out.as_os_str() == "-" {
        write(&mut std::io::BufWriter::new(std::io::stdout().lock())).map_err(|e| found.damaged(&e))?;
        return Ok(0);
    }
    let extent = to_file(&args.out, &write).map_err(|e| match e {
        Unwritten::File(e) => {
            let failure = Failure::failed(format!("{}: {e}", args.out.display()));
            match e.kind() {
                std::io::ErrorKind::AlreadyExists => failure.help("an export is never written over; name another file"),
                _ => failure,
            }
        }
        Unwritten::Ledger(e) => found.damaged(&e),
    })?;
    let value = json!({ "name": name, "out": args.out, "first": extent.first, "count": extent.head.count, "hash": extent.head.hash });
    let kept = extent.head.count - extent.first;
    let text = format!(
        "{}: {kept} records, head {}:{}",
        args.out.display(),
        extent.head.count,
        extent.head.hash
    );
    ui.result(&value, text);
    Ok(0)
}

enum Unwritten {
    File(std::io::Error),
    Ledger(LedgerError),
}

type Writing<'w> = dyn Fn(&mut dyn Write) -> Result<ledger::Extent, LedgerError> + 'w;

/// Writes a file that was not there; one that could not be finished is not left.
fn to_file(path: &Path, write: &Writing<'_>) -> Result<ledger::Extent, Unwritten> {
    for _ in 0..3 {
        let opened = crate::files::new_private(path);
        let mut file = std::io::BufWriter::new(opened.map_err(Unwritten::File)?);
        let written = write(&mut file).map_err(Unwritten::Ledger);
        let synced = |extent| {
            file.into_inner()
                .map_err(|e| e.into_error())
                .and_then(|f| f.sync_all())
                .map(|()| extent)
        };
        match written.and_then(|extent| synced(extent).map_err(Unwritten::File)) {
            Ok(extent) => return Ok(extent),
            Err(e) => {
                let _ = std::fs::remove_file(path);
                // The agent pruned meanwhile: then it is written anew.
                if !matches!(e, Unwritten::Ledger(LedgerError::Moved)) {
                    return Err(e);
                }
            }
        }
    }
    Err(Unwritten::Ledger(LedgerError::Moved))
}
