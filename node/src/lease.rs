//! Who is alive: one file for each node, locked while it lives, with a beat that goes on while it has claims.
//!
//! A node on this machine that died is known at once: the kernel let its lock go. On another machine its lock may look free
//! although it lives, so there only a beat that stood still for the whole lease counts, by this node's own clock: the
//! clocks of two machines are never compared.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::NodeError;
use crate::place::DataDir;

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Its process.
    pub pid: u32,
    /// Which start of which machine it runs in.
    pub boot: String,
    /// Goes up while it lives and has claims.
    pub beat: u32,
}

/// The lease of this node: the file goes when it is dropped.
pub(crate) struct Lease {
    path: PathBuf,
    file: Arc<File>,
    state: Arc<Pulse>,
    thread: Option<JoinHandle<()>>,
}

struct Pulse {
    claims: Mutex<(usize, bool)>,
    changed: Condvar,
    beat: AtomicU32,
    me: Beat,
    also: Box<Also>,
}

/// Whoever else is to hear each beat.
type Also = dyn Fn() + Send + Sync;

/// Which start of which machine this is; empty where the system does not say.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

impl Lease {
    /// Takes the lease, and starts the thread that keeps it.
    pub(crate) fn take(data: &DataDir, node: &str, lease: Duration, also: Box<Also>) -> Result<Self, NodeError> {
        let path = data.path(&format!("state/nodes/{node}.json"));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = Arc::new(file.map_err(NodeError::io(&path, "make it"))?);
        file.lock().map_err(NodeError::io(&path, "lock it"))?;
        let state = Arc::new(Pulse {
            claims: Mutex::new((0, false)),
            changed: Condvar::new(),
            beat: AtomicU32::new(0),
            me: Beat {
                pid: std::process::id(),
                boot: boot(),
                beat: 0,
            },
            also,
        });
        state.write(&file);
        let (pulse, into) = (Arc::clone(&state), Arc::clone(&file));
        let thread = std::thread::Builder::new()
            .name("lease".into())
            .spawn(move || pulse.run(&into, lease / 3));
        let thread = Some(thread.map_err(NodeError::io(&path, "start a thread"))?);
        Ok(Self {
            path,
            file,
            state,
            thread,
        })
    }

    /// A claim more, or one less.
    pub(crate) fn claims(&self, change: isize) {
        let mut claims = self.state.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.0 = claims.0.saturating_add_signed(change);
        if claims.0 == 1 && change > 0 {
            self.state.changed.notify_one();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.state.claims.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.state.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // Without claims there is nothing to be found by; with some, the next node finds them by the file that stays.
        if self.state.claims.lock().unwrap_or_else(PoisonError::into_inner).0 == 0 {
            let _ = fs::remove_file(&self.path);
        }
        let _ = self.file.unlock();
    }
}

impl Pulse {
    fn write(&self, file: &File) {
        let beat = self.beat.fetch_add(1, Ordering::Relaxed);
        let text = serde_json::to_vec(&Beat {
            beat,
            ..self.me.clone()
        })
        .unwrap_or_default();
        // Padded, so that a shorter text leaves nothing of a longer one behind.
        let line = format!("{:<120}\n", String::from_utf8_lossy(&text));
        let _ = file.write_all_at(line.as_bytes(), 0);
    }

    fn run(&self, file: &File, every: Duration) {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        while !claims.1 {
            if claims.0 == 0 {
                claims = self.changed.wait(claims).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(claims);
            self.write(file);
            (self.also)();
            claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.changed.wait_timeout_while(claims, every, |c| !c.1 && c.0 > 0);
            claims = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What this node has seen of others.
#[derive(Debug, Default)]
pub(crate) struct Others {
    seen: BTreeMap<String, (i64, Instant)>,
}

/// The names of the nodes that have a file in a data directory.
pub(crate) fn names(data: &DataDir) -> Result<Vec<String>, NodeError> {
    let names = data.names("state/nodes")?.into_iter();
    Ok(names
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect())
}

impl Others {
    /// Whether the node of this name is dead.
    pub(crate) fn dead(&mut self, data: &DataDir, node: &str, lease: Duration) -> bool {
        let path = data.path(&format!("state/nodes/{node}.json"));
        let Ok(text) = fs::read_to_string(&path) else {
            // No file: it ended cleanly, or never was. Its claims belong to nobody.
            return !path.exists();
        };
        let beat: Beat = serde_json::from_str(text.trim_end()).unwrap_or_default();
        let free = File::open(&path).is_ok_and(|file| match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => true,
        });
        if free && !beat.boot.is_empty() && beat.boot == boot() {
            return true;
        }
        self.stands_still(node, beat.beat.into(), lease) && free
    }

    /// Whether the beat of a node has been the same for the whole lease, by our own clock and as often as we looked.
    pub(crate) fn stands_still(&mut self, node: &str, beat: i64, lease: Duration) -> bool {
        let now = Instant::now();
        let (last, since) = self.seen.entry(node.to_owned()).or_insert((beat, now));
        if *last != beat {
            (*last, *since) = (beat, now);
        }
        now.duration_since(*since) >= lease
    }

    /// Nothing was seen for a while: what stood still then may have moved.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "a directory is always seen"))]
    pub(crate) fn begin_anew(&mut self) {
        self.seen.clear();
    }

    /// Its claims are gone: its file goes too.
    pub(crate) fn bury(&mut self, data: &DataDir, node: &str) {
        self.seen.remove(node);
        let _ = data.remove(&format!("state/nodes/{node}.json"));
    }
}

/// The nodes of a data directory that live on this machine, by name.
pub fn alive(data: &DataDir) -> Result<BTreeMap<String, Beat>, NodeError> {
    let mut found = BTreeMap::new();
    for node in names(data)? {
        let path = data.path(&format!("state/nodes/{node}.json"));
        let held = File::open(&path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
        if held {
            let text = fs::read_to_string(&path).unwrap_or_default();
            found.insert(node, serde_json::from_str(text.trim_end()).unwrap_or_default());
        }
    }
    Ok(found)
}
