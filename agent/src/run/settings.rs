//! What a run is made of: configuration file, command line, defaults; read again at every reload.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jos_runtime::Setup;
use jos_schemas::documents::agent_config::AgentConfig;
use jos_schemas::documents::desired_state;
use jos_schemas::documents::policy::Policy;
use jos_schemas::layout::Layout;
use jos_schemas::read::{self, Format};
use jos_schemas::text::Name;
use jos_schemas::unit;
use jos_trust::TrustRoot;
use jos_trust::root::Received;
use jos_trust::state::Channel;

use crate::cli::Failure;
use crate::identity::{self, Identity};
use crate::place::Place;
use crate::subject::{self, Loaded, Subject};
use crate::{environment, files, installed};

/// Defaults of a baked device.
const HERE: Layout = Layout::HERE;
const INTERVAL: u32 = 60;

/// What the command line says; it goes before the configuration file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// agent.toml.
    pub(crate) config: Option<PathBuf>,
    /// Artifact or desired state.
    pub(crate) artifact: Option<PathBuf>,
    /// Hub.
    pub(crate) hub: Option<String>,
    /// Policy.
    pub(crate) policy: Option<PathBuf>,
    /// Trust root.
    pub(crate) trust: Option<PathBuf>,
    /// Data.
    pub(crate) state_dir: Option<PathBuf>,
    /// Seconds.
    pub(crate) interval: Option<u32>,
}

/// Everything that a run needs to know.
pub(crate) struct Settings {
    /// The agent's name.
    pub(crate) name: Name,
    /// The configuration, or its defaults.
    pub(crate) config: AgentConfig,
    /// The artifact whose flow is run.
    pub(crate) artifact: Option<Loaded>,
    /// The desired state that is kept: its file, and how it came.
    pub(crate) state: Option<(PathBuf, Channel)>,
    /// A baseline under that state, where both are configured.
    pub(crate) baseline: Option<PathBuf>,
    /// What was granted.
    pub(crate) policy: Policy,
    /// The first trust root.
    pub(crate) trust: PathBuf,
    /// Data folder.
    pub(crate) state_dir: PathBuf,
    /// Secrets.
    pub(crate) secrets: PathBuf,
    /// Seconds between turns.
    pub(crate) interval: u32,
    /// The hub's address.
    pub(crate) hub: Option<String>,
    /// Variables for the artifact's commands.
    pub(crate) environment: Vec<(String, String)>,
    /// Who this device is to its hub, once it is enrolled.
    pub(crate) identity: Option<Identity>,
    /// Where an enrolment token may lie.
    token: PathBuf,
    /// The baked agent, whose hub is the machine's.
    baked: bool,
    protected: Vec<String>,
    own_services: Vec<String>,
}

