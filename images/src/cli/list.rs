//! `jos-image list`: what can be built, on what, for what.

use std::path::PathBuf;

use serde_json::json;

use super::build::finder;
use super::ui::{Done, Ui};
use crate::image::BOARDS;
use crate::profile::bases::BASES;
use crate::profile::resolve;
use crate::targets::TARGETS;

/// List profiles, bases, targets and boards
#[derive(clap::Args)]
pub(super) struct Args {
    /// Where profiles are looked up besides ./profiles
    #[arg(long = "profiles", value_name = "DIR")]
    profiles_dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    let finder = finder(args.profiles_dir.as_deref(), None);
    let mut profiles = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for dir in finder.dirs() {
        for name in crate::profile::resolve::names_in(&dir) {
            let path = dir.join(format!("{name}.toml"));
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            if seen.insert(real) {
                let about = match resolve(&path, &finder) {
                    Ok(r) => r.profile.package.and_then(|p| p.description).unwrap_or_default(),
                    Err(_) => "(not valid: see jos-image validate)".to_owned(),
                };
                profiles.push((name, path, about));
            }
        }
    }
    let mut text = format!("{}\n", ui.paint("1", "Profiles"));
    for (name, path, about) in &profiles {
        text.push_str(&format!(
            "  {name:<18} {about}  {}\n",
            ui.paint("2", &path.display().to_string())
        ));
    }
    if profiles.is_empty() {
        text.push_str("  none here; `jos-image new NAME --from BASE` writes one\n");
    }
    text.push_str(&format!("\n{}\n", ui.paint("1", "Bases (built in)")));
    for base in BASES {
        text.push_str(&format!("  {:<18} {}\n", base.name, base.about));
    }
    text.push_str(&format!("\n{}\n", ui.paint("1", "Targets")));
    for target in TARGETS {
        text.push_str(&format!(
            "  {:<34} .{:<4} {}\n",
            target.name,
            target.system.format(),
            target.about
        ));
    }
    text.push_str(&format!("\n{}\n", ui.paint("1", "Boards (bootable images)")));
    for board in BOARDS {
        text.push_str(&format!("  {:<34} .img {}\n", board.name, board.about));
    }
    let boards = BOARDS.map(|b| json!({ "name": b.name, "target": b.target, "about": b.about }));
    let profiles: Vec<_> = profiles
        .iter()
        .map(|(name, path, about)| json!({ "name": name, "file": path, "description": about }))
        .collect();
    let bases: Vec<_> = BASES
        .iter()
        .map(|b| json!({ "name": b.name, "description": b.about }))
        .collect();
    ui.result(
        &json!({ "profiles": profiles, "bases": bases, "targets": TARGETS, "boards": boards }),
        text,
    );
    Ok(0)
}
