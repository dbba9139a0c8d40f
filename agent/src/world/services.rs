//! The init systems, as the plane sees them: what a service's state is, and bringing something about.

use std::path::Path;
use std::time::Duration;

use jos_runtime::world::{Invocation, Processes, Ran, ServiceCommand, ServiceState, Services};

use super::processes::System;

/// A service that takes longer to start or stop is treated as one that does not.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The init system of this machine.
pub(crate) fn detect() -> Box<dyn Services> {
    // sd_booted(3): this directory exists exactly where systemd is the init system.
    if Path::new("/run/systemd/system").is_dir() {
        let user = !nix::unistd::geteuid().is_root();
        return Box::new(Systemd { user });
    }
    if Path::new("/sbin/procd").exists() && Path::new("/etc/rc.common").exists() {
        return Box::new(Procd);
    }
    if cfg!(target_os = "macos") {
        return Box::new(Launchd {
            root: nix::unistd::geteuid().is_root(),
        });
    }
    Box::new(Nothing)
}

fn run(argv: &[&str]) -> Result<Ran, String> {
    let argv = argv.iter().map(|s| (*s).to_owned()).collect();
    System.run(&Invocation {
        argv,
        env: environment(),
        timeout: TIMEOUT,
    })
}

/// A user's own service manager is found by this.
fn environment() -> Vec<(String, String)> {
    let keep = ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "HOME"];
    keep.iter()
        .filter_map(|k| Some(((*k).to_owned(), std::env::var(k).ok()?)))
        .collect()
}

/// Runs, and takes anything but exit code 0 for an error in the program's own words.
fn must(argv: &[&str]) -> Result<(), String> {
    let ran = run(argv)?;
    if ran.ok() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&ran.output);
    let said = output.lines().rfind(|l| !l.trim().is_empty()).unwrap_or_default();
    Err(format!(
        "`{}` ended with {}: {}",
        argv.join(" "),
        ran.ending(),
        said.trim()
    ))
}

/// systemctl(1).
struct Systemd {
    user: bool,
}

impl Systemd {
    fn argv<'a>(&self, rest: &[&'a str]) -> Vec<&'a str> {
        let mut argv = vec!["systemctl"];
        if self.user {
            argv.push("--user");
        }
        argv.push("--no-ask-password");
        argv.extend_from_slice(rest);
        argv
    }
}

impl Services for Systemd {
    fn init(&self) -> &'static str {
        "systemd"
    }

    fn state(&self, service: &str) -> Result<ServiceState, String> {
        let properties = "--property=LoadState,UnitFileState,ActiveState";
        let ran = run(&self.argv(&["show", properties, "--", service]))?;
        if !ran.ok() {
            return Err(format!("systemctl show ended with {}", ran.ending()));
        }
        let text = String::from_utf8_lossy(&ran.output).into_owned();
        let value = |key: &str| {
            text.lines()
                .find_map(|l| l.strip_prefix(key)?.strip_prefix('='))
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        Ok(ServiceState {
            known: value("LoadState") != "not-found",
            // `static`, `indirect` and `generated` units are started by others; there is nothing to enable.
            enabled: !matches!(
                value("UnitFileState").as_str(),
                "disabled" | "masked" | "" | "bad" | "enabled-runtime"
            ),
            active: matches!(
                value("ActiveState").as_str(),
                "active" | "activating" | "reloading" | "refreshing"
            ),
        })
    }

    fn command(&self, service: &str, command: ServiceCommand) -> Result<(), String> {
        let verb = match command {
            ServiceCommand::Reload => "reload-or-restart",
            other => other.word(),
        };
        must(&self.argv(&[verb, "--", service]))
    }

    fn refresh(&self) -> Result<(), String> {
        must(&self.argv(&["daemon-reload"]))
    }
}

/// `/etc/init.d/NAME` under OpenWrt's rc.common. The caller's names have no slash, so the path stays there.
struct Procd;

