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

/// Stop and remove an installed agent; its data stays unless --purge
///
/// The service and the agent's folder go. Its ledger, and how far its versions had come, stay in the data folder, so that
/// an older state is still refused when the agent is installed again.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos agent uninstall kiosk\n  \
    jos agent uninstall kiosk --purge      its ledger, undo copies and log too\n\n\
    What the agent changed on this machine stays as it is.")]
pub(crate) struct Args {
    /// The agent's name
    #[arg(value_parser = common::name)]
    name: Name,
    /// Drop its ledger and all other data too
    #[arg(long)]
    purge: bool,
    /// Remove it from this folder instead of the running machine
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
        init.disable(service)
            .map_err(|e| Failure::failed(format!("the service could not be stopped: {e}")))?;
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
        purge(&agent, &place, &data)?;
        for path in [&log, &log.with_extension("log.1")] {
            let _ = std::fs::remove_file(path);
        }
    }
    let kept = !args.purge && data.exists();
    let text = match (args.purge, kept) {
        (true, _) => format!("{} is gone, its data too", args.name),
        (false, true) => format!(
            "{} is gone; its data stays in {} (--purge drops it)",
            args.name,
            data.display()
        ),
        (false, false) => format!("{} is gone", args.name),
    };
    ui.result(
        &json!({ "name": args.name, "purged": args.purge, "data": kept.then_some(&data) }),
        text,
    );
    Ok(0)
}

/// Removes data with the rights of the agent's owner: a path out of somebody's own configuration reaches no further.
fn purge(agent: &Agent, place: &Place, data: &Path) -> Result<(), Failure> {
    let state_dir = place.at(agent.state_dir());
    if !state_dir.is_dir() {
        return Ok(());
    }
    if !nix::unistd::Uid::effective().is_root() || agent.owner.uid == 0 {
        let owner = state_dir
            .metadata()
            .map(|m| std::os::unix::fs::MetadataExt::uid(&m))
            .unwrap_or(u32::MAX);
        if owner != agent.owner.uid {
            return Err(Failure::failed(format!(
                "{} belongs to another user; it was left",
                data.display()
            )));
        }
        return forget(&state_dir, &agent.name);
    }
    let program = std::env::current_exe().map_err(|e| Failure::failed(format!("cannot find this program: {e}")))?;
    let mut command = Command::new(program);
    command
        .args(["agent", "forget", agent.name.as_str(), "--state-dir"])
        .arg(&state_dir)
        .current_dir("/");
    std::os::unix::process::CommandExt::uid(&mut command, agent.owner.uid);
    std::os::unix::process::CommandExt::gid(&mut command, agent.owner.gid);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::failed(format!("{}: {status}", data.display()))),
        Err(error) => Err(Failure::failed(format!("{}: {error}", data.display()))),
    }
}

/// Options of `jos agent forget`, which root runs as the owner of an agent.
#[derive(clap::Args)]
pub(crate) struct ForgetArgs {
    #[arg(value_parser = common::name)]
    name: Name,
    #[arg(long)]
    state_dir: PathBuf,
}

pub(crate) fn run_forget(args: &ForgetArgs) -> Done {
    forget(&args.state_dir, &args.name)?;
    Ok(0)
}

/// Drops an agent's data, and what the device remembers of it: floors, paths. With the last agent go the files that all share.
fn forget(state_dir: &Path, name: &Name) -> Result<(), Failure> {
    let mut tag = [0; 8];
    jos_runtime::world::Random::fill(&crate::world::Kernel, &mut tag);
    let tag = format!("{:016x}", u64::from_ne_bytes(tag));
    jos_runtime::forget(state_dir, name, &tag).map_err(Failure::failed)?;
    for path in [state_dir.join(name.as_str()), run_dir(state_dir, name.as_str())] {
        match std::fs::remove_dir_all(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::failed(format!("{}: {e}", path.display())));
            }
            _ => {}
        }
    }
    let others = std::fs::read_dir(state_dir).into_iter().flatten().flatten();
    let others = others.filter(|e| e.file_name() != "identity" && e.file_type().is_ok_and(|t| t.is_dir()));
    if others.count() == 0 {
        for file in [
            "floors.0",
            "floors.1",
            "floors.0.damaged",
            "floors.1.damaged",
            "floors.lost",
            "owners.json",
            "trust.json",
            "lock",
            "identity/mac.key",
        ] {
            let _ = std::fs::remove_file(state_dir.join(file));
        }
        let _ = std::fs::remove_dir(state_dir.join("identity"));
        let _ = std::fs::remove_dir(state_dir);
    }
    Ok(())
}
