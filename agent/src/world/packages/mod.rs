//! The package managers: apt, opkg and apk, each by its own tool with fixed arguments and without a shell.
//!
//! Owns how each is asked and what its answers mean. What may change was decided by the gate. A package's scripts are
//! code that the repository's owner wrote: granting a package grants them.

mod apk;
mod apt;
mod opkg;

use std::path::Path;
use std::time::Duration;

use jos_runtime::world::{Invocation, PackageChange, PackageWish, Packages, Processes, Ran};

use super::outside;
use super::processes::System;

/// For what only looks.
const SHORT: Duration = Duration::from_secs(120);
/// For what changes something: slow flash, large packages, slow scripts.
const LONG: Duration = Duration::from_secs(1800);

/// The package manager of this machine.
pub(crate) fn detect() -> Box<dyn Packages> {
    let there = |paths: &[&str]| paths.iter().any(|p| Path::new(p).exists());
    if there(&["/usr/bin/apt-get"]) && there(&["/usr/bin/dpkg"]) {
        Box::new(apt::Apt)
    } else if there(&["/bin/opkg", "/usr/bin/opkg"]) {
        Box::new(opkg::Opkg)
    } else if there(&["/sbin/apk", "/usr/bin/apk", "/usr/sbin/apk"]) {
        Box::new(apk::Apk)
    } else {
        Box::new(Nothing)
    }
}

/// Runs a tool that only looks, here; one that changes something, where it may. Its words are in the language that we
/// read.
fn run(argv: &[&str], timeout: Duration) -> Result<Ran, String> {
    let env = [
        ("LC_ALL", "C"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("APT_LISTCHANGES_FRONTEND", "none"),
        ("NEEDRESTART_SUSPEND", "1"),
        ("HOME", "/root"),
    ];
    let invocation = Invocation {
        argv: argv.iter().map(|s| (*s).to_owned()).collect(),
        env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        timeout,
    };
    if timeout == LONG && outside::needed() {
        outside::run(&invocation)
    } else {
        System.run(&invocation)
    }
}

/// Runs a tool and gives what it said; anything but exit code 0 is an error in its own words.
fn ask(argv: &[&str], timeout: Duration) -> Result<String, String> {
    let ran = run(argv, timeout)?;
    let text = String::from_utf8_lossy(&ran.output).into_owned();
    if ran.ok() { Ok(text) } else { Err(complaint(argv, &ran)) }
}

/// What a tool that failed said last, where it says `E:` or `ERROR:` that, or where opkg collected errors the first of them.
fn complaint(argv: &[&str], ran: &Ran) -> String {
    let text = String::from_utf8_lossy(&ran.output).into_owned();
    let said = read_complaint(&text);
    format!("`{}` ended with {}: {said}", argv.join(" "), ran.ending())
}

fn read_complaint(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let marks = ["E: ", "ERROR: ", "dpkg: error", "* "];
    let marked = lines.iter().position(|l| marks.iter().any(|m| l.starts_with(m)));
    match marked {
        // apk says why in the lines below.
        Some(at) if lines[at].ends_with(':') => lines[at..].iter().take(4).copied().collect::<Vec<_>>().join(" "),
        Some(at) => lines[at].trim_start_matches("* ").to_owned(),
        None => lines.last().copied().unwrap_or_default().to_owned(),
    }
}

/// A machine without a package manager that jos knows.
struct Nothing;

impl Nothing {
    fn no<T>() -> Result<T, String> {
        Err("no package manager that jos knows (apt, opkg, apk) is here".into())
    }
}

impl Packages for Nothing {
    fn manager(&self) -> &'static str {
        "none"
    }
    fn own(&self) -> Option<String> {
        None
    }
    fn installed(&self, _: &str) -> Result<Option<String>, String> {
        Self::no()
    }
    fn preview(&self, _: &PackageWish) -> Result<Vec<PackageChange>, String> {
        Self::no()
    }
    fn origins(&self, _: &str, _: &str) -> Result<Vec<String>, String> {
        Self::no()
    }
    fn can_save(&self, _: &str, _: &str) -> bool {
        false
    }
    fn save(&self, _: &str, _: &str, _: &Path) -> Result<String, String> {
        Self::no()
    }
    fn refresh(&self) -> Result<(), String> {
        Self::no()
    }
    fn download(&self, _: &PackageWish) -> Result<(), String> {
        Self::no()
    }
    fn act(&self, _: &PackageWish) -> Result<Ran, String> {
        Self::no()
    }
    fn back(&self, _: &[PackageChange], _: &Path) -> Result<(), String> {
        Self::no()
    }
}

