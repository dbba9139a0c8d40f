//! Where jobs wait and how a node takes them: the one seam behind which the queue of a directory and that of a database stand.
//!
//! The contract, whoever keeps the queue: an id is taken once; a job is claimed by one node; a node that lives keeps what it
//! claimed, and what a dead one left is taken over with how far it came; what has ended can be read by whoever submitted it.
//! The ledger, agents, tools, models and keys are never here: they are the node's own, in its data directory.

mod folder;
#[cfg(feature = "postgres")]
mod postgres;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use jos_runtime::disk::Disk;
use jos_schemas::documents::runtime::Job;
use jos_schemas::text::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::AgentError;
use crate::error::NodeError;
use crate::jobs::{Claim, Taken};
#[cfg(feature = "postgres")]
use crate::join::Outside;
use crate::place::DataDir;
use crate::resume::Progress;

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// Well: its result.
    Done(Value),
    /// It failed, for this reason.
    Failed(String),
}

/// How many jobs stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// They wait.
    pub waiting: u64,
    /// A node is at them.
    pub running: u64,
    /// Ended well, of those that are remembered.
    pub done: u64,
    /// Failed, of those that are remembered.
    pub failed: u64,
}

/// Who is told when jobs end.
pub trait Ends {
    /// Readable when there may be something.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
    /// How long nobody need look, where there is nothing to wait on.
    fn every(&self) -> Option<Duration>;
    /// Takes note that something may have come, without saying what: for who waits for one job.
    fn hear(&mut self) -> Result<(), NodeError>;
    /// What ended since the last call, in its order. Never waits for more.
    fn take(&mut self) -> Result<Vec<(String, End)>, NodeError>;
}

/// Messages between agents, kept elsewhere than in the data directory. Their types and sizes are looked at before.
pub trait Messages: Send + Sync {
    /// Puts one at the end, unless `most` wait already: then gives how many do.
    fn send(&self, queue: &str, message: &[u8], most: usize) -> Result<Result<(), usize>, AgentError>;
    /// The message after the `given` ones that this job has already: one that it took before, else the oldest.
    fn receive(&self, queue: &str, job: &str, given: usize) -> Result<Option<Vec<u8>>, AgentError>;
    /// Drops what this job took.
    fn settle(&self, queue: &str, job: &str) -> Result<(), AgentError>;
}

/// How far a schedule has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// No firing up to here is made any more, in seconds since 1970.
    pub(crate) last: i64,
    /// So many jobs were submitted.
    pub(crate) fired: u64,
}

/// What a schedule comes to from where it stands: the new `last`, and the jobs that are due.
pub(crate) type Plan<'p> = dyn FnMut(Option<Cursor>) -> (i64, Vec<Job>) + 'p;

/// What was heard of the queue.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// What [`Backend::claim`] takes.
    pub(crate) tokens: Vec<String>,
    /// Something may have been missed.
    pub(crate) lost: bool,
}

/// What dead nodes left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Ours now, with how far they came where the queue was told.
    pub(crate) taken: Vec<(Claim, Option<Progress>)>,
    /// A node of this directory did not end well.
    pub(crate) unclean: bool,
    /// Nodes that live have claims.
    pub(crate) foreign: bool,
}

/// Whether a claim is still ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Yes,
    /// Another node took the job over: what it comes to there counts.
    No,
}

/// What is left to do, besides what the node sees in its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Nothing,
    /// Jobs wait.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "a directory has its files"))]
    Waits,
    /// Other nodes are at it.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "a directory has its files"))]
    Elsewhere,
}

