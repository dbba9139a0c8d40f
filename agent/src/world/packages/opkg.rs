//! opkg, as OpenWrt has it up to 24.10.
//!
//! It knows one version of a package: what its feed offers. So an exact version is fulfilled where the feed has just
//! that one, and an earlier version can be saved where the feed still offers it.

use std::path::Path;

use jos_runtime::world::{PackageChange, PackageWish, Packages, Ran};

use super::{LONG, SHORT, ask, new_file, own_program, run, way_back};

pub(super) struct Opkg;

/// The value of a field in `opkg status` or `opkg info`; of several paragraphs the one that `keep` likes, else the first.
fn field(text: &str, name: &str, keep: impl Fn(&str) -> bool) -> Option<String> {
    let paragraphs: Vec<&str> = text.split("\n\n").filter(|p| p.contains("Package:")).collect();
    let paragraph = paragraphs.iter().find(|p| keep(p)).or(paragraphs.first())?;
    let value = paragraph
        .lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// `Status: install user installed`: wanted, flags, and how it is.
fn read_installed(text: &str) -> Option<String> {
    let here = |p: &str| {
        let status = p.lines().find_map(|l| l.strip_prefix("Status:"));
        status.is_some_and(|s| s.split_whitespace().nth(2) == Some("installed"))
    };
    let there = text.split("\n\n").any(here);
    field(text, "Version", here).filter(|_| there)
}

/// `Installing NAME (VERSION) to root...`, `Upgrading NAME on root from OLD to NEW...`, `Downgrading …`,
/// `Removing package NAME from root...`: what `opkg --noaction` says it would do.
fn read_preview(text: &str) -> Vec<PackageChange> {
    let mut found = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.trim_end_matches('.').split(' ').collect();
        let (name, before, after) = match words[..] {
            ["Installing", name, version, "to", _] => (name, None, Some(version.trim_matches(['(', ')']))),
            ["Upgrading" | "Downgrading", name, "on", _, "from", old, "to", new] => (name, Some(old), Some(new)),
            ["Removing", "package", name, "from", _] => (name, None, None),
            _ => continue,
        };
        found.push(PackageChange {
            name: name.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
            ..PackageChange::default()
        });
    }
    found
}

fn status(name: &str) -> Result<String, String> {
    ask(&["opkg", "status", name], SHORT)
}

/// What the feeds offer.
fn offered(name: &str) -> Result<Option<String>, String> {
    let text = ask(&["opkg", "info", name], SHORT)?;
    let feed = |p: &str| p.lines().any(|l| l.starts_with("Filename:"));
    Ok(field(&text, "Version", feed))
}

