//! A disk that loses what was not made durable: the log of a run, and the trees that a power cut could leave of it.
//!
//! [`Recorder`] notes every write-like call. [`Model`] plays the log again on a file system that keeps two versions of
//! everything: as the running system sees it, and as the medium holds it. A change reaches the medium only through its
//! barrier, `fsync` of the file for bytes and attributes, `fsync` of the directory for names; until then it is pending,
//! and a power cut may keep any part of what is pending (POSIX fsync(2) promises no more, and file systems differ).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::rc::Rc;

use crate::disk::{Attrs, Op, Tap};

/// A write-like call with all that it would take to do it again.
#[derive(Clone)]
pub(crate) enum Call {
    Create(String),
    Write(String, u64, Vec<u8>),
    Meta(String, Attrs),
    MakeDir(String),
    MakeLink(String, String),
    Rename(String, String),
    Remove(String),
    Truncate(String, u64),
    Sync(String),
    SyncDir(String),
}

/// Without the bytes.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(p) => write!(f, "create {p}"),
            Self::Write(p, _, bytes) => write!(f, "write {} bytes to {p}", bytes.len()),
            Self::Meta(p, attrs) => write!(f, "{attrs:?} of {p}"),
            Self::MakeDir(p) => write!(f, "mkdir {p}"),
            Self::MakeLink(p, target) => write!(f, "link {p} to {target}"),
            Self::Rename(a, b) => write!(f, "rename {a} to {b}"),
            Self::Remove(p) => write!(f, "remove {p}"),
            Self::Truncate(p, n) => write!(f, "cut {p} to {n}"),
            Self::Sync(p) => write!(f, "fsync {p}"),
            Self::SyncDir(p) => write!(f, "fsync the directory of {p}"),
        }
    }
}

/// Notes down what is done.
#[derive(Default)]
pub(crate) struct Recorder(pub(crate) RefCell<Vec<Call>>);

impl Recorder {
    pub(crate) fn new() -> Rc<Self> {
        Rc::default()
    }
}

impl Tap for Recorder {
    fn before(&self, op: &Op<'_>) -> io::Result<()> {
        let own = |s: &str| s.to_owned();
        self.0.borrow_mut().push(match op {
            Op::Create(p) => Call::Create(own(p)),
            Op::Write(p, at, bytes) => Call::Write(own(p), *at, bytes.to_vec()),
            Op::Meta(p, attrs) => Call::Meta(own(p), *attrs),
            Op::MakeDir(p) => Call::MakeDir(own(p)),
            Op::MakeLink(p, target) => Call::MakeLink(own(p), own(target)),
            Op::Rename(a, b) => Call::Rename(own(a), own(b)),
            Op::Remove(p) => Call::Remove(own(p)),
            Op::Truncate(p, n) => Call::Truncate(own(p), *n),
            Op::Sync(p) => Call::Sync(own(p)),
            Op::SyncDir(p) => Call::SyncDir(own(p)),
        });
        Ok(())
    }
}

/// Index of an inode.
type Id = usize;

#[derive(Clone, Debug, PartialEq)]
enum Body {
    File(Vec<u8>),
    Dir(BTreeMap<String, Id>),
    Link(String),
}

#[derive(Clone, Debug, PartialEq)]
struct Inode {
    body: Body,
    attrs: Attrs,
}

/// One change that has not passed its barrier.
#[derive(Clone, Debug)]
enum Pending {
    Write(Id, u64, Vec<u8>),
    Truncate(Id, u64),
    Attrs(Id, Attrs),
    Enter(Id, String, Id),
    Rename(Id, String, String),
    Leave(Id, String),
}

impl Pending {
    /// The inode whose `fsync` makes it durable.
    fn barrier(&self) -> Id {
        match self {
            Self::Write(id, ..) | Self::Truncate(id, _) | Self::Attrs(id, _) => *id,
            Self::Enter(dir, ..) | Self::Rename(dir, ..) | Self::Leave(dir, _) => *dir,
        }
    }
}

/// What survives of what is pending.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Survives {
    /// Nothing: only what passed its barrier.
    Nothing,
    /// Everything: the process died, not the power.
    Everything,
    /// Each pending change by itself, by the throw of a seeded coin.
    Some(u64),
}

