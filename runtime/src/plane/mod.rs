//! The plane itself: one agent's way from a verified state to a changed device.
//!
//! Owns the order of things. Everything it does lies between two locks: `apply.lock` of the agent (one apply at a time)
//! and, inside it, the ledger's own for each commit group.

mod apply;
mod converge;
mod flow;
mod recover;
mod status;
#[cfg(test)]
mod tests;
mod trust;

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::documents::policy::{Policy, Source};
use jos_schemas::text::{Name, Utc};
use jos_trust::root::Received;
use jos_trust::{Channel, Digest, Floors, Stream, Verified};
use serde_json::Value;

use crate::book::{Book, Last};
use crate::compare::{self, Part, Sight, Wanted};
use crate::disk::{Disk, DiskError, Tap};
use crate::gate::Gate;
use crate::journal::{Journal, JournalError};
use crate::ledger::{Entry, Ledger, LedgerError};
use crate::outcome::{Outcome, Report, outcome_word};
use crate::plan::Plan;
use crate::secrets::Secrets;
use crate::store::{self, StoreError};
use crate::world::World;

pub use flow::{FlowAct, FlowOutcome, FlowStep};
pub use status::{InForce, Status};
pub use trust::RootError;

/// Between two looks at a lock that somebody else holds.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What a plane is built from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The agent's name.
    pub name: Name,
    /// The tree that is managed: `/` for this machine, else a root that is not running.
    pub root: PathBuf,
    /// The data directory of the device (`/var/lib/jos`).
    pub state_dir: PathBuf,
    /// Where secrets lie, one file each.
    pub secrets: PathBuf,
    /// What was granted.
    pub policy: Policy,
    /// Further paths that are jos' own: its unit, its program, its policy and trust files. As seen from `root`.
    pub protected: Vec<String>,
    /// The agent's own services.
    pub own_services: Vec<String>,
    /// When this program was built: the clock never stands before it.
    pub built: Utc,
    /// How long to wait for another apply to end.
    pub wait: Duration,
}

/// Why the plane could not do its work at all. Whatever a state does wrong is an [`Outcome`], not an error.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// Another apply is under way.
    #[error("another apply of {name} is under way (process {holder}); wait for it with --wait SECONDS")]
    Locked {
        /// The agent.
        name: Name,
        /// Its process id, as it left it.
        holder: String,
    },
    /// An earlier trial could not be taken back, and still cannot.
    #[error("an earlier change could not be taken back completely; left to do:\n  {}\nPut that right, then run this again", left.join("\n  "))]
    Unfinished {
        /// What is left.
        left: Vec<String>,
    },
    /// The state is for another agent.
    #[error("the state is for {found}, this plane is {expected}")]
    OtherName {
        /// Whose it is.
        found: Name,
        /// Who this is.
        expected: Name,
    },
    /// See [`LedgerError`].
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// See [`JournalError`].
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// See [`DiskError`].
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The plane of one agent.
pub struct Plane<'a> {
    setup: Setup,
    world: World<'a>,
    disk: Disk,
    data: Disk,
    live: bool,
}

/// A state in force, reopened.
struct Held {
    state: Verified<DesiredState>,
    source: Source,
    pending: bool,
}

impl<'a> Plane<'a> {
    /// Opens the root and the data directory (made when missing, 0700). Locks nothing.
    pub fn open(setup: Setup, world: World<'a>) -> Result<Self, PlaneError> {
        Self::open_tapped(setup, world, None)
    }

