//! systemd: a system unit for root, a user unit with linger for an ordinary user.

use std::path::PathBuf;
use std::process::Command;

use jos_schemas::layout::TRIAL;
use jos_schemas::unit;

use super::{Content, Scope, Service, ServiceError, ServiceFile, State, call};

pub(super) fn unit_path(service: &Service<'_>) -> PathBuf {
    let file = format!("{}.service", service.service);
    match service.scope {
        Scope::System => PathBuf::from("/etc/systemd/system").join(file),
        Scope::User => service.owner.home.join(".config/systemd/user").join(file),
    }
}

/// Early recovery: a machine's manager has a moment for it, a login user's has not.
fn recovery(service: &Service<'_>) -> Option<String> {
    (service.scope == Scope::System).then(|| format!("{}.service", unit::recovery_service(service.service)))
}

fn recovery_path(service: &Service<'_>) -> Option<PathBuf> {
    recovery(service).map(|file| PathBuf::from("/etc/systemd/system").join(file))
}

pub(super) fn paths(service: &Service<'_>) -> Vec<PathBuf> {
    std::iter::once(unit_path(service))
        .chain(recovery_path(service))
        .collect()
}

pub(super) fn files(service: &Service<'_>, content: &Content<'_>) -> Result<Vec<ServiceFile>, ServiceError> {
    let command = content.command();
    let exists = |path: &str| service.place.at(path).is_dir();
    let described = unit::Systemd {
        banner: "Written by `jos agent install`; `jos agent uninstall` removes it.",
        description: content.description,
        command: &command,
        scope: if service.scope == Scope::User {
            unit::Scope::User
        } else {
            unit::Scope::System
        },
        user: (service.scope == Scope::System && service.owner.uid != 0).then_some(&service.owner.name),
        policy: content.policy,
        state_dir: content.state_dir,
        // An install declares no node; whoever adds [runtime] adds a drop-in.
        node: None,
        reads: &[content.folder, content.program],
        exists: &exists,
    };
    let file = |path: PathBuf, text: String| ServiceFile {
        path,
        text,
        mode: 0o644,
    };
    let mut files = vec![file(unit_path(service), described.render()?)];
    if let Some(path) = recovery_path(service) {
        let recover = unit::recover(content.program, &content.config());
        let trial = format!("{}/{}/{TRIAL}", content.state_dir, service.name);
        files.push(file(path, described.render_recover(&recover, &trial)?));
    }
    Ok(files)
}

fn unit(service: &Service<'_>) -> String {
    format!("{}.service", service.service)
}

fn systemctl(service: &Service<'_>, arguments: &[&str]) -> Result<String, ServiceError> {
    let mut all = Vec::with_capacity(arguments.len() + 2);
    if service.scope == Scope::User {
        all.push("--user");
    }
    all.push("--no-pager");
    all.extend(arguments);
    call("systemctl", &all)
}

/// Links of a folder that is no running machine, each with where it leads.
fn wants(service: &Service<'_>) -> Vec<(PathBuf, PathBuf)> {
    let own = if service.scope == Scope::User {
        "default.target.wants"
    } else {
        "multi-user.target.wants"
    };
    let link = |path: PathBuf, target: &str| {
        let folder = path.parent().map(|p| p.join(target)).unwrap_or_default();
        let link = folder.join(path.file_name().unwrap_or_default());
        (service.place.at(link), path)
    };
    let recovery = recovery_path(service).map(|path| link(path, "sysinit.target.wants"));
    std::iter::once(link(unit_path(service), own)).chain(recovery).collect()
}

pub(super) fn enable(service: &Service<'_>) -> Result<(), ServiceError> {
    if !service.place.is_live() {
        for (link, target) in wants(service) {
            let other = |e: std::io::Error| ServiceError::Other(format!("{}: {e}", link.display()));
            std::fs::create_dir_all(link.parent().unwrap_or(&link)).map_err(other)?;
            std::os::unix::fs::symlink(target, &link).map_err(other)?;
        }
        return Ok(());
    }
    if service.scope == Scope::User {
        // Without linger the user's manager, and the agent with it, ends at logout.
        call("loginctl", &["enable-linger", &service.owner.name])?;
    }
    systemctl(service, &["daemon-reload"])?;
    if let Some(recovery) = recovery(service) {
        systemctl(service, &["enable", &recovery])?;
    }
    systemctl(service, &["enable", "--now", &unit(service)])?;
    Ok(())
}

