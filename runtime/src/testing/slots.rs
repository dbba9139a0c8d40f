//! Two systems that are played: slots, a loader with GRUB's rules, and roots that forget at every start.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::{Cut, Machine};
use crate::disk::{Op, Tap};
use crate::world::{Image, Ran, Slots};

/// What every bundle and system here is for.
pub(crate) const FOR: &str = "kiosk-played";

/// The two slots, and what the loader keeps of them.
#[derive(Default)]
pub(crate) struct Slotted {
    /// The machine has two.
    pub(crate) has: Cell<bool>,
    /// Versions; none while a slot is empty or half written.
    pub(crate) versions: RefCell<[Option<String>; 2]>,
    pub(crate) booted: Cell<usize>,
    first: Cell<usize>,
    ok: Cell<[bool; 2]>,
    tried: Cell<[u32; 2]>,
    pub(crate) confirmed: Cell<usize>,
    /// Nobody but the plane calls a system good.
    pub(crate) trial: Cell<bool>,
    /// So long a new system has to be called good or bad.
    pub(crate) within: Cell<Duration>,
    /// It was told to start anew.
    pub(crate) restarting: Cell<bool>,
    /// Being told so makes no difference.
    pub(crate) deaf: Cell<bool>,
    /// The loader cannot be told to go back.
    pub(crate) stuck: Cell<bool>,
    /// Versions that do not come up.
    pub(crate) dead: RefCell<Vec<String>>,
    /// Below every write of RAUC's and of the loader's settings.
    pub(crate) power: RefCell<Option<Rc<Cut>>>,
    /// What was asked, in order.
    pub(crate) asked: RefCell<Vec<&'static str>>,
}

impl Slotted {
    fn write(&self) -> Result<(), String> {
        match &*self.power.borrow() {
            Some(power) => power.before(&Op::Sync("slots")).map_err(|e| e.to_string()),
            None => Ok(()),
        }
    }

    fn mark(&self, slot: usize, good: bool) {
        let (mut ok, mut tried) = (self.ok.get(), self.tried.get());
        (ok[slot], tried[slot]) = (good, 0);
        self.ok.set(ok);
        self.tried.set(tried);
    }

    /// `images/src/image/scripts/grub.cfg`.
    fn choose(&self) -> usize {
        if self.stuck.get() && self.tried.get()[1] > 0 {
            return 1;
        }
        let (first, ok, confirmed) = (self.first.get(), self.ok.get(), self.confirmed.get());
        let mut tried = self.tried.get();
        let mut order = [first, 1 - first].into_iter();
        let may = |slot: &usize| ok[*slot] && (tried[*slot] == 0 || tried[*slot] < 3 && *slot == confirmed);
        let (slot, count) = match order.find(may) {
            Some(slot) => (slot, tried[slot] + 1),
            None => (confirmed, 1),
        };
        tried[slot] = count;
        self.tried.set(tried);
        slot
    }

    fn good(&self) {
        self.mark(self.booted.get(), true);
        self.confirmed.set(self.booted.get());
    }

    /// What the unit after the agent's does once that is up.
    pub(crate) fn agent_is_up(&self) {
        if !self.trial.get() {
            self.good();
        }
    }
}

impl Machine {
    /// A machine that left the desk with this version in its first slot.
    pub(crate) fn slotted(version: &str) -> Self {
        let m = Self::new();
        m.slots.has.set(true);
        m.slots.versions.borrow_mut()[0] = Some(version.into());
        m.slots.ok.set([true, false]);
        m.boot();
        m.slots.agent_is_up();
        m
    }

    /// The machine is started: another root, as it was built.
    pub(crate) fn boot(&self) {
        self.slots.restarting.set(false);
        loop {
            self.boots.set(self.boots.get() + 1);
            let slot = self.slots.choose();
            let version = self.slots.versions.borrow()[slot].clone();
            if let Some(version) = version.filter(|v| !self.slots.dead.borrow().contains(v)) {
                self.slots.booted.set(slot);
                std::fs::remove_dir_all(self.root()).unwrap();
                for dir in ["etc", "srv"] {
                    std::fs::create_dir_all(self.at(dir)).unwrap();
                }
                self.write("/etc/system", version, 0o644);
                return;
            }
        }
    }

    /// A bundle that can be had, as a step's source.
    pub(crate) fn bundle(&self, version: &str) -> serde_json::Value {
        let bytes = format!("{FOR} {version}").into_bytes();
        let (sha256, size) = (jos_trust::sha256(&bytes).to_string(), bytes.len());
        self.shelf.borrow_mut().insert(sha256.clone(), bytes);
        serde_json::json!({ "sha256": sha256, "size": size })
    }

    pub(crate) fn version(&self) -> String {
        self.slots.versions.borrow()[self.slots.booted.get()].clone().unwrap()
    }
}

impl Slots for Machine {
    fn running(&self) -> Result<Image, String> {
        let (compatible, version) = (FOR.to_owned(), self.version());
        Ok(Image { compatible, version })
    }

    fn inspect(&self, bundle: &Path) -> Result<Image, String> {
        let text = std::fs::read_to_string(bundle).map_err(|e| e.to_string())?;
        let (compatible, version) = text.split_once(' ').ok_or("no bundle")?;
        let (compatible, version) = (compatible.to_owned(), version.to_owned());
        Ok(Image { compatible, version })
    }

    fn install(&self, bundle: &Path, within: Duration) -> Result<Ran, String> {
        let (slots, other) = (&self.slots, 1 - self.slots.booted.get());
        slots.asked.borrow_mut().push("install");
        slots.within.set(within);
        slots.write()?;
        slots.trial.set(true);
        slots.write()?;
        slots.mark(other, false);
        slots.versions.borrow_mut()[other] = None;
        let version = self.inspect(bundle)?.version;
        let code = Some(i32::from(self.failing.borrow().contains(&version)));
        if code == Some(0) {
            slots.write()?;
            slots.versions.borrow_mut()[other] = Some(version);
            slots.write()?;
            slots.mark(other, true);
            slots.first.set(other);
        }
        Ok(Ran {
            code,
            output: b"signature verification failed\n".to_vec(),
            ..Ran::default()
        })
    }

    fn keep(&self) -> Result<(), String> {
        self.slots.asked.borrow_mut().push("keep");
        self.slots.write()?;
        self.slots.good();
        self.slots.write()?;
        self.slots.trial.set(false);
        Ok(())
    }

    fn stay(&self) -> Result<(), String> {
        let (slots, here) = (&self.slots, self.slots.booted.get());
        slots.asked.borrow_mut().push("stay");
        slots.write()?;
        slots.mark(1 - here, false);
        slots.write()?;
        slots.first.set(here);
        slots.good();
        slots.write()?;
        slots.trial.set(false);
        Ok(())
    }

    fn leave(&self) -> Result<(), String> {
        let (slots, here) = (&self.slots, self.slots.booted.get());
        slots.asked.borrow_mut().push("leave");
        if slots.stuck.get() {
            return Ok(());
        }
        slots.write()?;
        slots.mark(1 - here, true);
        slots.first.set(1 - here);
        slots.write()?;
        slots.mark(here, false);
        Ok(())
    }

    fn reboot(&self) -> Result<(), String> {
        self.slots.asked.borrow_mut().push("reboot");
        self.slots.write()?;
        self.slots.restarting.set(!self.slots.deaf.get());
        Ok(())
    }
}