impl Settings {
    /// Reads everything.
    pub(crate) fn read(given: &Given) -> Result<Self, Failure> {
        let absolute =
            |path: &Path| std::path::absolute(path).map_err(|e| Failure::invalid(format!("{}: {e}", path.display())));
        let default = Path::new(installed::BAKED_CONFIG);
        let path = match &given.config {
            Some(path) => Some(absolute(path)?),
            None if given.artifact.is_none() => Some(default.to_owned()),
            None => None,
        };
        let mut config = match &path {
            None => None,
            Some(path) => {
                let bytes = files::read(path, 1 << 20)
                    .map_err(|e| Failure::invalid(e).help("name an artifact, or an agent.toml with --config"))?;
                Some(installed::parse(path, &bytes).map_err(Failure::invalid)?)
            }
        };
        let abs = |p: &jos_schemas::text::AbsPath| PathBuf::from(p.as_str());
        let configured = config.as_ref();
        let first = match &given.artifact {
            Some(path) => Some(absolute(path)?),
            None => configured.and_then(|c| c.artifact.as_ref()).map(abs),
        };
        let mut artifact = None;
        let mut first_state = None;
        let mut own_name = None;
        if let Some(path) = first {
            match sniff(&path)? {
                Sniffed::Artifact(loaded) => {
                    own_name = Some(loaded.artifact.id_jos.clone());
                    artifact = Some(*loaded);
                }
                Sniffed::State(name) => {
                    own_name = name;
                    first_state = Some(path);
                }
            }
        }
        let configured_state = configured.and_then(|c| c.state.as_ref()).map(abs);
        let (state, baseline) = match (configured_state, first_state) {
            (Some(state), baseline) => (Some(state), baseline),
            (None, first) => (first, None),
        };
        let channel = |p: &Path| {
            if p.starts_with(HERE.share) {
                Channel::Baseline
            } else {
                Channel::Local
            }
        };
        let mut state = state.map(|p| (p.clone(), channel(&p)));
        let mut baseline = baseline;
        // A package's baseline is looked at once at each start; what changes comes from elsewhere.
        if baseline.is_none() && state.as_ref().is_some_and(|(_, channel)| *channel == Channel::Baseline) {
            let calls = given.hub.is_some() || configured.is_some_and(|c| c.hub.is_some());
            baseline = state.take_if(|_| calls).map(|(path, _)| path);
        }

        if config.is_none() {
            let name = own_name.ok_or_else(|| Failure::invalid("the document has no readable name"))?;
            config = Some(AgentConfig::named(name));
        }
        let Some(config) = config else {
            return Err(Failure::invalid("no configuration"));
        };
        let or = |given: &Option<PathBuf>, configured: &Option<jos_schemas::text::AbsPath>, default: &str| match given {
            Some(path) => absolute(path),
            None => Ok(configured.as_ref().map_or_else(|| PathBuf::from(default), abs)),
        };
        let policy_path = or(&given.policy, &config.policy, HERE.policy)?;
        let policy = read_policy(&policy_path)?;
        let trust = or(&given.trust, &config.trust, HERE.trust)?;
        let place = Place::new(None);
        let own_state = place.caller().state_dir();
        let state_dir = or(&given.state_dir, &config.state_dir, &own_state.to_string_lossy())?;
        let secrets = or(&None, &config.secrets, HERE.secrets)?;
        let identity = Identity::load(&state_dir).map_err(Failure::failed)?;
        let trust = match identity::trust_path(&state_dir) {
            // The package brought none: the one that the token named.
            own if !trust.exists() && own.exists() => own,
            _ => trust,
        };
        let folder = path.as_deref().and_then(Path::parent);
        let environment = match folder {
            Some(folder) => environment::load(folder).map_err(Failure::invalid)?,
            None => Vec::new(),
        };
        let token = match config.hub.as_ref().and_then(|h| h.token.as_ref()) {
            Some(token) => abs(token),
            None => folder
                .unwrap_or(Path::new(HERE.config).parent().unwrap_or(Path::new("/")))
                .join("token"),
        };
        let mut protected: Vec<PathBuf> = vec![
            policy_path,
            trust.clone(),
            state_dir.clone(),
            secrets.clone(),
            token.clone(),
        ];
        protected.extend(path.clone());
        // What [runtime] declares is agent.toml's, and no state's or agent's.
        if let Some(runtime) = &config.runtime {
            let dir = Path::new(runtime.data_dir.as_str());
            protected.extend(runtime.files().iter().map(|file| dir.join(file)));
        }
        protected.extend(folder.filter(|f| f.join("service.json").exists()).map(Path::to_owned));
        protected.extend(std::env::current_exe().ok());
        protected.extend(crate::protected::listed(&place).map_err(Failure::failed)?);
        let service = config.service.as_ref().map_or_else(
            || {
                if path.as_deref() == Some(default) {
                    "jos-agent".into()
                } else {
                    format!("jos-agent-{}", config.name)
                }
            },
            ToString::to_string,
        );
        let settings = Self {
            name: config.name.clone(),
            artifact,
            state,
            baseline,
            policy,
            trust,
            state_dir,
            secrets,
            interval: given.interval.or(config.interval).unwrap_or(INTERVAL),
            hub: given.hub.clone().or_else(|| config.hub.as_ref().map(|h| h.url.clone())),
            environment,
            identity,
            token,
            baked: path.as_deref() == Some(default),
            protected: protected.iter().map(|p| p.to_string_lossy().into_owned()).collect(),
            own_services: unit::own_services(service),
            config,
        };
        settings.check()?;
        Ok(settings)
    }

