//! A device whose clock jumps while its agent runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Device;

/// Where libfaketime lies.
///
/// # Panics
/// If it does not.
pub(super) fn library() -> PathBuf {
    let path = format!(
        "/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1",
        std::env::consts::ARCH
    );
    assert!(
        Path::new(&path).is_file(),
        "{path} is not there; scripts/setup installs it"
    );
    path.into()
}

impl Device {
    /// The same with a clock that can be set. It is the agent's root half that reads it; the network half has an environment
    /// of its own, and the machine's clock.
    #[must_use]
    pub fn with_a_clock(mut self) -> Self {
        self.clock = true;
        self.set_clock("+0d");
        self
    }

    /// Puts the clock so far ahead or back from now on, as faketime writes it: `-20000d`.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn set_clock(&self, clock: &str) {
        // In one step: a half-written one would be no clock at all.
        fs::write(self.path("clock.new"), format!("{clock}\n")).expect("a file");
        fs::rename(self.path("clock.new"), self.path("clock")).expect("a file");
    }

    pub(super) fn add_clock(&self, command: &mut Command) {
        if self.clock {
            // Timers go on as they are: only what is read as the date is another.
            command
                .env("LD_PRELOAD", library())
                .env("FAKETIME_TIMESTAMP_FILE", self.path("clock"))
                .env("FAKETIME_NO_CACHE", "1")
                .env("DONT_FAKE_MONOTONIC", "1")
                .env("NO_FAKE_STAT", "1");
        }
    }

    /// What libfaketime leaves of a process that was killed: another one of that number would find it.
    pub(super) fn sweep(&self, process: u32) {
        for left in ["faketime_shm_", "sem.faketime_sem_"] {
            if self.clock {
                let _ = fs::remove_file(format!("/dev/shm/{left}{process}"));
            }
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.kill();
    }
}
