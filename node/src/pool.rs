//! The worker threads: each takes a job, claims it, runs it to its end and takes the next. One that is slow holds up nobody.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jos_runtime::ledger::Blobs;
use jos_schemas::documents::runtime::Job;

use crate::chapter::Chapters;
use crate::error::NodeError;
use crate::execute::{Ended, Executor, Keep};
use crate::jobs::{self, Claim, Taken};
use crate::join::{Agents, Outside};
use crate::lease::Lease;
use crate::place::{BLOBS, DataDir};
use crate::queue::{Held, Queue as Jobs};
use crate::resume::Progress;
use crate::status::Board;
use crate::writer::{Bell, Halt, Writer};

/// How long until a file that could not be written is tried again.
const AGAIN: Duration = Duration::from_millis(300);

/// What waits to be done.
#[derive(Default)]
struct Waiting {
    /// Names in `inbox/`, in the order in which they came.
    fresh: VecDeque<String>,
    known: HashSet<String>,
    /// What other nodes left behind.
    again: VecDeque<(Claim, Option<Progress>)>,
    /// Of names in `inbox/` that the ledger knows to be over: a power cut took the rename back.
    over: BTreeMap<String, Progress>,
    busy: usize,
    closed: bool,
}

/// The queue of a node's workers.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

enum Work {
    Fresh(String, Option<Progress>),
    Again(Claim, Option<Progress>),
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names that are in `inbox/`; those that wait already are not added again.
    pub(crate) fn add(&self, names: impl IntoIterator<Item = String>) {
        let mut waiting = self.lock();
        for name in names {
            if waiting.known.insert(name.clone()) {
                waiting.fresh.push_back(name);
                self.came.notify_one();
            }
        }
    }

    pub(crate) fn add_again(&self, claims: Vec<(Claim, Option<Progress>)>) {
        let mut waiting = self.lock();
        waiting.again.extend(claims);
        self.came.notify_all();
    }

    pub(crate) fn set_over(&self, over: BTreeMap<String, Progress>) {
        self.lock().over = over;
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        let waiting = self.lock();
        waiting.fresh.len() + waiting.again.len()
    }

    /// Nothing waits and nothing runs.
    pub(crate) fn is_idle(&self) -> bool {
        let waiting = self.lock();
        waiting.fresh.is_empty() && waiting.again.is_empty() && waiting.busy == 0
    }

    /// No more is given out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.came.notify_all();
    }

    /// Waits until nothing runs any more, at most so long. Whether that is so.
    pub(crate) fn quiet(&self, how_long: Duration) -> bool {
        let waiting = self.lock();
        let waited = self.came.wait_timeout_while(waiting, how_long, |w| w.busy > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.busy == 0
    }

    fn next(&self) -> Option<Work> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            let work = if let Some((claim, progress)) = waiting.again.pop_front() {
                Some(Work::Again(claim, progress))
            } else if let Some(name) = waiting.fresh.pop_front() {
                waiting.known.remove(&name);
                let over = name.strip_suffix(".json").and_then(|id| waiting.over.remove(id));
                Some(Work::Fresh(name, over))
            } else {
                None
            };
            if work.is_some() {
                waiting.busy += 1;
                return work;
            }
            waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self) {
        self.lock().busy -= 1;
        self.came.notify_all();
    }
}

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) data: DataDir,
    pub(crate) jobs: Jobs,
    pub(crate) node: String,
    pub(crate) agents: Arc<dyn Agents>,
    pub(crate) outside: Outside,
    pub(crate) queue: Queue,
    pub(crate) board: Board,
    pub(crate) bell: Arc<Bell>,
    pub(crate) lease: Lease,
    pub(crate) chapters: Chapters,
}

/// One worker's thread.
pub(crate) fn work(shared: &Shared, writer: &Writer) {
    let root = shared.data.root();
    if let Err(e) = opened(root, shared, writer) {
        log::error!("a worker ended: {e}");
    }
}

fn opened(root: &Path, shared: &Shared, writer: &Writer) -> Result<(), NodeError> {
    let disk = jobs::disk(root, &shared.outside.hex(8))?;
    let state = jobs::disk(&root.join("state"), &shared.outside.hex(8))?;
    let blobs = Blobs::open(&state, BLOBS)?;
    let keep = |id: &str, attempt: u32, progress: &Progress| {
        let claim = Claim {
            id: id.to_owned(),
            node: shared.node.clone(),
            attempt,
            document: None,
        };
        match patiently(shared, || shared.jobs.0.keep(&claim, progress))? {
            Held::Yes => Ok(()),
            Held::No => Err(Halt::Taken),
        }
    };
    let keep: &Keep<'_> = &keep;
    let executor = Executor {
        agents: &*shared.agents,
        writer,
        blobs: &blobs,
        node: &shared.node,
        keep: shared.jobs.0.keeps().then_some(keep),
        page: RefCell::new(None),
        chapters: &shared.chapters,
    };
    while let Some(work) = shared.queue.next() {
        let claimed = match work {
            Work::Again(claim, progress) => Some((claim, progress)),
            Work::Fresh(name, over) => claim(shared, &name).map(|claim| (claim, over)),
        };
        if let Some((claim, progress)) = claimed {
            shared.lease.claims(1);
            if progress.is_some() {
                executor.begin_to_record();
            }
            let left = run(shared, &executor, &disk, &claim, progress);
            // The job's file stands where jobs that ended do, or it is another node's to go on.
            executor.page.take();
            if left.is_ok() {
                shared.lease.claims(-1);
            }
        }
        shared.queue.done();
        if shared.queue.is_idle() {
            // Whoever waits for that is told after it is so.
            shared.board.touch();
        }
    }
    Ok(())
}