    /// Whether this agent calls the hub that `identity` is of: the one that enrolled does, the machine's own, and one
    /// that names a hub.
    pub(crate) fn calls(&self, identity: &Identity) -> bool {
        self.hub.is_some() || self.baked || identity.agents.contains(&self.name)
    }

    /// The token to enrol with, where one lies ready, and its file.
    pub(crate) fn token(&self) -> Result<Option<(PathBuf, jos_link::Token)>, String> {
        for path in [&self.token, &identity::token_path(&self.state_dir, &self.name)] {
            if let Some(token) = identity::token_in(path)? {
                return Ok(Some((path.clone(), token)));
            }
        }
        Ok(None)
    }

    /// The proxy that leads to the hub: the configured one, else the environment's.
    pub(crate) fn proxy(&self) -> Option<String> {
        let configured = self.config.hub.as_ref().and_then(|h| h.proxy.clone());
        configured.or_else(|| {
            let variables = ["https_proxy", "HTTPS_PROXY"];
            variables
                .iter()
                .find_map(|v| std::env::var(v).ok())
                .filter(|p| !p.is_empty())
        })
    }

    /// The file with figures of the owner's own.
    pub(crate) fn metrics(&self) -> Option<PathBuf> {
        let metrics = self.config.hub.as_ref()?.metrics.as_ref()?;
        Some(PathBuf::from(metrics.as_str()))
    }

    /// Whether the agent tells people at its hub what they ask.
    pub(crate) fn answers(&self) -> bool {
        self.config.hub.as_ref().and_then(|hub| hub.answers).unwrap_or(true)
    }

    /// Bytes a second at which content comes from the hub, at most.
    pub(crate) fn blob_rate(&self) -> Option<u64> {
        let rate = self.config.hub.as_ref()?.blob_rate?;
        Some(u64::from(rate) * 1024)
    }

    /// The tenant: the one of the enrolment, else the configured one.
    pub(crate) fn tenant(&self) -> Option<&Name> {
        self.identity
            .as_ref()
            .map(|i| &i.tenant)
            .or(self.config.tenant.as_ref())
    }

    /// The tenant under which versions are counted: the pinned one, else the trust root's.
    pub(crate) fn counting_tenant(&self) -> Option<Name> {
        self.tenant().cloned().or_else(|| self.baked_root()?.tenant().cloned())
    }

    /// The trust root that the package or the token brought, where there is a sound one.
    pub(crate) fn baked_root(&self) -> Option<TrustRoot> {
        let bytes = files::read(&self.trust, crate::subject::LIMIT).ok()?;
        let received = Received {
            name: "trust",
            bytes: &bytes,
            format: Format::of_path(&self.trust),
        };
        TrustRoot::open(received).ok()
    }

    /// The device's id, likewise.
    pub(crate) fn device(&self) -> Option<&str> {
        let enrolled = self.identity.as_ref().map(|i| i.device.as_str());
        enrolled.or(self.config.device.as_deref())
    }

    /// The device's labels: those of its enrolment, and over them those that somebody at the device has written.
    pub(crate) fn labels(&self) -> std::collections::BTreeMap<String, String> {
        let mut labels = self.identity.as_ref().map(|i| i.labels.clone()).unwrap_or_default();
        labels.extend(self.config.labels.clone());
        labels
    }

