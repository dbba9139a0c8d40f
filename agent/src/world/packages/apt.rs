//! apt-get(8), dpkg(1), apt-mark(8).

use std::path::Path;
use std::time::{Duration, Instant};

use jos_runtime::world::{Clock as _, PackageChange, PackageWish, Packages, Ran};

use super::{LONG, SHORT, ask, complaint, new_file, own_program, run, saved};
use crate::world::SystemClock;

/// No question is ever asked, configuration that was changed here stays as it is, and somebody else's lock is waited for.
const OPTIONS: &[&str] = &[
    "-y",
    "-q",
    "-o",
    "DPkg::Lock::Timeout=300",
    "-o",
    "Dpkg::Use-Pty=0",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
    "--no-install-recommends",
];
/// So long dpkg's own lock is waited for: apt-get waits by itself, dpkg does not.
const LOCK_WAIT: Duration = Duration::from_secs(300);

pub(super) struct Apt;

/// How dpkg has a package.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Status {
    version: String,
    /// The second letter of `${db:Status-Abbrev}`.
    state: char,
}

impl Status {
    fn installed(&self) -> bool {
        // Installed; or only waiting for triggers of others.
        matches!(self.state, 'i' | 't' | 'W')
    }
    /// Anything on disk but configuration: also what was interrupted.
    fn present(&self) -> bool {
        !matches!(self.state, 'n' | 'c')
    }
}

fn status(name: &str) -> Result<Option<Status>, String> {
    let argv = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}|${Version}\n", "--", name];
    let ran = run(&argv, SHORT)?;
    match ran.code {
        // 1: no such package was ever here.
        Some(1) => Ok(None),
        Some(0) => Ok(read_status(&String::from_utf8_lossy(&ran.output))),
        _ => Err(complaint(&argv, &ran)),
    }
}

/// The best of the lines: a package of several architectures has one each.
fn read_status(text: &str) -> Option<Status> {
    let lines = text.lines().filter_map(|line| {
        let (abbrev, version) = line.split_once('|')?;
        let state = abbrev.chars().nth(1)?;
        let version = version.to_owned();
        Some(Status { version, state })
    });
    let rank = |s: &Status| (s.installed(), s.present());
    lines.max_by_key(rank).filter(|s| s.state != 'n')
}

/// `Inst NAME [OLD] (NEW ORIGIN [ARCH])`, `Remv NAME [OLD]`, `Purg NAME [OLD]`: what `apt-get -s` says it would do.
fn read_preview(text: &str) -> Vec<PackageChange> {
    let mut found: Vec<PackageChange> = Vec::new();
    for line in text.lines() {
        let Some((verb, rest)) = line.split_once(' ') else {
            continue;
        };
        if !matches!(verb, "Inst" | "Remv" | "Purg") {
            continue;
        }
        let name = rest.split(' ').next().unwrap_or_default().to_owned();
        let rest = rest[name.len()..].trim_start();
        let before = rest.strip_prefix('[').and_then(|r| r.split(']').next());
        let after = rest.split_once('(').and_then(|(_, r)| r.split([' ', ')']).next());
        let change = PackageChange {
            before: before.map(str::to_owned),
            after: after.filter(|_| verb == "Inst").map(str::to_owned),
            name,
            ..PackageChange::default()
        };
        // A package that is removed and comes back in another version has two lines.
        match found.iter_mut().find(|c| c.name == change.name) {
            Some(earlier) => {
                earlier.before = earlier.before.take().or(change.before);
                earlier.after = change.after;
            }
            None => found.push(change),
        }
    }
    found
}

fn words(wish: &PackageWish, more: &[&str]) -> Vec<String> {
    let mut argv = vec!["apt-get".to_owned()];
    argv.extend(OPTIONS.iter().map(|s| (*s).to_owned()));
    argv.extend(more.iter().map(|s| (*s).to_owned()));
    if wish.absent {
        argv.extend(["remove".to_owned(), "--".to_owned(), wish.name.clone()]);
    } else {
        let name = match &wish.version {
            Some(version) => format!("{}={version}", wish.name),
            None => wish.name.clone(),
        };
        // A pin is exact, also downwards.
        if wish.version.is_some() {
            argv.push("--allow-downgrades".into());
        }
        argv.extend(["install".to_owned(), "--".to_owned(), name]);
    }
    argv
}

fn as_strs(argv: &[String]) -> Vec<&str> {
    argv.iter().map(String::as_str).collect()
}

