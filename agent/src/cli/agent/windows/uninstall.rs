//! `jos agent uninstall` on Windows: the service and its settings go; the data goes only with `--purge`.

use std::path::PathBuf;

use jos_schemas::layout::Layout;
use serde_json::json;
use windows_service::service::ServiceAccess;

use super::SERVICE;
use crate::cli::{Done, Failure, Ui};
use crate::installed;
use crate::place::Place;
use crate::world::services::{self, said};

/// Stop and remove the service "jos"; its data stays unless --purge
///
/// agent.toml, policy.toml and the state that `install` wrote go as well. The ledger, and how far versions had come, stay in
/// the data folder, so that an older state is still refused when the agent is installed again. Where nothing is installed,
/// nothing happens.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos agent uninstall\n  \
    jos agent uninstall --purge      its ledger, undo copies and log too\n\n\
    What the agent changed on this machine stays as it is.")]
pub(crate) struct Args {
    /// Drop its ledger and all other data too
    #[arg(long)]
    purge: bool,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    let place = Place::new(None);
    let agent = installed::read(&place).ok().flatten();
    if let Some(agent) = agent.as_ref().filter(|agent| agent.baked()) {
        let message = format!("{} was baked in by a package", agent.name);
        return Err(Failure::failed(message).help("remove the package: Settings → Apps, or msiexec /x FILE"));
    }
    let name = agent.as_ref().map_or(SERVICE, |agent| agent.service()).to_owned();
    let access = ServiceAccess::STOP | ServiceAccess::QUERY_STATUS | ServiceAccess::DELETE;
    let service = services::open(&name, access);
    let service = service.map_err(|e| Failure::failed(e).help("run it as an administrator"))?;
    let there = service.is_some();
    if let Some(service) = service {
        services::stop(&service, &name).map_err(Failure::failed)?;
        service.delete().map_err(|e| Failure::failed(said(&name, &e)))?;
    }
    let etc = place.at(Layout::HERE.etc);
    let mut gone = there;
    for file in [
        "agent.toml",
        "policy.toml",
        "state.json",
        "state.toml",
        "share/trust.json",
    ] {
        gone |= remove(etc.join(file))?;
    }
    let data = agent.map_or_else(|| place.at(Layout::HERE.state), |agent| agent.state_dir());
    if args.purge {
        gone |= data.is_dir();
        match std::fs::remove_dir_all(&data) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::failed(format!("{}: {e}", data.display())));
            }
            _ => {}
        }
        for file in ["agent.log", "agent.log.1"] {
            remove(etc.join(file))?;
        }
        // Whatever somebody else put there stays.
        let _ = std::fs::remove_dir(etc.join("share"));
        let _ = std::fs::remove_dir(&etc);
    }
    let kept = !args.purge && data.is_dir();
    let text = match (gone, kept) {
        (false, false) => "nothing is installed".to_owned(),
        (false, true) => format!(
            "nothing is installed; data of an earlier agent is in {}",
            data.display()
        ),
        (true, true) => format!(
            "{name} is gone; its data stays in {} (--purge drops it)",
            data.display()
        ),
        (true, false) => format!("{name} is gone{}", if args.purge { ", its data too" } else { "" }),
    };
    ui.result(
        &json!({ "service": name, "removed": gone, "purged": args.purge, "data": kept.then_some(&data) }),
        text,
    );
    Ok(0)
}

fn remove(path: PathBuf) -> Result<bool, Failure> {
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Failure::failed(format!("{}: {e}", path.display()))),
    }
}
