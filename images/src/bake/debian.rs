//! The `.deb`: Debian Policy §6 (scripts), §9.3 (services), §10.7 (conffiles), §12.5 (copyright), §4.4 (changelog).

use jos_schemas::layout::TRIAL;
use jos_schemas::text::Utc;
use jos_schemas::unit::{self, Scope, Systemd, writable};

use super::appliance::Appliance;
use super::{BakeError, Filler, joined, stands_for, texts};
use crate::builders::{Program, elf};
use crate::formats::control::Description;
use crate::formats::{DebControl, DebPackage, Scripts, date, gzip};
use crate::targets::{System, Target};

pub(super) fn package(
    app: &Appliance,
    target: &'static Target,
    programs: &[Program],
) -> Result<(String, Vec<u8>), BakeError> {
    let package = contents(app, target, programs)?;
    let bytes = package.to_bytes().map_err(|source| BakeError::Format {
        target: target.name.to_owned(),
        source,
    })?;
    Ok((package.file_name(), bytes))
}

/// What the package is made of: for an archive, or for an image.
pub(super) fn contents(
    app: &Appliance,
    target: &'static Target,
    programs: &[Program],
) -> Result<DebPackage, BakeError> {
    let format = |source| BakeError::Format {
        target: target.name.to_owned(),
        source,
    };
    let Some(program) = programs.first() else {
        return Err(BakeError::text("program", "none was built"));
    };
    let system = System::Debian;
    let mut files = Filler::new(app, system, target.name);
    files.common(app, system, &program.bytes, texts::layout(system).etc)?;
    let unit = format!("{}.service", app.service);
    let recover = format!("{}.service", unit::recovery_service(&app.service));
    let (text, recover_text) = unit_texts(app)?;
    for (name, text) in [(&unit, text), (&recover, recover_text)] {
        files.file(&format!("/usr/lib/systemd/system/{name}"), 0o644, text)?;
    }
    // Read by pam_motd beside /etc/motd, and nobody's configuration file.
    files.file(&format!("/usr/lib/motd.d/50-{}", app.name), 0o644, texts::motd(app))?;
    let doc = format!("/usr/share/doc/{}", app.name);
    files.file(&format!("{doc}/copyright"), 0o644, copyright(app))?;
    let zipped = |what: &str, text: String| gzip::compress(what, text.as_bytes()).map_err(format);
    files.file(
        &format!("{doc}/changelog.Debian.gz"),
        0o644,
        zipped("changelog", changelog(app, app.name.as_str()))?,
    )?;
    files.file(
        "/usr/share/man/man1/jos.1.gz",
        0o644,
        zipped("manual", texts::manual(app, system))?,
    )?;
    let needs = libraries(&program.bytes);
    let overrides = overrides(app, needs.is_empty());
    files.file(&format!("/usr/share/lintian/overrides/{}", app.name), 0o644, overrides)?;
    let p = &app.package;
    let mut depends = vec!["adduser".to_owned()];
    depends.extend(needs);
    let control = DebControl {
        package: app.name.to_string(),
        version: app.full_version(),
        architecture: target.architecture.to_owned(),
        maintainer: p.maintainer.clone().unwrap_or_default(),
        depends: joined(&depends, &joined(&p.depends, &p.depends_debian)),
        conflicts: stands_for(app, &p.conflicts),
        replaces: stands_for(app, &[]),
        provides: stands_for(app, &p.provides),
        homepage: app.brand.support_url.clone().unwrap_or_default(),
        description: Description {
            synopsis: texts::synopsis(app),
            extended: texts::description(app),
        },
        ..DebControl::default()
    };
    Ok(DebPackage {
        control,
        scripts: scripts(&unit, &recover, &brought_units(app)),
        tree: files.tree,
        epoch: app.epoch,
        ..DebPackage::default()
    })
}

/// The agent's own unit and that of its early recovery.
fn unit_texts(app: &Appliance) -> Result<(String, String), BakeError> {
    let at = texts::layout(System::Debian);
    let command = texts::command(&at);
    let unit = Systemd {
        banner: "Written by jos-image.",
        description: app.product(),
        command: &command,
        scope: Scope::System,
        user: None,
        policy: &app.policy,
        state_dir: at.state,
        node: app.runtime.as_ref().map(|runtime| runtime.data_dir.as_str()),
        reads: &[at.etc],
        exists: &writable::everywhere,
    };
    let unfit = |e| BakeError::text("service unit", e);
    let recover = unit::recover(at.program, at.config);
    let trial = format!("{}/{}/{TRIAL}", at.state, app.name);
    let recover = unit.render_recover(&recover, &trial).map_err(unfit)?;
    Ok((unit.render().map_err(unfit)?, recover))
}

