//! macOS' launchd: a LaunchDaemon for root, a LaunchAgent for an ordinary user.

use std::path::PathBuf;

use jos_schemas::unit;

use super::{Content, Scope, Service, ServiceError, ServiceFile, State, call, log_path};

/// A baked service is named by its whole label, in the vendor's own domain; an installed one gets ours before its name.
fn label(service: &Service<'_>) -> String {
    match service.service {
        whole if whole.contains('.') => whole.to_owned(),
        name => format!("org.josfox.{name}"),
    }
}

pub(super) fn plist_path(service: &Service<'_>) -> PathBuf {
    let file = format!("{}.plist", label(service));
    match service.scope {
        Scope::System => PathBuf::from("/Library/LaunchDaemons").join(file),
        Scope::User => service.owner.home.join("Library/LaunchAgents").join(file),
    }
}

pub(super) fn files(service: &Service<'_>, content: &Content<'_>) -> Result<Vec<ServiceFile>, ServiceError> {
    let log = log_path(service);
    let text = unit::Launchd {
        label: &label(service),
        command: &content.command(),
        user: (service.scope == Scope::System && service.owner.uid != 0).then_some(&service.owner.name),
        log: &log.display().to_string(),
    }
    .render()?;
    Ok(vec![ServiceFile {
        path: plist_path(service),
        text,
        mode: 0o644,
    }])
}

fn domain(service: &Service<'_>) -> String {
    match service.scope {
        Scope::System => "system".to_owned(),
        Scope::User => format!("gui/{}", service.owner.uid),
    }
}

pub(super) fn enable(service: &Service<'_>) -> Result<(), ServiceError> {
    // launchd starts everything in its folders at boot; a folder that is no machine yet needs no more.
    if !service.place.is_live() {
        return Ok(());
    }
    let target = format!("{}/{}", domain(service), label(service));
    call("launchctl", &["enable", &target])?;
    call(
        "launchctl",
        &[
            "bootstrap",
            &domain(service),
            &plist_path(service).display().to_string(),
        ],
    )
    .map(drop)
}

pub(super) fn disable(service: &Service<'_>) -> Result<(), ServiceError> {
    let target = format!("{}/{}", domain(service), label(service));
    if !service.place.is_live() || call("launchctl", &["print", &target]).is_err() {
        return Ok(());
    }
    call("launchctl", &["bootout", &target]).map(drop)
}

pub(super) fn state(service: &Service<'_>) -> Option<State> {
    let target = format!("{}/{}", domain(service), label(service));
    let enabled = plist_path(service).exists();
    match call("launchctl", &["print", &target]) {
        Ok(text) => Some(parse(&text, enabled)),
        Err(ServiceError::Command { said, .. }) if said.contains("Could not find service") => Some(State {
            state: "stopped".into(),
            enabled: Some(enabled),
            ..State::default()
        }),
        Err(_) => None,
    }
}

/// The answer of `launchctl print`.
fn parse(text: &str, enabled: bool) -> State {
    let get = |key: &str| {
        text.lines()
            .find_map(|l| l.trim().strip_prefix(key)?.strip_prefix(" = "))
    };
    let state = match get("state") {
        Some("running") => "running",
        Some("spawn scheduled") => "restarting",
        Some(_) => "stopped",
        None => "unknown",
    };
    State {
        state: state.to_owned(),
        since: None,
        pid: get("pid").and_then(|p| p.parse().ok()),
        enabled: Some(enabled),
        restarts: get("runs")
            .and_then(|r| r.parse::<u64>().ok())
            .map(|r| r.saturating_sub(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_answer_of_launchctl_becomes_a_state() {
        let text =
            "system/org.josfox.jos-agent-x = {\n\tactive count = 1\n\tstate = running\n\truns = 3\n\tpid = 77\n}\n";
        let state = parse(text, true);
        assert_eq!(
            (state.state.as_str(), state.pid, state.restarts),
            ("running", Some(77), Some(2))
        );
    }
}
