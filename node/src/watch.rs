//! Being told of changes in folders, without looking again and again.
//!
//! Linux: inotify. Elsewhere a folder's own time of change is looked at once a second.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::NodeError;
use crate::place::DataDir;

/// What was seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Names that became whole in each folder, in the order in which they did.
    pub names: Vec<(String, String)>,
    /// Folders in which something changed.
    pub folders: BTreeSet<String>,
    /// More happened than could be told: everything is to be looked at again.
    pub lost: bool,
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::BTreeMap;
    use std::os::fd::{AsFd, BorrowedFd};

    use nix::errno::Errno;
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

    use super::*;

    /// Watches some folders of a data directory.
    pub struct Watch {
        inotify: Inotify,
        folders: BTreeMap<i32, String>,
    }

    /// nix gives no number of a descriptor; its text has it.
    fn number(watch: WatchDescriptor) -> i32 {
        let digits: String = format!("{watch:?}")
            .chars()
            .filter(|c| c.is_ascii_digit() || *c == '-')
            .collect();
        digits.parse().unwrap_or(-1)
    }

    impl Watch {
        /// Begins to watch. What changed before is not told.
        pub fn start(data: &DataDir, folders: &[&str]) -> Result<Self, NodeError> {
            let failed = |e: Errno| NodeError::io(data.root(), "watch its folders")(e.into());
            let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(failed)?;
            let what = AddWatchFlags::IN_CLOSE_WRITE
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_MOVED_FROM
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_ONLYDIR;
            let mut numbers = BTreeMap::new();
            for folder in folders {
                let watch = inotify.add_watch(&data.path(folder), what).map_err(failed)?;
                numbers.insert(number(watch), (*folder).to_owned());
            }
            Ok(Self {
                inotify,
                folders: numbers,
            })
        }

        /// What has changed since the last call. Never waits.
        pub fn take(&mut self) -> Result<Seen, NodeError> {
            let mut seen = Seen::default();
            loop {
                let events = match self.inotify.read_events() {
                    Ok(events) => events,
                    Err(Errno::EAGAIN) => return Ok(seen),
                    Err(Errno::EINTR) => continue,
                    Err(e) => return Err(NodeError::invalid("inotify", e)),
                };
                for event in events {
                    if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                        seen.lost = true;
                        continue;
                    }
                    let Some(folder) = self.folders.get(&number(event.wd)) else {
                        continue;
                    };
                    let name = event
                        .name
                        .map(|name| name.to_string_lossy().into_owned())
                        .unwrap_or_default();
                    if name.starts_with('.') {
                        continue;
                    }
                    seen.folders.insert(folder.clone());
                    if event
                        .mask
                        .intersects(AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO)
                    {
                        seen.names.push((folder.clone(), name));
                    }
                }
            }
        }

        /// Readable when something changed.
        pub fn fd(&self) -> Option<BorrowedFd<'_>> {
            Some(self.inotify.as_fd())
        }

        /// How long nobody need look.
        pub const EVERY: Option<Duration> = None;
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::collections::BTreeMap;
    use std::os::fd::BorrowedFd;
    use std::time::SystemTime;

    use super::*;

    /// Watches some folders of a data directory.
    pub struct Watch {
        data: DataDir,
        folders: BTreeMap<String, Option<SystemTime>>,
    }

    impl Watch {
        /// Begins to watch. What changed before is not told.
        pub fn start(data: &DataDir, folders: &[&str]) -> Result<Self, NodeError> {
            let data = data.clone();
            let folders = folders.iter().map(|f| ((*f).to_owned(), changed(&data, f))).collect();
            Ok(Self { data, folders })
        }

        /// What has changed since the last call. Never waits.
        pub fn take(&mut self) -> Result<Seen, NodeError> {
            let mut seen = Seen::default();
            for (folder, before) in &mut self.folders {
                let now = changed(&self.data, folder);
                if now != *before {
                    *before = now;
                    seen.folders.insert(folder.clone());
                    seen.lost = true;
                }
            }
            Ok(seen)
        }

        /// Nothing to wait on.
        pub fn fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        /// How long nobody need look.
        pub const EVERY: Option<Duration> = Some(Duration::from_secs(1));
    }

    fn changed(data: &DataDir, folder: &str) -> Option<SystemTime> {
        data.path(folder).metadata().ok()?.modified().ok()
    }
}

pub use system::Watch;
