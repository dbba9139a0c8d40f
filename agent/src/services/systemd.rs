//! systemd: a system unit for root, a user unit with linger for an ordinary user.

use std::path::PathBuf;
use std::process::Command;

use jos_schemas::unit;

use super::{Content, Scope, Service, ServiceError, ServiceFile, State, call};

pub(super) fn unit_path(service: &Service<'_>) -> PathBuf {
    let file = format!("{}.service", service.service);
    match service.scope {
        Scope::System => PathBuf::from("/etc/systemd/system").join(file),
        Scope::User => service.owner.home.join(".config/systemd/user").join(file),
    }
}

pub(super) fn files(service: &Service<'_>, content: &Content<'_>) -> Result<Vec<ServiceFile>, ServiceError> {
    let command = content.command();
    let exists = |path: &str| service.place.at(path).is_dir();
    let text = unit::Systemd {
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
        reads: &[content.folder, content.program],
        exists: &exists,
    }
    .render()?;
    Ok(vec![ServiceFile {
        path: unit_path(service),
        text,
        mode: 0o644,
    }])
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

fn wants(service: &Service<'_>) -> PathBuf {
    let path = unit_path(service);
    let target = if service.scope == Scope::User {
        "default.target.wants"
    } else {
        "multi-user.target.wants"
    };
    let folder = path.parent().map(|p| p.join(target)).unwrap_or_default();
    service.place.at(folder.join(unit(service)))
}

pub(super) fn enable(service: &Service<'_>) -> Result<(), ServiceError> {
    if !service.place.is_live() {
        let link = wants(service);
        let other = |e: std::io::Error| ServiceError::Other(format!("{}: {e}", link.display()));
        std::fs::create_dir_all(link.parent().unwrap_or(&link)).map_err(other)?;
        return std::os::unix::fs::symlink(unit_path(service), &link).map_err(other);
    }
    if service.scope == Scope::User {
        // Without linger the user's manager, and the agent with it, ends at logout.
        call("loginctl", &["enable-linger", &service.owner.name])?;
    }
    systemctl(service, &["daemon-reload"])?;
    systemctl(service, &["enable", "--now", &unit(service)])?;
    Ok(())
}

pub(super) fn disable(service: &Service<'_>) -> Result<(), ServiceError> {
    if !service.place.is_live() {
        let _ = std::fs::remove_file(wants(service));
        return Ok(());
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