fn claim(shared: &Shared, name: &str) -> Option<Claim> {
    match shared.jobs.0.claim(name, &shared.node) {
        Ok(Taken::Claimed(claim)) => {
            // Where a token stands for any job, there may be another one.
            if claim.document.is_some() {
                shared.queue.add([name.to_owned()]);
            }
            Some(claim)
        }
        Ok(Taken::Gone) => None,
        Ok(Taken::Refused(reason)) => {
            log::warn!("inbox/{name}: {reason}");
            shared.board.refused();
            None
        }
        Err(e) => {
            log::warn!("{}: {e}; tried again", shown(name));
            if !shared.bell.wait(AGAIN) {
                shared.queue.add([name.to_owned()]);
            }
            None
        }
    }
}

/// Runs a claimed job to its end; the error is a job that is left as it is, for the next node.
fn run(
    shared: &Shared,
    executor: &Executor<'_>,
    disk: &jos_runtime::disk::Disk,
    claim: &Claim,
    progress: Option<Progress>,
) -> Result<(), Halt> {
    let job = match shared.jobs.0.read(disk, claim) {
        Ok(job) => job,
        Err(reason) => {
            shared
                .board
                .ended(&claim.id, "", None, Some(&reason), (shared.outside.now)());
            log::warn!("job {}: {reason}", claim.id);
            return held(claim, patiently(shared, || shared.jobs.0.fail(claim, &reason))?);
        }
    };
    shared
        .board
        .began(&claim.id, job.agent.as_str(), (shared.outside.now)());
    if claim.attempt > 1 {
        shared.board.resumed();
    }
    let ended = match ended(executor, &job, claim, progress) {
        Ok(ended) => ended,
        Err(Halt::Stopped) => {
            shared.board.left(&claim.id);
            return Err(Halt::Stopped);
        }
        Err(Halt::Taken) => {
            shared.board.left(&claim.id);
            return held(claim, Held::No);
        }
        Err(Halt::Never(why)) => {
            shared
                .board
                .ended(&claim.id, job.agent.as_str(), None, Some(&why), (shared.outside.now)());
            return held(claim, patiently(shared, || shared.jobs.0.fail(claim, &why))?);
        }
    };
    let moved = match &ended.reason {
        None => {
            let document = ended.document(&job.id, &job.agent);
            patiently(shared, || shared.jobs.0.finish(claim, &document))
        }
        Some(reason) => patiently(shared, || shared.jobs.0.fail(claim, reason)),
    };
    let now = (shared.outside.now)();
    shared.board.ended(
        &job.id,
        job.agent.as_str(),
        Some(ended.state),
        ended.reason.as_deref(),
        now,
    );
    held(claim, moved?)
}

/// What is said of a job that ended here and was another's by then.
fn held(claim: &Claim, held: Held) -> Result<(), Halt> {
    if held == Held::No {
        log::warn!(
            "job {}: another node took it over; what it comes to there counts",
            claim.id
        );
    }
    Ok(())
}

/// A token, for people.
fn shown(token: &str) -> String {
    if token.is_empty() {
        "the next job".to_owned()
    } else {
        format!("inbox/{token}")
    }
}

fn ended(executor: &Executor<'_>, job: &Job, claim: &Claim, progress: Option<Progress>) -> Result<Ended, Halt> {
    if let Some(progress) = progress {
        if let Some(ended) = progress.end() {
            return Ok(ended);
        }
        if progress.can_go_on() {
            return executor.go_on(job, claim.attempt, progress);
        }
    }
    if claim.attempt > jobs::ATTEMPTS {
        return executor.give_up(job, claim.attempt);
    }
    executor.run(job, claim.attempt)
}

/// What the ledger knows already must be seen in the folders too, however long their disk is full.
fn patiently<T>(shared: &Shared, mut act: impl FnMut() -> Result<T, NodeError>) -> Result<T, Halt> {
    let mut said = false;
    loop {
        match act() {
            Ok(done) => {
                if said {
                    shared.bell.set_waiting(None);
                }
                return Ok(done);
            }
            Err(e) => {
                if !said {
                    log::warn!("{e}; tried again");
                    shared.bell.set_waiting(Some(e.to_string()));
                }
                said = true;
                if shared.bell.wait(AGAIN) {
                    return Err(Halt::Stopped);
                }
            }
        }
    }
}