    /// An artifact runs only where somebody granted exactly these bytes; a node only where this build has the runtime.
    fn check(&self) -> Result<(), Failure> {
        if self.config.runtime.is_some() && node(&self.config).is_none() {
            let message = "agent.toml: [runtime]: unsupported: this build is made for devices and runs no agents";
            let help = "take [runtime] out, or install a build with the runtime";
            return Err(Failure::failed(message).help(help));
        }
        let Some(artifact) = &self.artifact else { return Ok(()) };
        let grant = self
            .policy
            .grants
            .get(&jos_schemas::documents::policy::Source::Artifact);
        for one in artifact.all() {
            if !grant.is_some_and(|g| g.programs.contains(&one.sha256)) {
                let message = format!(
                    "{}: nobody granted this artifact: its SHA-256 is {}, and policy lists it not under grants.artifact.programs",
                    one.path.display(),
                    one.sha256
                );
                let help =
                    "`jos agent install` shows what it asks for and grants it; a later artifact needs a new grant";
                return Err(Failure::failed(message).help(help));
            }
        }
        Ok(())
    }

    /// A first start over a state that still holds placeholders is refused before anything is written. Later there is
    /// something in force to keep: the agent stays, and the document is refused when it is judged.
    pub(crate) fn filled_in_at_first(&self) -> Result<(), Failure> {
        if self.state_dir.join(self.name.as_str()).exists() {
            return Ok(());
        }
        let states = self.state.iter().map(|(path, _)| path).chain(&self.baseline);
        for path in states.filter(|path| path.exists()) {
            // What cannot be read now is judged each turn.
            if let Ok(read) = subject::read(path)
                && let Subject::State(state) = &read.subject
            {
                subject::filled_in(&path.display().to_string(), state)?;
            }
        }
        Ok(())
    }

    /// For the plane.
    pub(crate) fn setup(&self) -> Setup {
        Setup {
            name: self.name.clone(),
            root: "/".into(),
            state_dir: self.state_dir.clone(),
            secrets: self.secrets.clone(),
            policy: self.policy.clone(),
            protected: self.protected.clone(),
            own_services: self.own_services.clone(),
            built: crate::world::built(),
            wait: Duration::from_secs(10),
            node: node(&self.config),
        }
    }
}

/// The data directory of the node that a daemon of this configuration runs, where this build can.
pub(crate) fn node(config: &AgentConfig) -> Option<String> {
    let runtime = config.runtime.as_ref().filter(|_| cfg!(feature = "runtime"))?;
    Some(runtime.data_dir.as_str().to_owned())
}

enum Sniffed {
    Artifact(Box<Loaded>),
    State(Option<Name>),
}

/// What kind of document it is. A state that cannot be read now is still a state: it is judged each turn, and what is in
/// force stays in force.
fn sniff(path: &Path) -> Result<Sniffed, Failure> {
    let bytes = match files::read(path, subject::LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if path.extension().is_some_and(|e| e == "jos") => return Err(Failure::invalid(error)),
        Err(error) => {
            log::warn!("{error}");
            return Ok(Sniffed::State(None));
        }
    };
    let node = read::parse(&path.display().to_string(), &bytes, Format::of_path(path));
    let kind = node.as_ref().ok().and_then(|n| n.get("kind")).and_then(|k| k.as_str());
    if kind != Some(desired_state::KIND) && (kind.is_none() || node.as_ref().is_ok_and(|n| n.get("id_jos").is_some())) {
        if node.is_err() && path.extension().is_none_or(|e| e != "jos") {
            return Ok(Sniffed::State(None));
        }
        return match subject::read(path)?.subject {
            Subject::Artifact(loaded) => Ok(Sniffed::Artifact(loaded)),
            Subject::State(state) => Ok(Sniffed::State(Some(state.meta.name))),
        };
    }
    let name = node
        .ok()
        .and_then(|n| Name::new(n.get("meta")?.get("name")?.as_str()?).ok());
    Ok(Sniffed::State(name))
}

fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let bytes = files::read(path, subject::LIMIT).map_err(|e| {
        Failure::invalid(e).help("an agent without a policy may do nothing; `jos agent install` writes one")
    })?;
    let parsed = read::document::<Policy>(&path.display().to_string(), &bytes, Format::of_path(path));
    parsed.map(|p| p.value).map_err(Failure::invalid)
}
