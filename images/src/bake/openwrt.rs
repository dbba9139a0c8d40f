//! The `.ipk`: OpenWrt up to 24.10. The files of `openwrt-feed/jos-agent/files/` are its one source of scripts.

use jos_schemas::unit::{Procd, ProcdRecover, recovery_service};

use super::appliance::Appliance;
use super::{BakeError, Filler, joined, stands_for, texts};
use crate::builders::Program;
use crate::formats::control::Description;
use crate::formats::{IpkControl, IpkPackage, Scripts};
use crate::targets::{System, Target};

const CONFIG: &str = include_str!("../../../openwrt-feed/jos-agent/files/jos.config");
const DEFAULTS: &str = include_str!("../../../openwrt-feed/jos-agent/files/jos.uci-defaults");
const HOTPLUG: &str = include_str!("../../../openwrt-feed/jos-agent/files/jos.hotplug");
const KEEP: &str = include_str!("../../../openwrt-feed/jos-agent/files/jos-agent.keep");
const HOTPLUG_SERVICE: &str = "JOS_SERVICE='jos-agent'";

pub(super) fn package(
    app: &Appliance,
    target: &'static Target,
    programs: &[Program],
) -> Result<(String, Vec<u8>), BakeError> {
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
    let package = IpkPackage {
        control,
        scripts,
        tree: files.tree,
        epoch: app.epoch,
    };
    let bytes = package.to_bytes().map_err(|source| BakeError::Format {
        target: target.name.to_owned(),
        source,
    })?;
    Ok((package.file_name(), bytes))
}