/// The path of this program, for the question which package it came by.
fn own_program() -> Option<String> {
    std::env::current_exe().ok()?.to_str().map(str::to_owned)
}

/// What has to be done so that every package is again as it was.
#[derive(Default)]
struct WayBack {
    /// Saved files, to be installed again.
    files: Vec<String>,
    /// Names of packages that were not there.
    gone: Vec<String>,
}

/// The way back of a manager that installs files and removes names. `installed` says how a package is now.
fn way_back(
    changes: &[PackageChange],
    folder: &Path,
    installed: impl Fn(&str) -> Result<Option<String>, String>,
) -> Result<WayBack, String> {
    let mut back = WayBack::default();
    for change in changes {
        let now = installed(&change.name)?;
        match &change.before {
            None if now.is_some() => back.gone.push(change.name.clone()),
            Some(before) if now.as_ref() != Some(before) => back.files.push(saved(change, before, folder)?),
            _ => {}
        }
    }
    Ok(back)
}

/// The file of the earlier version, which was saved before the act.
fn saved(change: &PackageChange, before: &str, folder: &Path) -> Result<String, String> {
    let file = change.file.as_ref().ok_or_else(|| {
        let name = &change.name;
        format!("{name} {before} was not saved, as the step allowed (`allow_no_undo`)")
    })?;
    Ok(folder.join(file).display().to_string())
}

/// The one file that appeared in `folder` while `make` ran, by name.
fn new_file(folder: &Path, make: impl FnOnce() -> Result<(), String>) -> Result<String, String> {
    let names = || -> Result<std::collections::BTreeSet<String>, String> {
        let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(entries
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .collect())
    };
    let before = names()?;
    make()?;
    let after = names()?;
    let mut new = after.difference(&before);
    let name = new.next().cloned().ok_or("the tool saved no file")?;
    // Durable before anything changes: this file is the way back.
    let file = std::fs::File::open(folder.join(&name)).and_then(|f| f.sync_all());
    file.and_then(|()| std::fs::File::open(folder)?.sync_all())
        .map_err(|e| format!("{name}: {e}"))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::read_complaint;

    #[test]
    fn the_line_that_says_why_is_read_from_each_tool() {
        let opkg = "Unknown package 'broken'.\nCollected errors:\n \
            * pkg_hash_check_unresolved: cannot find dependency is-not-there for broken\n \
            * opkg_install_cmd: Cannot install package broken.\n";
        let why = "pkg_hash_check_unresolved: cannot find dependency is-not-there for broken";
        assert_eq!(read_complaint(opkg), why);
        let apk = "ERROR: unable to select packages:\n  is-not-there (no such package):\n    required by: broken-1.0-r1[is-not-there]\n";
        let why = "ERROR: unable to select packages: is-not-there (no such package): required by: broken-1.0-r1[is-not-there]";
        assert_eq!(read_complaint(apk), why);
        let apt = "Reading package lists...\nE: Unable to locate package nosuch\n";
        assert_eq!(read_complaint(apt), "E: Unable to locate package nosuch");
        assert_eq!(read_complaint("one\ntwo\n\n"), "two");
        assert_eq!(read_complaint(""), "");
    }
}