/// A queue, as nodes and commands use it.
pub(crate) trait Backend: Send + Sync {
    /// Where it is, in words that hold no secret.
    fn place(&self) -> String;
    /// Puts a job in. An id that is in use is refused.
    fn submit(&self, job: &Job) -> Result<(), NodeError>;
    /// How a job ended, if it did.
    fn end(&self, id: &str) -> Result<Option<End>, NodeError>;
    fn counts(&self) -> Result<Counts, NodeError>;
    /// Nodes on this queue that are not of this directory alone, where the queue knows them.
    fn nodes(&self) -> Result<Option<Vec<String>>, NodeError>;
    fn ends(&self) -> Result<Box<dyn Ends>, NodeError>;
    fn cursor(&self, schedule: &Name) -> Option<Cursor>;
    /// A schedule of this name begins anew.
    fn forget(&self, schedule: &Name) -> Result<(), NodeError>;
    /// Submits what `plan` says is due, and moves the cursor; nobody else does meanwhile. Gives the ids that are new.
    fn fire(&self, schedule: &Name, plan: &mut Plan<'_>) -> Result<Vec<String>, NodeError>;
    /// Where messages are; `None` for the data directory.
    fn messages(&self) -> Option<Arc<dyn Messages>>;

    /// A node begins to take jobs.
    fn begin(&self, node: &str, lease: Duration) -> Result<(), NodeError>;
    /// Readable when there may be something to hear.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
    fn hear(&self) -> Heard;
    /// What is waited for at the moment, in words.
    fn trouble(&self) -> Option<String>;
    /// How often the claims of others are looked for where none are known; `None` where those are told.
    fn look_every(&self, lease: Duration) -> Option<Duration>;
    /// What [`Backend::claim`] takes, of all that waits.
    fn tokens(&self, inbox: Vec<String>) -> Vec<String>;
    fn claim(&self, token: &str, node: &str) -> Result<Taken, NodeError>;
    fn read(&self, disk: &Disk, claim: &Claim) -> Result<Job, String>;
    /// Whether those who take over have to be told how far a job came: they cannot read the ledger.
    fn keeps(&self) -> bool;
    fn keep(&self, claim: &Claim, progress: &Progress) -> Result<Held, NodeError>;
    fn finish(&self, claim: &Claim, result: &Value) -> Result<Held, NodeError>;
    fn fail(&self, claim: &Claim, reason: &str) -> Result<Held, NodeError>;
    /// A sign of life of a node that has claims.
    fn beat(&self, node: &str);
    fn reclaim(&self, node: &str, lease: Duration) -> Result<Left, NodeError>;
    /// What there is besides the files in `inbox/` and `claimed/`.
    fn rest(&self, node: &str) -> Result<Rest, NodeError>;
    /// No job that has to go on from what the ledger of this directory says is claimed, or about to be. While no job is on
    /// its way.
    fn is_settled(&self, data: &DataDir) -> Result<bool, NodeError>;
    /// Forgets the oldest ids.
    fn trim(&self, kept: usize) -> Result<(), NodeError>;
    /// Nobody waits for it any more.
    fn stop(&self);
    /// The node ended, and left nothing behind.
    fn bury(&self, node: &str);
}

/// A queue of jobs.
#[derive(Clone)]
pub struct Queue(pub(crate) Arc<dyn Backend>);

impl Queue {
    /// That of a data directory: its files.
    pub fn folder(data: &DataDir) -> Result<Self, NodeError> {
        Ok(Self(Arc::new(folder::Folder::of(data)?)))
    }

    /// That in the PostgreSQL which a URL names; its tables are made where they are not there yet. The data directory says
    /// which nodes are this machine's own.
    #[cfg(feature = "postgres")]
    pub fn postgres(url: &str, data: &DataDir, outside: &Outside) -> Result<Self, NodeError> {
        Ok(Self(Arc::new(postgres::Postgres::open(url, data, outside)?)))
    }

    /// Where it is, in words that hold no secret.
    pub fn place(&self) -> String {
        self.0.place()
    }

    /// Puts a job in, durably and whole. An id that is in use is refused.
    pub fn submit(&self, job: &Job) -> Result<(), NodeError> {
        self.0.submit(job)
    }

    /// How a job ended; `None` while it has not.
    pub fn end(&self, id: &str) -> Result<Option<End>, NodeError> {
        self.0.end(id)
    }

    /// How many jobs stand where.
    pub fn counts(&self) -> Result<Counts, NodeError> {
        self.0.counts()
    }

    /// The nodes that are connected, on whatever machine; `None` where the queue is a directory, which has its leases.
    pub fn nodes(&self) -> Result<Option<Vec<String>>, NodeError> {
        self.0.nodes()
    }

    /// Whether it is no directory.
    pub fn is_elsewhere(&self) -> bool {
        self.0.keeps()
    }

    /// Tells of jobs that end from now on.
    pub fn ends(&self) -> Result<Box<dyn Ends>, NodeError> {
        self.0.ends()
    }

    /// Where the messages between agents are; `None` for the data directory.
    pub fn messages(&self) -> Option<Arc<dyn Messages>> {
        self.0.messages()
    }
}

/// Claims by id, out of what was taken over.
pub(crate) fn by_id(taken: &[(Claim, Option<Progress>)]) -> std::collections::BTreeSet<String> {
    taken.iter().map(|(claim, _)| claim.id.clone()).collect()
}

/// What is known of jobs that were taken over: out of the node's own ledger, or what the queue was told where that is more.
pub(crate) fn with_progress(
    taken: Vec<(Claim, Option<Progress>)>,
    mut known: BTreeMap<String, Progress>,
) -> Vec<(Claim, Option<Progress>)> {
    let further = |(claim, told): (Claim, Option<Progress>)| {
        let own = known.remove(&claim.id);
        let progress = match (own, told) {
            (Some(own), Some(told)) if own.ended.is_none() && told.outcomes.len() > own.outcomes.len() => Some(told),
            (Some(own), Some(told)) if own.ended.is_none() && !own.can_go_on() => Some(told),
            (Some(own), _) => Some(own),
            (None, told) => told,
        };
        (claim, progress)
    };
    taken.into_iter().map(further).collect()
}
