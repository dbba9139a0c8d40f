//! What `plan` and `apply` share: where things lie, the plane, and the way from a file to a verified state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use jos_runtime::{Plane, PlaneError, RootError, Setup};
use jos_schemas::documents::agent_config::AgentConfig;
use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::policy::{Policy, Source};
use jos_schemas::layout::Layout;
use jos_schemas::read::{self, Format};
use jos_schemas::text::{AbsPath, Name};
use jos_schemas::unit;
use jos_trust::{Channel, Context, TrustRoot, Verified, verify_state};

use crate::cli::Failure;
use crate::cli::signing::{Doc, refused, trust_refused};
use crate::place::Place;
use crate::world::{Real, built};

const HERE: Layout = Layout::HERE;

/// Which device, and by whose rules.
#[derive(Args)]
pub(super) struct Target {
    /// The desired state, signed; JSON or TOML
    #[arg(value_name = "STATE")]
    pub(super) state: PathBuf,
    /// Work on this folder as on the root of a machine that is not running [default: /]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// What was granted [default: agent.toml's, else /etc/jos/policy.toml]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The trust document that the device began with [default: agent.toml's, else /usr/share/jos/trust.json]
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Where ledger, journal and floors lie [default: agent.toml's, else /var/lib/jos as root or with --root, else
    /// ~/.jos/state]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where secrets lie, one file each, mode 0600 [default: agent.toml's, else /etc/jos/secrets]
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// The agent's name [default: agent.toml's, else the state's own]
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Under whose grants, and in which sequence of versions
    #[arg(long, value_enum, default_value = "local")]
    source: Origin,
    /// Folder with contents that the state names by hash, each in a file named by its SHA-256
    #[arg(long, value_name = "DIR")]
    blobs: Option<PathBuf>,
    /// Seconds to wait for another apply of this agent to end
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u32,
}

/// How the state came.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Origin {
    /// A file that somebody at this machine hands over
    Local,
    /// The state that came with the package
    Baseline,
}

/// Everything but the plane itself, which borrows the world.
pub(super) struct Ready {
    pub(super) real: Real,
    setup: Setup,
    doc: Doc,
    baked: (String, TrustRoot),
    tenant: Option<Name>,
    device: Option<String>,
    labels: BTreeMap<String, String>,
    channel: Channel,
}

#[cfg(windows)]
impl Target {
    /// What the service keeps: `state`, by these where they are named, else by agent.toml's.
    pub(super) fn of(
        state: PathBuf,
        policy: Option<PathBuf>,
        trust: Option<PathBuf>,
        state_dir: Option<PathBuf>,
        baked: bool,
    ) -> Self {
        Self {
            state,
            root: None,
            policy,
            trust,
            state_dir,
            secrets: None,
            name: None,
            source: if baked { Origin::Baseline } else { Origin::Local },
            blobs: None,
            wait: 10,
        }
    }
}

#[cfg(windows)]
impl Ready {
    /// The agent's name.
    pub(super) fn name(&self) -> &Name {
        &self.setup.name
    }
    /// The state's bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.doc.bytes
    }
}

impl Target {
    /// Reads configuration, policy, trust and the state's bytes. Changes nothing.
    pub(super) fn ready(&self) -> Result<Ready, Failure> {
        let place = Place::new(self.root.clone());
        if let Some(root) = self.root.as_ref().filter(|r| !r.is_dir()) {
            return Err(Failure::invalid(format!("--root {}: not a folder", root.display())));
        }
        let doc = Doc::read(&self.state)?;
        doc.filled_in(&doc.parse()?)?;
        let config = config(&place)?;
        let of = |given: &Option<PathBuf>, set: fn(&AgentConfig) -> &Option<AbsPath>, default: &str| match given {
            Some(path) => path.clone(),
            None => place.at(config
                .as_ref()
                .and_then(|c| set(c).as_ref())
                .map_or(default, AbsPath::as_str)),
        };
        let policy_path = of(&self.policy, |c| &c.policy, HERE.policy);
        let policy = document::<Policy>(
            &policy_path,
            "the policy says what may be done: name one with --policy FILE",
        )?;
        let trust_path = of(&self.trust, |c| &c.trust, HERE.trust);
        let trust = Doc::read(&trust_path).map_err(|f| f.help("name the first trust root with --trust FILE"))?;
        let root = TrustRoot::open(trust.received()).map_err(|r| trust_refused(&trust.name, &r))?;
        let name = match (&self.name, &config) {
            (Some(name), _) => name.clone(),
            (None, Some(config)) => config.name.clone(),
            (None, None) => own_name(&doc)?,
        };
        let default_state = place.caller().state_dir();
        let default_state = default_state.to_str().unwrap_or(crate::place::SYSTEM_STATE);
        let tree = self.root.clone().filter(|r| r != Path::new("/"));
        let mut protected: Vec<PathBuf> = vec![policy_path, trust_path, place.at(HERE.config)];
        if place.is_live() {
            protected.extend(std::env::current_exe().ok());
        }
        protected.extend(crate::protected::listed(&place).map_err(Failure::failed)?);
        let protected = protected.iter().filter_map(|p| inside(tree.as_deref(), p)).collect();
        let service = config.as_ref().and_then(|c| c.service.clone());
        let setup = Setup {
            name,
            root: tree.unwrap_or_else(|| "/".into()),
            state_dir: of(&self.state_dir, |c| &c.state_dir, default_state),
            secrets: of(&self.secrets, |c| &c.secrets, HERE.secrets),
            policy,
            protected,
            own_services: unit::own_services(service.map_or_else(|| super::SERVICE.into(), String::from)),
            built: built(),
            wait: Duration::from_secs(u64::from(self.wait)),
            node: config.as_ref().and_then(crate::run::settings::node),
        };
        Ok(Ready {
            real: Real::new().offering(self.blobs.clone()),
            setup,
            doc,
            baked: (trust.name, root),
            tenant: config.as_ref().and_then(|c| c.tenant.clone()),
            device: config.as_ref().and_then(|c| c.device.clone()),
            labels: config.map(|c| c.labels).unwrap_or_default(),
            channel: if self.source == Origin::Baseline {
                Channel::Baseline
            } else {
                Channel::Local
            },
        })
    }
}

