//! apk-tools: Alpine, and OpenWrt from 25.12 on.
//!
//! What was asked for by name stands in `/etc/apk/world`, and apk makes the system what that file says: the file as it
//! was is part of the way back.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use jos_runtime::world::{PackageChange, PackageWish, Packages, Ran};

use super::{LONG, SHORT, ask, complaint, new_file, own_program, run, way_back};

const WORLD: &str = "/etc/apk/world";
/// Where `apk fetch` puts what it brings, which may be more than was asked for: in memory, and made by root alone.
const SCRATCH: &str = "/var/run/jos-apk";

pub(super) struct Apk;

/// `(1/2) Installing NAME (VERSION)`, `Upgrading NAME (OLD -> NEW)`, `Downgrading …`, `Purging NAME (VERSION)`: what
/// `apk --simulate` says it would do. A name may carry the tag of its repository, `NAME@TAG`.
fn read_preview(text: &str) -> Vec<PackageChange> {
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((_, rest)) = line.trim_start().split_once(") ") else {
            continue;
        };
        let mut words = rest.splitn(3, ' ');
        let (Some(verb), Some(name), Some(versions)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let versions = versions.trim().trim_matches(['(', ')']);
        let (before, after) = match (verb, versions.split_once(" -> ")) {
            ("Installing", None) => (None, Some(versions)),
            ("Purging", None) => (Some(versions), None),
            ("Reinstalling" | "Replacing", None) => (Some(versions), Some(versions)),
            ("Upgrading" | "Downgrading" | "Replacing", Some((old, new))) => (Some(old), Some(new)),
            _ => continue,
        };
        found.push(PackageChange {
            name: name.split('@').next().unwrap_or_default().to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
            ..PackageChange::default()
        });
    }
    found
}

/// `NAME-VERSION-rN`, as `apk info -v` writes a package.
fn read_version(text: &str, name: &str) -> Option<String> {
    let line = |l: &str| {
        let rest = l.trim().strip_prefix(name)?.strip_prefix('-')?;
        let version = rest.split_whitespace().next()?;
        version
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| version.to_owned())
    };
    text.lines().find_map(line)
}

fn in_world(world: &str, name: &str) -> bool {
    world
        .split_whitespace()
        .any(|w| w.split(['=', '<', '>', '~', '@']).next() == Some(name))
}

fn pinned(wish: &PackageWish) -> String {
    match &wish.version {
        Some(version) => format!("{}={version}", wish.name),
        None => wish.name.clone(),
    }
}

fn words<'a>(wish: &PackageWish, pin: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut argv = vec!["apk", if wish.absent { "del" } else { "add" }, "--no-interactive"];
    argv.extend(more);
    argv.push(pin);
    argv
}