impl Packages for Opkg {
    fn manager(&self) -> &'static str {
        "opkg"
    }

    fn own(&self) -> Option<String> {
        let text = ask(&["opkg", "search", &own_program()?], SHORT).ok()?;
        text.lines().find_map(|l| Some(l.split_once(" - ")?.0.to_owned()))
    }

    fn installed(&self, name: &str) -> Result<Option<String>, String> {
        Ok(read_installed(&status(name)?))
    }

    fn preview(&self, wish: &PackageWish) -> Result<Vec<PackageChange>, String> {
        let name = wish.name.as_str();
        let text = if wish.absent {
            ask(&["opkg", "remove", "--noaction", name], SHORT)?
        } else {
            let offer = offered(name)?.ok_or_else(|| format!("no feed of opkg offers a package {name}"))?;
            if let Some(version) = wish.version.as_ref().filter(|v| **v != offer) {
                return Err(format!(
                    "opkg installs what its feed offers: {name} {offer}, not {version}"
                ));
            }
            ask(&["opkg", "install", "--noaction", "--force-downgrade", name], SHORT)?
        };
        let mut changes = read_preview(&text);
        if !changes.iter().any(|c| c.name == name) {
            return Err(format!("opkg would do nothing about {name}: {}", text.trim()));
        }
        for change in &mut changes {
            let text = status(&change.name)?;
            change.before = read_installed(&text);
            change.auto = field(&text, "Auto-Installed", |_| true).as_deref() == Some("yes");
        }
        Ok(changes)
    }

    fn origins(&self, name: &str, version: &str) -> Result<Vec<String>, String> {
        // opkg does not say which feed has a package: the feeds' addresses are all that it is set up with.
        if offered(name)?.as_deref() != Some(version) {
            return Ok(Vec::new());
        }
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let text = read("/etc/opkg/distfeeds.conf") + "\n" + &read("/etc/opkg/customfeeds.conf");
        Ok(read_feeds(&text))
    }

    fn can_save(&self, name: &str, version: &str) -> bool {
        offered(name).is_ok_and(|o| o.as_deref() == Some(version))
    }

    fn save(&self, name: &str, version: &str, folder: &Path) -> Result<String, String> {
        if !self.can_save(name, version) {
            return Err(format!("no feed offers {name} {version} any more"));
        }
        // opkg downloads into its working directory.
        let place = folder.display().to_string();
        let script = ["/usr/bin/env", "-C", &place, "opkg", "download", name];
        new_file(folder, || ask(&script, LONG).map(drop))
    }

    fn refresh(&self) -> Result<(), String> {
        ask(&["opkg", "update"], LONG).map(drop)
    }

    fn download(&self, wish: &PackageWish) -> Result<(), String> {
        if wish.absent {
            return Ok(());
        }
        ask(&["opkg", "install", "--download-only", &wish.name], LONG).map(drop)
    }

    fn act(&self, wish: &PackageWish) -> Result<Ran, String> {
        if wish.absent {
            run(&["opkg", "remove", &wish.name], LONG)
        } else {
            run(&["opkg", "install", "--force-downgrade", &wish.name], LONG)
        }
    }

    fn back(&self, changes: &[PackageChange], folder: &Path) -> Result<(), String> {
        let back = way_back(changes, folder, |name| self.installed(name))?;
        for file in &back.files {
            ask(
                &["opkg", "install", "--force-downgrade", "--force-reinstall", file],
                LONG,
            )?;
        }
        if !back.gone.is_empty() {
            let mut argv = vec!["opkg", "remove", "--force-removal-of-dependent-packages"];
            argv.extend(back.gone.iter().map(String::as_str));
            ask(&argv, LONG)?;
        }
        Ok(())
    }
}

/// `src/gz NAME ADDRESS`.
fn read_feeds(text: &str) -> Vec<String> {
    let feed = |line: &str| {
        let mut words = line.split_whitespace();
        let kind = words.next()?;
        (kind.starts_with("src")).then(|| words.nth(1).map(str::to_owned))?
    };
    text.lines().filter_map(feed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opkg_has_is_read() {
        let text = "Package: dropbear\nVersion: 2022.82-5\nDepends: libc\nStatus: install user installed\n\
            Architecture: mipsel_24kc\nConffiles:\n /etc/config/dropbear 0\nInstalled-Time: 1700000000\n\n";
        assert_eq!(read_installed(text).as_deref(), Some("2022.82-5"));
        assert_eq!(
            read_installed(&text.replace("installed\nArch", "not-installed\nArch")),
            None
        );
        assert_eq!(read_installed(""), None);
        let auto = "Package: libx\nVersion: 1\nStatus: install ok installed\nAuto-Installed: yes\n";
        assert_eq!(field(auto, "Auto-Installed", |_| true).as_deref(), Some("yes"));
    }

    #[test]
    fn what_opkg_would_do_is_read() {
        let text = "Installing nano (7.2-1) to root...\nUpgrading libx on root from 1.0-1 to 1.1-1...\n\
            Removing package old from root...\nConfiguring nano.\n";
        let read: Vec<_> = read_preview(text)
            .into_iter()
            .map(|c| (c.name, c.before, c.after))
            .collect();
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(
            read,
            [
                ("nano".into(), None, some("7.2-1")),
                ("libx".into(), some("1.0-1"), some("1.1-1")),
                ("old".into(), None, None),
            ]
        );
    }

    #[test]
    fn the_feeds_are_read() {
        let text =
            "src/gz base https://downloads.example/base\n# src/gz off https://off.example\nsrc/gz own http://f/o\n";
        assert_eq!(read_feeds(text), ["https://downloads.example/base", "http://f/o"]);
    }
}
