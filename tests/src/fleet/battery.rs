//! A device without a battery: its date begins in 1970 at every start, for every process of it.
//!
//! libfaketime does not reach the agent's network half, which has an environment of its own and may open no file. What does
//! is a library that the loader itself puts before every program, in a mount namespace of the device's own; it reads what it
//! needs before the program confines itself, and counts what was read of the clock.

use std::fs;
use std::path::Path;

use super::Device;
use crate::command::sh;

/// `$1` is the device's folder, `$2` the library; what follows is run where it is always 1970 at first.
const SCRIPT: &str = "umask 022 && d=$(mktemp -d \"$1/etc-XXXXXX\") && mkdir -m 755 \"$d/up\" \"$d/work\" \
    && mkdir \"$d/up/jos-clock\" && chmod 777 \"$d/up/jos-clock\" && cp \"$2\" \"$d/up/jos-clock/clock.so\" \
    && printf -- -%s \"$(date +%s)\" >\"$d/up/jos-clock/offset\" \
    && printf '/etc/jos-clock/clock.so\\n' >\"$d/up/ld.so.preload\" \
    && mount -t overlay -o \"lowerdir=/etc,upperdir=$d/up,workdir=$d/work\" overlay /etc && shift 2 && exec \"$@\"";

impl Device {
    /// The same where the date begins in 1970 whenever something is started.
    ///
    /// # Panics
    /// If there is no C compiler. Only root can start it.
    #[must_use]
    pub fn without_a_battery(mut self) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/clock/earlier.c");
        let (source, library) = (
            source.display().to_string(),
            self.path("clock.so").display().to_string(),
        );
        sh("cc", &["-shared", "-fPIC", "-O1", "-o", &library, &source, "-ldl"]).ok();
        let folder = self.path("").display().to_string();
        self.around = ["unshare", "--mount", "/bin/sh", "-c", SCRIPT, "sh", &folder, &library]
            .map(str::to_owned)
            .to_vec();
        self
    }

    /// How often a process of it has read the date, and the last second that it read.
    pub fn readings(&self, process: u64) -> Option<(u64, i64)> {
        let folders = fs::read_dir(self.path("")).ok()?.flatten().map(|entry| entry.path());
        let notes = folders.map(|folder| folder.join(format!("up/jos-clock/{process}")));
        let bytes = notes
            .filter_map(|file| fs::read(file).ok())
            .find(|bytes| bytes.len() == 16)?;
        let (readings, last) = bytes.split_at(8);
        Some((
            u64::from_ne_bytes(readings.try_into().ok()?),
            i64::from_ne_bytes(last.try_into().ok()?),
        ))
    }
}
