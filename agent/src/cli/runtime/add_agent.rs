//! `jos add-agent`: a file of any of the three forms, put where a node picks it up.

use std::path::{Path, PathBuf};

use jos_node::place::{DataDir, Durable};
use jos_node::registry::Registry;
use jos_schemas::documents::artifact::Artifact;
use jos_schemas::own;
use jos_schemas::text::Name;
use serde_json::{Value, json};

use super::data::{Place, failure, means};
use crate::cli::{Done, Failure, Ui};

/// Bytes of a file.
const LIMIT: usize = 4 << 20;

/// Put an agent where the node picks it up
///
/// FILE is a .jos artifact of prompts, a WebAssembly module (.wasm, .wat), an agent's document (.json, .toml), or a program,
/// which gets a document without any grant. A running node has it at once. What cannot be loaded is not put there.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos add-agent reviewer.jos\n  \
    jos add-agent metrics.wasm --name text-metrics\n  \
    jos add-agent greeter.py --name greeter")]
pub(crate) struct Args {
    /// The agent's file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Its name [default: the file's, or the one in it]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub(crate) fn run(args: &Args, place: &Place, ui: &Ui) -> Done {
    let data = place.open()?;
    let bytes = crate::files::read(&args.file, LIMIT).map_err(Failure::invalid)?;
    let (name, files) = prepare(args, &bytes)?;
    let mut put = Vec::new();
    for (file, content) in &files {
        let below = format!("agents/{file}");
        if data.path(&below).exists() {
            let withdrawn = withdraw(&data, &put);
            return Err(Failure::invalid(format!("{below}: it is there already{withdrawn}"))
                .help("remove it first, or give another --name"));
        }
        data.put(&below, content, Durable::Yes).map_err(failure)?;
        put.push(below);
    }
    let registry = Registry::new(data.root(), means(place.model()?));
    registry.refresh().map_err(Failure::failed)?;
    if let Some(broken) = registry.broken().into_iter().find(|broken| put.contains(&broken.file)) {
        let withdrawn = withdraw(&data, &put);
        return Err(Failure::invalid(format!(
            "{}: {}{withdrawn}",
            args.file.display(),
            broken.reason
        )));
    }
    ui.result(
        &json!({ "agent": name, "files": put }),
        format!("{}: agent {name}\nnext: `jos submit {name}`\n", put.join(", ")),
    );
    Ok(0)
}

/// Takes back what was put; says so where that fails.
fn withdraw(data: &DataDir, put: &[String]) -> String {
    let failed: Vec<String> = put
        .iter()
        .filter_map(|below| data.remove(below).err().map(|e| e.to_string()))
        .collect();
    if failed.is_empty() {
        String::new()
    } else {
        format!(" (and could not be taken back: {})", failed.join(", "))
    }
}

/// Files by their names, with their content.
type Files = Vec<(String, Vec<u8>)>;

/// The agent's name and the files that it is made of.
fn prepare(args: &Args, bytes: &[u8]) -> Result<(String, Files), Failure> {
    let file = args.file.display();
    let extension = args.file.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let stem = args.name.clone().or_else(|| stem(&args.file)).unwrap_or_default();
    let name = || {
        let help = "give one with --name";
        Name::new(stem.as_str()).map_err(|e| Failure::invalid(format!("{file}: a name for the agent: {e}")).help(help))
    };
    match extension {
        "jos" => {
            let named = args.name.is_some().then(name).transpose()?;
            let mut document = parsed(&file.to_string(), bytes)?;
            if let Some(name) = named {
                document["id_jos"] = json!(name);
            }
            let artifact: Artifact =
                own::read_value(&document).map_err(|e| Failure::invalid(format!("{file}: {e}")))?;
            let bytes = if args.name.is_some() {
                pretty(&document)?
            } else {
                bytes.to_vec()
            };
            let name = artifact.id_jos.to_string();
            Ok((name.clone(), vec![(format!("{name}.jos"), bytes)]))
        }
        "wasm" | "wat" => {
            let name = name()?;
            let hash = jos_trust::sha256(bytes).to_hex();
            let document = json!({ "kind": "jos.runtime_agent", "name": name, "wasm": hash });
            let files = vec![
                (format!("{name}.{extension}"), bytes.to_vec()),
                (format!("{name}.json"), pretty(&document)?),
            ];
            Ok((name.to_string(), files))
        }
        "json" | "toml" => {
            let document = parsed(&file.to_string(), bytes)?;
            let inside = document.get("name").and_then(Value::as_str).unwrap_or_default();
            if args.name.as_deref().is_some_and(|name| name != inside) {
                let message = format!("{file}: the agent's document says the name {inside:?}");
                return Err(Failure::invalid(message).help("change it there, or leave --name out"));
            }
            // What it names stands beside it.
            let folder = args.file.parent().unwrap_or(Path::new(""));
            let mut files = beside(&document, folder, &args.file)?;
            let own = args.file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            files.push((own.to_owned(), bytes.to_vec()));
            Ok((inside.to_owned(), files))
        }
        _ => {
            let name = name()?;
            let script = if extension.is_empty() {
                name.to_string()
            } else {
                format!("{name}.{extension}")
            };
            let mut argv: Vec<String> = interpreter(bytes);
            argv.push(format!("./{script}"));
            let document = json!({ "kind": "jos.runtime_agent", "name": name, "argv": argv });
            Ok((
                name.to_string(),
                vec![(script, bytes.to_vec()), (format!("{name}.json"), pretty(&document)?)],
            ))
        }
    }
}

/// The words of `#!`: files of a data directory are not executable.
fn interpreter(bytes: &[u8]) -> Vec<String> {
    let line = bytes
        .strip_prefix(b"#!")
        .and_then(|rest| rest.split(|b| *b == b'\n').next());
    let line = line.and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    match words.first().map(String::as_str) {
        Some("/usr/bin/env") => words[1..].to_vec(),
        _ => words,
    }
}

fn beside(document: &Value, folder: &Path, file: &Path) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut names: Vec<String> = Vec::new();
    let argv = document.get("argv").and_then(Value::as_array);
    names.extend(
        argv.into_iter()
            .flatten()
            .filter_map(|word| word.as_str()?.strip_prefix("./").map(str::to_owned)),
    );
    if document.get("wasm").is_some() {
        let stem = stem(file).unwrap_or_default();
        let there = ["wasm", "wat"].map(|end| format!("{stem}.{end}"));
        names.extend(there.into_iter().find(|name| folder.join(name).is_file()));
    }
    let read = |name: String| {
        let bytes = crate::files::read(&folder.join(&name), LIMIT).map_err(Failure::invalid)?;
        Ok((name, bytes))
    };
    names.into_iter().map(read).collect()
}

fn stem(file: &Path) -> Option<String> {
    file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned)
}

fn parsed(name: &str, bytes: &[u8]) -> Result<Value, Failure> {
    let format = jos_schemas::Format::of_path(name);
    let node = jos_schemas::read::parse(name, bytes, format).map_err(Failure::invalid)?;
    Ok(node.to_json())
}

fn pretty(document: &Value) -> Result<Vec<u8>, Failure> {
    let text = serde_json::to_string_pretty(document).map_err(Failure::failed)?;
    Ok(format!("{text}\n").into_bytes())
}
