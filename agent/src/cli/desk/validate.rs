//! `jos validate`: every error of every file, whatever kind of document it is.

use std::path::{Path, PathBuf};

use clap::Args;
use jos_schemas::catalogue::{Document, catalogue, detect, find};
use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::{Format, Issue, Report, read};
use serde::Serialize;

use crate::cli::signing::bytes;
use crate::cli::{Done, Failure, Ui};

/// Check documents: desired states, policies, profiles, .jos artifacts and all others
///
/// Shows all errors of all files, each with its line, its column and what to do. The kind of a document is told by its
/// content; --kind says it where the content does not.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos validate state.toml policy.toml agent.jos\n  \
    jos validate --kind profile profiles/*.toml\n\n\
    A profile is checked as one file: what it extends is checked by `jos image validate`.\n\
    Exit codes: 0 all are valid, 2 at least one is not.")]
pub(crate) struct ValidateCommand {
    /// What the files are, as `jos schema` lists it [default: told by their content]
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<Document>,
    /// JSON (.json, .jos) or TOML (.toml)
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

fn kind(name: &str) -> Result<Document, String> {
    find(name).map_err(|near| match near {
        Some(near) => format!("no such kind of document; did you mean {near:?}?"),
        None => format!("no such kind of document; there are {}", kinds()),
    })
}

fn kinds() -> String {
    catalogue()
        .iter()
        .map(|document| document.name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// What was found out about one file.
#[derive(Serialize)]
struct Verdict {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    valid: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    issues: Vec<Issue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    #[serde(skip)]
    report: Option<Report>,
}

pub(super) fn run(args: &ValidateCommand, ui: &Ui) -> Done {
    let verdicts: Vec<Verdict> = args.files.iter().map(|path| verdict(path, args.kind)).collect();
    let bad = verdicts.iter().filter(|verdict| !verdict.valid).count();
    if bad == 0 {
        let mut text = String::new();
        for verdict in &verdicts {
            let word = ui.paint("32", "valid");
            text.push_str(&format!(
                "{}: {word}, {}\n",
                verdict.file,
                verdict.kind.unwrap_or("document")
            ));
            verdict
                .notes
                .iter()
                .for_each(|note| text.push_str(&format!("  note: {note}\n")));
        }
        ui.result(&serde_json::json!({ "valid": true, "files": verdicts }), text);
        return Ok(0);
    }
    let errors: usize = verdicts.iter().map(|verdict| verdict.issues.len()).sum();
    let (s, are) = if errors == 1 { ("", "is") } else { ("s", "are") };
    let mut message = format!("{errors} error{s} in {bad} of {} files", verdicts.len());
    if let [_] = verdicts.as_slice() {
        message = format!("there {are} {errors} error{s}");
    }
    for report in verdicts.iter().filter_map(|verdict| verdict.report.as_ref()) {
        message.push_str(&format!("\n{report}"));
    }
    Err(Failure::invalid(message).details(serde_json::json!({ "valid": false, "files": verdicts })))
}

fn verdict(path: &Path, kind: Option<Document>) -> Verdict {
    let file = path.display().to_string();
    let mut known = None;
    let mut notes = Vec::new();
    let report = checked(path, &file, kind, &mut known, &mut notes).err();
    let issues = report.as_ref().map_or_else(Vec::new, |report| report.issues.clone());
    Verdict {
        file,
        kind: known.map(|document: Document| document.name),
        valid: report.is_none(),
        issues,
        notes,
        report,
    }
}

fn checked(
    path: &Path,
    file: &str,
    kind: Option<Document>,
    known: &mut Option<Document>,
    notes: &mut Vec<String>,
) -> Result<(), Report> {
    let bytes = bytes(path).map_err(|error| Report::one(file, Issue::new(format!("cannot read it: {error}"))))?;
    let format = Format::of_path(path);
    let node = read::parse(file, &bytes, format).map_err(|report| discreet(report, &bytes))?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let jos = path.extension().is_some_and(|extension| extension == "jos");
    let document = kind
        .or_else(|| detect(&node))
        .or_else(|| jos.then(|| find("artifact").ok()).flatten());
    let Some(document) = document else {
        let issue =
            Issue::new("cannot tell what kind of document this is").help(format!("say it by --kind: {}", kinds()));
        return Err(Report::one(file, issue));
    };
    *known = Some(document);
    (document.check)(file, text, &node)?;
    #[cfg(feature = "second-opinion")]
    agree(&document, file, &node)?;
    if document.name == "desired-state"
        && let Ok(state) = read::from_node::<DesiredState>(file, text, &node)
    {
        let open = state.placeholders();
        if !open.is_empty() {
            notes.push(format!("\"...\" is still to be filled in at {}", open.join(", ")));
        }
    }
    Ok(())
}

/// A broken key file shows nothing of itself.
fn discreet(report: Report, bytes: &[u8]) -> Report {
    let secret = bytes
        .windows(7)
        .any(|window| window == b"jos.key" || window == b"\"secret");
    if secret { report.without_content() } else { report }
}

/// The published JSON Schema is a second opinion: where it refuses what the types take, jos itself is wrong.
#[cfg(feature = "second-opinion")]
fn agree(document: &Document, file: &str, node: &jos_schemas::Node) -> Result<(), Report> {
    let schema = (document.schema)(document);
    let second = jsonschema::draft202012::new(&schema).map_err(|error| error.to_string());
    let opinion = second.and_then(|schema| {
        schema
            .validate(&node.to_json())
            .map_err(|error| format!("{} at {:?}", error.masked(), error.instance_path().as_str()))
    });
    opinion.map_err(|error| {
        let message = format!("jos takes this document, but its JSON Schema does not: {error}");
        Report::one(
            file,
            Issue::new(message).help("this is a bug in jos; please report it with the document"),
        )
    })
}
