//! Everything that an install decides and checks; writes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jos_schemas::documents::agent_config::{AgentConfig, HubConfig};
use jos_schemas::documents::policy::Policy;
use jos_schemas::read::{self, Format};
use jos_schemas::text::{AbsPath, Name};
use jos_schemas::write;
use jos_trust::root::Received;

use super::Args;
use crate::cli::Failure;
use crate::cli::signing::{refused, trust_refused};
use crate::place::{Owner, Place};
use crate::services::{Init, Scope};
use crate::subject::{self, Subject};
use crate::{environment, files, grant, identity};

/// Everything decided, nothing written.
pub(super) struct Ready {
    pub(super) name: Name,
    pub(super) owner: Owner,
    pub(super) init: Init,
    pub(super) scope: Scope,
    pub(super) service: String,
    pub(super) folder: PathBuf,
    pub(super) artifact: &'static str,
    pub(super) state_dir: PathBuf,
    pub(super) policy: Policy,
    pub(super) not_granted: Vec<String>,
    pub(super) config: String,
    pub(super) files: Vec<(&'static str, Vec<u8>, u32)>,
    pub(super) description: String,
    pub(super) program: String,
}

pub(super) fn prepare(args: &Args, place: &Place) -> Result<Ready, Failure> {
    let read = subject::read(&args.artifact)?;
    if let Subject::State(state) = &read.subject {
        subject::filled_in(&args.artifact.display().to_string(), state)?;
    }
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
        artifact: Some(path(artifact).map_err(bad)?),
        policy: Some(path("policy.toml").map_err(bad)?),
        trust: args
            .trust
            .is_some()
            .then(|| path("trust.json"))
            .transpose()
            .map_err(bad)?,
        state_dir: Some(AbsPath::new(state_dir.to_string_lossy().into_owned()).map_err(bad)?),
        labels: BTreeMap::new(),
        interval: args.interval,
        hub: args.hub.clone().map(HubConfig::at),
        ..AgentConfig::named(name.clone())
    };
    let banner = "# Written by `jos agent install`; `jos schema agent-config` describes it.\n";
    let config = write::toml(&config).map_err(|e| Failure::failed(format!("agent.toml: {e}")))?;
    let policy_text = write::toml(&policy).map_err(|e| Failure::failed(format!("policy.toml: {e}")))?;
    let config = format!("{banner}{config}");
    files.push((artifact, read.bytes, 0o644));
    files.push((
        "policy.toml",
        format!("# What the person who installed this agent granted it.\n{policy_text}").into(),
        0o644,
    ));
    if let Some(file) = &args.token_file {
        let token = identity::token_in(file).map_err(Failure::invalid)?;
        let missing = || Failure::invalid(format!("{}: there is no token in it", file.display()));
        let token = token.ok_or_else(|| missing().help("`jos-hub token new` makes one"))?;
        files.push(("token", format!("{token}\n").into_bytes(), 0o600));
    }
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
    .map_err(|e| trust_refused(&shown, &e))?;
    let state = args.artifact.display().to_string();
    let received = Received {
        name: &state,
        bytes: &read.bytes,
        format: read.format,
    };
    jos_trust::state::authenticate(received, &root).map_err(|e| refused(&state, &e))?;
    if Format::of_path(path) != Format::Json {
        return Err(Failure::invalid(format!("{shown}: the trust root must be JSON")));
    }
    Ok(Some(bytes))
}