/// What the program needs from the system's C library; nothing for a static one.
fn libraries(program: &[u8]) -> Vec<String> {
    match elf::read(program) {
        Some(elf) if elf.dynamic => {
            let (major, minor) = elf.glibc.unwrap_or((2, 31));
            vec![format!("libc6 (>= {major}.{minor})"), "libgcc-s1".to_owned()]
        }
        _ => Vec::new(),
    }
}

/// Units that the appliance brings besides its agent's, by file name.
fn brought_units(app: &Appliance) -> Vec<String> {
    const KINDS: [&str; 5] = [".mount", ".path", ".service", ".socket", ".timer"];
    let Some(tree) = app.files.get(&System::Debian) else {
        return Vec::new();
    };
    let names = tree.entries().filter_map(|entry| {
        let name = entry.path.strip_prefix("usr/lib/systemd/system/")?;
        // Templates are left out: what an instance is called only the state knows.
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b":._-".contains(&b));
        (plain && KINDS.iter().any(|kind| name.ends_with(kind))).then(|| name.to_owned())
    });
    names.collect()
}

/// deb-systemd-helper keeps an administrator's own `systemctl disable` over upgrades; deb-systemd-invoke honours
/// policy-rc.d. Both come with init-system-helpers, which is essential. Who enables a brought unit is the signed state;
/// postinst notes its links, so that a purge can take them back.
fn scripts(unit: &str, recover: &str, brought: &[String]) -> Scripts {
    let brought: String = brought.iter().map(|unit| format!(" '{unit}'")).collect();
    let fill = |text: &str| {
        let mut lines: Vec<&str> = text.lines().collect();
        if brought.is_empty() {
            lines.retain(|line| !line.contains("@BROUGHT@"));
        }
        let text = lines.join("\n") + "\n";
        Some(
            text.replace("@UNIT@", unit)
                .replace("@RECOVER@", recover)
                .replace("@BROUGHT@", &brought),
        )
    };
    Scripts {
        preinst: None,
        postinst: fill(include_str!("scripts/postinst.sh")),
        prerm: fill(include_str!("scripts/prerm.sh")),
        postrm: fill(include_str!("scripts/postrm.sh")),
    }
}

fn copyright(app: &Appliance) -> String {
    let license = include_str!("../../../LICENSE");
    let body = mit();
    let holder = license
        .lines()
        .find_map(|l| l.strip_prefix("Copyright (c) "))
        .unwrap_or("2026 The jos authors");
    let mut text = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: jos\n\nFiles: *\nCopyright: {holder}\nLicense: MIT\n{body}"
    );
    let own = app.package.license.as_deref().unwrap_or("MIT");
    let year = &Utc::from_unix(i64::from(app.epoch)).to_string()[..4];
    text.push_str(&format!(
        "\nFiles: etc/* usr/share/jos/*\nCopyright: {year} {}\nLicense: {own}\n",
        app.vendor()
    ));
    if own != "MIT" {
        text.push_str(&format!(
            "\nLicense: {own}\n The settings and the brand are under the vendor's licence, {own}.\n"
        ));
    }
    text
}

/// The MIT licence as a copyright file holds it.
pub(super) fn mit() -> String {
    let lines = include_str!("../../../LICENSE").lines();
    lines
        .skip_while(|l| !l.starts_with("Permission"))
        .map(|l| {
            if l.trim().is_empty() {
                " .\n".to_owned()
            } else {
                format!(" {l}\n")
            }
        })
        .collect()
}

pub(super) fn changelog(app: &Appliance, name: &str) -> String {
    format!(
        "{name} ({}) stable; urgency=medium\n\n  * {} {}, built by jos-image.\n\n -- {}  {}\n",
        app.full_version(),
        app.product(),
        app.version(),
        app.package.maintainer.as_deref().unwrap_or_default(),
        date::rfc_5322(app.epoch, "+0000")
    )
}

/// What lintian asks of packages in Debian's own archive, and why it is so here.
fn overrides(app: &Appliance, is_static: bool) -> String {
    let name = &app.name;
    let mut text = format!(
        "# Passphrases are for root alone.\n\
         {name}: non-standard-dir-perm 0700 != 0755 [etc/jos/secrets/]\n\
         # It does not go into Debian's archive, where a first upload closes a bug.\n\
         {name}: initial-upload-closes-no-bugs *\n"
    );
    if is_static {
        text.push_str(&format!(
            "# One static program serves every release of the system, and OpenWrt as well; it links no C library of Debian.\n\
             {name}: statically-linked-binary *\n"
        ));
    }
    text
}
