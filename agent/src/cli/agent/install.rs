//! `jos agent install`: everything is checked before anything is written, and a failure leaves nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};

use jos_schemas::documents::agent_config::{AgentConfig, HubConfig};
use jos_schemas::documents::policy::Policy;
use jos_schemas::read::{self, Format};
use jos_schemas::text::{AbsPath, Name, Utc};
use jos_trust::root::Received;
use serde_json::json;

use super::common::{self, NOT_CONTACTED};
use crate::cli::{Done, Failure, Ui};
use crate::environment;
use crate::files::{self, Folder};
use crate::grant;
use crate::installed::{self, Record};
use crate::place::{Owner, Place};
use crate::services::{Content, Init, Scope, Service};
use crate::subject::{self, Subject};

/// Options of `jos agent install`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The .jos artifact, or a signed desired state
    artifact: PathBuf,
    /// Address of the hub; checked and stored, not contacted by this build
    #[arg(long, value_name = "URL", value_parser = common::hub)]
    hub: Option<String>,
    /// The agent's name [default: the artifact's own]
    #[arg(long, value_name = "NAME", value_parser = common::name)]
    name: Option<Name>,
    /// Run as this user [default: root as root, else yourself]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// A variable for the commands it runs; kept in a file that only its user reads (repeatable)
    #[arg(long = "env", value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// The trust root that a desired state is verified against
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Use this policy instead of the grants that the artifact asks for
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Grant without asking
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
    /// Seconds between two looks at the world [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    interval: Option<u32>,
}

/// Takes back, in reverse, what an unfinished install did.
#[derive(Default)]
struct Undo(Vec<(String, Box<dyn FnOnce() -> Result<(), String>>)>);

impl Undo {
    fn push(&mut self, what: impl Into<String>, how: impl FnOnce() -> Result<(), String> + 'static) {
        self.0.push((what.into(), Box::new(how)));
    }
    /// It is done: nothing is taken back.
    fn keep(mut self) {
        self.0.clear();
    }
    /// Takes everything back; says what could not be.
    fn back(mut self, failure: Failure) -> Failure {
        let mut left = Vec::new();
        for (what, how) in self.0.drain(..).rev() {
            if let Err(error) = how() {
                left.push(format!("{what}: {error}"));
            }
        }
        if left.is_empty() {
            return failure;
        }
        Failure {
            message: format!("{}; could not be taken back: {}", failure.message, left.join("; ")),
            ..failure
        }
    }
}

