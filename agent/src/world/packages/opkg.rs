//! opkg, as OpenWrt has it up to 24.10.
//!
//! By name it installs and downloads the newest version that its feeds offer, and no other. So an exact version is
//! fulfilled where it is just that one; an earlier one is saved for undo from the feed that still lists it.

use std::path::Path;

use jos_runtime::world::{PackageChange, PackageWish, Packages, Ran};

use super::{LONG, SHORT, ask, new_file, own_program, run, way_back};

mod feeds;

/// What is downloaded before the act, and used by it. In memory, and in a folder that root alone can make.
const CACHE: &str = "/var/run/jos-opkg";

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

/// The versions that the feeds offer, as `opkg info` lists them: not in order.
fn read_offers(text: &str) -> Vec<String> {
    let feed = |p: &&str| p.lines().any(|l| l.starts_with("Filename:"));
    let offers = text.split("\n\n").filter(feed);
    offers.filter_map(|p| field(p, "Version", |_| true)).collect()
}

/// What opkg would install of this name: the newest of what the feeds offer, by its own comparison.
fn offered(name: &str) -> Result<Option<String>, String> {
    let mut newest: Option<String> = None;
    for offer in read_offers(&ask(&["opkg", "info", name], SHORT)?) {
        let newer = match &newest {
            Some(newest) => run(&["opkg", "compare-versions", &offer, ">>", newest], SHORT)?.ok(),
            None => true,
        };
        if newer {
            newest = Some(offer);
        }
    }
    Ok(newest)
}

/// Makes the folder for downloads.
fn cache() -> Result<(), String> {
    use std::os::unix::fs::DirBuilderExt;
    let there = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(CACHE);
    there.map_err(|e| format!("{CACHE}: {e}"))
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
                    "opkg installs the newest that its feeds offer: {name} {offer}, not {version}"
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
        let listed = feeds::listed(name, version)?;
        Ok(listed.into_iter().map(|l| l.address).collect())
    }

    fn can_save(&self, name: &str, version: &str) -> bool {
        feeds::listed(name, version).is_ok_and(|l| !l.is_empty())
    }

    fn save(&self, name: &str, version: &str, folder: &Path) -> Result<String, String> {
        new_file(folder, || feeds::save(name, version, folder))
    }

    fn refresh(&self) -> Result<(), String> {
        ask(&["opkg", "update"], LONG).map(drop)
    }

    fn download(&self, wish: &PackageWish) -> Result<(), String> {
        if wish.absent {
            return Ok(());
        }
        // Without a folder of its own opkg leaves the files in its working directory, for ever.
        cache()?;
        let argv = [
            "opkg",
            "install",
            "--force-downgrade",
            "--download-only",
            "--cache",
            CACHE,
            &wish.name,
        ];
        ask(&argv, LONG).map(drop)
    }

    fn act(&self, wish: &PackageWish) -> Result<Ran, String> {
        if wish.absent {
            return run(&["opkg", "remove", &wish.name], LONG);
        }
        cache()?;
        let ran = run(
            &["opkg", "install", "--force-downgrade", "--cache", CACHE, &wish.name],
            LONG,
        );
        let _ = std::fs::remove_dir_all(CACHE);
        ran
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
    fn every_version_that_feeds_offer_is_read_and_the_installed_one_alone_is_none() {
        // opkg 38eccbb, with a feed that lists two versions and one installed from elsewhere.
        let text = "Package: hello\nVersion: 1.0-r1\nStatus: install user installed\nInstalled-Time: 1795333690\n\n\
            Package: hello\nVersion: 1.1-r1\nStatus: unknown ok not-installed\nFilename: hello_1.1-r1_all.ipk\n\n\
            Package: hello\nVersion: 1.2-r1\nStatus: unknown ok not-installed\nFilename: hello_1.2-r1_all.ipk\n\n";
        assert_eq!(read_offers(text), ["1.1-r1", "1.2-r1"]);
        assert_eq!(read_installed(text).as_deref(), Some("1.0-r1"));
        assert_eq!(
            read_offers(&text[..text.find("\n\n").expect("a blank line")]),
            Vec::<String>::new()
        );
    }
}
