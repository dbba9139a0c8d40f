//! `jos schema`: the documents by name, and their JSON Schemas.

use std::path::PathBuf;

use clap::Args;
use jos_schemas::catalogue::{catalogue, find};

use crate::cli::{Done, Failure, Ui};

/// List the documents, or print or write their JSON Schemas
///
/// An editor completes and checks a TOML document whose first line is `#:schema FILE-OR-ADDRESS` (taplo), and a JSON
/// document with a member "$schema".
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos schema                          what documents there are\n  \
    jos schema desired-state            print one schema\n  \
    jos schema --all ~/.jos/schemas     write all of them, for editors")]
pub(crate) struct SchemaCommand {
    /// The document, as the list names it
    #[arg(value_name = "NAME", conflicts_with = "all")]
    name: Option<String>,
    /// Write every schema into this folder
    #[arg(long, value_name = "DIR")]
    all: Option<PathBuf>,
}

pub(super) fn run(args: &SchemaCommand, ui: &Ui) -> Done {
    if let Some(folder) = &args.all {
        return write(folder, ui);
    }
    let Some(name) = &args.name else {
        let mut text = String::new();
        let mut list = Vec::new();
        for document in catalogue() {
            let kind = document.kind.unwrap_or("-");
            text.push_str(&format!("{:<14} {kind:<26} {}\n", document.name, document.title));
            let id = document.id();
            list.push(
                serde_json::json!({ "name": document.name, "kind": document.kind, "title": document.title, "id": id }),
            );
        }
        ui.result(&list, text);
        return Ok(0);
    };
    let document = find(name).map_err(|near| {
        let failure = Failure::invalid(format!("there is no document {name:?}"));
        match near {
            Some(near) => failure.help(format!("did you mean {near:?}? `jos schema` lists all")),
            None => failure.help("`jos schema` lists all"),
        }
    })?;
    let schema = (document.schema)(&document);
    ui.result(&schema, serde_json::to_string_pretty(&schema).unwrap_or_default());
    Ok(0)
}

fn write(folder: &std::path::Path, ui: &Ui) -> Done {
    let failed = |path: &std::path::Path, error: std::io::Error| {
        Failure::failed(format!("{}: cannot write: {error}", path.display()))
            .help("name a folder that you may write to")
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let mut written = Vec::new();
    for document in catalogue() {
        let path = folder.join(format!("{}.json", document.name));
        let text = serde_json::to_string_pretty(&(document.schema)(&document)).unwrap_or_default();
        std::fs::write(&path, text + "\n").map_err(|error| failed(&path, error))?;
        written.push(path.display().to_string());
    }
    let text = format!("{} schemas written to {}", written.len(), folder.display());
    ui.result(&serde_json::json!({ "written": written }), text);
    Ok(0)
}
