//! The real world behind the plane's traits: clock, randomness, processes, the init system, probes.
//!
//! Owns the system calls and the programs `systemctl`, `/etc/init.d/*`, `launchctl`. Decides nothing: what may run was
//! decided by the gate.

mod fetch;
mod guardian;
mod kernel;
mod output;
mod outside;
mod packages;
mod probe;
mod processes;
mod services;
mod slots;
mod turn_clock;

use std::path::PathBuf;
use std::time::Duration;

use jos_runtime::world::{Clock, Guardian, Packages, Services, Slots, World};

use crate::run::line::Line;

pub(crate) use fetch::Web;
pub(crate) use guardian::line_of;
pub(crate) use kernel::{Kernel, built};
pub(crate) use probe::Tcp;
pub(crate) use processes::System;
#[cfg(feature = "desk")]
pub(crate) use slots::there as two_systems;
pub(crate) use turn_clock::TurnClock;

/// Everything, with the init system of this machine.
pub(crate) struct Real {
    clock: TurnClock,
    services: Box<dyn Services>,
    fetch: Web,
    line: Line,
    packages: Box<dyn Packages>,
    guardian: Option<Box<dyn Guardian>>,
    slots: Option<Box<dyn Slots>>,
}

impl Real {
    /// Detects the init system; runs nothing yet.
    pub(crate) fn new() -> Self {
        no_core_dump();
        let line = Line::default();
        Self {
            clock: TurnClock::over(Box::new(SystemClock)),
            services: services::detect(),
            fetch: Web {
                line: line.clone(),
                ..Web::default()
            },
            guardian: guardian::detect(&line),
            line,
            packages: packages::detect(),
            slots: slots::detect(),
        }
    }

    /// The line to the hub, which leads nowhere before an agent says where.
    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    /// The clock, for whoever has turns.
    pub(crate) fn clock(&self) -> &TurnClock {
        &self.clock
    }

    /// The same by another clock.
    #[cfg(test)]
    pub(crate) fn by(mut self, clock: Box<dyn Clock>) -> Self {
        self.clock = TurnClock::over(clock);
        self
    }

    /// The same, with a folder that offers content by hash.
    pub(crate) fn offering(mut self, folder: Option<PathBuf>) -> Self {
        self.fetch.folder = folder;
        self
    }

    /// As the plane takes it.
    pub(crate) fn world(&self) -> World<'_> {
        World {
            clock: &self.clock,
            random: &Kernel,
            processes: &System,
            services: &*self.services,
            probe: &Tcp,
            fetch: &self.fetch,
            packages: &*self.packages,
            hub: None,
            guardian: self.guardian.as_deref(),
            slots: self.slots.as_deref(),
        }
    }
}

/// The system clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        kernel::now()
    }
    fn pause(&self, how_long: Duration) {
        // Not `sleep`: it goes on after a signal.
        let end = std::time::Instant::now() + how_long;
        loop {
            crate::signals::leave_if_stopping();
            let left = end.saturating_duration_since(std::time::Instant::now()).as_millis();
            if left == 0 {
                return;
            }
            let _ = nix::poll::poll(&mut [], u16::try_from(left).unwrap_or(u16::MAX));
        }
    }
    fn monotonic(&self) -> Duration {
        kernel::monotonic()
    }
    fn boot(&self) -> Option<String> {
        boot()
    }
}

/// Secrets pass through this process: nothing of it is written out when it crashes.
fn no_core_dump() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, hard);
    }
}

/// Which start of the machine this is, as the kernel numbers it.
#[cfg(target_os = "linux")]
fn boot() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|t| !t.is_empty())
}

/// Elsewhere nothing says so without a call of its own; a trial is then taken back as after a crash of the program.
#[cfg(not(target_os = "linux"))]
fn boot() -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::{Resource, getrlimit};

    #[test]
    fn a_secret_is_in_no_core_dump() {
        let _real = super::Real::new();
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).expect("the limit").0, 0);
    }
}
