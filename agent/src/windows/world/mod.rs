//! The real world behind the plane's traits, on Windows: clock, randomness, processes in job objects, the service control manager.
//! Package managers, root file systems and content by URL are not there, and the plane refuses by name what needs them.

mod folder;
mod processes;
pub(crate) mod services;

#[path = "../../world/kernel.rs"]
mod kernel;
#[path = "../../world/output.rs"]
mod output;
#[path = "../../world/probe.rs"]
mod probe;

use std::path::PathBuf;
use std::time::Duration;

use jos_runtime::world::{Clock, PackageChange, PackageWish, Packages, Ran, World};

use folder::Folder;
pub(crate) use kernel::{Kernel, built};
pub(crate) use probe::Tcp;
use processes::System;
use services::Manager;

/// Everything.
#[derive(Default)]
pub(crate) struct Real {
    offers: Folder,
}

impl Real {
    /// Asks nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The same, with a folder that offers content by hash.
    pub(crate) fn offering(mut self, folder: Option<PathBuf>) -> Self {
        self.offers = Folder(folder);
        self
    }

    /// As the plane takes it.
    pub(crate) fn world(&self) -> World<'_> {
        World {
            clock: &SystemClock,
            random: &Kernel,
            processes: &System,
            services: &Manager,
            probe: &Tcp,
            fetch: &self.offers,
            packages: &Nothing,
            hub: None,
            guardian: None,
            slots: None,
        }
    }
}

/// Whether the machine has two systems of which one runs: none that jos knows of, here.
#[cfg(feature = "desk")]
pub(crate) fn two_systems() -> bool {
    false
}

/// The system clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        kernel::now()
    }
    fn pause(&self, how_long: Duration) {
        crate::signals::wait(how_long);
        crate::signals::leave_if_stopping();
    }
    fn monotonic(&self) -> Duration {
        kernel::monotonic()
    }
    /// Nothing says so in one stable word; a trial is then taken back as after a crash of the program.
    fn boot(&self) -> Option<String> {
        None
    }
}

/// No package manager that jos knows; the gate refuses the steps before one is asked.
struct Nothing;

const NONE: &str = "no package manager that jos knows is on Windows";

impl Packages for Nothing {
    fn manager(&self) -> &'static str {
        "none"
    }
    fn own(&self) -> Option<String> {
        None
    }
    fn installed(&self, _: &str) -> Result<Option<String>, String> {
        Err(NONE.into())
    }
    fn preview(&self, _: &PackageWish) -> Result<Vec<PackageChange>, String> {
        Err(NONE.into())
    }
    fn origins(&self, _: &str, _: &str) -> Result<Vec<String>, String> {
        Err(NONE.into())
    }
    fn can_save(&self, _: &str, _: &str) -> bool {
        false
    }
    fn save(&self, _: &str, _: &str, _: &std::path::Path) -> Result<String, String> {
        Err(NONE.into())
    }
    fn refresh(&self) -> Result<(), String> {
        Err(NONE.into())
    }
    fn download(&self, _: &PackageWish) -> Result<(), String> {
        Err(NONE.into())
    }
    fn act(&self, _: &PackageWish) -> Result<Ran, String> {
        Err(NONE.into())
    }
    fn back(&self, _: &[PackageChange], _: &std::path::Path) -> Result<(), String> {
        Err(NONE.into())
    }
}
