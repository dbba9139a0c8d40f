//! `jos-image new`: a profile and its baseline that build as they are.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use jos_schemas::text::Name;
use serde_json::json;

use super::ui::{Done, Failure, Ui};
use crate::profile::bases;
use crate::targets::nearest_of;

/// Write a new profile and its baseline, ready to build
#[derive(clap::Args)]
#[command(after_help = "\
Writes DIR/NAME.toml and DIR/NAME/baseline.toml; a file that is there already is never overwritten.

Example: jos-image new lobby-printer --from base/debian")]
pub(super) struct Args {
    /// Name of the appliance: package, agent and profile
    #[arg(value_name = "NAME")]
    name: String,
    /// The base it extends: base/openwrt, base/debian, base/macos or base/windows
    #[arg(long, value_name = "BASE")]
    from: String,
    /// Where it is written
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    let name = Name::new(args.name.clone()).map_err(|e| Failure::invalid(format!("NAME: {e}")))?;
    let Some(base) = bases::find(&args.from) else {
        let known = bases::BASES.map(|b| b.name);
        let near = nearest_of(&args.from, known)
            .map(|n| format!("did you mean {n:?}? "))
            .unwrap_or_default();
        let help = format!("{near}known are {}", known.join(", "));
        return Err(Failure::invalid(format!("--from: {:?} is no base", args.from)).help(help));
    };
    let title = title(name.as_str());
    let mac = base.name == "base/macos";
    let folder = match base.name {
        "base/macos" => format!("/Library/Application Support/{name}"),
        "base/windows" => format!("/ProgramData/{name}"),
        _ => format!("/etc/{name}"),
    };
    let identifier =
        format!("\n# Names the package and its job: a domain of yours, reversed.\nidentifier = \"org.example.{name}\"");
    let fill = |text: &str| {
        let values = [
            ("@NAME@", name.as_str()),
            ("@TITLE@", &title),
            ("@BASE@", base.name),
            ("@TARGET@", base.scaffold),
            ("@IDENTIFIER@", if mac { &identifier } else { "" }),
            ("@FOLDER@", &folder),
        ];
        values
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    let files = [
        (
            args.dir.join(format!("{name}.toml")),
            fill(include_str!("new/profile.toml.in")),
        ),
        (
            args.dir.join(name.as_str()).join("baseline.toml"),
            fill(include_str!("new/baseline.toml.in")),
        ),
    ];
    if let Some((taken, _)) = files.iter().find(|(path, _)| path.exists()) {
        let help = "choose another name, or another folder with --dir";
        return Err(Failure::invalid(format!("{} is there already", taken.display())).help(help));
    }
    for (path, text) in &files {
        create(path, text).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
    }
    let [(profile, _), (baseline, _)] = &files;
    let text = format!(
        "{}\n{}\n\nNext:\n  jos-image validate {2}\n  jos-image build {2} --dev-key\n",
        profile.display(),
        baseline.display(),
        profile.display()
    );
    ui.result(&json!({ "profile": profile, "baseline": baseline }), text);
    Ok(0)
}

fn create(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    File::create_new(path)?.write_all(text.as_bytes())
}

/// `lobby-printer` → `Lobby Printer`.
fn title(name: &str) -> String {
    let word = |w: &str| {
        let mut chars = w.chars();
        chars
            .next()
            .map(|c| c.to_ascii_uppercase().to_string() + chars.as_str())
            .unwrap_or_default()
    };
    name.split('-')
        .filter(|w| !w.is_empty())
        .map(word)
        .collect::<Vec<_>>()
        .join(" ")
}