pub(super) fn disable(service: &Service<'_>) -> Result<(), ServiceError> {
    if !service.place.is_live() {
        for (link, _) in wants(service) {
            let _ = std::fs::remove_file(link);
        }
        return Ok(());
    }
    // An agent that an earlier release installed has none.
    if let Some(recovery) = recovery(service)
        && recovery_path(service).is_some_and(|path| path.exists())
    {
        systemctl(service, &["disable", &recovery])?;
    }
    if !service.place.at(unit_path(service)).exists() {
        return Ok(());
    }
    systemctl(service, &["disable", "--now", &unit(service)]).map(drop)
}

pub(super) fn forget(service: &Service<'_>) {
    if service.place.is_live() {
        let _ = systemctl(service, &["daemon-reload"]);
        let _ = systemctl(service, &["reset-failed", &unit(service)]);
    }
}

pub(super) fn state(service: &Service<'_>) -> Option<State> {
    let properties = "--property=LoadState,ActiveState,SubState,MainPID,StateChangeTimestamp,UnitFileState,NRestarts";
    let text = systemctl(service, &["show", "--timestamp=unix", properties, &unit(service)])
        .or_else(|_| systemctl(service, &["show", properties, &unit(service)]))
        .ok()?;
    Some(parse(&text))
}

/// The answer of `systemctl show`.
pub(super) fn parse(text: &str) -> State {
    let get = |key: &str| {
        text.lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix('='))
            .unwrap_or_default()
    };
    let state = match (get("ActiveState"), get("SubState")) {
        ("active" | "reloading", _) => "running",
        ("activating", "auto-restart") => "restarting",
        ("activating", _) => "starting",
        ("deactivating", _) => "stopping",
        ("failed", _) => "failed",
        ("inactive", _) if get("LoadState") == "not-found" => "not installed",
        ("inactive", _) => "stopped",
        _ => "unknown",
    };
    let stamp = get("StateChangeTimestamp");
    let since = match stamp.strip_prefix('@').and_then(|s| s.parse().ok()) {
        Some(unix) => Some(jos_schemas::text::Utc::from_unix(unix).to_string()),
        None => (!stamp.is_empty()).then(|| stamp.to_owned()),
    };
    State {
        state: state.to_owned(),
        since,
        pid: get("MainPID").parse().ok().filter(|p| *p != 0),
        enabled: Some(get("UnitFileState").starts_with("enabled")),
        restarts: get("NRestarts").parse().ok(),
    }
}

pub(super) fn logs(service: &Service<'_>, follow: bool) -> Command {
    let mut command = Command::new("journalctl");
    let option = if service.scope == Scope::User {
        "--user-unit"
    } else {
        "--unit"
    };
    command.args([
        "--no-pager",
        "--output=short-iso",
        "--lines=200",
        option,
        &unit(service),
    ]);
    if follow {
        command.arg("--follow");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_answer_of_systemctl_becomes_a_state() {
        let text = "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=42\nStateChangeTimestamp=@1700000000\n\
                    UnitFileState=enabled\nNRestarts=3\n";
        let state = parse(text);
        assert_eq!(
            (state.state.as_str(), state.pid, state.enabled, state.restarts),
            ("running", Some(42), Some(true), Some(3))
        );
        assert_eq!(state.since.as_deref(), Some("2023-11-14T22:13:20Z"));
        let gone = parse("LoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\n");
        assert_eq!((gone.state.as_str(), gone.pid), ("not installed", None));
        assert_eq!(
            parse("ActiveState=activating\nSubState=auto-restart\n").state,
            "restarting"
        );
    }
}
