//! `jos-image programs`: the compiled programs of devices, in a folder that `--builder prebuilt=DIR` reads.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::build::{choose, wanted};
use super::ui::{Done, Failure, Progress, Ui, bytes};
use crate::builders::{self, Flavour, cache};
use crate::targets::{TARGETS, Triple};

/// Compile the programs of devices into a folder, for `build --builder prebuilt=DIR`
#[derive(clap::Args)]
#[command(after_help = "\
DIR/TRIPLE/jos is the program, DIR/TRIPLE/crates.json what it is made of; jos-runtime and crates-runtime.json
are those with the runtime, for profiles with [runtime]. An installed jos-image carries such a folder.

Example: jos-image programs programs --target debian/arm64 --target openwrt/mipsel_24kc")]
pub(super) struct Args {
    /// The folder
    #[arg(value_name = "DIR")]
    out: PathBuf,
    /// Only what these targets need (repeatable); every program when absent
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// As of `build`
    #[arg(long, value_name = "BUILDER")]
    builder: Option<String>,
    /// As of `build`
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    let mut targets = wanted(&args.target)?;
    if targets.is_empty() {
        targets.extend(TARGETS);
    }
    let builder = choose(args.builder.as_deref(), args.source.as_deref(), None)?;
    let mut all: Vec<(Triple, Flavour)> = Vec::new();
    for target in targets {
        for flavour in Flavour::ALL.into_iter().filter(|flavour| flavour.serves(target)) {
            for one in builder.triples(target)?.into_iter().map(|triple| (triple, flavour)) {
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        }
    }
    let progress = Progress::new(ui.json);
    let (mut text, mut values) = (String::new(), Vec::new());
    for (triple, flavour) in &all {
        let program = builders::obtain(builder.as_ref(), triple, *flavour, &cache::default_dir(), &progress)?;
        let folder = args.out.join(triple.name);
        let crates = serde_json::to_vec_pretty(&*program.crates).unwrap_or_default();
        let (name, list) = flavour.files();
        put(&folder, name, &program.bytes, 0o755)?;
        put(&folder, list, &crates, 0o644)?;
        let size = bytes(program.bytes.len());
        text.push_str(&format!("{:<32} {name:<12} {size:>9}\n", triple.name));
        values.push(json!({ "triple": triple.name, "program": name, "size": program.bytes.len(), "crates": program.crates.len() }));
    }
    ui.result(&json!({ "folder": args.out, "programs": values }), text);
    Ok(0)
}

fn put(folder: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let path = folder.join(name);
    let written = fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, bytes))
        .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)));
    written.map_err(|e| Failure::failed(format!("{}: {e}", path.display())))
}
