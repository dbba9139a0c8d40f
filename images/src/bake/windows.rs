//! The `.msi`: the program in a folder of the product's name, a service, settings that an upgrade leaves alone.

use super::appliance::Appliance;
use super::{BakeError, Filler, texts};
use crate::builders::Program;
use crate::formats::MsiPackage;
use crate::formats::msi::{self, Claim, MsiInfo, MsiService};
use crate::targets::{System, Target};

/// The program's folder bears the product's name; what no file may be called becomes `-`.
pub(super) fn program(app: &Appliance) -> String {
    let plain = |c: char| if "/\\:*?|[]".contains(c) { '-' } else { c };
    let product: String = app.product().chars().map(plain).collect();
    format!("/Program Files/{}/jos.exe", product.trim_end_matches(['.', ' ']))
}

pub(super) fn package(
    app: &Appliance,
    target: &'static Target,
    programs: &[Program],
) -> Result<(String, Vec<u8>), BakeError> {
    let format = |source| BakeError::Format {
        target: target.name.to_owned(),
        source,
    };
    let Some(built) = programs.first() else {
        return Err(BakeError::text("program", "none was built"));
    };
    let system = System::Windows;
    let at = texts::layout(system);
    let program = program(app);
    let mut files = Filler::new(app, system, target.name);
    files.common(app, system, &built.bytes, at.etc)?;
    files.dir(at.etc, 0o700)?;
    files.dir(at.state, 0o700)?;
    let folder = program.rsplit_once('/').map_or("", |(folder, _)| folder);
    files.file(
        &format!("{folder}/LICENSE.txt"),
        0o644,
        include_str!("../../../LICENSE"),
    )?;
    let release = app.package.release.unwrap_or(1);
    let below = |path: &str| path.trim_start_matches('/').to_owned();
    // Its one configuration says the rest, and is read anew at each look.
    let words = ["agent", "run", "--service"];
    let brand = &app.brand;
    let package = MsiPackage {
        info: MsiInfo {
            name: app.name.to_string(),
            product: app.product().to_owned(),
            manufacturer: app.vendor().to_owned(),
            version: msi::version(app.version(), release)
                .ok_or_else(|| BakeError::text("version", format!("{} does not fit", app.version())))?,
            comments: format!("{} ({})", texts::synopsis(app), app.full_version()),
            help: brand.support_url.clone().unwrap_or_default(),
            contact: brand.support_email.clone().unwrap_or_default(),
            icon: match &app.logo {
                Some((extension, logo)) if extension == "ico" => Some(logo.clone()),
                _ => None,
            },
        },
        program: below(&program),
        service: MsiService {
            name: app.service.clone(),
            display: app.product().to_owned(),
            description: texts::synopsis(app),
            arguments: words.map(str::to_owned).to_vec(),
        },
        // Two agents would fight over the same settings and the same machine.
        claim: Some(Claim {
            key: "Software\\jos".to_owned(),
            name: "Agent".to_owned(),
            refusal:
                "Another product on this machine carries the jos agent: [OTHER]. Remove it first; its settings and \
                      data stay."
                    .to_owned(),
        }),
        tree: files.tree,
        epoch: app.epoch,
    };
    let name = format!("{}_{}_{}.msi", app.name, app.full_version(), target.architecture);
    Ok((name, package.to_bytes().map_err(format)?))
}