fn uris(name: &str, version: &str) -> Result<Vec<String>, String> {
    let pinned = format!("{name}={version}");
    let text = ask(&["apt-get", "-q", "download", "--print-uris", "--", &pinned], SHORT)?;
    let quoted = text.lines().filter_map(|l| l.strip_prefix('\'')?.split('\'').next());
    Ok(quoted.map(str::to_owned).collect())
}

impl Packages for Apt {
    fn manager(&self) -> &'static str {
        "apt"
    }

    fn own(&self) -> Option<String> {
        let program = own_program()?;
        // `NAME: PATH`, or nothing where no package brought it.
        let text = ask(&["dpkg-query", "-S", "--", &program], SHORT).ok()?;
        text.lines()
            .find_map(|l| Some(l.split_once(": ")?.0.split(':').next()?.to_owned()))
    }

    fn installed(&self, name: &str) -> Result<Option<String>, String> {
        Ok(status(name)?.filter(Status::installed).map(|s| s.version))
    }

    fn preview(&self, wish: &PackageWish) -> Result<Vec<PackageChange>, String> {
        // `apt-get install NAME-` would remove NAME.
        if wish.name.ends_with('-') {
            return Err(format!("{:?} is no name of a Debian package", wish.name));
        }
        let argv = words(wish, &["-s"]);
        let mut changes = read_preview(&ask(&as_strs(&argv), SHORT)?);
        // What apt does not know by name it takes for a pattern: then other packages would come.
        if !changes.iter().any(|c| c.name == wish.name) {
            return Err(format!(
                "apt would do nothing about {}: it knows no such package",
                wish.name
            ));
        }
        let mut argv = vec!["apt-mark", "showauto", "--"];
        argv.extend(changes.iter().map(|c| c.name.as_str()));
        let auto = ask(&argv, SHORT)?;
        for change in &mut changes {
            change.auto = auto.lines().any(|l| l == change.name);
            change.remains = change.before.is_none() && status(&change.name)?.is_some_and(|s| s.state == 'c');
        }
        Ok(changes)
    }

    fn origins(&self, name: &str, version: &str) -> Result<Vec<String>, String> {
        uris(name, version)
    }

    fn can_save(&self, name: &str, version: &str) -> bool {
        uris(name, version).is_ok_and(|u| !u.is_empty())
    }

    fn save(&self, name: &str, version: &str, folder: &Path) -> Result<String, String> {
        let (place, pinned) = (folder.display().to_string(), format!("{name}={version}"));
        let download = [
            "env",
            "-C",
            &place,
            "apt-get",
            "-q",
            "-o",
            "APT::Sandbox::User=root",
            "download",
            "--",
            &pinned,
        ];
        let file = new_file(folder, || ask(&download, LONG).map(drop))?;
        let path = folder.join(&file).display().to_string();
        let found = ask(&["dpkg-deb", "-f", &path, "Version"], SHORT)?;
        if found.trim() == version {
            Ok(file)
        } else {
            Err(format!("{file} is version {}, expected {version}", found.trim()))
        }
    }

    fn refresh(&self) -> Result<(), String> {
        ask(&["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "update"], LONG).map(drop)
    }

    fn download(&self, wish: &PackageWish) -> Result<(), String> {
        if wish.absent {
            return Ok(());
        }
        let argv = words(wish, &["--download-only"]);
        ask(&as_strs(&argv), LONG).map(drop)
    }

    fn act(&self, wish: &PackageWish) -> Result<Ran, String> {
        run(&as_strs(&words(wish, &[])), LONG)
    }

    fn back(&self, changes: &[PackageChange], folder: &Path) -> Result<(), String> {
        settle()?;
        let files = files_back(changes, folder)?;
        let mut wanted = files.clone();
        for change in changes.iter().filter(|c| c.before.is_none()) {
            if status(&change.name)?.is_some_and(|now| now.present()) {
                wanted.push(format!("{}-", change.name));
            }
        }
        if !wanted.is_empty() {
            let mut argv = vec!["apt-get"];
            argv.extend(OPTIONS);
            argv.extend(["-o", "APT::Sandbox::User=root", "--allow-downgrades", "install", "--"]);
            argv.extend(wanted.iter().map(String::as_str));
            let ran = ask(&argv, LONG);
            // What dpkg was killed in the middle of has its old version and is not installed: for apt there is nothing to
            // do, or no way to do it.
            let left = files_back(changes, folder)?;
            if left.is_empty() {
                ran?;
            } else {
                let mut argv = vec!["dpkg", "--force-confdef", "--force-confold", "--install", "--"];
                argv.extend(left.iter().map(String::as_str));
                ask(&argv, LONG).map_err(|e| ran.err().map_or(e.clone(), |first| format!("{first}; {e}")))?;
            }
        }
        self.forget(changes)?;
        marks(changes)?;
        for change in changes {
            let now = self.installed(&change.name)?;
            if now != change.before {
                let show = |v: &Option<String>| v.clone().unwrap_or_else(|| "not installed".into());
                return Err(format!(
                    "{}: {}, expected {}",
                    change.name,
                    show(&now),
                    show(&change.before)
                ));
            }
        }
        Ok(())
    }
}

/// The saved files of what is not as it was before.
fn files_back(changes: &[PackageChange], folder: &Path) -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    for change in changes {
        let Some(before) = &change.before else { continue };
        let right = |now: Status| now.installed() && now.version == *before;
        if !status(&change.name)?.is_some_and(right) {
            files.push(saved(change, before, folder)?);
        }
    }
    Ok(files)
}

