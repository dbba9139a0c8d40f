//! `jos agent install` on Windows: a signed state, the policy that grants it, and the service `jos`.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jos_runtime::disk::make_private;
use jos_schemas::documents::agent_config::AgentConfig;
use jos_schemas::documents::policy::Policy;
use jos_schemas::layout::Layout;
use jos_schemas::read::{self, Format};
use jos_schemas::text::AbsPath;
use jos_schemas::write;
use jos_trust::root::Received;
use serde_json::json;
use windows_service::Error;
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl, ServiceFailureActions,
    ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::run::supported;
use super::{DESCRIPTION, SERVICE, TITLE};
use crate::cli::signing::{refused, trust_refused};
use crate::cli::{Done, Failure, Ui};
use crate::place::Place;
use crate::subject::{self, Subject};
use crate::world::services::{self, said};
use crate::{files, grant, installed};

const HERE: Layout = Layout::HERE;
/// Pauses before the manager starts a service that failed once, twice, and from then on.
const AGAIN: [u64; 3] = [1, 5, 30];
/// After so long without a failure it counts anew.
const FORGIVEN: Duration = Duration::from_secs(24 * 3600);

/// Install the agent as the Windows service "jos"
///
/// Takes a signed desired state with the trust root that it is verified against, shows what it asks for, and once that is
/// granted writes agent.toml and a policy that grants exactly that. Without a STATE the service alone is registered, for an
/// agent.toml that is there. Installing again over the same files changes nothing. What fails leaves nothing behind.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos agent install state.json --trust trust.json        asks, then keeps this machine as the state says\n  \
    jos agent install state.json --trust trust.json --yes --json\n  \
    jos agent install                                      the service, for C:\\ProgramData\\jos\\agent.toml\n\n\
    The service runs as LocalSystem: what it keeps belongs to the system. It starts with Windows, and again when it fails.\n\
    Exit codes: 0 installed and running, 1 refused or failed, 2 bad use or invalid input.")]
pub(crate) struct Args {
    /// The signed desired state
    #[arg(value_name = "STATE", requires = "trust")]
    state: Option<PathBuf>,
    /// The trust document that the state is verified against; JSON
    #[arg(long, value_name = "FILE", requires = "state")]
    trust: Option<PathBuf>,
    /// Use this policy instead of one made of what the state asks for
    #[arg(long, value_name = "FILE", requires = "state")]
    policy: Option<PathBuf>,
    /// Seconds between two looks at the world, 1 to 86400 [default: 60]
    #[arg(long, value_name = "SECONDS", requires = "state", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    interval: Option<u32>,
    /// Grant what is asked for without asking you; needed where there is no terminal
    #[arg(short, long)]
    yes: bool,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    let place = Place::new(None);
    let ready = match (&args.state, &args.trust) {
        (Some(state), Some(trust)) => Some(Ready::read(args, state, trust)?),
        _ => None,
    };
    match &ready {
        Some(ready) => confirm(args, ui, ready)?,
        None => configured(&place)?,
    }
    // One that a package brought has the service of the package.
    let known = installed::read(&place).map_err(Failure::invalid)?;
    let service = match &ready {
        None => known.as_ref().map_or(SERVICE, |agent| agent.service()),
        Some(_) => SERVICE,
    };
    let mut undo = Undo::of(service);
    let done = install(&place, ready.as_ref(), &mut undo);
    let command = match done {
        Ok(command) => command,
        Err(failure) => return Err(undo.back(failure)),
    };
    let agent = installed::read(&place).map_err(Failure::failed)?;
    let name = agent.as_ref().map(|a| a.name.to_string());
    let shown = name.as_deref().unwrap_or(service);
    let folder = place.at(HERE.etc);
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} installed and running (service {service}, as LocalSystem)",
        ui.paint("1", shown)
    );
    let _ = writeln!(text, "  files   {}", folder.display());
    let _ = writeln!(text, "  command {command}");
    let _ = writeln!(text, "  next    jos agent status");
    let value = json!({
        "name": name, "service": service, "init": "windows", "user": "LocalSystem", "folder": folder, "command": command,
        "started": true, "policy": ready.as_ref().map(|r| &r.policy), "not_granted": ready.as_ref().map(|r| &r.not_granted),
    });
    ui.result(&value, text);
    Ok(0)
}

