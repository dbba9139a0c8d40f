//! A node: takes jobs from its queue, runs them on its workers, keeps what it is at in `status.json`.
//!
//! ```text
//! inotify: inbox, claimed, agents, tools, schedules ─┐
//! workers: something changed ────────────────────────┼─► poll ─► queue, registry, leases of others, schedules, status
//! the queue: a job came (where it is no directory) ──┤
//! a signal ──────────────────────────────────────────┘
//! ```
//!
//! Nothing ticks: an idle node sleeps in one poll until a file comes, a schedule is due or it is told to end. Any number of
//! nodes may share a data directory, or the queue alone ([`crate::queue`]).

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jos_runtime::ledger::{Archive, Blobs};
use jos_schemas::text::Utc;
use jos_trust::SecretKey;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;

use crate::chapter::{Chapters, reading};
use crate::error::NodeError;
use crate::jobs::{self, Claim};
use crate::join::{Agents, Outside};
use crate::keep::Keeper;
use crate::lease::Lease;
use crate::place::{BLOBS, DataDir, Door, Durable, LEDGER};
use crate::pool::{self, Shared, work};
use crate::queue::{self, Queue, Rest};
use crate::records::Draft;
use crate::resume;
use crate::schedules::Schedules;
use crate::seals;
use crate::status::Board;
use crate::watch::{Seen, Watch};
use crate::writer::{Bell, Writer};

/// The folders that are watched.
const WATCHED: [&str; 5] = ["inbox", "claimed", "agents", "tools", "schedules"];
/// The status is written no more often than this.
const STATUS_EVERY: Duration = Duration::from_millis(250);
/// What is done may take so long when the node is told to end.
const GRACE: Duration = Duration::from_millis(400);
/// So many ids are remembered by the files in `processed/` and `failed/`.
const KEPT: usize = 10_000;

/// So many records lie between two signed checkpoints, about.
const SEAL_EVERY: u64 = 1000;

/// How a node runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Jobs at a time.
    pub workers: usize,
    /// After this without a beat, a node is held to be dead.
    pub lease: Duration,
    /// Ends when nothing is left to do.
    pub drain: bool,
}

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Every job that was begun came to its end.
    Quiet,
    /// Some go on at the next start.
    Left(usize),
}

/// Runs a node until `stopping` says so; `signal` is readable when that changes.
pub fn serve(
    data: &DataDir,
    jobs: Queue,
    agents: Arc<dyn Agents>,
    outside: &Outside,
    settings: &Settings,
    signal: BorrowedFd<'_>,
    stopping: &dyn Fn() -> bool,
) -> Result<Served, NodeError> {
    let node = outside.hex(6);
    let door = Door::of(data)?;
    let aside = seals::set_aside(data, &door, outside)?;
    let bell = Arc::new(Bell::default());
    let (writer, ledger) = Writer::start(data.root(), outside, &bell)?;
    let watch = Watch::start(data, &WATCHED)?;
    jobs.0.begin(&node, settings.lease)?;
    let (beaten, of) = (jobs.clone(), node.clone());
    let also = Box::new(move || beaten.0.beat(&of));
    let board = Board::new().map_err(NodeError::io(data.root(), "make a pipe"))?;
    let shared = Shared {
        data: data.clone(),
        lease: Lease::take(data, &node, settings.lease, also)?,
        jobs,
        node,
        agents,
        outside: outside.clone(),
        queue: pool::Queue::default(),
        board,
        bell,
        chapters: Chapters::of(data)?,
    };
    shared.agents.refresh();
    let shared = Arc::new(shared);
    let mut host = Host {
        shared: &shared,
        settings,
        watch,
        foreign: true,
        looked: Instant::now(),
        since: (outside.now)(),
        written: None,
        schedules: Schedules::load(data)?,
        writer: &writer,
        keeper: Keeper::start(&shared, seals::key(data, &door, outside)?)?,
        key: seals::key(data, &door, outside)?,
        sealed: 0,
        counted: 0,
        told: Instant::now(),
        asides: seals::asides(data, outside)?,
    };
    if let Some(aside) = aside {
        host.note(vec![Draft::broken(&aside)])?;
    }
    host.note(vec![Draft::node(&host.shared.node, "began")])?;
    host.seal()?;
    host.begin()?;
    host.look_at_kept();
    let workers: Vec<_> = (0..settings.workers.max(1))
        .map(|n| {
            let (shared, writer) = (Arc::clone(&shared), writer.clone());
            let thread = std::thread::Builder::new().name(format!("worker-{n}"));
            thread.spawn(move || work(&shared, &writer))
        })
        .collect::<Result<_, _>>()
        .map_err(NodeError::io(data.root(), "start a thread"))?;
    let looped = host.run(signal, stopping);
    shared.queue.close();
    shared.bell.stop();
    shared.jobs.0.stop();
    let quiet = shared.queue.quiet(GRACE);
    let left = shared.board.running();
    if quiet {
        workers.into_iter().for_each(|worker| drop(worker.join()));
        // The disk may be full; the note is not worth waiting for.
        let _ = host.note(vec![Draft::node(&host.shared.node, "ended")]);
        let _ = host.seal();
    }
    let _ = host.write_status(false);
    drop(host);
    if quiet && left == 0 {
        shared.jobs.0.bury(&shared.node);
    }
    if quiet {
        drop(writer);
        let _ = ledger.join();
    }
    looped.map(|()| {
        if quiet && left == 0 {
            Served::Quiet
        } else {
            Served::Left(left)
        }
    })
}

