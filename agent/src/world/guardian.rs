//! Who sees the agent through its own upgrade: a copy of this program, in the agent's data, run outside of its services.
//!
//! systemd runs it in a unit of its own and, until the upgrade has ended, at every boot: so a machine that loses its power
//! with a program installed that does not run comes back by itself. procd has no such place that a package could not take
//! away: there it is a process in a session of its own, and the agent starts it again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jos_runtime::world::{Clock, Guardian, Invocation, Processes, Ran};
use jos_schemas::layout::TRIAL;
use jos_schemas::{own, unit};

use super::SystemClock;
use super::processes::{PATH, System};
use crate::run::line::Line;

/// The copy, the path of the program that it was made of, and where the hub is, for whoever has to ask it.
const COPY: &str = "guardian";
const PROGRAM: &str = "program";
const HUB: &str = "hub.json";
/// Units that hold at every boot.
const UNITS: &str = "/etc/systemd/system";
const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";
/// For the init system's own answers.
const SHORT: Duration = Duration::from_secs(60);
/// A service of ours is up within this, or is not: as long as systemd gives it, and once more.
const UP: Duration = Duration::from_secs(180);
/// One that ends and is started again so often is not up and will not be.
const RESTARTS: u32 = 5;
/// It stays up for so long with the same process before it counts.
const STAYS: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(500);

/// The guardian of this machine; none where nothing outlives this program.
pub(super) fn detect(line: &Line) -> Option<Box<dyn Guardian>> {
    if !cfg!(target_os = "linux") || !nix::unistd::geteuid().is_root() {
        return None;
    }
    if Path::new("/run/systemd/system").is_dir() {
        return Some(Box::new(Systemd(line.clone())));
    }
    let procd = Path::new("/sbin/procd").exists() && Path::new("/etc/rc.common").exists();
    procd.then(|| Box::new(Procd(line.clone())) as Box<dyn Guardian>)
}

struct Systemd(Line);
struct Procd(Line);

/// The line to the hub as the agent had it that began the upgrade; none where it had none.
pub(crate) fn line_of(folder: &Path, line: &Line) -> Result<bool, String> {
    let file = folder.join(HUB);
    if !file.exists() {
        return Ok(false);
    }
    let bytes = fs::read(&file).map_err(at(&file))?;
    line.lead_on(own::read(&bytes).map_err(|e| format!("{}: {e}", file.display()))?);
    Ok(true)
}

fn at(path: &Path) -> impl Fn(io::Error) -> String + '_ {
    move |e| format!("{}: {e}", path.display())
}

/// Writes a file under another name, and gives it its own when all of it is on the disk.
fn put(path: &Path, mode: u32, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), String> {
    let written = || -> io::Result<()> {
        let new = path.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&new)?;
        fill(&mut file)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        settle(path)
    };
    written().map_err(at(path))
}