/// Everything decided, nothing written.
struct Ready {
    title: String,
    files: Vec<(PathBuf, Vec<u8>)>,
    policy: Policy,
    not_granted: Vec<String>,
}

impl Ready {
    fn read(args: &Args, state: &Path, trust: &Path) -> Result<Self, Failure> {
        let read = subject::read(state)?;
        let shown = state.display().to_string();
        let Subject::State(desired) = &read.subject else {
            let message = format!("{shown}: a .jos artifact is not run on Windows yet");
            return Err(Failure::failed(message).help("install a signed desired state"));
        };
        subject::filled_in(&shown, desired)?;
        let bytes = files::read(trust, subject::LIMIT).map_err(Failure::invalid)?;
        let trust_shown = trust.display().to_string();
        let received = Received {
            name: &trust_shown,
            bytes: &bytes,
            format: Format::of_path(trust),
        };
        let root = jos_trust::TrustRoot::open(received).map_err(|e| trust_refused(&trust_shown, &e))?;
        if Format::of_path(trust) != Format::Json {
            return Err(Failure::invalid(format!("{trust_shown}: the trust root must be JSON")));
        }
        let received = Received {
            name: &shown,
            bytes: &read.bytes,
            format: read.format,
        };
        jos_trust::state::authenticate(received, &root).map_err(|e| refused(&shown, &e))?;
        let (policy, not_granted) = match &args.policy {
            None => grant::derive(&read.subject)?,
            Some(path) => {
                let bytes = files::read(path, subject::LIMIT).map_err(Failure::invalid)?;
                let policy = read::document::<Policy>(&path.display().to_string(), &bytes, Format::of_path(path));
                (policy.map_err(Failure::invalid)?.value, Vec::new())
            }
        };
        let place = Place::new(None);
        let kept = if read.format == Format::Toml {
            "state.toml"
        } else {
            "state.json"
        };
        let kept = format!("{}/{kept}", HERE.etc);
        let config = AgentConfig {
            state: Some(AbsPath::new(kept.clone()).map_err(Failure::failed)?),
            interval: args.interval,
            ..AgentConfig::named(desired.meta.name.clone())
        };
        let config = write::toml(&config).map_err(|e| Failure::failed(format!("agent.toml: {e}")))?;
        let policy_text = write::toml(&policy).map_err(|e| Failure::failed(format!("policy.toml: {e}")))?;
        let title = desired.meta.name.to_string();
        let files = vec![
            (place.at(HERE.trust), bytes),
            (
                place.at(HERE.policy),
                format!("# What the person who installed this agent granted it.\n{policy_text}").into(),
            ),
            (place.at(kept), read.bytes),
            // Last: with it the rest counts.
            (
                place.at(HERE.config),
                format!("# Written by `jos agent install`; `jos schema agent-config` describes it.\n{config}").into(),
            ),
        ];
        Ok(Self {
            title,
            files,
            policy,
            not_granted,
        })
    }
}

/// Without a state there is a configuration already, and one that this program can do.
fn configured(place: &Place) -> Result<(), Failure> {
    match installed::read(place).map_err(Failure::invalid)? {
        Some(agent) => supported(&agent.config),
        None => {
            let message = format!("{}: there is none", place.at(HERE.config).display());
            Err(Failure::invalid(message).help("name what to keep: jos agent install state.json --trust trust.json"))
        }
    }
}

fn confirm(args: &Args, ui: &Ui, ready: &Ready) -> Result<(), Failure> {
    let shown = grant::show(&ready.policy, &ready.not_granted);
    let mut err = std::io::stderr();
    if !ui.json || !args.yes {
        let _ = writeln!(err, "{} (as LocalSystem) asks for:\n{shown}", ready.title);
    }
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let message = "nobody can be asked here: standard input is not a terminal";
        return Err(Failure::invalid(message).help("read the grants above, then add --yes"));
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

/// Takes back what an unfinished install did.
struct Undo<'a> {
    files: Vec<PathBuf>,
    name: &'a str,
    service: Option<Service>,
}

impl<'a> Undo<'a> {
    /// Of an install of the service of this name; nothing was done yet.
    fn of(name: &'a str) -> Self {
        let (files, service) = (Vec::new(), None);
        Self { files, name, service }
    }

