//! OpenWrt's procd: the feed's init script with this agent's values.

use std::path::PathBuf;
use std::process::Command;

use jos_schemas::unit;

use super::{Content, Service, ServiceError, ServiceFile, State, call};

pub(super) fn script_path(service: &Service<'_>) -> PathBuf {
    PathBuf::from("/etc/init.d").join(service.service)
}

/// Early recovery, of root's agents alone; see [`unit::ProcdRecover`].
fn recovery_path(service: &Service<'_>) -> Option<PathBuf> {
    (service.owner.uid == 0).then(|| PathBuf::from("/etc/init.d").join(unit::recovery_service(service.service)))
}

pub(super) fn paths(service: &Service<'_>) -> Vec<PathBuf> {
    std::iter::once(script_path(service))
        .chain(recovery_path(service))
        .collect()
}

pub(super) fn files(service: &Service<'_>, content: &Content<'_>) -> Result<Vec<ServiceFile>, ServiceError> {
    let config = content.config();
    let text = unit::Procd {
        program: content.program,
        config: &config,
        artifact: &format!("{}/{}", content.folder, content.artifact),
        user: if service.owner.uid == 0 {
            ""
        } else {
            &service.owner.name
        },
        // The machine's /etc/config/jos feeds the baked agent only.
        uci: "",
    }
    .render()?;
    let file = |path: PathBuf, text: String| ServiceFile {
        path,
        text,
        mode: 0o755,
    };
    let mut files = vec![file(script_path(service), text)];
    if let Some(path) = recovery_path(service) {
        let script = unit::ProcdRecover {
            program: content.program,
            config: &config,
        };
        files.push(file(path, script.render()?));
    }
    Ok(files)
}

/// The links by which rc.d starts and stops the scripts, each with where it leads.
fn links(service: &Service<'_>) -> Vec<(PathBuf, String)> {
    let link = |order: &str, name: &str| {
        let link = service.place.at(format!("/etc/rc.d/{order}{name}"));
        (link, format!("../init.d/{name}"))
    };
    let mut links = vec![link("S95", service.service), link("K05", service.service)];
    if recovery_path(service).is_some() {
        links.push(link("S12", &unit::recovery_service(service.service)));
    }
    links
}

pub(super) fn enable(service: &Service<'_>) -> Result<(), ServiceError> {
    if !service.place.is_live() {
        for (link, target) in links(service) {
            let other = |e: std::io::Error| ServiceError::Other(format!("{}: {e}", link.display()));
            std::fs::create_dir_all(link.parent().unwrap_or(&link)).map_err(other)?;
            std::os::unix::fs::symlink(target, &link).map_err(other)?;
        }
        return Ok(());
    }
    if let Some(recovery) = recovery_path(service) {
        call(&recovery.display().to_string(), &["enable"])?;
    }
    let script = script_path(service).display().to_string();
    call(&script, &["enable"])?;
    call(&script, &["start"]).map(drop)
}

pub(super) fn disable(service: &Service<'_>) -> Result<(), ServiceError> {
    if service.place.is_live() {
        let script = script_path(service);
        if script.exists() {
            let script = script.display().to_string();
            call(&script, &["stop"])?;
            call(&script, &["disable"])?;
        }
        // An agent that an earlier release installed has none.
        if let Some(recovery) = recovery_path(service).filter(|path| path.exists()) {
            call(&recovery.display().to_string(), &["disable"])?;
        }
        return Ok(());
    }
    for (link, _) in links(service) {
        let _ = std::fs::remove_file(link);
    }
    Ok(())
}

pub(super) fn state(service: &Service<'_>) -> Option<State> {
    let query = serde_json::json!({ "name": service.service }).to_string();
    let text = call("ubus", &["call", "service", "list", &query]).ok()?;
    let enabled = links(service)
        .first()
        .is_some_and(|(link, _)| link.symlink_metadata().is_ok());
    Some(parse(&text, service.service, enabled))
}

/// The answer of `ubus call service list`.
fn parse(text: &str, service: &str, enabled: bool) -> State {
    let value: serde_json::Value = serde_json::from_slice(text.as_bytes()).unwrap_or_default();
    let instances = value[service]["instances"].as_object();
    let instance = instances.and_then(|i| i.values().next());
    let running = instance.is_some_and(|i| i["running"] == true);
    State {
        state: if running { "running" } else { "stopped" }.to_owned(),
        since: None,
        pid: instance
            .and_then(|i| i["pid"].as_u64())
            .and_then(|p| u32::try_from(p).ok()),
        enabled: Some(enabled),
        restarts: None,
    }
}

/// procd tags a line with the program and its number, and not every line names the agent: those of all agents come.
pub(super) fn logs(follow: bool) -> Command {
    let mut command = Command::new("logread");
    command.args(["-e", "jos\\["]);
    if follow {
        command.arg("-f");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_answer_of_ubus_becomes_a_state() {
        let text = r#"{"jos-agent":{"instances":{"instance1":{"running":true,"pid":1234}}}}"#;
        let state = parse(text, "jos-agent", true);
        assert_eq!(
            (state.state.as_str(), state.pid, state.enabled),
            ("running", Some(1234), Some(true))
        );
        assert_eq!(parse("{}", "jos-agent", false).state, "stopped");
    }
}
