//! The real world behind the plane's traits, on Windows: clock, randomness, processes in job objects, the service control manager.
//! Package managers, root file systems and content by URL are not there, and the plane refuses by name what needs them.

mod folder;
mod processes;
pub(crate) mod services;

#[path = "../../world/probe.rs"]
mod probe;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jos_runtime::world::{Clock, PackageChange, PackageWish, Packages, Ran, Random, World};
use jos_schemas::text::Utc;

use folder::Folder;
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

/// The system clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock")]
    fn now(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
        }
    }
    fn pause(&self, how_long: Duration) {
        crate::signals::wait(how_long);
        crate::signals::leave_if_stopping();
    }
    fn monotonic(&self) -> Duration {
        static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        FIRST.get_or_init(std::time::Instant::now).elapsed()
    }
    /// Nothing says so in one stable word; a trial is then taken back as after a crash of the program.
    fn boot(&self) -> Option<String> {
        None
    }
}

/// The system's random numbers.
pub(crate) struct Kernel;

impl Random for Kernel {
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness a name could be guessed and a key would be no key: better no program.
        if let Err(e) = getrandom::fill(bytes) {
            panic!("the system gives no random bytes: {e}");
        }
    }
}

/// When this program was built: no clock that stands before it is believed.
pub(crate) fn built() -> Utc {
    let seconds = option_env!("SOURCE_DATE_EPOCH").and_then(|s| s.parse().ok());
    Utc::from_unix(seconds.unwrap_or(FIRST_RELEASE))
}

/// 2026-11-01T00:00:00Z.
const FIRST_RELEASE: i64 = 1_793_491_200;

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
