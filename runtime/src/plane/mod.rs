//! The plane itself: one agent's way from a verified state to a changed device.
//!
//! Owns the order of things. Everything it does lies between two locks: `apply.lock` of the agent (one apply at a time)
//! and, inside it, the ledger's own for each commit group.

mod apply;
mod close;
mod confirm;
mod content;
mod converge;
mod error;
mod flow;
mod held;
mod image;
mod keep;
mod lock;
mod moved;
mod patience;
mod propose;
mod record;
mod recover;
mod regain;
mod report;
mod status;
#[cfg(test)]
mod tests;
mod transact;
mod trust;
mod upgrade;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::policy::{Policy, Source};
use jos_schemas::text::{Name, Utc};
use jos_trust::{Channel, Floors, Verified};

use crate::act::Hands;
use crate::book::Book;
use crate::compare::{self, Sight, Wanted};
use crate::disk::{Disk, DiskError, Tap};
use crate::gate::Gate;
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::secrets::Secrets;
use crate::store;
use crate::world::World;

pub(crate) use converge::set_of;
pub use error::PlaneError;
pub use flow::{FlowAct, FlowOutcome, FlowStep};
pub(crate) use flow::{flow_id, is_flow_id, one_step_state, state_of};
pub use image::{Moving, Stage};
pub(crate) use keep::streams_of;
pub use propose::Proposed;
pub(crate) use propose::change_id;
pub use regain::{Regained, Word};
pub use status::{InForce, Status, Wishes};
pub use trust::RootError;
pub use upgrade::setup_of;

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
    /// The data directory of the node of the runtime that the daemon runs, where it runs one.
    pub node: Option<String>,
}

/// The plane of one agent.
pub struct Plane<'a> {
    setup: Setup,
    world: World<'a>,
    disk: Disk,
    data: Disk,
    live: bool,
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
            let made = crate::disk::make_private(&setup.state_dir);
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

    fn journal(&self) -> Result<Journal<'_>, PlaneError> {
        Ok(Journal::open(&self.data, &self.at("journal"))?)
    }

    fn book(&self, ledger: &Ledger<'_>) -> Result<Book, PlaneError> {
        Ok(Book::load(&self.data, &self.at("state.json"), ledger)?)
    }

    fn gate(&self) -> Gate<'_> {
        let (policy, schemes) = (&self.setup.policy, self.world.probe.schemes());
        Gate::new(policy, &self.protected(), &self.setup.own_services, schemes)
            .with_hub(self.world.hub.is_some())
            .with_slots(self.slots().is_some())
            .with_node(self.setup.node.as_deref())
            .on(&self.disk.mounted(), &|path| self.disk.real(path))
    }

    /// What acts and takes back, with whatever is protected kept out of its reach.
    fn hands<'h>(&'h self, journal: &'h Journal<'h>, env: &'h [(String, String)]) -> Hands<'h> {
        self.disk.keep_off(self.gate().protected());
        Hands {
            disk: &self.disk,
            journal,
            world: self.world,
            live: self.live(),
            env,
            content: self.content(),
        }
    }

    /// The agent's own paths besides the built-in ones.
    fn protected(&self) -> Vec<String> {
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
        protected
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

    fn compare(&self, gate: &Gate<'_>, wanted: &Wanted<'_>) -> Result<Plan, PlaneError> {
        let secrets = Secrets::open(&self.setup.secrets, &self.data, self.world.random)?;
        let (services, content) = (self.world.services, self.content());
        let sight = Sight {
            disk: &self.disk,
            live: self.live(),
            gate,
            secrets: &secrets,
            services,
            content: &content,
            fetch: self.world.fetch,
            packages: self.world.packages,
            outlives: self.world.guardian.is_some(),
            slots: self.slots(),
        };
        self.disk.keep_off(gate.protected());
        let mut plan = compare::plan(&sight, wanted);
        self.check_owners(&mut plan, wanted)?;
        Ok(plan)
    }

    /// A path belongs to one NAME.
    fn check_owners(&self, plan: &mut Plan, wanted: &Wanted<'_>) -> Result<(), PlaneError> {
        use jos_schemas::documents::desired_state::Step;
        let owners = store::owners(&self.data)?;
        let steps = wanted.parts.iter().flat_map(|p| &p.state.spec.apply);
        let deep = |s: &Step| matches!(s, Step::Absent(a) if a.recursive) || matches!(s, Step::Directory(d) if d.purge);
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
        let ledger = self.look_at_ledger()?;
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
