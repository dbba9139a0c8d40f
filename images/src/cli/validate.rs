//! `jos-image validate`: everything that a build would refuse, without building.

use std::path::PathBuf;

use serde_json::json;

use super::build::finder;
use super::keys;
use super::ui::{Done, Failure, Ui};
use crate::bake::{self, Folders, Signing};
use crate::profile::{Files, Invalid, resolve};

/// Check profiles and all they name, without building
#[derive(clap::Args)]
#[command(after_help = "\
Checks types, rules, targets, brought files, baseline and secrets. Without --key, --dev-key or a signed baseline the
signatures are left out; with them they are checked as well.

Example: jos-image validate profiles/*.toml")]
pub(super) struct Args {
    /// Profiles: files, or names looked up in --profiles DIR and ./profiles
    #[arg(required = true, value_name = "PROFILE")]
    profiles: Vec<String>,
    /// Where profiles and bases are looked up besides
    #[arg(long = "profiles", value_name = "DIR")]
    profiles_dir: Option<PathBuf>,
    /// As of `build`: where disks that images are made on are looked up besides
    #[arg(long, value_name = "DIR")]
    bases: Option<PathBuf>,
    #[command(flatten)]
    keys: keys::SigningArgs,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    let finder = finder(args.profiles_dir.as_deref(), None);
    let given = args.keys.signing()?;
    // A key that exists only now: it proves that the baseline can be signed, and signs nothing that is kept.
    let stand_in = || Signing {
        key: Some(jos_trust::SecretKey::from_bytes(&[1; 32]).as_dev()),
        ..Signing::default()
    };
    let signing = if given.key.is_some() || given.trust.is_some() {
        given
    } else {
        stand_in()
    };
    let folders = Folders {
        bases: args.bases.as_deref(),
        ..Folders::default()
    };
    let mut wrong = Invalid::default();
    let (mut text, mut values) = (String::new(), Vec::new());
    for name in &args.profiles {
        let checked = finder
            .profile(name)
            .and_then(|path| resolve(&path, &finder))
            .and_then(|resolved| bake::assemble(&resolved, &[], &signing, folders, 0).map(|app| (app, resolved)));
        match checked {
            Ok((app, resolved)) => {
                text.push_str(&format!(
                    "{}: valid, {} targets\n",
                    file(&resolved.files),
                    app.targets.len()
                ));
                let targets: Vec<_> = app.targets.iter().map(|t| t.name).collect();
                values.push(json!({ "profile": app.profile, "valid": true, "targets": targets }));
            }
            Err(invalid) => wrong.reports.extend(invalid.reports),
        }
    }
    if !wrong.reports.is_empty() {
        return Err(Failure::from(wrong));
    }
    ui.result(&values, text);
    Ok(0)
}

fn file(files: &Files) -> &str {
    files.all().first().map_or("", |f| f.name.as_str())
}
