//! A guardian that is played: it does its work at once, where the real one is another process.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::Machine;
use crate::disk::Tap;
use crate::world::{Guardian, Ran};

/// How it goes.
#[derive(Default)]
pub(crate) struct Guarded {
    /// Below every write of the guardian and of the new program.
    pub(crate) tap: RefCell<Option<Rc<dyn Tap>>>,
    /// What was asked of it, in order.
    pub(crate) asked: RefCell<Vec<String>>,
    /// The new agent's service does not come up.
    pub(crate) down: Cell<bool>,
    /// The new program is killed by this signal before it has said anything.
    pub(crate) killed: Cell<Option<i32>>,
    /// It is started and does nothing.
    pub(crate) dead: Cell<bool>,
}

impl Machine {
    fn note(&self, what: &str) {
        self.guardian.asked.borrow_mut().push(what.to_owned());
    }
}

impl Guardian for Machine {
    fn prepare(&self, folder: &Path) -> Result<(), String> {
        self.note("prepare");
        std::fs::write(folder.join("guardian"), "").map_err(|e| e.to_string())
    }

    fn start(&self, _: &Path, forward: Option<&str>) -> Result<(), String> {
        self.note(if forward.is_some() { "start forward" } else { "start" });
        if self.guardian.dead.get() {
            return Ok(());
        }
        let tap = self.guardian.tap.borrow().clone();
        let plane = self.plane_with(tap).map_err(|e| e.to_string())?;
        // What comes of it shows in the journal and the ledger, as it does of another process.
        drop(plane.guard_upgrade(forward));
        Ok(())
    }

    fn stay(&self, _: &str, _: &Path) -> Result<(), String> {
        self.note("stay");
        Ok(())
    }

    fn leave(&self, _: &str) -> Result<(), String> {
        self.note("leave");
        Ok(())
    }

    fn up(&self, service: &str) -> Result<(), String> {
        if self.guardian.down.get() {
            return Err(format!("the service {service} is not up"));
        }
        Ok(())
    }

    fn finish(&self, _: &Path, _: Duration) -> Result<Ran, String> {
        self.note("finish");
        if let Some(signal) = self.guardian.killed.get() {
            let signal = Some(signal);
            return Ok(Ran {
                signal,
                ..Ran::default()
            });
        }
        let tap = self.guardian.tap.borrow().clone();
        let kept = self.plane_with(tap).and_then(|plane| plane.finish_upgrade());
        let code = Some(i32::from(!kept.map_err(|e| e.to_string())?));
        Ok(Ran { code, ..Ran::default() })
    }
}