/// The managed tree (paths that start with `/`) and the data directory (paths that do not), on one medium.
#[derive(Clone)]
pub(crate) struct Model {
    running: Vec<Inode>,
    medium: Vec<Inode>,
    pending: Vec<Pending>,
}

const ROOT: Id = 0;
const DATA: Id = 1;

impl Model {
    /// Everything as it stands in the two folders, all durable.
    pub(crate) fn of(root: &Path, data: &Path) -> Self {
        let mut inodes = vec![load(root), load(data)];
        for (id, path) in [(ROOT, root), (DATA, data)] {
            fill(&mut inodes, id, path);
        }
        Self {
            running: inodes.clone(),
            medium: inodes,
            pending: Vec::new(),
        }
    }

    fn find(&self, path: &str) -> Option<Id> {
        let mut at = if path.starts_with('/') { ROOT } else { DATA };
        for part in path.split('/').filter(|p| !p.is_empty()) {
            let Body::Dir(entries) = &self.running[at].body else {
                return None;
            };
            at = *entries.get(part)?;
        }
        Some(at)
    }

    fn id(&self, path: &str) -> Id {
        self.find(path).unwrap_or_else(|| panic!("{path} is not there"))
    }

    fn place(&self, path: &str) -> (Id, String) {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = if path.starts_with('/') && dir.is_empty() {
            ROOT
        } else {
            self.id(dir)
        };
        (dir, name.to_owned())
    }

    fn new_inode(&mut self, body: Body, mode: u32) -> Id {
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let inode = Inode {
            body,
            attrs: Attrs { mode, uid, gid },
        };
        self.running.push(inode.clone());
        self.medium.push(inode);
        self.running.len() - 1
    }

    fn change(&mut self, pending: Pending) {
        apply(&mut self.running, &pending);
        self.pending.push(pending);
    }

    fn barrier(&mut self, id: Id) {
        for pending in std::mem::take(&mut self.pending) {
            if pending.barrier() == id {
                apply(&mut self.medium, &pending);
            } else {
                self.pending.push(pending);
            }
        }
    }

    /// Does one call.
    pub(crate) fn play(&mut self, call: &Call) {
        match call {
            Call::Create(path) => {
                let (dir, name) = self.place(path);
                let id = self.new_inode(Body::File(Vec::new()), 0o600);
                self.change(Pending::Enter(dir, name, id));
            }
            Call::MakeDir(path) => {
                let (dir, name) = self.place(path);
                let id = self.new_inode(Body::Dir(BTreeMap::new()), 0o700);
                self.change(Pending::Enter(dir, name, id));
            }
            Call::MakeLink(path, target) => {
                let (dir, name) = self.place(path);
                let id = self.new_inode(Body::Link(target.clone()), 0o777);
                self.change(Pending::Enter(dir, name, id));
            }
            Call::Write(path, offset, bytes) => {
                let id = self.id(path);
                let Body::File(now) = &self.running[id].body else {
                    panic!("{path} is no file")
                };
                let offset = if *offset == u64::MAX { now.len() as u64 } else { *offset };
                self.change(Pending::Write(id, offset, bytes.clone()));
            }
            Call::Truncate(path, length) => {
                // The call cuts and syncs in one.
                let id = self.id(path);
                self.change(Pending::Truncate(id, *length));
                self.barrier(id);
            }
            Call::Meta(path, attrs) => {
                let id = self.id(path);
                self.change(Pending::Attrs(id, *attrs));
                // A link has no descriptor to sync: its owner is on the medium with its name.
                if matches!(self.running[id].body, Body::Link(_)) {
                    self.barrier(id);
                }
            }
            Call::Rename(from, to) => {
                let ((dir, old), (_, new)) = (self.place(from), self.place(to));
                self.change(Pending::Rename(dir, old, new));
            }
            Call::Remove(path) => {
                let (dir, name) = self.place(path);
                self.change(Pending::Leave(dir, name));
            }
            Call::Sync(path) => self.barrier(self.id(path)),
            Call::SyncDir(path) => {
                let (dir, _) = self.place(path);
                self.barrier(dir);
            }
        }
    }

