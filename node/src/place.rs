//! The data directory: its folders, and putting files into them so that nobody sees half of one.
//!
//! ```text
//! inbox/ID.json ─► claimed/ID@NODE.ATTEMPT.json ─► processed/ID.json, outbox/ID.json
//!                                               └► failed/ID.json, failed/ID.json.reason
//! agents/ tools/ evals/ schedules/ config/ artifacts/   what people put there
//! state/runtime/ledger, state/runtime/blobs             what was decided
//! state/door                                            lock: held while an id is looked up and taken
//! state/nodes/NODE.json                                 one for each node that runs: its lease, locked while it lives
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::NodeError;

/// The folders of a data directory.
pub const FOLDERS: [&str; 12] = [
    "inbox",
    "claimed",
    "processed",
    "failed",
    "outbox",
    "agents",
    "tools",
    "evals",
    "schedules",
    "config",
    "artifacts",
    "state",
];
/// Where the ledger is, below the data directory's `state/`.
pub const LEDGER: &str = "runtime/ledger";
/// Where its blobs are.
pub const BLOBS: &str = "runtime/blobs";
/// The start of names that are not yet whole; nothing of such a name is looked at.
const TEMP: &str = ".jos-";

/// A data directory.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

/// Whether bytes must survive a power cut, or can be made again from the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// fsync of the file and of its folder.
    Yes,
    /// The ledger has it.
    Derived,
}

impl DataDir {
    /// Makes what is missing of the directory, and names the folders that it made.
    pub fn create(root: &Path) -> Result<(Self, Vec<&'static str>), NodeError> {
        let mut made = Vec::new();
        let make = |path: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        make(root).map_err(NodeError::io(root, "make the directory"))?;
        for folder in FOLDERS {
            let path = root.join(folder);
            if !path.is_dir() {
                make(&path).map_err(NodeError::io(&path, "make the directory"))?;
                made.push(folder);
            }
        }
        let nodes = root.join("state/nodes");
        make(&nodes).map_err(NodeError::io(&nodes, "make the directory"))?;
        Ok((Self { root: root.to_owned() }, made))
    }

    /// An existing one.
    pub fn open(root: &Path) -> Result<Self, NodeError> {
        match FOLDERS.into_iter().find(|folder| !root.join(folder).is_dir()) {
            None => Ok(Self { root: root.to_owned() }),
            Some(missing) => Err(NodeError::NotADataDir {
                path: root.to_owned(),
                missing,
            }),
        }
    }

    /// Its path, as it was named.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in it.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// The names in a folder that are whole, sorted. A folder that is not there has none.
    pub fn names(&self, folder: &str) -> Result<Vec<String>, NodeError> {
        let path = self.path(folder);
        let entries = match fs::read_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(NodeError::io(&path, "list it"))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(NodeError::io(&path, "list it"))?;
            // A name that is not text cannot be an id either; its place is shown escaped.
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Puts `bytes` at `below` in one step: whoever opens it sees all of them.
    pub fn put(&self, below: &str, bytes: &[u8], durable: Durable) -> Result<(), NodeError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let path = self.path(below);
        let folder = path.parent().unwrap_or(&self.root).to_owned();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let temp = folder.join(format!("{TEMP}{}-{number}", std::process::id()));
        let written = (|| {
            // Left by a process of the same id that was killed: nobody else uses the name.
            let _ = fs::remove_file(&temp);
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temp)?;
            file.write_all(bytes)?;
            if durable == Durable::Yes {
                file.sync_all()?;
            }
            // Closed before it has its name: else whoever watches is told of it twice.
            drop(file);
            fs::rename(&temp, &path)?;
            if durable == Durable::Yes {
                File::open(&folder)?.sync_all()?;
            }
            Ok(())
        })();
        written.map_err(|e| {
            let _ = fs::remove_file(&temp);
            NodeError::io(&path, "write it")(e)
        })
    }

    /// Gives a file another place in the directory. `false` when it is not there any more.
    pub fn take(&self, from: &str, to: &str) -> Result<bool, NodeError> {
        match fs::rename(self.path(from), self.path(to)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(NodeError::io(&self.path(from), "move it")(e)),
        }
    }

    /// Removes a file. Missing is fine.
    pub fn remove(&self, below: &str) -> Result<(), NodeError> {
        match fs::remove_file(self.path(below)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(NodeError::io(&self.path(below), "remove it")(e)),
            _ => Ok(()),
        }
    }
}

/// The lock that whoever takes an id holds while it looks whether the id is free. Threads of one process meet at the
/// mutex, processes at flock(2).
#[derive(Debug)]
pub struct Door {
    path: PathBuf,
    file: Mutex<File>,
}

/// The door is closed behind us as long as this lives.
pub struct Inside<'d> {
    file: MutexGuard<'d, File>,
}

impl Door {
    /// Opens the lock's file.
    pub fn of(data: &DataDir) -> Result<Self, NodeError> {
        let path = data.path("state/door");
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(&path).map_err(NodeError::io(&path, "open the lock"))?;
        Ok(Self {
            path,
            file: Mutex::new(file),
        })
    }

    /// Waits until nobody else is inside: each stays for a few system calls.
    pub fn enter(&self) -> Result<Inside<'_>, NodeError> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.lock().map_err(NodeError::io(&self.path, "take the lock"))?;
        Ok(Inside { file })
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}
