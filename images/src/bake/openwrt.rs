//! The `.ipk` of OpenWrt up to 24.10 and the `.apk` from 25.12 on, with the same files in them. Those of
//! `openwrt-feed/jos-agent/files/` are their one source of scripts.

use jos_schemas::unit::{Procd, ProcdRecover, recovery_service};

use super::appliance::Appliance;
use super::{BakeError, Filler, joined, stands_for, texts};
use crate::builders::Program;
use crate::formats::control::Description;
use crate::formats::{ApkPackage, FormatError, IpkControl, IpkPackage, Scripts, Tree, apk};
use crate::targets::{System, Target};

const CONFIG: &str = include_str!("../../../openwrt-feed/jos-agent/files/jos.config");
const DEFAULTS: &str = include_str!("../../../openwrt-feed/jos-agent/files/jos.uci-defaults");
const HOTPLUG: &str = include_str!("../../../openwrt-feed/jos-agent/files/jos.hotplug");
const KEEP: &str = include_str!("../../../openwrt-feed/jos-agent/files/jos-agent.keep");
const HOTPLUG_SERVICE: &str = "JOS_SERVICE='jos-agent'";

/// Both packages of a target: name and bytes.
pub(super) fn packages(
    app: &Appliance,
    target: &'static Target,
    programs: &[Program],
) -> Result<Vec<(String, Vec<u8>)>, BakeError> {
    let tree = tree(app, target, programs)?;
    let format = |source| BakeError::Format {
        target: target.name.to_owned(),
        source,
    };
    let (ipk, apk) = (ipk(app, target, tree.clone()), apk(app, target, tree).map_err(format)?);
    Ok(vec![
        (ipk.file_name(), ipk.to_bytes().map_err(format)?),
        (apk.file_name(), apk.to_bytes().map_err(format)?),
    ])
}

fn tree(app: &Appliance, target: &'static Target, programs: &[Program]) -> Result<Tree, BakeError> {
    let Some(program) = programs.first() else {
        return Err(BakeError::text("program", "none was built"));
    };
    let system = System::OpenWrt;
    let at = texts::layout(system);
    let service = &app.service;
    let mut files = Filler::new(app, system, target.name);
    files.common(app, system, &program.bytes, texts::layout(system).etc)?;
    let artifact = format!("{}/baseline.json", at.share);
    let config = format!("{}/agent.toml", at.etc);
    let init = Procd {
        program: at.program,
        config: &config,
        artifact: &artifact,
        user: "",
        uci: "main",
    };
    let init = init.render().map_err(|e| BakeError::text("init script", e))?;
    files.file(&format!("/etc/init.d/{service}"), 0o755, init)?;
    let recover = ProcdRecover {
        program: at.program,
        config: &config,
    };
    let recover = recover.render().map_err(|e| BakeError::text("init script", e))?;
    files.file(&format!("/etc/init.d/{}", recovery_service(service)), 0o755, recover)?;
    files.conffile("/etc/config/jos", 0o644, CONFIG)?;
    files.file(&format!("/etc/uci-defaults/95-{service}"), 0o755, DEFAULTS)?;
    if !HOTPLUG.contains(HOTPLUG_SERVICE) {
        return Err(BakeError::text(
            "jos.hotplug",
            format!("the line {HOTPLUG_SERVICE} is not in it"),
        ));
    }
    let hotplug = HOTPLUG.replace(HOTPLUG_SERVICE, &format!("JOS_SERVICE='{service}'"));
    files.file(&format!("/etc/hotplug.d/iface/95-{service}"), 0o755, hotplug)?;
    files.file(&format!("/lib/upgrade/keep.d/{}", app.name), 0o644, KEEP)?;
    // /etc/banner belongs to the system; login shells read this folder after it.
    files.file(&format!("{}/motd", at.share), 0o644, texts::motd(app))?;
    files.file(
        &format!("/etc/profile.d/95-{service}.sh"),
        0o644,
        format!("cat {}/motd\n", at.share),
    )?;
    Ok(files.tree)
}

fn ipk(app: &Appliance, target: &'static Target, tree: Tree) -> IpkPackage {
    let p = &app.package;
    let control = IpkControl {
        package: app.name.to_string(),
        version: app.full_version(),
        architecture: target.architecture.to_owned(),
        maintainer: p.maintainer.clone().unwrap_or_default(),
        depends: joined(&p.depends, &p.depends_openwrt),
        provides: stands_for(app, &p.provides),
        conflicts: stands_for(app, &p.conflicts),
        replaces: Vec::new(),
        source: String::new(),
        license: p.license.clone().unwrap_or_default(),
        section: "admin".to_owned(),
        url: app.brand.support_url.clone().unwrap_or_default(),
        description: Description {
            synopsis: texts::synopsis(app),
            extended: texts::description(app),
        },
    };
    let scripts = Scripts {
        preinst: None,
        postinst: Some(include_str!("scripts/openwrt-postinst.sh").to_owned()),
        prerm: Some(include_str!("scripts/openwrt-prerm.sh").to_owned()),
        postrm: None,
    };
    IpkPackage {
        control,
        scripts,
        tree,
        epoch: app.epoch,
    }
}

fn apk(app: &Appliance, target: &'static Target, tree: Tree) -> Result<ApkPackage, FormatError> {
    let p = &app.package;
    let release = p.release.unwrap_or(1);
    let version = apk::version(app.version(), release).ok_or_else(|| {
        let expected =
            "a version that apk can write: digits and dots, perhaps ~alpha1, ~beta1, ~pre1, ~rc1 or +git1, +p1";
        FormatError::field("package.version", app.version(), expected)
    })?;
    let script = |text: &str| {
        let text = text.replace("JOS_PACKAGE", app.name.as_str());
        text.replace("JOS_SERVICE", &app.service)
    };
    let mut depends = apk::dependencies(&joined(&p.depends, &p.depends_openwrt), false)?;
    depends.extend(apk::dependencies(&stands_for(app, &p.conflicts), true)?);
    // With a version, so that only one package of this name can be there, as OpenWrt's own build writes it.
    let provides = stands_for(app, &p.provides)
        .into_iter()
        .map(|name| format!("{name}={version}"));
    let info = jos_apk::PackageInfo {
        name: app.name.to_string(),
        description: texts::synopsis(app),
        arch: target.architecture.to_owned(),
        license: p.license.clone().unwrap_or_default(),
        maintainer: p.maintainer.clone().unwrap_or_default(),
        url: app.brand.support_url.clone().unwrap_or_default(),
        depends,
        provides: apk::dependencies(&provides.collect::<Vec<_>>(), false)?,
        version,
        ..jos_apk::PackageInfo::default()
    };
    Ok(ApkPackage {
        info,
        scripts: jos_apk::Scripts {
            post_install: script(include_str!("scripts/openwrt-apk-post-install.sh")),
            post_upgrade: script(include_str!("scripts/openwrt-apk-post-upgrade.sh")),
            pre_deinstall: script(include_str!("scripts/openwrt-apk-pre-deinstall.sh")),
            ..jos_apk::Scripts::default()
        },
        tree,
        epoch: app.epoch,
    })
}
