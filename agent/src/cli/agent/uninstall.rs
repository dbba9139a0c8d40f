//! `jos agent uninstall`: the service and its folder go; the data goes only with `--purge`.

use std::path::{Path, PathBuf};
use std::process::Command;

use jos_schemas::text::Name;
use serde_json::json;

use super::{common, install};
use crate::cli::{Done, Failure, Ui};
use crate::files::Folder;
use crate::installed::Agent;
use crate::place::{Place, run_dir};

/// Options of `jos agent uninstall`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The agent's name
    #[arg(value_parser = common::name)]
    name: Name,
    /// Drop its ledger and all other data too
    #[arg(long)]
    purge: bool,
    /// In this folder instead of the running machine
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    let place = Place::new(args.root.clone());
    let agent = common::find(&place, &args.name)?;
    if agent.baked() {
        let message = format!("{} was baked in by a package", args.name);
        return Err(Failure::failed(message).help("remove the package with the system's package manager"));
    }
    let init = agent.init(&place);
    common::with_service(&place, &agent, |service| {
        init.disable(service).map_err(|e| Failure::failed(format!("the service could not be stopped: {e}")))?;
        for path in init.paths(service) {
            let path = place.at(path);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Failure::failed(format!("{}: {e}", path.display())));
                }
                _ => {}
            }
        }
        init.forget(service);
        Ok(())
    })?;
    let agents = Folder::open(&install::folder_of(&place, &agent)).map_err(Failure::failed)?;
    let folder = agents.enter(agent.name.as_str()).map_err(Failure::failed)?;
    install::clear(&agents, &folder, agent.name.as_str()).map_err(Failure::failed)?;
    let log = place.at(agent.owner.logs().join(format!("{}.log", agent.name)));
    let data = place.at(agent.state_dir().join(agent.name.as_str()));
    if args.purge {
        for path in [&data, &run_dir(&place.at(agent.state_dir()), agent.name.as_str()), &log, &log.with_extension("log.1")] {
            purge(&agent, path)?;
        }
    }
    let kept = !args.purge && data.exists();
    let text = match (args.purge, kept) {
        (true, _) => format!("{} is gone, its data too", args.name),
        (false, true) => format!("{} is gone; its data stays in {} (--purge drops it)", args.name, data.display()),
        (false, false) => format!("{} is gone", args.name),
    };
    ui.result(&json!({ "name": args.name, "purged": args.purge, "data": kept.then_some(&data) }), text);
    Ok(0)
}

/// Removes data as the agent's owner: a path out of somebody's own configuration reaches no further than their rights.
fn purge(agent: &Agent, path: &Path) -> Result<(), Failure> {
    let Ok(meta) = path.symlink_metadata() else { return Ok(()) };
    let owner = std::os::unix::fs::MetadataExt::uid(&meta);
    if owner != agent.owner.uid {
        let message = format!("{} belongs to another user; it was left", path.display());
        return Err(Failure::failed(message));
    }
    let failed = |e: std::io::Error| Failure::failed(format!("{}: {e}", path.display()));
    if nix::unistd::Uid::effective().is_root() && agent.owner.uid != 0 {
        let mut command = Command::new("rm");
        command.args(["-rf", "--"]).arg(path).current_dir("/");
        std::os::unix::process::CommandExt::uid(&mut command, agent.owner.uid);
        std::os::unix::process::CommandExt::gid(&mut command, agent.owner.gid);
        let status = command.status().map_err(failed)?;
        return if status.success() { Ok(()) } else { Err(failed(std::io::Error::other(status.to_string()))) };
    }
    if meta.is_dir() { std::fs::remove_dir_all(path).map_err(failed) } else { std::fs::remove_file(path).map_err(failed) }
}