    /// The same with a tap below every write.
    pub fn open_tapped(setup: Setup, world: World<'a>, tap: Option<Rc<dyn Tap>>) -> Result<Self, PlaneError> {
        let mut random = [0; 8];
        world.random.fill(&mut random);
        let tag = crate::hex::encode(&random);
        if !setup.state_dir.is_dir() {
            use std::os::unix::fs::DirBuilderExt;
            let made = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&setup.state_dir);
            let shown = setup.state_dir.display().to_string();
            made.map_err(|e| DiskError::io(shown, "make the data directory", e))?;
        }
        let (mut disk, mut data) = (Disk::open(&setup.root, &tag)?, Disk::open(&setup.state_dir, &tag)?);
        if let Some(tap) = tap {
            (disk, data) = (disk.with_tap(Rc::clone(&tap)), data.with_tap(tap));
        }
        let live = setup.root.as_os_str() == "/";
        let plane = Self {
            setup,
            world,
            disk,
            data,
            live,
        };
        plane.data.ensure_dir(&plane.at("states"))?;
        Ok(plane)
    }

    /// Whether the tree is the running machine's.
    fn live(&self) -> bool {
        self.live
    }

    /// For tests: a folder as if it were this machine.
    #[cfg(test)]
    pub(crate) fn pretend_live(mut self) -> Self {
        self.live = true;
        self
    }

    fn at(&self, what: &str) -> String {
        format!("{}/{what}", self.setup.name)
    }

    fn ledger(&self) -> Result<Ledger<'_>, PlaneError> {
        Ok(Ledger::open(&self.data, &self.at("ledger"))?)
    }

    fn journal(&self) -> Result<Journal<'_>, PlaneError> {
        Ok(Journal::open(&self.data, &self.at("journal"))?)
    }

    fn book(&self, ledger: &Ledger<'_>) -> Result<Book, PlaneError> {
        Ok(Book::load(&self.data, &self.at("state.json"), ledger)?)
    }

    fn gate(&self) -> Gate<'_> {
        let mut protected = self.setup.protected.clone();
        for dir in [&self.setup.state_dir, &self.setup.secrets] {
            if let Some(inside) = self.inside(dir) {
                protected.push(inside);
            }
        }
        for service in &self.setup.own_services {
            for (before, after) in UNITS {
                protected.push(format!("{before}{service}{after}"));
            }
        }
        Gate::new(
            &self.setup.policy,
            &protected,
            &self.setup.own_services,
            self.world.probe.schemes(),
        )
    }

    /// `path` as seen from the root, where it lies in it.
    fn inside(&self, path: &std::path::Path) -> Option<String> {
        let root = std::fs::canonicalize(&self.setup.root).ok()?;
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let below = path.strip_prefix(&root).ok()?.to_str()?;
        (!below.is_empty()).then(|| format!("/{below}"))
    }

    /// The floors, for [`jos_trust::Context`].
    pub fn floors(&self) -> Result<Floors, PlaneError> {
        Ok(store::floors(&self.data)?)
    }

    /// Changes the floors (a trust root was adopted, a tenant pinned) and makes them durable.
    pub fn change_floors(&self, change: &mut dyn FnMut(&mut Floors)) -> Result<(), PlaneError> {
        Ok(store::change_floors(&self.data, change)?)
    }

    /// The later of the system clock, the time floor and the build time.
    pub fn now(&self) -> Result<Utc, PlaneError> {
        Ok(self
            .floors()?
            .now(&Utc::from_unix(self.world.clock.now()), &self.setup.built))
    }

    /// Takes `apply.lock`, waiting as long as the setup says. It goes with the file that is given back.
    fn lock(&self) -> Result<File, PlaneError> {
        let path = self.at("apply.lock");
        let mut file = self.data.lock_file(&path)?;
        let io = |e| DiskError::io(self.data.show(&path), "lock it", e);
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(e)) => return Err(io(e).into()),
                Err(TryLockError::WouldBlock) if waited < self.setup.wait => {
                    self.world.clock.pause(LOCK_PAUSE);
                    waited += LOCK_PAUSE;
                }
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = (&mut file).take(32).read_to_string(&mut holder);
                    let holder = if holder.trim().is_empty() {
                        "unknown".into()
                    } else {
                        holder.trim().to_owned()
                    };
                    return Err(PlaneError::Locked {
                        name: self.setup.name.clone(),
                        holder,
                    });
                }
            }
        }
        let noted = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        noted.map_err(io)?;
        Ok(file)
    }

    /// The states in force, baseline first.
    fn held(&self, floors: &Floors, book: &Book) -> Result<Vec<Held>, PlaneError> {
        let mut held = Vec::new();
        for stream in [Stream::Baseline, Stream::State] {
            let ours = |c: &&jos_trust::floors::Counter| c.name == self.setup.name && c.stream == stream;
            // With a tenant pinned, a counter without one is from before; the pinned one counts.
            let counters = floors
                .counters()
                .map(|(c, _)| c)
                .filter(ours)
                .filter(|c| floors.in_force(c).is_some());
            let Some(counter) = counters.max_by_key(|c| c.tenant.is_some()) else {
                continue;
            };
            let Some(kept) = floors.in_force(counter) else { continue };
            let noted = book.streams.get(&stream).filter(|k| k.content == kept.content);
            let channel = match (stream, noted.map(|k| k.source)) {
                (Stream::Baseline, _) => Channel::Baseline,
                (Stream::State, Some(Source::Hub)) => Channel::Hub,
                (Stream::State, _) => Channel::Local,
            };
            let path = self.state_path(&kept.content);
            let (bytes, _) = self.data.read(&path, 2 * 1024 * 1024)?;
            let shown = self.data.show(&path);
            let reopened = jos_trust::state::reopen(Received::json(&shown, &bytes), counter, channel, floors);
            let state = reopened.map_err(|e| StoreError::Owners {
                file: shown.clone(),
                what: e.to_string(),
            })?;
            held.push(Held {
                state,
                source: source_of(channel),
                pending: noted.is_some_and(|k| k.pending),
            });
        }
        Ok(held)
    }

    fn state_path(&self, content: &Digest) -> String {
        self.at(&format!("states/{content}.json"))
    }

    fn compare(&self, gate: &Gate<'_>, wanted: &Wanted<'_>) -> Result<Plan, PlaneError> {
        let secrets = Secrets::open(&self.setup.secrets, &self.data, self.world.random)?;
        let services = self.world.services;
        let sight = Sight {
            disk: &self.disk,
            live: self.live(),
            gate,
            secrets: &secrets,
            services,
        };
        let mut plan = compare::plan(&sight, wanted);
        self.check_owners(&mut plan, wanted)?;
        Ok(plan)
    }

    /// A path belongs to one NAME.
    fn check_owners(&self, plan: &mut Plan, wanted: &Wanted<'_>) -> Result<(), PlaneError> {
        use jos_schemas::documents::desired_state::Step;
        let owners = store::owners(&self.data)?;
        let steps = wanted.parts.iter().flat_map(|p| &p.state.spec.apply);
        let deep = |s: &Step| matches!(s, Step::Absent(a) if a.recursive);
        let paths: Vec<(&str, bool)> = steps
            .filter_map(|s| Some((crate::gate::step_path(s)?, deep(s))))
            .collect();
        for (path, owner) in store::foreign(&owners, &self.setup.name, &paths) {
            let why = format!("the path belongs to the agent {owner}");
            plan.problems.push(crate::gate::Refusal {
                step: path.to_owned(),
                why,
                needed: None,
            });
        }
        Ok(())
    }

    /// What applying `state` would change. Reads only.
    pub fn plan(&self, state: &Verified<DesiredState>) -> Result<Plan, PlaneError> {
        self.check_name(state)?;
        let ledger = self.ledger()?;
        let (floors, book) = (self.floors()?, self.book(&ledger)?);
        let held = self.held(&floors, &book)?;
        let gate = self.gate();
        self.compare(&gate, &self.wanted(state, &held))
    }

    fn check_name(&self, state: &Verified<DesiredState>) -> Result<(), PlaneError> {
        let found = &state.value().meta.name;
        if *found == self.setup.name {
            return Ok(());
        }
        Err(PlaneError::OtherName {
            found: found.clone(),
            expected: self.setup.name.clone(),
        })
    }

    /// `state` together with the other stream's state in force: the baseline first, the overlay over it.
    fn wanted<'s>(&'s self, state: &'s Verified<DesiredState>, held: &'s [Held]) -> Wanted<'s> {
        let stream = state.counter().stream;
        let adopts = !held
            .iter()
            .any(|h| h.state.content() == state.content() && h.state.counter().stream == stream);
        let mut parts: Vec<(Stream, Part<'s>)> = Vec::new();
        for other in held.iter().filter(|h| h.state.counter().stream != stream) {
            parts.push((other.state.counter().stream, self.part(other)));
        }
        let old = held.iter().find(|h| h.state.counter().stream == stream);
        let follows = old.filter(|_| adopts).map(|h| h.state.value());
        let run_once = adopts || self.live() && old.is_some_and(|h| h.pending);
        let source = source_of(state.channel());
        parts.push((
            stream,
            Part {
                source,
                state: state.value(),
                follows,
                run_once,
            },
        ));
        parts.sort_by_key(|(stream, _)| *stream);
        Wanted {
            name: &self.setup.name,
            version: state.version(),
            source,
            in_force: !adopts,
            parts: parts.into_iter().map(|(_, part)| part).collect(),
        }
    }

    fn part<'s>(&self, held: &'s Held) -> Part<'s> {
        let run_once = self.live() && held.pending;
        Part {
            source: held.source,
            state: held.state.value(),
            follows: None,
            run_once,
        }
    }

    /// Records that a document was refused before it became a state, once for each reason in a row.
    pub fn refuse(&self, source: Source, version: Option<u64>, reason: &str) -> Result<Outcome, PlaneError> {
        let _lock = self.lock()?;
        self.refused(
            source,
            version,
            Report::new(OutcomeKind::Refused).because(vec![reason.to_owned()]),
        )
    }

    /// Appends a `refused` record, unless the last record says the same.
    fn refused(&self, source: Source, version: Option<u64>, report: Report) -> Result<Outcome, PlaneError> {
        let mut ledger = self.ledger()?;
        let payload = payload(&report);
        let last = ledger.last()?;
        let repeated = last
            .is_some_and(|r| r.kind == "refused" && r.source == source && r.version == version && r.payload == payload);
        if !repeated {
            let entry = self.entry(source, version, None, "refused", payload)?;
            ledger.append(vec![entry])?;
            self.note_last(&ledger, source, version, &report)?;
        }
        Ok(self.outcome(&ledger, source, version, report, !repeated))
    }

    fn entry(
        &self,
        source: Source,
        version: Option<u64>,
        cause: Option<u64>,
        kind: &'static str,
        payload: Value,
    ) -> Result<Entry, PlaneError> {
        let (time, name, cause) = (self.now()?, self.setup.name.clone(), cause.map(|c| format!("#{c}")));
        Ok(Entry {
            time,
            source,
            name,
            version,
            cause,
            kind,
            payload,
        })
    }

    fn outcome(
        &self,
        ledger: &Ledger<'_>,
        source: Source,
        version: Option<u64>,
        report: Report,
        recorded: bool,
    ) -> Outcome {
        // A quiet turn of the daemon is no news.
        let level = if report.kind == OutcomeKind::Unchanged {
            log::Level::Debug
        } else {
            log::Level::Info
        };
        let version_text = version
            .filter(|v| *v > 0)
            .map(|v| format!(" version {v}"))
            .unwrap_or_default();
        log::log!(
            level,
            "{}{version_text}: {}",
            self.setup.name,
            outcome_word(report.kind)
        );
        Outcome {
            name: self.setup.name.clone(),
            version,
            source,
            report,
            recorded,
            ledger: ledger.head(),
        }
    }

    fn note_last(
        &self,
        ledger: &Ledger<'_>,
        source: Source,
        version: Option<u64>,
        report: &Report,
    ) -> Result<(), PlaneError> {
        let mut book = self.book(ledger)?;
        book.last = Some(self.last(source, version, report)?);
        Ok(book.save(&self.data, &self.at("state.json"))?)
    }

    fn last(&self, source: Source, version: Option<u64>, report: &Report) -> Result<Last, PlaneError> {
        let reasons = report.reasons.iter().chain(&report.left).cloned().collect();
        Ok(Last {
            outcome: report.kind,
            version,
            source,
            time: self.now()?,
            reasons,
        })
    }
}

