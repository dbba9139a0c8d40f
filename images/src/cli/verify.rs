//! `jos-image verify`: whether a folder of outputs is what was signed, and whether its sources give it again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jos_trust::{PublicKey, release};
use serde_json::{Value, json};

use super::build::{assemble_all, finder, for_all, make, programs};
use super::images;
use super::ui::{Done, Failure, Ui};
use crate::bake::{Folders, Published, Signing};
use crate::diff::diff;
use crate::diff::image::{self as disks, Placed};
use crate::formats::{EntryKind, inspect};
use crate::image::ImageError;
use crate::targets::{self, System, Target};
use crate::verify::{Checked, Finding, verify};
use crate::{manifest, sbom};

/// Check what `build` wrote: signatures, sums, statements; and whether it can be built again to the byte
#[derive(clap::Args)]
#[command(after_help = "\
Without --trusted the key that lies in the folder is believed: that shows whether anything was damaged, and not who made it.

--rebuild needs the profile and what it names, and no secret key: trust root and signed baselines are taken from the
packages, after the baselines were found to say what the profile's say.

Examples:
  jos-image verify dist/captive-portal --trusted acme.pub
  jos-image verify dist/captive-portal --trusted acme.pub --rebuild

Exit codes: 0 all agrees, 1 something does not, 2 no folder of outputs.")]
pub(super) struct Args {
    /// The folder, as OUT/PROFILE
    folder: PathBuf,
    /// Public key to believe, a SHA256SUMS.pub from where you trust it
    #[arg(long, value_name = "FILE")]
    trusted: Option<PathBuf>,
    /// Build it again and compare to the byte
    #[arg(long)]
    rebuild: bool,
    /// The profile to build again; looked up by its name when absent
    #[arg(long, value_name = "PROFILE", requires = "rebuild")]
    profile: Option<String>,
    /// As of `build`: zigbuild, cross, native, or prebuilt=DIR
    #[arg(long, value_name = "BUILDER", requires = "rebuild")]
    builder: Option<String>,
    /// As of `build`: what was compiled for profiles of tools
    #[arg(long, value_name = "DIR", requires = "rebuild")]
    built: Option<PathBuf>,
    /// As of `build`: where disks that images are made on are looked up besides
    #[arg(long, value_name = "DIR", requires = "rebuild")]
    bases: Option<PathBuf>,
    /// As of `build`: sources of jos
    #[arg(long, value_name = "DIR", requires = "rebuild")]
    source: Option<PathBuf>,
    /// As of `build`: where profiles and bases are looked up besides
    #[arg(long = "profiles", value_name = "DIR", requires = "rebuild")]
    profiles_dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    let trusted = args.trusted.as_deref().map(public).transpose()?;
    let read = verify(&args.folder, trusted.as_ref());
    let mut checked = read.map_err(|e| Failure::invalid(format!("{}: {e}", args.folder.display())))?;
    if checked.manifest["kind"] != manifest::KIND {
        let help = "name a folder that `jos-image build` wrote: OUT/PROFILE";
        return Err(Failure::invalid(format!("{} holds no outputs", args.folder.display())).help(help));
    }
    let mut differences = BTreeMap::new();
    if args.rebuild && checked.findings.is_empty() {
        differences = rebuild(args, &mut checked, ui)?;
    }
    let mut text: String = checked
        .findings
        .iter()
        .map(|f| format!("{}: {}\n", f.file, f.problem))
        .collect();
    for one in differences.values().flatten() {
        text.push_str(&format!("  {one}\n"));
    }
    if checked.findings.is_empty() {
        let count = checked.manifest["outputs"].as_array().map_or(0, Vec::len);
        text.push_str(&format!("{count} outputs, each as signed"));
        text.push_str(match (checked.signed, &args.trusted) {
            (false, _) => ": there is no signature, so only the sums were held against each other",
            (true, Some(_)) => "",
            (true, None) => ", by the key that lies beside them; --trusted takes the one that you know",
        });
        text.push_str(if args.rebuild {
            "; built again, the same to the byte\n"
        } else {
            "\n"
        });
    }
    ui.result(
        &json!({
            "findings": checked.findings,
            "differences": differences,
            "signed": checked.signed,
            "rebuilt": args.rebuild,
        }),
        text,
    );
    Ok(u8::from(!checked.findings.is_empty()))
}

fn public(path: &Path) -> Result<PublicKey, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::invalid(format!("{}: {e}", path.display())))?;
    release::public_of(&text).ok_or_else(|| {
        Failure::invalid(format!("{} is no public key", path.display()))
            .help("expected a file as `jos-image build` writes SHA256SUMS.pub")
    })
}