    fn back(self, failure: Failure) -> Failure {
        let mut left = Vec::new();
        if let Some(service) = self.service {
            let gone =
                services::stop(&service, self.name).and_then(|()| service.delete().map_err(|e| said(self.name, &e)));
            left.extend(gone.err());
        }
        for file in self.files.iter().rev() {
            if let Err(e) = std::fs::remove_file(file) {
                left.push(format!("{}: {e}", file.display()));
            }
        }
        if left.is_empty() {
            return failure;
        }
        failure.and(format!("could not be taken back: {}", left.join("; ")))
    }
}

fn install(place: &Place, ready: Option<&Ready>, undo: &mut Undo<'_>) -> Result<String, Failure> {
    // Asked for first: who may not register a service leaves no files.
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager = ServiceManager::local_computer(None::<&OsStr>, access).map_err(|e| not_allowed(&e))?;
    if let Some(ready) = ready {
        put(place, ready, undo)?;
    }
    let (service, info) = register(&manager, undo)?;
    services::start(&service, undo.name).map_err(|e| {
        let log = crate::logger::path();
        Failure::failed(format!("the service did not start: {e}")).help(format!("its log is {}", log.display()))
    })?;
    let words = info
        .launch_arguments
        .iter()
        .map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = words.collect();
    Ok(format!("\"{}\" {}", info.executable_path.display(), words.join(" ")))
}

/// Another agent's files are nobody's to replace; its own are there already.
fn put(place: &Place, ready: &Ready, undo: &mut Undo<'_>) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::failed(format!("{}: {e}", place.at(HERE.etc).display()));
    make_private(&place.at(HERE.etc)).map_err(failed)?;
    std::fs::create_dir_all(place.at(HERE.share)).map_err(failed)?;
    for (path, bytes) in &ready.files {
        match std::fs::read(path) {
            Ok(there) if there == *bytes => continue,
            Ok(_) => {
                let message = format!("{} is there already and says something else", path.display());
                return Err(Failure::failed(message).help(
                    "a later state needs no install: put it in the place of the one in force; for other grants: jos agent uninstall",
                ));
            }
            Err(_) => {}
        }
        files::replace(path, bytes, true).map_err(Failure::failed)?;
        undo.files.push(path.clone());
    }
    Ok(())
}

fn register(manager: &ServiceManager, undo: &mut Undo<'_>) -> Result<(Service, ServiceInfo), Failure> {
    let name = undo.name;
    let failed = |e: Error| Failure::failed(said(name, &e));
    let program = std::env::current_exe().map_err(|e| Failure::failed(format!("cannot find this program: {e}")))?;
    let info = ServiceInfo {
        name: name.into(),
        display_name: TITLE.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program,
        launch_arguments: ["agent", "run", "--service"].map(OsString::from).into(),
        dependencies: Vec::new(),
        // LocalSystem: it writes where only the system may, and starts and stops other services.
        account_name: None,
        account_password: None,
    };
    let known = services::open(name, ServiceAccess::ALL_ACCESS).map_err(Failure::failed)?;
    let service = match known {
        Some(service) => {
            service.change_config(&info).map_err(failed)?;
            service
        }
        None => {
            undo.service = Some(
                manager
                    .create_service(&info, ServiceAccess::ALL_ACCESS)
                    .map_err(failed)?,
            );
            services::open(name, ServiceAccess::ALL_ACCESS)
                .map_err(Failure::failed)?
                .ok_or_else(|| Failure::failed("the service is not there that was made"))?
        }
    };
    service.set_description(DESCRIPTION).map_err(failed)?;
    let restart = |seconds: u64| ServiceAction {
        action_type: ServiceActionType::Restart,
        delay: Duration::from_secs(seconds),
    };
    let actions = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(FORGIVEN),
        reboot_msg: None,
        command: None,
        actions: Some(AGAIN.map(restart).into()),
    };
    service.update_failure_actions(actions).map_err(failed)?;
    // Also after an end with an error of its own, not only after a crash. Old systems know no such setting.
    if let Err(e) = service.set_failure_actions_on_non_crash_failures(true) {
        log::debug!("{}", said(name, &e));
    }
    Ok((service, info))
}

fn not_allowed(error: &Error) -> Failure {
    let failure = Failure::failed(said("the service control manager", error));
    failure.help("run it as an administrator")
}
