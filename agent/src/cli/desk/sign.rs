//! `jos sign`: adds a signature to a desired state or a trust document.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use jos_schemas::documents::desired_state::{self, DesiredState};
use jos_schemas::node::Node;
use jos_schemas::read::{self, Format};
use jos_trust::{TrustRoot, canonical, sha256, sign, state};
use serde_json::json;

use super::keys::{cannot_sign, secret};
use super::put::{Put, write};
use super::verify::trust_root;
use crate::cli::signing::{Doc, now, refused, trust_refused};
use crate::cli::{Done, Failure, Ui};

/// Sign a desired state or a trust document
///
/// The document is validated first; what no device could verify is not signed. A TOML file is signed into a JSON file
/// beside it (state.toml → state.json), a JSON file is rewritten with the signature added. Signatures that are there
/// already stay, so the holders of a threshold sign one after the other.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos sign --key admin.key state.toml                      writes state.json\n  \
    jos sign --key admin.key --trust trust.json state.toml   also says whether devices will take it\n  \
    jos sign --key second.key state.json                     adds the second signature of a threshold\n  \
    jos sign --key root.key trust.v2.json                    adds a root's signature to the next trust document\n\n\
    Raise `meta.version` with every change: devices refuse the same version with other content.\n\
    Exit codes: 0 signed, 1 the trust document of --trust refuses it, 2 bad use or invalid input.")]
pub(crate) struct SignCommand {
    /// The secret key; may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// Where to write the signed JSON; - is standard output [default: FILE, or FILE with .json in place of .toml]
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Drop the signatures that the document already has
    #[arg(long)]
    replace: bool,
    /// Check the result against this trust document; several are walked in order, oldest first
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
    /// The document, JSON or TOML
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(args: &SignCommand, ui: &Ui) -> Done {
    let keys = args
        .key
        .iter()
        .map(|path| secret(path))
        .collect::<Result<Vec<_>, _>>()?;
    let doc = Doc::read(&args.file)?;
    let parsed = doc.parse()?;
    let kind = sign::kind_of(&parsed).map_err(|e| cannot_sign(&doc.name, &e))?;
    doc.filled_in(&parsed)?;
    let output = match &args.output {
        Some(output) => output.clone(),
        None if doc.format == Format::Toml => args.file.with_extension("json"),
        None => args.file.clone(),
    };
    let to_stdout = output == Path::new("-");
    let mut node = if args.replace {
        sign::without_signatures(&parsed)
    } else {
        parsed.clone()
    };
    if !to_stdout && output != args.file && output.exists() {
        let there = earlier(&output, &parsed, kind)?;
        // The same content: the signatures that others put there stay.
        node = there.filter(|_| !args.replace).unwrap_or(node);
    }
    for key in &keys {
        node = sign::sign_document(&doc.name, doc.text(), &node, kind, key).map_err(|e| cannot_sign(&doc.name, &e))?;
    }
    let text = sign::to_json_text(&node);
    let verdict = if args.trust.is_empty() {
        None
    } else {
        Some(verdict(args, &text, kind)?)
    };
    if to_stdout {
        std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|e| Failure::failed(format!("standard output: cannot write: {e}")))?;
        return Ok(0);
    }
    write(&output, text.as_bytes(), Put::Replace)?;
    report(args, ui, &output, &node, kind, verdict)
}

fn report(args: &SignCommand, ui: &Ui, output: &Path, node: &Node, kind: &str, verdict: Option<Verdict>) -> Done {
    let signers: Vec<&str> = sign::signatures_of(node)
        .iter()
        .filter_map(|s| s.get("key_id")?.as_str())
        .collect();
    let content = canonical::unsigned_bytes(node).map(|bytes| sha256(&bytes)).ok();
    let notes = notes(&args.file, node, kind);
    let value = json!({
        "file": output, "kind": kind, "content": content, "signed_by": signers,
        "valid": verdict.as_ref().map(|v| v.valid), "refused": verdict.as_ref().and_then(|v| v.code), "notes": notes,
    });
    let mut text = format!("signed   {}\nby       {}\n", output.display(), signers.join(", "));
    if let Some(verdict) = &verdict {
        text.push_str(&format!(
            "{}  {}\n",
            if verdict.valid { "valid  " } else { "not yet" },
            verdict.text
        ));
    }
    for note in notes {
        text.push_str(&format!("note     {note}\n"));
    }
    ui.result(&value, text);
    Ok(0)
}

/// What an admin would want to know before devices do.
fn notes(file: &Path, node: &Node, kind: &str) -> Vec<String> {
    let mut notes = Vec::new();
    if kind != desired_state::KIND {
        return notes;
    }
    let Ok(state) = read::from_node::<DesiredState>(&file.display().to_string(), "", node) else {
        return notes;
    };
    let audience = state.meta.audience.as_ref();
    if !audience.is_some_and(|a| a.tenant.is_some() || !a.devices.is_empty()) {
        notes.push("no meta.audience with a tenant or devices: taken from a local file, not from a hub".to_owned());
    }
    match &state.meta.expires {
        None => notes.push("no meta.expires: taken from a local file, not from a hub".to_owned()),
        Some(expires) if *expires <= now() => {
            notes.push(format!("meta.expires ({expires}) is past: no device takes it"))
        }
        Some(_) => {}
    }
    notes
}

struct Verdict {
    valid: bool,
    code: Option<&'static str>,
    text: String,
}

/// Whether the trust document would let a device take it; too few signatures are no failure of this command.
fn verdict(args: &SignCommand, text: &str, kind: &str) -> Result<Verdict, Failure> {
    let now = now();
    let root = trust_root(&args.trust, &now)?;
    let received = jos_trust::root::Received::json("the signed document", text.as_bytes());
    let (code, why) = if kind == desired_state::KIND {
        match state::authenticate(received, &root) {
            Ok(_) => (None, String::new()),
            Err(bad @ jos_trust::Refused::Signatures(jos_trust::refused::BadSignatures::Threshold { .. })) => {
                (Some(bad.code()), bad.to_string())
            }
            Err(bad) => return Err(refused(&args.file.display().to_string(), &bad)),
        }
    } else {
        match TrustRoot::open(received).and_then(|next| next.succeeds(&root)) {
            Ok(()) => (None, String::new()),
            Err(
                bad @ (jos_trust::TrustRefused::NotSelfSigned(_)
                | jos_trust::TrustRefused::NotSignedByPredecessor { .. }),
            ) => (Some(bad.code()), bad.to_string()),
            Err(bad) => return Err(trust_refused(&args.file.display().to_string(), &bad)),
        }
    };
    let text = if code.is_none() {
        format!("under trust version {}", root.version())
    } else {
        why
    };
    Ok(Verdict {
        valid: code.is_none(),
        code,
        text,
    })
}

/// What lies at the output already: taken up if it is this content, replaced if it is an earlier version of this very
/// document, refused if it is anything else.
fn earlier(output: &Path, node: &Node, kind: &str) -> Result<Option<Node>, Failure> {
    let other = || {
        Failure::invalid(format!("{} exists and is another document", output.display()))
            .help("name another file with --output OUT, or move this one away first")
    };
    let there = Doc::read(output)?.parse().map_err(|_| other())?;
    let name = |node: &Node| node.pointer("/meta/name").and_then(Node::as_str).map(str::to_owned);
    if there.get("kind").and_then(Node::as_str) != Some(kind) || name(&there) != name(node) {
        return Err(other());
    }
    let same = matches!((canonical::unsigned_bytes(&there), canonical::unsigned_bytes(node)), (Ok(a), Ok(b)) if a == b);
    Ok(same.then_some(there))
}