impl Services for Procd {
    fn init(&self) -> &'static str {
        "procd"
    }

    fn state(&self, service: &str) -> Result<ServiceState, String> {
        let script = format!("/etc/init.d/{service}");
        if !Path::new(&script).exists() {
            return Ok(ServiceState::default());
        }
        // `running` asks procd and is false for scripts that start no daemon; `enabled` looks at the rc.d links.
        let (enabled, active) = (run(&[&script, "enabled"])?.ok(), run(&[&script, "running"])?.ok());
        Ok(ServiceState {
            known: true,
            enabled,
            active,
        })
    }

    fn command(&self, service: &str, command: ServiceCommand) -> Result<(), String> {
        let script = format!("/etc/init.d/{service}");
        if !Path::new(&script).exists() {
            return Err(format!("{script} does not exist"));
        }
        must(&[&script, command.word()])
    }

    fn refresh(&self) -> Result<(), String> {
        Ok(())
    }
}

/// launchctl(1), by service target.
struct Launchd {
    root: bool,
}

impl Launchd {
    fn domain(&self) -> String {
        if self.root {
            "system".into()
        } else {
            format!("gui/{}", nix::unistd::geteuid())
        }
    }

    fn plist(&self, service: &str) -> Option<String> {
        let home = std::env::var("HOME").unwrap_or_default();
        let own = format!("{home}/Library/LaunchAgents/{service}.plist");
        let all = [
            format!("/Library/LaunchDaemons/{service}.plist"),
            format!("/System/Library/LaunchDaemons/{service}.plist"),
        ];
        let candidates = if self.root {
            &all[..]
        } else {
            std::slice::from_ref(&own)
        };
        candidates.iter().find(|p| Path::new(p.as_str()).exists()).cloned()
    }
}

impl Services for Launchd {
    fn init(&self) -> &'static str {
        "launchd"
    }

    fn state(&self, service: &str) -> Result<ServiceState, String> {
        let target = format!("{}/{service}", self.domain());
        let print = run(&["launchctl", "print", &target])?;
        let text = String::from_utf8_lossy(&print.output).into_owned();
        let disabled = run(&["launchctl", "print-disabled", &self.domain()])?;
        let disabled = String::from_utf8_lossy(&disabled.output).into_owned();
        let off = disabled
            .lines()
            .any(|l| l.contains(&format!("\"{service}\"")) && (l.contains("=> disabled") || l.contains("=> true")));
        let known = print.ok() || self.plist(service).is_some();
        Ok(ServiceState {
            known,
            enabled: known && !off,
            active: print.ok() && text.lines().any(|l| l.trim() == "state = running"),
        })
    }

    fn command(&self, service: &str, command: ServiceCommand) -> Result<(), String> {
        let domain = self.domain();
        let target = format!("{domain}/{service}");
        let loaded = || run(&["launchctl", "print", &target]).is_ok_and(|r| r.ok());
        match command {
            ServiceCommand::Enable => must(&["launchctl", "enable", &target]),
            ServiceCommand::Disable => must(&["launchctl", "disable", &target]),
            ServiceCommand::Stop if !loaded() => Ok(()),
            ServiceCommand::Stop => must(&["launchctl", "bootout", &target]),
            ServiceCommand::Start | ServiceCommand::Restart | ServiceCommand::Reload => {
                if !loaded() {
                    let plist = self.plist(service).ok_or_else(|| format!("no plist for {service}"))?;
                    must(&["launchctl", "bootstrap", &domain, &plist])?;
                }
                let kill = command != ServiceCommand::Start;
                let argv: &[&str] = if kill {
                    &["launchctl", "kickstart", "-k", &target]
                } else {
                    &["launchctl", "kickstart", &target]
                };
                must(argv)
            }
        }
    }

    fn refresh(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A machine whose init system jos does not know, as a container.
struct Nothing;

impl Services for Nothing {
    fn init(&self) -> &'static str {
        "none"
    }
    fn state(&self, _: &str) -> Result<ServiceState, String> {
        Err("no init system that jos knows (systemd, procd, launchd) runs here".into())
    }
    fn command(&self, service: &str, _: ServiceCommand) -> Result<(), String> {
        self.state(service).map(drop)
    }
    fn refresh(&self) -> Result<(), String> {
        Ok(())
    }
}