/// Where the init systems keep the unit of a service.
const UNITS: &[(&str, &str)] = &[
    ("/etc/systemd/system/", ".service"),
    ("/etc/systemd/system/", ".service.d"),
    ("/usr/lib/systemd/system/", ".service"),
    ("/usr/lib/systemd/system/", ".service.d"),
    ("/lib/systemd/system/", ".service"),
    ("/run/systemd/system/", ".service"),
    ("/etc/init.d/", ""),
    ("/etc/rc.d/S??", ""),
    ("/etc/rc.d/K??", ""),
    ("/Library/LaunchDaemons/", ".plist"),
    ("/Library/LaunchAgents/", ".plist"),
];

/// The source that a decision by this channel has.
pub fn source_of(channel: Channel) -> Source {
    match channel {
        Channel::Baseline => Source::Baseline,
        Channel::Local => Source::Local,
        Channel::Hub => Source::Hub,
    }
}

/// A report as a record's payload.
fn payload(report: &Report) -> Value {
    let mut value = serde_json::to_value(report).expect("a report is plain data");
    // A diff is for the person at the shell: the ledger knows content by hash.
    if let Some(changes) = value.get_mut("changes").and_then(Value::as_array_mut) {
        for change in changes {
            change.as_object_mut().map(|c| c.remove("diff"));
        }
    }
    value
}
