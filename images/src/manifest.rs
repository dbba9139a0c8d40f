//! `manifest.json` and `SHA256SUMS`: what was made, from what.
//!
//! Owns: their content. Nothing in them depends on the machine, the folder or the clock, so equal inputs give equal files;
//! nothing in them is a secret.

use serde::Serialize;

use crate::bake::{Appliance, Input, Package};
use crate::builders::{Program, Provenance};
use crate::formats::hash::sha256;
use crate::image::Made;

/// The `kind` of a manifest.
pub const KIND: &str = "jos.image.manifest";

#[derive(Serialize)]
struct Manifest<'a> {
    kind: &'static str,
    /// Of this shape.
    format: u32,
    profile: &'a str,
    package: &'a str,
    version: String,
    vendor: &'a str,
    product: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dev_key: bool,
    source_date_epoch: u32,
    jos_image: &'static str,
    inputs: &'a [Input],
    baselines: Vec<BaselineOf<'a>>,
    programs: Vec<ProgramOf<'a>>,
    targets: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<ImageOf<'a>>,
    outputs: Vec<Output<'a>>,
}

#[derive(Serialize)]
struct BaselineOf<'a> {
    system: &'static str,
    version: u64,
    sha256: String,
    signed_by: Vec<&'a str>,
}

#[derive(Serialize)]
struct ProgramOf<'a> {
    triple: &'a str,
    sha256: String,
    size: usize,
    #[serde(flatten)]
    provenance: &'a Provenance,
}

#[derive(Serialize)]
struct ImageOf<'a> {
    board: &'static str,
    file: &'a str,
    /// SHA-256 of the base root as an archive.
    base: &'a str,
    /// How many Debian packages; the bill of materials lists them.
    packages: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<BundleOf<'a>>,
}

#[derive(Serialize)]
struct BundleOf<'a> {
    file: &'a str,
    /// SHA-256 of the root file system in it, which a second build gives again; the bundle itself has a random salt and a time.
    root: &'a str,
}

/// One file that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Output<'a> {
    /// For which target.
    pub target: &'static str,
    /// File name.
    pub file: &'a str,
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub sha256: String,
}

/// The outputs of a build, sorted by name.
#[must_use]
pub fn outputs<'a>(packages: &'a [Package], images: &'a [Made]) -> Vec<Output<'a>> {
    let of_package = |p: &'a Package| Output {
        target: p.target,
        file: &p.name,
        size: p.bytes.len() as u64,
        sha256: sha256(&p.bytes),
    };
    let of_image = |i: &'a Made| Output {
        target: i.board.name,
        file: &i.name,
        size: i.size,
        sha256: i.sha256.clone(),
    };
    let of_bundle = |i: &'a Made| {
        i.bundle.as_ref().map(|bundle| Output {
            target: i.board.name,
            file: &bundle.name,
            size: bundle.size,
            sha256: bundle.sha256.clone(),
        })
    };
    let mut all: Vec<Output<'_>> = packages
        .iter()
        .map(of_package)
        .chain(images.iter().map(of_image))
        .chain(images.iter().filter_map(of_bundle))
        .collect();
    all.sort_by(|a, b| a.file.cmp(b.file));
    all
}

/// `manifest.json`.
#[must_use]
pub fn manifest(app: &Appliance, programs: &[Program], packages: &[Package], images: &[Made]) -> String {
    let mut programs: Vec<&Program> = programs.iter().collect();
    programs.sort_by(|a, b| a.triple.cmp(&b.triple));
    let manifest = Manifest {
        kind: KIND,
        format: 1,
        profile: &app.profile,
        package: app.name.as_str(),
        version: app.full_version(),
        vendor: app.vendor(),
        product: app.product(),
        dev_key: app.dev,
        source_date_epoch: app.epoch,
        jos_image: env!("CARGO_PKG_VERSION"),
        inputs: &app.inputs,
        baselines: app
            .baselines
            .iter()
            .map(|(system, baseline)| BaselineOf {
                system: system.name(),
                version: baseline.state.meta.version,
                sha256: sha256(&baseline.bytes),
                signed_by: baseline
                    .state
                    .signature
                    .iter()
                    .chain(&baseline.state.signatures)
                    .map(|s| s.key_id.as_str())
                    .collect(),
            })
            .collect(),
        programs: programs
            .into_iter()
            .map(|p| ProgramOf {
                triple: &p.triple,
                sha256: sha256(&p.bytes),
                size: p.bytes.len(),
                provenance: &p.provenance,
            })
            .collect(),
        targets: app.targets.iter().map(|t| t.name).collect(),
        images: images
            .iter()
            .map(|i| ImageOf {
                board: i.board.name,
                file: &i.name,
                base: &i.base,
                packages: i.packages.len(),
                bundle: i.bundle.as_ref().map(|bundle| BundleOf {
                    file: &bundle.name,
                    root: &bundle.root,
                }),
            })
            .collect(),
        outputs: outputs(packages, images),
    };
    serde_json::to_string_pretty(&manifest).unwrap_or_default() + "\n"
}

/// `SHA256SUMS`, as sha256sum(1) writes and checks it: packages, images and the texts beside them, sorted by name.
#[must_use]
pub fn sums(packages: &[Package], images: &[Made], texts: &[(&str, &str)]) -> String {
    let mut lines: Vec<(String, String)> = packages.iter().map(|p| (p.name.clone(), sha256(&p.bytes))).collect();
    lines.extend(images.iter().map(|i| (i.name.clone(), i.sha256.clone())));
    let bundles = images.iter().filter_map(|i| i.bundle.as_ref());
    lines.extend(bundles.map(|b| (b.name.clone(), b.sha256.clone())));
    lines.extend(
        texts
            .iter()
            .map(|(name, text)| ((*name).to_owned(), sha256(text.as_bytes()))),
    );
    lines.sort();
    lines.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect()
}
