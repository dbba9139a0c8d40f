//! Our own package in a root that is not running: its files, its place in dpkg's database, its user, its units.
//!
//! What its postinst does on a device is done here without running it, so no program of the device's CPU is needed. dpkg
//! finds the package installed and configured, and upgrades it as any other.

use super::ImageError;
use super::accounts::{self, Account};
use super::layer::{Content, Item, Kind, Layer};
use crate::bake::BakeError;
use crate::formats::hash::md5;
use crate::formats::{DebPackage, EntryKind};

/// Where systemd-helper of Debian notes which links a package made.
const NOTED: &str = "var/lib/systemd/deb-systemd-helper-enabled";

/// Puts the package in.
pub(super) fn install(layer: &mut Layer, package: &DebPackage) -> Result<(), ImageError> {
    let mut units = Vec::new();
    for entry in package.tree.entries() {
        let kind = match &entry.kind {
            EntryKind::Dir => Kind::Dir,
            EntryKind::File(bytes) => Kind::File(Content::Bytes(bytes.clone())),
            EntryKind::Symlink(target) => Kind::Link(target.clone()),
        };
        let (mode, uid, gid) = (entry.mode, entry.uid, entry.gid);
        layer.put(&entry.path, Item { mode, uid, gid, kind });
    }
    register(layer, package)?;
    accounts::add(
        layer,
        &Account {
            name: "jos",
            comment: "jos network half",
            home: "/nonexistent",
            shell: "/usr/sbin/nologin",
            first: 100,
        },
    )?;
    // The agent's own two units, which postinst would enable; the others are the signed state's to enable.
    let own = package.scripts.postinst.as_deref().unwrap_or_default();
    for entry in package.tree.entries() {
        let Some(name) = entry.path.strip_prefix("usr/lib/systemd/system/") else {
            continue;
        };
        if let EntryKind::File(text) = &entry.kind
            && own.contains(&format!("'{name}'"))
            && own
                .lines()
                .any(|l| l.starts_with("\tfor unit in") && l.contains(&format!("'{name}'")))
        {
            units.push((name.to_owned(), String::from_utf8_lossy(text).into_owned()));
        }
    }
    for (name, text) in units {
        enable(layer, &name, &text);
    }
    Ok(())
}

/// dpkg(1)'s database: the stanza in `status`, and what it keeps of each package in `info`.
fn register(layer: &mut Layer, package: &DebPackage) -> Result<(), ImageError> {
    let name = &package.control.package;
    let mut stanza = package.stanza().map_err(|source| BakeError::Format {
        target: name.clone(),
        source,
    })?;
    let odd = |e: crate::formats::FormatError| ImageError::Unfit(e.to_string());
    stanza
        .insert_before("Version", "Status", "install ok installed")
        .map_err(odd)?;
    let mut conffiles = String::new();
    let mut sums = String::new();
    let mut list = "/.\n".to_owned();
    for entry in package.tree.entries() {
        list.push_str(&format!("/{}\n", entry.path));
        if let EntryKind::File(bytes) = &entry.kind {
            if entry.conffile {
                conffiles.push_str(&format!(" /{} {}\n", entry.path, md5(bytes)));
            } else {
                sums.push_str(&format!("{}  {}\n", md5(bytes), entry.path));
            }
        }
    }
    let mut text = stanza.to_string();
    if !conffiles.is_empty() {
        text.push_str(&format!("Conffiles:\n{conffiles}"));
    }
    let status = "var/lib/dpkg/status";
    let before = layer.text(status)?;
    if before.is_empty() {
        return Err(ImageError::Unfit(
            "the base has no /var/lib/dpkg/status: expected a root of Debian".into(),
        ));
    }
    layer.file(status, 0o644, format!("{}\n\n{text}\n", before.trim_end()));
    let names: Vec<String> = package.tree.conffiles();
    let scripts = &package.scripts;
    let info = [
        ("list", Some(list), 0o644),
        ("md5sums", Some(sums), 0o644),
        ("conffiles", (!names.is_empty()).then(|| names.join("\n") + "\n"), 0o644),
        ("preinst", scripts.preinst.clone(), 0o755),
        ("postinst", scripts.postinst.clone(), 0o755),
        ("prerm", scripts.prerm.clone(), 0o755),
        ("postrm", scripts.postrm.clone(), 0o755),
    ];
    for (suffix, text, mode) in info {
        if let Some(text) = text {
            layer.file(&format!("var/lib/dpkg/info/{name}.{suffix}"), mode, text);
        }
    }
    Ok(())
}

/// Enables a unit as `systemctl enable` does, and notes it as deb-systemd-helper does, so that an administrator's own
/// `systemctl disable` survives upgrades.
pub(super) fn enable(layer: &mut Layer, name: &str, text: &str) {
    let mut noted = String::new();
    for line in text.lines() {
        let (folder, targets) = match line.split_once('=') {
            Some(("WantedBy", targets)) => ("wants", targets),
            Some(("RequiredBy", targets)) => ("requires", targets),
            _ => continue,
        };
        for target in targets.split_whitespace() {
            let link = format!("etc/systemd/system/{target}.{folder}/{name}");
            layer.link(&link, &format!("/lib/systemd/system/{name}"));
            noted.push_str(&format!("/{link}\n"));
            layer.file(&format!("{NOTED}/{target}.{folder}/{name}"), 0o644, "");
        }
    }
    if !noted.is_empty() {
        layer.file(&format!("{NOTED}/{name}.dsh-also"), 0o644, noted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Entry, Tree};

    #[test]
    fn dpkg_finds_the_package_installed_and_its_units_are_enabled() {
        let mut layer = Layer::default();
        layer.file(
            "var/lib/dpkg/status",
            0o644,
            "Package: base-files\nStatus: install ok installed\n",
        );
        layer.file(
            "etc/passwd",
            0o644,
            "root:x:0:0::/root:/bin/bash\n_apt:x:100:65534::/:/x\n",
        );
        let mut tree = Tree::new();
        let unit = "[Install]\nWantedBy=multi-user.target\n";
        for name in ["own.service", "brought.service"] {
            let path = format!("usr/lib/systemd/system/{name}");
            tree.insert(Entry::file(path, 0o644, unit)).expect("an entry");
        }
        tree.insert(Entry::file("etc/own.conf", 0o644, "x\n").as_conffile())
            .expect("an entry");
        let mut package = DebPackage {
            tree,
            ..DebPackage::default()
        };
        package.control.package = "own".into();
        package.control.version = "1-1".into();
        package.control.architecture = "amd64".into();
        package.control.maintainer = "A <a@example.org>".into();
        package.control.description.synopsis = "own".into();
        package.scripts.postinst = Some("\tfor unit in 'own.service' 'x.service'; do\n".into());
        install(&mut layer, &package).expect("it goes in");
        let status = layer.text("var/lib/dpkg/status").expect("a text");
        assert!(
            status.contains("\n\nPackage: own\nStatus: install ok installed\nVersion: 1-1\n"),
            "{status}"
        );
        assert!(status.contains("Conffiles:\n /etc/own.conf "), "{status}");
        let wants = "etc/systemd/system/multi-user.target.wants";
        assert!(layer.get(&format!("{wants}/own.service")).is_some());
        assert!(
            layer.get(&format!("{wants}/brought.service")).is_none(),
            "that is the signed state's to enable"
        );
        assert!(layer.text("etc/passwd").expect("a text").contains("jos:x:101:101:"));
    }
}
