//! `jos-image explain`: the resolved profile, and for each value the file and line it was written in.

use std::path::PathBuf;

use jos_schemas::node::{Kind, Node};
use serde_json::{Map, Value, json};

use super::build::finder;
use super::ui::{Done, Ui};
use crate::profile::{Files, resolve};

/// Show a profile with all it extends, and where each value was written
#[derive(clap::Args)]
#[command(after_help = "Example: jos-image explain captive-portal")]
pub(super) struct Args {
    /// Profile: a file, or a name looked up in --profiles DIR and ./profiles
    #[arg(value_name = "PROFILE")]
    profile: String,
    /// Where profiles and bases are looked up besides
    #[arg(long = "profiles", value_name = "DIR")]
    profiles_dir: Option<PathBuf>,
}

const ORDER: [&str; 13] = [
    "extends", "brand", "package", "target", "hub", "agent", "runtime", "policy", "trust", "state", "files", "image",
    "outputs",
];

/// One value: its dotted path, its JSON pointer, how TOML writes it, where it stands.
struct Row {
    path: String,
    pointer: String,
    value: String,
    place: String,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    let finder = finder(args.profiles_dir.as_deref(), None);
    let resolved = resolve(&finder.profile(&args.profile)?, &finder)?;
    let mut rows = Vec::new();
    let mut node = resolved.node.clone();
    if let Kind::Object(entries) = &mut node.kind {
        // In the order of the documentation, whatever the order of the files.
        entries.sort_by_key(|e| ORDER.iter().position(|o| *o == e.key).unwrap_or(ORDER.len()));
    }
    walk(&node, "", "", &resolved.files, &mut rows);
    let width = rows
        .iter()
        .map(|r| r.path.len() + 3 + r.value.chars().count())
        .max()
        .unwrap_or(0)
        .min(72);
    let mut text = String::new();
    for row in &rows {
        let line = format!("{} = {}", row.path, row.value);
        let pad = " ".repeat(width.saturating_sub(line.chars().count()));
        text.push_str(&format!(
            "{line}{pad}  {}\n",
            ui.paint("2", &format!("# {}", row.place))
        ));
    }
    let mut origins = Map::new();
    for row in &rows {
        if let Some(place) = resolved.place(&row.pointer) {
            origins.insert(row.pointer.clone(), json!(place));
        }
    }
    let files: Vec<_> = resolved
        .files
        .all()
        .iter()
        .map(|f| json!({ "file": f.name, "sha256": f.sha256 }))
        .collect();
    let value = json!({
        "name": resolved.name,
        "files": files,
        "profile": resolved.node.to_json(),
        "origins": Value::Object(origins),
    });
    ui.result(&value, text);
    Ok(0)
}

fn walk(node: &Node, path: &str, pointer: &str, files: &Files, rows: &mut Vec<Row>) {
    match &node.kind {
        Kind::Object(entries) if !entries.is_empty() => {
            for entry in entries {
                let bare = !entry.key.is_empty()
                    && entry
                        .key
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
                let key = if bare {
                    entry.key.clone()
                } else {
                    format!("{:?}", entry.key)
                };
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                let token = entry.key.replace('~', "~0").replace('/', "~1");
                walk(&entry.value, &path, &format!("{pointer}/{token}"), files, rows);
            }
        }
        Kind::Array(items) if !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                walk(item, &format!("{path}[{i}]"), &format!("{pointer}/{i}"), files, rows);
            }
        }
        _ => {
            let place = files.place(&node.span);
            rows.push(Row {
                path: path.to_owned(),
                pointer: pointer.to_owned(),
                value: shown(&node.to_json()),
                place: format!("{}:{}", place.file, place.line),
            });
        }
    }
}

/// On one line, long texts cut.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