/// Builds the same again and notes each file that came out otherwise; of packages, in what they differ.
fn rebuild(args: &Args, checked: &mut Checked, ui: &Ui) -> Result<BTreeMap<String, Vec<Placed>>, Failure> {
    let manifest = checked.manifest.clone();
    let text = |name: &str| manifest[name].as_str().unwrap_or_default().to_owned();
    if text("jos_image") != env!("CARGO_PKG_VERSION") {
        let (made, own) = (text("jos_image"), env!("CARGO_PKG_VERSION"));
        ui.note(format!(
            "made by jos-image {made}, this is {own}: differences may come from that"
        ));
    }
    let finder = finder(args.profiles_dir.as_deref(), args.source.as_deref());
    let beside = format!("{}.toml", text("profile"));
    let named = if Path::new(&beside).is_file() {
        beside
    } else {
        text("profile")
    };
    let profile = args.profile.clone().unwrap_or(named);
    let named = manifest["targets"].as_array().into_iter().flatten();
    let wanted: Vec<&'static Target> = named.filter_map(|t| targets::find(t.as_str()?)).collect();
    let epoch = manifest["source_date_epoch"]
        .as_u64()
        .and_then(|n| u32::try_from(n).ok());
    let epoch = epoch.ok_or_else(|| Failure::invalid("manifest.json: no source_date_epoch"))?;
    let signing = published(&args.folder, &manifest)?;
    let folders = Folders {
        built: args.built.as_deref(),
        bases: args.bases.as_deref(),
    };
    let apps = assemble_all(&[profile], &finder, &wanted, &signing, (folders, epoch))?;
    let builder = for_all(&apps, args.builder.as_deref(), args.source.as_deref(), None)?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let programs = programs(builder.as_ref(), &apps, workers, ui)?;
    let mut differences = BTreeMap::new();
    for app in &apps {
        let scratch = images::Scratch::new(&args.folder, &app.profile);
        let set = make(app, builder.as_ref(), &programs, workers, &scratch, ui)?;
        let mut note = |file: &str, problem: &str| {
            let (file, problem) = (file.to_owned(), problem.to_owned());
            checked.findings.push(Finding { file, problem });
        };
        for package in &set.packages {
            let there = std::fs::read(args.folder.join(&package.name)).unwrap_or_default();
            if there == package.bytes {
                continue;
            }
            note(&package.name, "comes out otherwise when it is built again");
            if let (Ok(old), Ok(new)) = (inspect(&there), inspect(&package.bytes)) {
                let found = diff(&old, &new).into_iter().map(Placed::from);
                differences.insert(package.name.clone(), found.collect());
            }
        }
        for image in &set.images {
            let listed = manifest["outputs"].as_array().into_iter().flatten();
            let mut listed = listed.filter(|output| output["file"] == image.name.as_str());
            if listed
                .next()
                .is_none_or(|output| output["sha256"] != image.sha256.as_str())
            {
                note(&image.name, "comes out otherwise when it is built again");
                let between = scratch.path().join("between");
                std::fs::create_dir_all(&between).map_err(ImageError::io(&between))?;
                if let Ok(found) = disks::diff(&args.folder.join(&image.name), &image.path, &between) {
                    differences.insert(image.name.clone(), found);
                }
            }
        }
        for (name, text) in [("manifest.json", &set.manifest), (sbom::FILE, &set.bill)] {
            let there = std::fs::read(args.folder.join(name)).unwrap_or_default();
            if there != text.as_bytes() {
                note(name, "comes out otherwise when it is built again");
            }
        }
    }
    Ok(differences)
}

/// Trust root and signed baselines, out of the packages that carry them.
fn published(folder: &Path, manifest: &Value) -> Result<Signing, Failure> {
    let (mut trust, mut baselines) = (None, BTreeMap::new());
    for output in manifest["outputs"].as_array().into_iter().flatten() {
        let system = output["target"].as_str().and_then(targets::find).map(|t| t.system);
        let (Some(file), Some(system)) = (output["file"].as_str(), system) else {
            continue;
        };
        let path = folder.join(file);
        let bytes = std::fs::read(&path).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
        let report = inspect(&bytes).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
        for entry in report.tree.entries() {
            let EntryKind::File(bytes) = &entry.kind else { continue };
            if is_ours(system, &entry.path, "trust.json") {
                trust = Some(bytes.clone());
            } else if is_ours(system, &entry.path, "baseline.json") {
                baselines.insert(system, bytes.clone());
            }
        }
    }
    let mut inputs = manifest["inputs"].as_array().into_iter().flatten();
    let input = inputs
        .find(|input| input["role"] == "trust")
        .cloned()
        .unwrap_or_default();
    let name = input["name"].as_str().unwrap_or("trust.json").to_owned();
    Ok(Signing {
        key: None,
        trust: trust.map(|bytes| (name, bytes)),
        published: Some(Published {
            baselines,
            dev: manifest["dev_key"] == true,
            trust_file: input["sha256"].as_str().unwrap_or_default().to_owned(),
            bundles: bundles(manifest),
        }),
    })
}

/// Bundles are not made again: that takes the key of whoever signed them. The root file systems in them are, and are compared.
fn bundles(manifest: &Value) -> BTreeMap<String, (u64, String)> {
    let outputs = manifest["outputs"].as_array().into_iter().flatten();
    let known = outputs.filter_map(|output| {
        let (file, sum) = (output["file"].as_str()?, output["sha256"].as_str()?);
        let size = output["size"].as_u64()?;
        file.ends_with(".raucb")
            .then(|| (file.to_owned(), (size, sum.to_owned())))
    });
    known.collect()
}

fn is_ours(system: System, path: &str, name: &str) -> bool {
    let share = match system {
        System::MacOs => "Library/Application Support/jos/share",
        System::Debian | System::OpenWrt => "usr/share/jos",
        System::Windows => "ProgramData/jos/share",
    };
    path.strip_prefix(share).and_then(|rest| rest.strip_prefix('/')) == Some(name)
}
