//! The `.pkg`: a universal program, a LaunchDaemon, settings that an upgrade leaves alone, and an uninstaller.

use jos_schemas::unit::Launchd;

use super::appliance::Appliance;
use super::{BakeError, Filler, texts};
use crate::builders::Program;
use crate::formats::pkg::Pages;
use crate::formats::{PkgInfo, PkgPackage, Tree, macho};
use crate::targets::System;

const TARGET: &str = "macos/universal";
/// Where settings lie that an upgrade must not overwrite: the installer knows no conffiles, so postinstall copies them
/// to their place only where nothing is there.
const DEFAULTS: &str = "/Library/Application Support/jos/share/defaults";

pub(super) fn package(app: &Appliance, programs: &[Program]) -> Result<(String, Vec<u8>), BakeError> {
    let format = |source| BakeError::Format {
        target: TARGET.to_owned(),
        source,
    };
    let slices: Vec<&[u8]> = programs.iter().map(|p| p.bytes.as_slice()).collect();
    let program = macho::join(&slices).map_err(format)?;
    let system = System::MacOs;
    let at = texts::layout(system);
    let label = app.package.identifier.clone().unwrap_or_default();
    let mut files = Filler::new(app, system, TARGET);
    files.common(app, system, &program, DEFAULTS)?;
    let command = texts::command(&at);
    let job = Launchd {
        label: &label,
        command: &command,
        user: None,
        log: "/var/log/jos.log",
    };
    let job = job.render().map_err(|e| BakeError::text("launchd job", e))?;
    files.file(&format!("/Library/LaunchDaemons/{label}.plist"), 0o644, job)?;
    let fill = |text: &str| {
        text.replace("@LABEL@", &label)
            .replace("@SHARE@", at.share)
            .replace("@ETC@", at.etc)
    };
    let uninstaller = format!("{}/uninstall.sh", at.share);
    files.file(&uninstaller, 0o755, fill(include_str!("scripts/macos-uninstall.sh")))?;
    files.file("/usr/local/share/man/man1/jos.1", 0o644, texts::manual(app, system))?;
    let mut resources = Tree::new();
    resources
        .file("LICENSE.txt", 0o644, include_str!("../../../LICENSE"))
        .map_err(format)?;
    let welcome = format!(
        "{}\n\nTo remove it again:\n  sudo sh '{uninstaller}'\n",
        texts::description(app)
    );
    resources.file("Welcome.txt", 0o644, welcome).map_err(format)?;
    let package = PkgPackage {
        info: PkgInfo {
            identifier: label.clone(),
            version: version(app),
            title: app.product().to_owned(),
            organization: String::new(),
            minimum_os: "11.0".to_owned(),
            architectures: vec!["arm64".to_owned(), "x86_64".to_owned()],
            pages: Pages {
                welcome: "Welcome.txt".into(),
                license: "LICENSE.txt".into(),
                ..Pages::default()
            },
        },
        preinstall: None,
        postinstall: Some(fill(include_str!("scripts/macos-postinstall.sh"))),
        tree: files.tree,
        resources,
        epoch: app.epoch,
    };
    let name = format!("{}_{}_universal.pkg", app.name, app.full_version());
    Ok((name, package.to_bytes().map_err(format)?))
}

/// The installer compares numbers alone: the tail of `1.4.2~rc1` is left out, the release comes last.
fn version(app: &Appliance) -> String {
    let numbers = app.version().split(['~', '+']).next().unwrap_or("0");
    format!("{numbers}.{}", app.package.release.unwrap_or(1))
}