    /// How many changes are pending.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Puts what a power cut leaves into two empty folders.
    pub(crate) fn cut(&self, survives: Survives, root: &Path, data: &Path) {
        let mut medium = self.medium.clone();
        let mut coin = match survives {
            Survives::Some(seed) => seed | 1,
            _ => 1,
        };
        for pending in &self.pending {
            // xorshift64
            coin ^= coin << 13;
            coin ^= coin >> 7;
            coin ^= coin << 17;
            let kept = match survives {
                Survives::Nothing => false,
                Survives::Everything => true,
                Survives::Some(_) => coin & 8 == 0,
            };
            if kept {
                apply(&mut medium, pending);
            }
        }
        for (id, path) in [(ROOT, root), (DATA, data)] {
            write_out(&medium, id, path, &mut BTreeSet::new());
        }
    }
}

/// Does one change; one that builds on what was lost has no effect.
fn apply(inodes: &mut [Inode], pending: &Pending) {
    let mut entries = |dir: Id, change: &mut dyn FnMut(&mut BTreeMap<String, Id>)| {
        if let Body::Dir(entries) = &mut inodes[dir].body {
            change(entries);
        }
    };
    match pending {
        Pending::Enter(dir, name, id) => entries(*dir, &mut |e| {
            e.insert(name.clone(), *id);
        }),
        Pending::Leave(dir, name) => entries(*dir, &mut |e| {
            e.remove(name);
        }),
        Pending::Rename(dir, old, new) => entries(*dir, &mut |e| {
            if let Some(id) = e.remove(old) {
                e.insert(new.clone(), id);
            }
        }),
        Pending::Attrs(id, attrs) => inodes[*id].attrs = *attrs,
        Pending::Write(id, offset, bytes) => {
            if let Body::File(now) = &mut inodes[*id].body {
                let start = usize::try_from(*offset).unwrap();
                // A hole where an earlier write was lost reads as zeros.
                now.resize(now.len().max(start + bytes.len()), 0);
                now[start..start + bytes.len()].copy_from_slice(bytes);
            }
        }
        Pending::Truncate(id, length) => {
            if let Body::File(now) = &mut inodes[*id].body {
                now.truncate(usize::try_from(*length).unwrap());
            }
        }
    }
}

fn load(path: &Path) -> Inode {
    let meta = path.symlink_metadata().unwrap();
    let body = if meta.is_dir() {
        Body::Dir(BTreeMap::new())
    } else if meta.is_symlink() {
        Body::Link(std::fs::read_link(path).unwrap().to_str().unwrap().to_owned())
    } else {
        Body::File(std::fs::read(path).unwrap())
    };
    Inode {
        body,
        attrs: Attrs {
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
        },
    }
}

fn fill(inodes: &mut Vec<Inode>, id: Id, path: &Path) {
    let Body::Dir(_) = inodes[id].body else { return };
    for entry in std::fs::read_dir(path).unwrap().flatten() {
        let below = inodes.len();
        inodes.push(load(&entry.path()));
        if let Body::Dir(entries) = &mut inodes[id].body {
            entries.insert(entry.file_name().to_str().unwrap().to_owned(), below);
        }
        fill(inodes, below, &entry.path());
    }
}

fn write_out(inodes: &[Inode], id: Id, path: &Path, above: &mut BTreeSet<Id>) {
    let Inode { body, attrs } = &inodes[id];
    match body {
        Body::File(bytes) => std::fs::write(path, bytes).unwrap(),
        Body::Link(target) => symlink(target, path).unwrap(),
        Body::Dir(entries) => {
            assert!(above.insert(id), "a directory lies in itself");
            std::fs::create_dir_all(path).unwrap();
            for (name, below) in entries {
                write_out(inodes, *below, &path.join(name), above);
            }
            above.remove(&id);
        }
    }
    if let Body::Link(_) = body {
        std::os::unix::fs::lchown(path, Some(attrs.uid), Some(attrs.gid)).unwrap();
        return;
    }
    chown(path, Some(attrs.uid), Some(attrs.gid)).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(attrs.mode)).unwrap();
}
