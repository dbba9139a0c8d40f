//! Which data directory is meant, and what a node is given of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jos_node::NodeError;
use jos_node::contract::{Device, Model};
use jos_node::join::{Agents, Outside};
use jos_node::models::Echo;
use jos_node::place::DataDir;
use jos_node::queue::Queue;
use jos_node::registry::{Broken, Means, Registry};
use jos_runtime::world::{Clock, Random};

use crate::cli::Failure;
use crate::world::{Kernel, SystemClock};
use crate::{models, programs};

const VARIABLE: &str = "JOS_DATA_DIR";
/// The queue, where it is no directory.
const QUEUE: &str = "JOS_QUEUE_URL";
const USUAL: &str = ".jos-data";

/// A data directory as it was named.
pub(crate) struct Place {
    root: PathBuf,
}

/// Whether a command that knows other places too means a node here: none was named, and there is one.
pub(crate) fn is_meant() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|dir| !dir.is_empty()) || Path::new(USUAL).join("inbox").is_dir()
}

impl Place {
    /// The one that was named, else the environment's, else `./.jos-data`.
    pub(crate) fn of(named: Option<&Path>) -> Self {
        let root = named.map(Path::to_owned).or_else(|| {
            let set = std::env::var_os(VARIABLE).filter(|dir| !dir.is_empty());
            set.map(PathBuf::from)
        });
        Self {
            root: root.unwrap_or_else(|| USUAL.into()),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// An existing one. Root becomes its owner first: what a command puts there is then the node's to read, and nothing that
    /// the owner made of its folders leads root anywhere else.
    pub(crate) fn open(&self) -> Result<DataDir, Failure> {
        as_owner(&self.root)
            .map_err(|e| Failure::failed(format!("{}: cannot become its owner: {e}", self.root.display())))?;
        DataDir::open(&self.root).map_err(failure)
    }

    /// The queue of the directory's jobs: its files, or the database that the environment names.
    pub(crate) fn queue(&self, data: &DataDir) -> Result<Queue, Failure> {
        match queue_url()? {
            None => Queue::folder(data).map_err(failure),
            Some(url) => in_database(&url, data),
        }
    }

    /// For what shows a directory's own queue alone.
    #[cfg(feature = "console")]
    pub(crate) fn queue_of_files(&self, data: &DataDir, what: &str) -> Result<Queue, Failure> {
        if queue_url()?.is_some() {
            return Err(Failure::invalid(format!(
                "{QUEUE} is set, and {what} shows the queue of a directory alone"
            ))
            .help("`jos status`, `jos watch` and `jos submit --wait` show the database's"));
        }
        Queue::folder(data).map_err(failure)
    }

    /// The agents of the directory, with the model that is meant for it, where their messages are, the device whose daemon
    /// runs them, and what of its declarations stands in the way of files.
    pub(crate) fn agents_of(
        &self,
        queue: &Queue,
        device: Option<Arc<dyn Device>>,
        clashes: Vec<Broken>,
    ) -> Result<Arc<dyn Agents>, Failure> {
        let means = Means {
            messages: queue.messages(),
            device,
            ..means(self.model()?)
        };
        Ok(Arc::new(Registry::new(&self.root, means).with_clashes(clashes)))
    }

    /// The same for who only looks at what there is, and asks no model.
    pub(crate) fn agents_unasked(&self) -> Arc<dyn Agents> {
        Arc::new(Registry::new(&self.root, means(Arc::new(Echo))))
    }

    /// The model that its agents ask.
    pub(crate) fn model(&self) -> Result<Arc<dyn Model>, Failure> {
        let environment = std::env::vars_os();
        let environment =
            environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        models::follow(&self.root, environment.collect()).map_err(|why| {
            Failure::invalid(why)
                .help("JOS_LLM and config/llm.toml say which model is asked; see docs/building-agents.md")
        })
    }
}

/// What the environment says of the queue.
fn queue_url() -> Result<Option<String>, Failure> {
    match std::env::var(QUEUE) {
        Ok(url) if !url.trim().is_empty() => Ok(Some(url.trim().to_owned())),
        Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Failure::invalid(format!("{QUEUE}: found bytes that are no text")))
        }
    }
}

#[cfg(feature = "postgres")]
fn in_database(url: &str, data: &DataDir) -> Result<Queue, Failure> {
    Queue::postgres(url, data, &outside()).map_err(failure)
}

/// Never the directory in its place: jobs would be done by nobody, or twice.
#[cfg(not(feature = "postgres"))]
fn in_database(_: &str, _: &DataDir) -> Result<Queue, Failure> {
    Err(
        Failure::invalid(format!("{QUEUE} is set, and this jos was built without PostgreSQL")).help(format!(
            "`cargo build --release -p jos-agent --features postgres` builds one that has it; without {QUEUE} the queue is the directory"
        )),
    )
}

#[cfg(target_os = "linux")]
fn as_owner(root: &Path) -> nix::Result<()> {
    use std::os::unix::fs::MetadataExt as _;

    use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

    let Ok(meta) = root.metadata() else { return Ok(()) };
    if !Uid::effective().is_root() || meta.uid() == 0 {
        return Ok(());
    }
    setgroups(&[])?;
    setgid(Gid::from_raw(meta.gid()))?;
    setuid(Uid::from_raw(meta.uid()))
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "as on Linux")]
fn as_owner(_: &Path) -> nix::Result<()> {
    Ok(())
}

/// What agents and tools are run with on this machine.
pub(crate) fn means(model: Arc<dyn Model>) -> Means {
    Means {
        model,
        programs: Some(Arc::new(programs::Confined::of_environment())),
        device: None,
        messages: None,
    }
}

/// Time and randomness of this machine.
pub(crate) fn outside() -> Outside {
    Outside {
        now: Arc::new(|| SystemClock.now()),
        random: Arc::new(|bytes| Kernel.fill(bytes)),
    }
}

/// A node's error, as people and scripts see it.
pub(crate) fn failure(e: NodeError) -> Failure {
    let failure = if e.is_bad_use() {
        Failure::invalid(&e)
    } else {
        Failure::failed(&e)
    };
    match e.help() {
        Some(help) => failure.help(help),
        None => failure,
    }
}