/// Everything decided, nothing written.
struct Ready {
    name: Name,
    owner: Owner,
    init: Init,
    scope: Scope,
    service: String,
    folder: PathBuf,
    artifact: &'static str,
    state_dir: PathBuf,
    policy: Policy,
    not_granted: Vec<String>,
    config: String,
    files: Vec<(&'static str, Vec<u8>, u32)>,
    description: String,
    program: String,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    let place = Place::new(args.root.clone());
    let ready = prepare(args, &place)?;
    confirm(args, ui, &ready)?;
    write(&place, &ready)?;
    let value = json!({
        "name": ready.name, "service": ready.service, "init": ready.init, "scope": ready.scope, "user": ready.owner.name,
        "folder": ready.folder, "state_dir": ready.state_dir, "files": service_files(&place, &ready),
        "started": place.is_live(), "hub": args.hub.as_ref().map(|url| json!({"url": url, "contact": NOT_CONTACTED})),
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
        let _ = writeln!(text, "  hub     {url} ({NOT_CONTACTED})");
    }
    if ready.init == Init::Generic {
        let _ = writeln!(
            text,
            "  boot    not started at boot: there is no init system that we know; run this from your own start script:\n          \
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

fn prepare(args: &Args, place: &Place) -> Result<Ready, Failure> {
    let read = subject::read(&args.artifact)?;
    let own_name = match &read.subject {
        Subject::Artifact(loaded) => loaded.artifact.id_jos.clone(),
        Subject::State(state) => state.meta.name.clone(),
    };
    let name = args.name.clone().unwrap_or_else(|| own_name.clone());
    let environment = environment::parse(&args.env).map_err(Failure::invalid)?;

    let caller = place.caller();
    let owner = match &args.user {
        None => caller.clone(),
        Some(user) => place.user(user).ok_or_else(|| {
            Failure::invalid(format!("no user is called {user:?}")).help("make the account first, or leave --user out")
        })?,
    };
    if caller.uid != 0 && owner.uid != caller.uid {
        let message = format!("only root installs an agent for somebody else ({:?})", owner.name);
        return Err(Failure::invalid(message).help("run it with sudo, or leave --user out"));
    }
    if owner.home == Path::new("/") {
        return Err(Failure::invalid(format!(
            "user {:?} has no home folder to keep the agent in",
            owner.name
        )));
    }
    let scope = if caller.uid == 0 { Scope::System } else { Scope::User };
    let init = match args.init.or_else(|| Init::detect(place)) {
        Some(init) => init,
        None => {
            let message = "the folder of --root has no init system that we know";
            return Err(Failure::invalid(message).help("name it: --init systemd|procd|launchd|generic"));
        }
    };
    if init == Init::Procd && caller.uid != 0 {
        return Err(Failure::invalid("procd has no services of ordinary users").help("install as root"));
    }
    let folder = owner.agents().join(name.as_str());
    let state_dir = match &args.state_dir {
        None => owner.state_dir(),
        Some(given) => std::path::absolute(given).map_err(|e| Failure::invalid(format!("--state-dir: {e}")))?,
    };
    if place.at(&folder).symlink_metadata().is_ok() {
        let message = format!(
            "an agent called {:?} is installed already: {}",
            name.as_str(),
            place.at(&folder).display()
        );
        return Err(Failure::failed(message).help(format!(
            "a later artifact needs a new grant: `jos agent uninstall {name}` first (its ledger stays), or choose another --name"
        )));
    }

    let (artifact, description) = match &read.subject {
        Subject::Artifact(loaded) => {
            let title = loaded.artifact.meta.as_ref().and_then(|m| m.name.clone());
            ("artifact.jos", title.unwrap_or_else(|| format!("jos agent {name}")))
        }
        Subject::State(_) => (
            if read.format == Format::Toml {
                "artifact.toml"
            } else {
                "artifact.json"
            },
            format!("jos agent {name}"),
        ),
    };
    // A title comes from whoever wrote the artifact: one line, no surprises.
    let description: String = description.chars().filter(|c| !c.is_control()).take(100).collect();

    let mut files = Vec::new();
    let trust = trust(args, &read, &name, &own_name)?;
    if let Some(bytes) = trust {
        files.push(("trust.json", bytes, 0o644));
    }
    if let Subject::Artifact(loaded) = &read.subject
        && loaded.all().len() > 1
    {
        let message = format!("{}: it is composed of other artifacts", args.artifact.display());
        composed(loaded, &mut files, &message)?;
    }
    let (policy, not_granted) = match &args.policy {
        None => grant::derive(&read.subject)?,
        Some(path) => {
            // Also without the derived grants, a contradiction in the artifact is found now.
            grant::derive(&read.subject)?;
            let bytes = files::read(path, subject::LIMIT).map_err(Failure::invalid)?;
            let policy = read::document::<Policy>(&path.display().to_string(), &bytes, Format::of_path(path));
            (policy.map_err(Failure::invalid)?.value, Vec::new())
        }
    };

    let path = |file: &str| AbsPath::new(folder.join(file).to_string_lossy().into_owned());
    let bad = |e: jos_schemas::text::RuleBroken| Failure::invalid(format!("the home folder cannot be used: {e}"));
    let config = AgentConfig {
        schema: None,
        name: name.clone(),
        product: None,
        service: None,
        artifact: Some(path(artifact).map_err(bad)?),
        state: None,
        policy: Some(path("policy.toml").map_err(bad)?),
        trust: args
            .trust
            .is_some()
            .then(|| path("trust.json"))
            .transpose()
            .map_err(bad)?,
        state_dir: Some(AbsPath::new(state_dir.to_string_lossy().into_owned()).map_err(bad)?),
        secrets: None,
        network_user: None,
        tenant: None,
        device: None,
        labels: BTreeMap::new(),
        interval: args.interval,
        hub: args.hub.clone().map(|url| HubConfig { url, ca: None }),
    };
    let banner = "# Written by `jos agent install`; `jos schema agent-config` describes it.\n";
    let config = toml::to_string(&config).map_err(|e| Failure::failed(format!("agent.toml: {e}")))?;
    let policy_text = toml::to_string(&policy).map_err(|e| Failure::failed(format!("policy.toml: {e}")))?;
    let config = format!("{banner}{config}");
    files.push((artifact, read.bytes, 0o644));
    files.push((
        "policy.toml",
        format!("# What the person who installed this agent granted it.\n{policy_text}").into(),
        0o644,
    ));
    if !environment.is_empty() {
        files.push((environment::FILE, environment::write(&environment).into(), 0o600));
    }
    let program = if place.is_live() {
        let exe = std::env::current_exe().map_err(|e| Failure::failed(format!("cannot find this program: {e}")))?;
        exe.to_string_lossy().into_owned()
    } else {
        "/usr/bin/jos".to_owned()
    };
    let service = format!("jos-agent-{name}");
    Ok(Ready {
        name,
        owner,
        init,
        scope,
        service,
        folder,
        artifact,
        state_dir,
        policy,
        not_granted,
        config,
        files,
        description,
        program,
    })
}

/// The artifacts that this one is composed of go beside it, under the same relative paths; only plain names can.
fn composed(
    loaded: &subject::Loaded,
    files: &mut Vec<(&'static str, Vec<u8>, u32)>,
    message: &str,
) -> Result<(), Failure> {
    let base = loaded.path.parent().unwrap_or(Path::new(".")).to_owned();
    for other in loaded.all().into_iter().skip(1) {
        let relative = other.path.strip_prefix(&base).unwrap_or(&other.path);
        let relative: PathBuf = relative
            .components()
            .filter(|c| !matches!(c, std::path::Component::CurDir))
            .collect();
        let name = relative
            .to_str()
            .filter(|n| !n.contains('/') && n.ends_with(".jos"))
            .ok_or_else(|| {
                let help = "put them into the same folder, with names that end in .jos";
                Failure::invalid(format!("{message}, and {} is not beside it", relative.display())).help(help)
            })?;
        if name == "artifact.jos" {
            return Err(Failure::invalid(format!("{message}, one of which is called artifact.jos")).help("rename it"));
        }
        let bytes = files::read(&other.path, subject::LIMIT).map_err(Failure::invalid)?;
        // Names live as long as the program, which ends after this command.
        files.push((Box::leak(name.to_owned().into_boxed_str()), bytes, 0o644));
    }
    Ok(())
}

/// A desired state needs a trust root and must verify against it; an artifact has no signature and takes none.
fn trust(args: &Args, read: &subject::Read, name: &Name, own_name: &Name) -> Result<Option<Vec<u8>>, Failure> {
    let Subject::State(_) = &read.subject else {
        if args.trust.is_some() {
            let message = "--trust is for desired states: an artifact has no signature, its grant is bound to its hash";
            return Err(Failure::invalid(message).help("leave --trust out"));
        }
        return Ok(None);
    };
    let Some(path) = &args.trust else {
        let message = format!("{}: a desired state needs --trust FILE", args.artifact.display());
        return Err(
            Failure::invalid(message).help("the trust root says whose signatures count; `jos trust init` makes one")
        );
    };
    if name != own_name {
        let message = format!(
            "the state's meta.name is {own_name:?}, the agent's name {name:?}; they must be equal",
            own_name = own_name.as_str(),
            name = name.as_str()
        );
        return Err(Failure::invalid(message).help("leave --name out"));
    }
    let bytes = files::read(path, subject::LIMIT).map_err(Failure::invalid)?;
    let shown = path.display().to_string();
    let root = jos_trust::TrustRoot::open(Received {
        name: &shown,
        bytes: &bytes,
        format: Format::of_path(path),
    })
    .map_err(|e| Failure::failed(format!("{shown}: {e}")))?;
    let state = args.artifact.display().to_string();
    let received = Received {
        name: &state,
        bytes: &read.bytes,
        format: read.format,
    };
    jos_trust::state::authenticate(received, &root).map_err(|e| {
        let failure = Failure::failed(format!("{state}: {e}"));
        match e.help() {
            Some(help) => failure.help(help),
            None => failure,
        }
    })?;
    if Format::of_path(path) != Format::Json {
        return Err(Failure::invalid(format!("{shown}: the trust root must be JSON")));
    }
    Ok(Some(bytes))
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

fn write(place: &Place, ready: &Ready) -> Result<(), Failure> {
    let mut undo = Undo::default();
    match steps(place, ready, &mut undo) {
        Ok(()) => {
            undo.keep();
            Ok(())
        }
        Err(failure) => Err(undo.back(failure)),
    }
}

fn steps(place: &Place, ready: &Ready, undo: &mut Undo) -> Result<(), Failure> {
    let failed = |e: files::FileError| Failure::failed(e);
    let home = Folder::open(&place.at(&ready.owner.home))
        .map_err(|e| Failure::failed(e).help(format!("the home folder of {:?} must exist", ready.owner.name)))?;
    // Folders on the way go again when they were made here and nothing else is in them.
    let mut agents = home;
    for part in [".jos", "agents"] {
        let path = agents.path().join(part);
        let there = path.symlink_metadata().is_ok();
        let next = agents.enter_or_make(part, 0o755, &ready.owner).map_err(failed)?;
        if !there {
            undo.push(path.display().to_string(), move || {
                let _ = std::fs::remove_dir(path);
                Ok(())
            });
        }
        agents = next;
    }
    // 0711: the network half reads the artifact by name through a descriptor, and sees nothing else.
    let staged = format!(".{}.new", ready.name);
    if let Ok(left) = agents.enter(&staged) {
        // From an install that was killed.
        clear(&agents, &left, &staged).map_err(failed)?;
    }
    let folder = agents.make(&staged, 0o711, &ready.owner).map_err(failed)?;
    {
        let (agents, name, staged) = (agents.path().to_owned(), ready.name.to_string(), staged.clone());
        undo.push(agents.join(&name).display().to_string(), move || {
            let agents = Folder::open(&agents).map_err(|e| e.to_string())?;
            for name in [&name, &staged] {
                if let Ok(folder) = agents.enter(name) {
                    clear(&agents, &folder, name).map_err(|e| e.to_string())?;
                }
            }
            Ok(())
        });
    }
    for (name, bytes, mode) in &ready.files {
        folder.write_new(name, bytes, *mode, &ready.owner).map_err(failed)?;
    }
    folder
        .write_new("agent.toml", ready.config.as_bytes(), 0o644, &ready.owner)
        .map_err(failed)?;
    let record = Record {
        init: ready.init,
        scope: ready.scope,
        service: ready.service.clone(),
        user: ready.owner.name.clone(),
        granted: Utc::from_unix(jos_runtime::world::Clock::now(&crate::world::SystemClock)).to_string(),
    };
    let record = serde_json::to_vec_pretty(&record).map_err(Failure::failed)?;
    folder
        .write_new("service.json", &record, 0o644, &ready.owner)
        .map_err(failed)?;
    agents.rename(&staged, ready.name.as_str()).map_err(failed)?;
    data_folder(place, ready, undo)?;

    let service = service(place, ready);
    let content = Content {
        program: &ready.program,
        folder: &ready.folder.to_string_lossy(),
        artifact: ready.artifact,
        state_dir: &ready.state_dir.to_string_lossy(),
        policy: &ready.policy,
        description: &ready.description,
    };
    for file in ready.init.files(&service, &content).map_err(Failure::failed)? {
        let path = place.at(&file.path);
        if path.symlink_metadata().is_ok() {
            let message = format!(
                "{} is there already, and no agent is installed under this name",
                path.display()
            );
            return Err(Failure::failed(message).help("remove it if nobody needs it, or choose another --name"));
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| Failure::failed(format!("{}: {e}", parent.display())))?;
        }
        files::replace(&path, file.text.as_bytes(), file.mode, true).map_err(failed)?;
        undo.push(path.display().to_string(), move || {
            std::fs::remove_file(&path).map_err(|e| e.to_string())
        });
    }
    // Pushed after the files and so taken back before them: the init system stops what it still knows.
    {
        let (place, name, owner) = (place.clone(), ready.name.clone(), ready.owner.clone());
        let (init, scope, folder) = (ready.init, ready.scope, ready.folder.clone());
        let (state_dir, service) = (ready.state_dir.clone(), ready.service.clone());
        undo.push("the service", move || {
            let (place, name, owner) = (&place, &name, &owner);
            let service = Service {
                place,
                name,
                service: &service,
                scope,
                owner,
                folder: &folder,
                state_dir: &state_dir,
            };
            init.disable(&service).map_err(|e| e.to_string())
        });
    }
    ready.init.enable(&service).map_err(|e| {
        let help = format!(
            "nothing of it is left; try it in the foreground: jos agent run {}",
            ready.artifact
        );
        Failure::failed(format!("the service did not start: {e}")).help(help)
    })
}

/// Data of an agent that is not root's lies in its home; the service manager's sandbox needs the folder to exist.
fn data_folder(place: &Place, ready: &Ready, undo: &mut Undo) -> Result<(), Failure> {
    if ready.owner.uid == 0 && !place.is_live() {
        return Ok(());
    }
    let path = place.at(&ready.state_dir);
    if path.is_dir() {
        return Ok(());
    }
    let (parent, name) = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => (parent.to_owned(), name.to_owned()),
        _ => return Err(Failure::invalid("--state-dir: not a folder's path")),
    };
    let parent =
        Folder::open(&parent).map_err(|e| Failure::failed(e).help("make the folder above --state-dir first"))?;
    parent.make(&name, 0o700, &ready.owner).map_err(Failure::failed)?;
    undo.push(path.display().to_string(), move || {
        // What a first start put there is data already; it goes with the failed install.
        std::fs::remove_dir_all(&path).map_err(|e| e.to_string())
    });
    Ok(())
}

/// Removes an agent's folder: plain files only.
pub(crate) fn clear(agents: &Folder, folder: &Folder, name: &str) -> Result<(), files::FileError> {
    if let Ok(entries) = std::fs::read_dir(folder.path()) {
        for entry in entries.flatten() {
            folder.remove(&entry.file_name().to_string_lossy())?;
        }
    }
    agents.remove_folder(name)
}

/// The folder that holds the agent's own.
pub(crate) fn folder_of(place: &Place, agent: &installed::Agent) -> PathBuf {
    place.at(agent.owner.agents())
}