struct Host<'h> {
    shared: &'h Shared,
    settings: &'h Settings,
    watch: Watch,
    /// Others have claims, as far as is known.
    foreign: bool,
    /// When the claims of others were looked at.
    looked: Instant,
    since: i64,
    written: Option<Instant>,
    schedules: Schedules,
    writer: &'h Writer,
    key: SecretKey,
    /// So many records there were at the last checkpoint.
    sealed: u64,
    /// What goes when there is too much of it.
    keeper: Keeper,
    /// So many bytes were written when it was told last, and when that was.
    counted: u64,
    told: Instant,
    /// Damaged ledgers that were set aside.
    asides: Vec<String>,
}

impl Host<'_> {
    fn note(&self, drafts: Vec<Draft>) -> Result<(), NodeError> {
        let disk = jobs::disk(&self.shared.data.path("state"), &self.shared.outside.hex(8))?;
        let blobs = Blobs::open(&disk, BLOBS)?;
        // Told to end meanwhile: then nobody waits for it.
        let _ = self.writer.append(drafts, &blobs);
        Ok(())
    }

    /// Signs how far the ledger has come.
    fn seal(&mut self) -> Result<(), NodeError> {
        if let Some(document) = seals::now(&self.shared.data, &self.shared.outside, &self.key)? {
            self.sealed = self.writer.count();
            self.note(vec![Draft::checkpoint(document)])?;
        }
        Ok(())
    }

    /// Submits what is due.
    fn fire(&mut self) -> Result<(), NodeError> {
        let fired = self.schedules.fire(&self.shared.jobs, (self.shared.outside.now)());
        match fired {
            Ok(fired) if fired.is_empty() => Ok(()),
            Ok(fired) => {
                let names = fired.iter().map(|fired| format!("{}.json", fired.job));
                self.add(names.collect());
                self.shared.board.touch();
                self.note(
                    fired
                        .iter()
                        .map(|f| Draft::fired(&f.schedule, &f.job, &f.due))
                        .collect(),
                )
            }
            Err(e) => {
                // A full disk, a database that is away: it is tried again when something happens, at the latest in a minute.
                log::warn!("schedules: {e}");
                Ok(())
            }
        }
    }

    /// How long until a schedule is due. Clocks are set and machines sleep, so it is looked at once a minute at least.
    fn until_due(&self) -> Option<Duration> {
        let now = (self.shared.outside.now)();
        let due = self.schedules.next(&self.shared.jobs, now)?;
        Some(Duration::from_secs(due.saturating_sub(now).clamp(0, 60).unsigned_abs()).max(Duration::from_millis(250)))
    }

    /// Takes up what is there: first what dead nodes left, then what waits.
    fn begin(&mut self) -> Result<(), NodeError> {
        let unclean = self.reclaim()?;
        let names = self.shared.data.names("inbox")?;
        if unclean && !names.is_empty() {
            let ids = names
                .iter()
                .filter_map(|name| name.strip_suffix(".json"))
                .map(str::to_owned)
                .collect();
            let mut over = self.progress(&ids)?;
            over.retain(|_, progress| progress.end().is_some());
            self.shared.queue.set_over(over);
        }
        self.add(json_only(names));
        self.trim();
        self.write_status(true)
    }

    fn run(&mut self, signal: BorrowedFd<'_>, stopping: &dyn Fn() -> bool) -> Result<(), NodeError> {
        let mut finished = 0_usize;
        loop {
            if self.settings.drain && self.is_drained()? {
                return Ok(());
            }
            let mut wait = Watch::EVERY;
            let mut sooner = |duration: Duration| wait = Some(wait.map_or(duration, |w| w.min(duration)));
            if self.shared.board.is_dirty() {
                sooner(
                    self.written
                        .map_or(Duration::ZERO, |at| STATUS_EVERY.saturating_sub(at.elapsed())),
                );
            }
            let every = self.look_every();
            every
                .into_iter()
                .for_each(|every| sooner(every.saturating_sub(self.looked.elapsed())));
            self.until_due().into_iter().for_each(&mut sooner);
            let ages = self.keeper.every();
            ages.into_iter()
                .for_each(|every| sooner(every.saturating_sub(self.told.elapsed())));
            self.wait(signal, wait)?;
            if stopping() {
                return Ok(());
            }
            let seen = self.watch.take()?;
            self.take_up(&seen)?;
            self.fire()?;
            if self.look_every().is_some_and(|every| self.looked.elapsed() >= every) {
                self.look()?;
            }
            if self.keeper.every().is_some_and(|every| self.told.elapsed() >= every) {
                self.look_at_kept();
            }
            if self.shared.board.is_dirty() && self.written.is_none_or(|at| at.elapsed() >= STATUS_EVERY) {
                self.write_status(true)?;
                if self.writer.count() >= self.sealed + SEAL_EVERY {
                    self.seal().unwrap_or_else(|e| log::warn!("checkpoint: {e}"));
                }
                if self.writer.bytes() >= self.counted + self.keeper.step() {
                    self.look_at_kept();
                }
                finished += 1;
                if finished.is_multiple_of(64) {
                    self.trim();
                }
            }
        }
    }

    /// Whether nothing is left to do, here and at other nodes.
    fn is_drained(&self) -> Result<bool, NodeError> {
        if !self.shared.queue.is_idle() {
            return Ok(false);
        }
        let left = json_only(self.shared.data.names("inbox")?);
        let none = left.is_empty();
        if !none {
            self.add(left);
            return Ok(false);
        }
        match self.shared.jobs.0.rest(&self.shared.node) {
            Ok(Rest::Nothing) => Ok(!self.foreign),
            Ok(Rest::Waits) => {
                self.add(Vec::new());
                Ok(false)
            }
            Ok(Rest::Elsewhere) => Ok(false),
            Err(e) => {
                log::warn!("{e}");
                Ok(false)
            }
        }
    }

    /// How often the claims of others are looked at: a third of the lease where there are some.
    fn look_every(&self) -> Option<Duration> {
        let lease = self.settings.lease;
        if self.foreign {
            Some(lease / 3)
        } else {
            self.shared.jobs.0.look_every(lease)
        }
    }

    /// Names that are in `inbox/`, or none: then what waits elsewhere.
    fn add(&self, names: Vec<String>) {
        self.shared.queue.add(self.shared.jobs.0.tokens(names));
    }

    fn wait(&self, signal: BorrowedFd<'_>, wait: Option<Duration>) -> Result<(), NodeError> {
        let mut fds = vec![
            PollFd::new(signal, PollFlags::POLLIN),
            PollFd::new(self.shared.board.fd(), PollFlags::POLLIN),
        ];
        let others = [self.watch.fd(), self.shared.jobs.0.fd()].into_iter().flatten();
        fds.extend(others.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let timeout = wait.map_or(PollTimeout::NONE, |wait| {
            // Rounded up: a wait that is too short would be repeated at once.
            PollTimeout::try_from(wait.as_millis() + 1).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {
                self.shared.board.drain();
                Ok(())
            }
            Err(e) => Err(NodeError::invalid("poll", e)),
        }
    }

    fn take_up(&mut self, seen: &Seen) -> Result<(), NodeError> {
        let inbox = seen
            .names
            .iter()
            .filter(|(folder, _)| folder == "inbox")
            .map(|(_, name)| name.clone());
        let inbox = json_only(inbox.collect());
        if !inbox.is_empty() {
            self.add(inbox);
        }
        let heard = self.shared.jobs.0.hear();
        self.shared.queue.add(heard.tokens);
        if heard.lost {
            self.looked = Instant::now();
            self.foreign = true;
            self.shared.board.touch();
        }
        let others = |name: &str| Claim::of(name).is_some_and(|claim| claim.node != self.shared.node);
        let foreign = seen
            .names
            .iter()
            .any(|(folder, name)| folder == "claimed" && others(name));
        self.foreign |= foreign || (seen.lost && seen.folders.contains("claimed"));
        if seen.lost {
            self.add(json_only(self.shared.data.names("inbox")?));
        }
        if seen.lost || seen.folders.contains("agents") || seen.folders.contains("tools") {
            self.shared.agents.refresh();
            self.shared.board.touch();
        }
        if seen.lost || seen.folders.contains("schedules") {
            self.schedules = Schedules::load(&self.shared.data)?;
            self.shared.board.touch();
        }
        Ok(())
    }

    /// Takes over the claims of nodes that are dead. Whether a node of this directory did not end well.
    fn reclaim(&mut self) -> Result<bool, NodeError> {
        let left = self.shared.jobs.0.reclaim(&self.shared.node, self.settings.lease)?;
        self.foreign = left.foreign;
        let ids = queue::by_id(&left.taken);
        if !ids.is_empty() {
            let known = self.progress(&ids)?;
            self.shared.queue.add_again(queue::with_progress(left.taken, known));
        }
        Ok(left.unclean)
    }

    /// The same while the node runs: a queue that does not answer is asked again.
    fn look(&mut self) -> Result<(), NodeError> {
        self.looked = Instant::now();
        match self.reclaim() {
            Ok(_) => {}
            Err(e @ NodeError::Queue { .. }) => {
                log::debug!("{e}; looked again");
                self.foreign = true;
            }
            Err(e) => return Err(e),
        }
        // What was not told is found here at the latest.
        self.add(Vec::new());
        Ok(())
    }

    fn look_at_kept(&mut self) {
        (self.counted, self.told) = (self.writer.bytes(), Instant::now());
        self.keeper.look();
    }

    fn progress(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, resume::Progress>, NodeError> {
        let _kept = reading(&self.shared.data.path("state/runtime"));
        let disk = jobs::disk(&self.shared.data.path("state"), "0")?;
        Ok(resume::progress(&Archive::folder(&disk, LEDGER, BLOBS), ids)?)
    }

    /// Forgets the oldest ids.
    fn trim(&self) {
        if let Err(e) = self.shared.jobs.0.trim(KEPT) {
            log::warn!("{e}");
        }
    }

    fn write_status(&mut self, running: bool) -> Result<(), NodeError> {
        self.written = Some(Instant::now());
        self.shared.board.take_dirty();
        let shared = self.shared;
        let mut document = shared.board.document();
        document["node"] = json!(shared.node);
        document["pid"] = json!(std::process::id());
        document["serving"] = json!(running);
        document["since"] = json!(Utc::from_unix(self.since));
        document["at"] = json!(Utc::from_unix((shared.outside.now)()));
        document["workers"] = json!(self.settings.workers);
        document["queued"] = json!(shared.queue.len());
        document["waiting"] = json!(shared.bell.waiting().or_else(|| shared.jobs.0.trouble()));
        document["agents"] = json!(shared.agents.agents());
        document["kinds"] = json!(shared.agents.kinds());
        let mut broken = shared.agents.broken();
        broken.extend(self.schedules.broken.iter().cloned());
        broken.extend(self.keeper.broken());
        document["broken"] = json!(broken);
        let now = (shared.outside.now)();
        let about = self.schedules.all().map(|planned| {
            let next = planned.next(&shared.jobs, now).map(Utc::from_unix);
            json!({ "name": planned.schedule.name, "agent": planned.schedule.agent, "next": next })
        });
        document["schedules"] = about.collect();
        document["kept"] = json!(self.keeper.kept());
        if !self.asides.is_empty() {
            document["set_aside"] = json!(self.asides);
        }
        let text = serde_json::to_vec_pretty(&document).unwrap_or_default();
        // A full disk must not end the node; the next writing says it.
        if let Err(e) = shared.data.put("status.json", &text, Durable::Derived) {
            log::warn!("{e}");
        }
        Ok(())
    }
}

/// Other files are left where they are.
fn json_only(names: Vec<String>) -> Vec<String> {
    names.into_iter().filter(|name| name.ends_with(".json")).collect()
}