impl Apt {
    /// What was never here before leaves no configuration behind.
    fn forget(&self, changes: &[PackageChange]) -> Result<(), String> {
        let mut left = Vec::new();
        for change in changes.iter().filter(|c| c.before.is_none() && !c.remains) {
            if status(&change.name)?.is_some_and(|s| s.state == 'c') {
                left.push(change.name.as_str());
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        let mut argv = vec!["dpkg", "--purge", "--"];
        argv.extend(left);
        ask(&argv, LONG).map(drop)
    }
}

/// Which packages were there for others' sake alone.
fn marks(changes: &[PackageChange]) -> Result<(), String> {
    for (verb, auto) in [("auto", true), ("manual", false)] {
        let names: Vec<&str> = changes
            .iter()
            .filter(|c| c.before.is_some() && c.auto == auto)
            .map(|c| c.name.as_str())
            .collect();
        if !names.is_empty() {
            let mut argv = vec!["apt-mark", verb, "--"];
            argv.extend(names);
            ask(&argv, LONG)?;
        }
    }
    Ok(())
}

/// What was unpacked and not configured when the tool was killed is configured; a script that fails is the next step's
/// affair. The killed tool's children may still be at work: their lock is waited for.
fn settle() -> Result<(), String> {
    let argv = ["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"];
    let until = Instant::now() + LOCK_WAIT;
    loop {
        let ran = run(&argv, LONG)?;
        let said = String::from_utf8_lossy(&ran.output).into_owned();
        let locked = !ran.ok() && said.contains("lock") && said.contains("another process");
        if !locked {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(complaint(&argv, &ran));
        }
        SystemClock.pause(Duration::from_secs(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, before: Option<&str>, after: Option<&str>) -> PackageChange {
        PackageChange {
            name: name.into(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
            ..PackageChange::default()
        }
    }

    #[test]
    fn what_apt_would_do_is_read() {
        let text = "NOTE: This is only a simulation!\nReading package lists...\n\
            Remv old [1.0]\n\
            Inst libx [1:2.0-1] (1:2.1-1 Debian:12.5/stable, Debian-Security:12/stable-security [amd64]) []\n\
            Inst new (3.0+b1 Debian:12.5/stable [all])\n\
            Conf libx (1:2.1-1 Debian:12.5/stable [amd64])\nConf new (3.0+b1 Debian:12.5/stable [all])\n\
            Purg gone [0.1]\n";
        assert_eq!(
            read_preview(text),
            [
                change("old", Some("1.0"), None),
                change("libx", Some("1:2.0-1"), Some("1:2.1-1")),
                change("new", None, Some("3.0+b1")),
                change("gone", Some("0.1"), None),
            ]
        );
    }

    #[test]
    fn how_dpkg_has_a_package_is_read() {
        let state = |text| read_status(text).map(|s| (s.version.clone(), s.installed(), s.present()));
        assert_eq!(state("ii |1.0\n"), Some(("1.0".into(), true, true)));
        assert_eq!(state("rc |1.0\n"), Some(("1.0".into(), false, false)));
        assert_eq!(state("iU |1.0\n"), Some(("1.0".into(), false, true)));
        assert_eq!(state("iF |1.0\n"), Some(("1.0".into(), false, true)));
        assert_eq!(state("un |\n"), None);
        assert_eq!(state("un |\nii |2\n"), Some(("2".into(), true, true)));
    }

    #[test]
    fn no_argument_of_a_state_can_be_an_option() {
        let wish = PackageWish {
            name: "-oX=y".into(),
            version: None,
            absent: false,
        };
        let argv = words(&wish, &[]);
        let end = argv.iter().position(|w| w == "--").unwrap();
        assert_eq!(argv[end + 1..], ["-oX=y"]);
    }
}