impl Packages for Apk {
    fn manager(&self) -> &'static str {
        "apk"
    }

    fn own(&self) -> Option<String> {
        // `PATH is owned by NAME-VERSION`.
        let text = ask(&["apk", "info", "--who-owns", &own_program()?], SHORT).ok()?;
        let full = text.trim().rsplit(' ').next()?;
        let mut parts = full.rsplitn(3, '-');
        let (_, _, name) = (parts.next()?, parts.next()?, parts.next()?);
        Some(name.to_owned())
    }

    fn installed(&self, name: &str) -> Result<Option<String>, String> {
        let argv = ["apk", "info", "-e", "-v", name];
        let ran = run(&argv, SHORT)?;
        match ran.code {
            Some(0) => Ok(read_version(&String::from_utf8_lossy(&ran.output), name)),
            Some(1) => Ok(None),
            _ => Err(complaint(&argv, &ran)),
        }
    }

    fn preview(&self, wish: &PackageWish) -> Result<Vec<PackageChange>, String> {
        let pin = pinned(wish);
        let text = ask(&words(wish, &pin, &["--simulate"]), SHORT)?;
        let mut changes = read_preview(&text);
        if !changes.iter().any(|c| c.name == wish.name) {
            return Err(format!("apk would do nothing about {}: {}", wish.name, text.trim()));
        }
        let world = std::fs::read_to_string(WORLD).map_err(|e| format!("{WORLD}: {e}"))?;
        for change in &mut changes {
            change.auto = change.before.is_some() && !in_world(&world, &change.name);
        }
        Ok(changes)
    }

    fn origins(&self, name: &str, version: &str) -> Result<Vec<String>, String> {
        let text = ask(&["apk", "policy", name], SHORT)?;
        Ok(read_policy(&text, version))
    }

    fn can_save(&self, name: &str, version: &str) -> bool {
        self.origins(name, version).is_ok_and(|o| !o.is_empty())
    }

    fn save(&self, name: &str, version: &str, folder: &Path) -> Result<String, String> {
        let scratch = |e: std::io::Error| format!("{SCRATCH}: {e}");
        let _ = std::fs::remove_dir_all(SCRATCH);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(SCRATCH)
            .map_err(scratch)?;
        let wanted = format!("{name}-{version}.apk");
        let file = Path::new(SCRATCH).join(&wanted);
        let saved = new_file(folder, || {
            ask(&["apk", "fetch", "--output", SCRATCH, name], LONG)?;
            if !file.exists() {
                // By its name apk fetches the newest; another version it only finds along with all that it depends on.
                let pin = format!("{name}={version}");
                ask(&["apk", "fetch", "--recursive", "--output", SCRATCH, &pin], LONG)?;
            }
            let copied = std::fs::copy(&file, folder.join(&wanted));
            copied.map(drop).map_err(|e| format!("{}: {e}", file.display()))
        });
        let _ = std::fs::remove_dir_all(SCRATCH);
        saved
    }

    fn refresh(&self) -> Result<(), String> {
        ask(&["apk", "update"], LONG).map(drop)
    }

    fn download(&self, _: &PackageWish) -> Result<(), String> {
        // apk fetches everything before it changes anything.
        Ok(())
    }

    fn act(&self, wish: &PackageWish) -> Result<Ran, String> {
        run(&words(wish, &pinned(wish), &[]), LONG)
    }

    fn back(&self, changes: &[PackageChange], folder: &Path) -> Result<(), String> {
        let back = way_back(changes, folder, |name| self.installed(name))?;
        for (verb, names) in [("add", &back.files), ("del", &back.gone)] {
            if !names.is_empty() {
                let mut argv = vec!["apk", verb, "--no-interactive"];
                argv.extend(names.iter().map(String::as_str));
                ask(&argv, LONG)?;
            }
        }
        Ok(())
    }
}

/// `apk policy NAME`: a line `  VERSION:` for each version, its repositories below it, deeper.
fn read_policy(text: &str, version: &str) -> Vec<String> {
    let (mut found, mut inside) = (Vec::new(), false);
    for line in text.lines() {
        let word = line.trim();
        if let Some(of) = word.strip_suffix(':').filter(|_| !word.contains("://")) {
            inside = of == version;
        } else if inside && word.contains('/') && !word.starts_with("lib/apk/db") {
            found.extend(word.rsplit(' ').next().map(str::to_owned));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apk_would_do_is_read() {
        let text = "( 1/10) Installing brotli-libs (1.0.9-r5)\n(2/3) Upgrading busybox (1.31.1-r9 -> 1.31.1-r10)\n\
            (3/3) Downgrading nano@edge (7.2-r1 -> 7.0-r0)\n(1/1) Purging curl (7.78.0-r0)\n\
            Executing busybox-1.31.1-r10.trigger\nOK: 12 MiB in 30 packages\n";
        let read: Vec<_> = read_preview(text)
            .into_iter()
            .map(|c| (c.name, c.before, c.after))
            .collect();
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(
            read,
            [
                ("brotli-libs".into(), None, some("1.0.9-r5")),
                ("busybox".into(), some("1.31.1-r9"), some("1.31.1-r10")),
                ("nano".into(), some("7.2-r1"), some("7.0-r0")),
                ("curl".into(), some("7.78.0-r0"), None),
            ]
        );
    }

    #[test]
    fn versions_world_and_policy_are_read() {
        assert_eq!(read_version("curl-7.78.0-r0\n", "curl").as_deref(), Some("7.78.0-r0"));
        assert_eq!(read_version("curl-dev-7.78.0-r0\n", "curl"), None);
        assert!(in_world("alpine-base\ncurl=7.78.0-r0\nnano@edge\n", "curl"));
        assert!(in_world("nano@edge\n", "nano") && !in_world("curl-dev\n", "curl"));
        let text = "curl policy:\n  7.78.0-r0:\n    lib/apk/db/installed\n    https://dl.example/main\n  7.77.0-r0:\n    https://old.example/main\n";
        assert_eq!(read_policy(text, "7.78.0-r0"), ["https://dl.example/main"]);
        assert_eq!(read_policy(text, "1"), Vec::<String>::new());
    }
}