/// Makes the name of a file durable.
fn settle(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn prepare(folder: &Path, line: &Line) -> Result<(), String> {
    // By this name the kernel gives the running program's own bytes, also where its file was replaced.
    let own = Path::new("/proc/self/exe");
    let path = std::env::current_exe().map_err(at(own))?;
    put(&folder.join(COPY), 0o700, |file| {
        io::copy(&mut File::open(own)?, file).map(drop)
    })?;
    let path = path.to_str().ok_or("the path of this program is not UTF-8")?;
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    put(&folder.join(PROGRAM), 0o600, |file| file.write_all(path.as_bytes()))?;
    match line.led() {
        Some(lead) => {
            let bytes = own::write(&lead).map_err(|e| e.to_string())?;
            put(&folder.join(HUB), 0o600, |file| file.write_all(&bytes))
        }
        None => Ok(()),
    }
}

fn words(folder: &Path, forward: Option<&str>) -> Result<Vec<String>, String> {
    let text = |path: PathBuf| {
        path.into_os_string()
            .into_string()
            .map_err(|p| format!("{}: not UTF-8", p.display()))
    };
    let mut words = vec![
        text(folder.join(COPY))?,
        "agent".into(),
        "guard".into(),
        text(folder.to_owned())?,
    ];
    if let Some(tag) = forward {
        words.extend(["--forward".to_owned(), tag.to_owned()]);
    }
    Ok(words)
}

fn finish(folder: &Path, within: Duration) -> Result<Ran, String> {
    let file = folder.join(PROGRAM);
    let program = fs::read_to_string(&file).map_err(at(&file))?;
    let folder = folder.to_str().ok_or("the path of the journal is not UTF-8")?;
    let argv = [program.as_str(), "agent", "guard", folder, "--finish"];
    System.run(&Invocation {
        argv: argv.map(str::to_owned).into(),
        env: vec![("LC_ALL".into(), "C".into())],
        timeout: within,
    })
}

fn ask(argv: &[&str]) -> Result<String, String> {
    let ran = System.run(&Invocation {
        argv: argv.iter().map(|s| (*s).to_owned()).collect(),
        env: Vec::new(),
        timeout: SHORT,
    })?;
    let said = String::from_utf8_lossy(&ran.output).trim().to_owned();
    if ran.ok() {
        Ok(said)
    } else {
        Err(format!("`{}` ended with {}: {said}", argv.join(" "), ran.ending()))
    }
}

/// Looks until `look` has given the same process for as long as [`STAYS`]; it gives none while the service is not up.
fn stays_up(service: &str, mut look: impl FnMut() -> Result<Option<String>, String>) -> Result<(), String> {
    let begin = SystemClock.monotonic();
    let mut since = (None, begin);
    loop {
        let (found, now) = (look()?, SystemClock.monotonic());
        if found != since.0 {
            since = (found, now);
        } else if found.is_some() && now.saturating_sub(since.1) >= STAYS {
            return Ok(());
        }
        if now.saturating_sub(begin) >= UP {
            return Err(format!("the service {service} is not up after {} s", UP.as_secs()));
        }
        SystemClock.pause(LOOK);
    }
}

fn unit_paths(name: &str) -> (PathBuf, PathBuf) {
    let file = format!("jos-upgrade-{name}.service");
    (Path::new(UNITS).join(&file), Path::new(WANTS).join(file))
}

fn unit_text(folder: &Path) -> Result<String, String> {
    let trial = folder.join(Path::new(TRIAL).file_name().unwrap_or_default());
    unit::guardian(&words(folder, None)?, &trial.display().to_string()).map_err(|e| e.to_string())
}

impl Guardian for Systemd {
    fn prepare(&self, folder: &Path) -> Result<(), String> {
        prepare(folder, &self.0)
    }

    fn start(&self, folder: &Path, forward: Option<&str>) -> Result<(), String> {
        let words = words(folder, forward)?;
        let mut argv = vec!["systemd-run", "--quiet", "--collect", "--service-type=exec"];
        argv.extend(["--description=The agent's own upgrade", "--"]);
        argv.extend(words.iter().map(String::as_str));
        ask(&argv).map(drop)
    }

    fn stay(&self, name: &str, folder: &Path) -> Result<(), String> {
        let (unit, link) = unit_paths(name);
        let text = unit_text(folder)?;
        put(&unit, 0o644, |file| file.write_all(text.as_bytes()))?;
        fs::create_dir_all(WANTS).map_err(at(Path::new(WANTS)))?;
        match symlink(&unit, &link) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(at(&link)(e)),
            _ => settle(&link).map_err(at(&link)),
        }
    }

    fn leave(&self, name: &str) -> Result<(), String> {
        let (unit, link) = unit_paths(name);
        for path in [&link, &unit] {
            // Where `/etc` is read only, to remove what is not there is an error too.
            if path.symlink_metadata().is_err() {
                continue;
            }
            match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(path)(e)),
                _ => {}
            }
        }
        Ok(())
    }

    fn up(&self, service: &str) -> Result<(), String> {
        let properties = "--property=ActiveState,MainPID,NRestarts";
        let mut first = None;
        stays_up(service, || {
            let said = ask(&["systemctl", "show", properties, "--", service])?;
            let value = |key: &str| said.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default();
            let restarts: u32 = value("NRestarts=").parse().unwrap_or(0);
            // The package's own restart begins to count anew.
            let begun = *first.get_or_insert(restarts);
            if restarts.saturating_sub(begun.min(restarts)) >= RESTARTS {
                return Err(format!("the service {service} ends as often as it is started"));
            }
            // `activating` is also what a service is called that ends and is started again, over and over.
            let up = value("ActiveState=") == "active";
            Ok(up.then(|| value("MainPID=").to_owned()))
        })
    }

    fn finish(&self, folder: &Path, within: Duration) -> Result<Ran, String> {
        finish(folder, within)
    }
}

impl Guardian for Procd {
    fn prepare(&self, folder: &Path) -> Result<(), String> {
        prepare(folder, &self.0)
    }

    fn start(&self, folder: &Path, forward: Option<&str>) -> Result<(), String> {
        let words = words(folder, forward)?;
        // BusyBox' own way out of a process group and a session.
        let mut argv = vec!["start-stop-daemon", "-S", "-b", "-x", words[0].as_str(), "--"];
        argv.extend(words.iter().skip(1).map(String::as_str));
        let ran = System.run(&Invocation {
            argv: argv.iter().map(|s| (*s).to_owned()).collect(),
            env: vec![("PATH".into(), PATH.into())],
            timeout: SHORT,
        })?;
        if ran.ok() {
            Ok(())
        } else {
            Err(format!("start-stop-daemon ended with {}", ran.ending()))
        }
    }

    fn stay(&self, _: &str, _: &Path) -> Result<(), String> {
        Ok(())
    }

    fn leave(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn up(&self, service: &str) -> Result<(), String> {
        let script = format!("/etc/init.d/{service}");
        stays_up(service, || Ok(ask(&[&script, "running"]).ok().map(|_| String::new())))
    }

    fn finish(&self, folder: &Path, within: Duration) -> Result<Ran, String> {
        finish(folder, within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_boot_runs_the_copy_only_while_there_is_a_trial() {
        let text = unit_text(Path::new("/var/lib/jos/a/journal")).unwrap();
        let exec = "\nExecStart=/var/lib/jos/a/journal/guardian agent guard /var/lib/jos/a/journal\n";
        assert!(text.contains(exec), "{text}");
        assert!(
            text.contains("\nConditionPathExists=/var/lib/jos/a/journal/trial.json\n"),
            "{text}"
        );
    }
}
