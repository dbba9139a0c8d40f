//! `jos agent install`: everything is checked before anything is written, and a failure leaves nothing.

mod prepare;
mod write;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;

use jos_schemas::text::Name;
use serde_json::json;

use super::common::{self, NOT_ENROLLED};
use crate::cli::{Done, Failure, Ui};
use crate::place::Place;
use crate::services::{Init, Service};
use crate::{grant, installed};
use prepare::Ready;
pub(super) use write::clear;

/// Install a .jos artifact or a signed desired state as a service, and start it
///
/// Shows what it asks for, asks you, writes exactly that as its policy, then installs and starts the service under this
/// machine's init system. A failure leaves nothing behind. A later artifact needs a new grant: uninstall, then install.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos agent install kiosk.jos                            asks, then runs its flow at every start\n  \
    jos agent install kiosk.jos --name lobby --env WIFI=guest --yes\n  \
    jos agent install kiosk.jos --token-file token         enrols with the hub of the token too\n  \
    jos agent install state.json --trust trust.json        keeps this machine as the state says\n  \
    sudo jos agent install kiosk.jos --user kiosk          as that user, started at boot\n  \
    jos agent install kiosk.jos --root ./image --init systemd   into a folder that will be a machine\n\n\
    Exit codes: 0 installed and running, 1 refused or failed (nothing is left), 2 bad use or invalid input.")]
pub(crate) struct Args {
    /// The .jos artifact, or a signed desired state
    #[arg(value_name = "ARTIFACT")]
    artifact: PathBuf,
    /// Address of the hub (https), tried before those that the token names
    #[arg(long, value_name = "URL", value_parser = common::hub)]
    hub: Option<String>,
    /// File with the token to enrol with, 0600; copied, and the copy removed once it was used
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The agent's name: a-z, 0-9 and '-', 64 at most [default: the artifact's own]
    #[arg(long, value_name = "NAME", value_parser = common::name)]
    name: Option<Name>,
    /// Run as this user [default: root as root, else yourself]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// A variable for the commands it runs, kept in a file that only its user reads; may be given several times
    #[arg(long = "env", value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// The trust document that a desired state is verified against; JSON, needed for a desired state
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Use this policy instead of one made of what the artifact asks for
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Grant what is asked for without asking you; needed where there is no terminal
    #[arg(short, long)]
    yes: bool,
    /// The init system [default: the one that runs here]
    #[arg(long, value_enum)]
    init: Option<Init>,
    /// Install into this folder instead of the running machine; nothing is started
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Where its data lies [default: /var/lib/jos as root, else ~/.jos/state]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Seconds between two looks at the world, 1 to 86400 [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    interval: Option<u32>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    let place = Place::new(args.root.clone());
    let ready = prepare::prepare(args, &place)?;
    confirm(args, ui, &ready)?;
    write::write(&place, &ready)?;
    let contact = if args.token_file.is_some() {
        "enrols with the token"
    } else {
        NOT_ENROLLED
    };
    let value = json!({
        "name": ready.name, "service": ready.service, "init": ready.init, "scope": ready.scope, "user": ready.owner.name,
        "folder": ready.folder, "state_dir": ready.state_dir, "files": service_files(&place, &ready),
        "started": place.is_live(), "hub": args.hub.as_ref().map(|url| json!({"url": url, "contact": contact})),
        "policy": ready.policy, "not_granted": ready.not_granted,
    });
    let mut text = String::new();
    let done = if place.is_live() {
        "installed and running"
    } else {
        "installed; it starts at the first boot"
    };
    let _ = writeln!(
        text,
        "{} {done} ({}, as {})",
        ui.paint("1", ready.name.as_str()),
        ready.init.word(),
        ready.owner.name
    );
    let _ = writeln!(text, "  files   {}", ready.folder.display());
    for file in service_files(&place, &ready) {
        let _ = writeln!(text, "  service {}", file.display());
    }
    let _ = writeln!(
        text,
        "  data    {}",
        ready.state_dir.join(ready.name.as_str()).display()
    );
    if let Some(url) = &args.hub {
        let _ = writeln!(text, "  hub     {url} ({contact})");
    }
    if ready.init == Init::Generic {
        let _ = writeln!(
            text,
            "  boot    jos supervises it, but nothing starts it at boot; run this from your own start script:\n          \
             {} agent supervise --config {}/agent.toml",
            ready.program,
            ready.folder.display()
        );
    }
    let _ = writeln!(text, "  next    jos agent status {}", ready.name);
    ui.result(&value, text);
    Ok(0)
}

fn service_files(place: &Place, ready: &Ready) -> Vec<PathBuf> {
    ready.init.paths(&service(place, ready))
}

fn service<'a>(place: &'a Place, ready: &'a Ready) -> Service<'a> {
    Service {
        place,
        name: &ready.name,
        service: &ready.service,
        scope: ready.scope,
        owner: &ready.owner,
        folder: &ready.folder,
        state_dir: &ready.state_dir,
    }
}

fn confirm(args: &Args, ui: &Ui, ready: &Ready) -> Result<(), Failure> {
    let shown = grant::show(&ready.policy, &ready.not_granted);
    let mut err = std::io::stderr();
    if !ui.json {
        let _ = writeln!(err, "{} (as {}) asks for:\n{shown}", ready.name, ready.owner.name);
    }
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let message = "nobody can be asked here: standard input is not a terminal";
        return Err(Failure::invalid(message).help("read the grants above, then add --yes"));
    }
    if ui.json {
        let _ = writeln!(err, "{} (as {}) asks for:\n{shown}", ready.name, ready.owner.name);
    }
    let _ = write!(err, "Grant this? [y/N] ");
    let _ = err.flush();
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::failed("not granted; nothing was written"))
}

/// The folder that holds the agent's own.
pub(crate) fn folder_of(place: &Place, agent: &installed::Agent) -> PathBuf {
    place.at(agent.owner.agents())
}