impl Ready {
    pub(super) fn plane(&self) -> Result<Plane<'_>, Failure> {
        Plane::open(self.setup.clone(), self.real.world()).map_err(failed)
    }

    pub(super) fn state_dir(&self) -> &Path {
        &self.setup.state_dir
    }

    /// The same, with its data elsewhere.
    pub(super) fn with_state_dir(&mut self, dir: &Path) {
        dir.clone_into(&mut self.setup.state_dir);
    }

    /// Verifies the state. `adopt` also takes the trust root into use and records a refusal.
    pub(super) fn verified(&self, plane: &Plane<'_>, adopt: bool) -> Result<Verified<DesiredState>, Failure> {
        let (trust_name, baked) = &self.baked;
        let root = if adopt {
            plane.trust_root(baked.clone(), self.tenant.as_ref())
        } else {
            plane.peek_trust_root(baked.clone())
        };
        let root = root.map_err(|e| match e {
            RootError::Refused { refused, .. } => trust_refused(trust_name, &refused),
            RootError::Plane(e) => failed(e),
        })?;
        let (floors, now) = (plane.floors().map_err(failed)?, plane.now().map_err(failed)?);
        let context = Context {
            channel: self.channel,
            name: &self.setup.name,
            tenant: self.tenant.as_ref(),
            device: self.device.as_deref(),
            labels: &self.labels,
            now: &now,
            floors: &floors,
            allow_unscoped: false,
        };
        verify_state(self.doc.received(), &root, &context).map_err(|e| {
            let failure = refused(&self.doc.name, &e);
            // What is no document at all is a mistake at the keyboard, nothing for the ledger.
            if adopt && !failure.is_bad_use() {
                let source = if self.channel == Channel::Baseline {
                    Source::Baseline
                } else {
                    Source::Local
                };
                if let Err(e) = plane.refuse(source, None, &e.to_string()) {
                    log::error!("the refusal could not be recorded: {e}");
                }
            }
            failure
        })
    }
}

/// An error of the plane, for the printer.
pub(super) fn failed(error: PlaneError) -> Failure {
    Failure::failed(error)
}

fn config(place: &Place) -> Result<Option<AgentConfig>, Failure> {
    let path = place.at(HERE.config);
    if !path.exists() {
        return Ok(None);
    }
    document(&path, "put it right, or move it away").map(Some)
}

fn document<T: serde::de::DeserializeOwned>(path: &Path, help: &str) -> Result<T, Failure> {
    let doc = Doc::read(path).map_err(|f| f.help(help))?;
    let parsed = read::document::<T>(&doc.name, &doc.bytes, Format::of_path(path));
    parsed
        .map(|p| p.value)
        .map_err(|report| Failure::invalid(&report).details(report))
}

/// `meta.name` of a state that is not verified yet: which agent's data the verification is held against.
fn own_name(doc: &Doc) -> Result<Name, Failure> {
    let node = doc.parse()?;
    let name = node
        .get("meta")
        .and_then(|m| m.get("name"))
        .and_then(|n| n.as_str())
        .and_then(|n| Name::new(n).ok());
    name.ok_or_else(|| {
        Failure::invalid(format!("{}: no meta.name", doc.name)).help("give the agent's name with --name")
    })
}

/// `path` as seen from the managed root.
fn inside(root: Option<&Path>, path: &Path) -> Option<String> {
    let path = std::fs::canonicalize(path)
        .or_else(|_| std::path::absolute(path))
        .ok()?;
    let Some(root) = root else {
        return Some(jos_runtime::disk::managed(&path));
    };
    let below = path.strip_prefix(std::fs::canonicalize(root).ok()?).ok()?;
    let below = jos_runtime::disk::managed(below);
    (!below.is_empty()).then(|| format!("/{below}"))
}
