//! Torture from outside: a program is run under `strace`, which kills it at its K-th write-like call or makes that call
//! fail. The program itself is the one that ships; nothing in it helps.
//!
//! strace counts for each system call apart, so the K-th call of all is named by [`Call`]: which call, and which one of
//! these. [`Bench::calls`] lists them all, in the order of a run that nobody disturbs; it is the caller who says how many
//! of them are tried.
//!
//! The program runs in a mount namespace of its own in which `/etc` and `/srv` are folders of the scratch folder, so that
//! it manages `/` itself (commands run, health decides) and touches nothing of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::{Ran, run, run_within};
use crate::programs::jos_path;

/// Every system call by which a file, a name or an attribute changes, or becomes durable.
pub const WRITE_LIKE: &str = "write,pwrite64,writev,pwritev,ftruncate,truncate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,\
    fsync,fdatasync,mkdir,mkdirat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,symlink,symlinkat,mknod,mknodat,\
    setxattr,lsetxattr,fsetxattr,copy_file_range,sendfile,fallocate";

/// How long one run may take under strace on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// One write-like call of a run: the `nth` (from 1) of this `name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// As strace names it.
    pub name: String,
    /// Which of them.
    pub nth: usize,
}

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// SIGKILL instead of the call.
    Kill,
    /// This one call fails with `EIO`.
    Fail,
    /// The disk is full from this call on: all calls of the name fail with `ENOSPC`.
    Full,
}

/// How one path is.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    what: &'static str,
    mode: u32,
    owner: (u32, u32),
    content: Vec<u8>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(&self.content);
        let short: String = text.chars().take(60).collect();
        let (uid, gid) = self.owner;
        write!(
            f,
            "{} {:04o} {uid}:{gid} {} bytes {short:?}",
            self.what,
            self.mode,
            self.content.len()
        )
    }
}

/// Everything below `/etc` and `/srv` of a bench, by path.
pub type World = BTreeMap<PathBuf, Seen>;

/// A scratch folder in which the program is tortured: `etc/` and `srv/` stand for `/etc` and `/srv`, whatever else lies in
/// it (`data/`, states, keys) is seen under its own path.
#[derive(Debug)]
pub struct Bench {
    dir: PathBuf,
}

impl Bench {
    /// Of this folder, which must exist.
    pub fn new(dir: &Path) -> Self {
        for name in ["etc", "srv"] {
            fs::create_dir_all(dir.join(name)).expect("a folder can be made");
        }
        Self { dir: dir.to_owned() }
    }

    /// A path in it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A whole copy, with owners and modes.
    pub fn copy(&self, to: &Path) -> Self {
        run(Command::new("cp").arg("-a").arg("--").arg(&self.dir).arg(to)).ok();
        Self { dir: to.to_owned() }
    }

    /// Runs `jos` undisturbed.
    pub fn jos(&self, words: &[&str]) -> Ran {
        self.run(&[], words)
    }

    /// Lists the write-like calls of a run, in its order; and how the run ended.
    pub fn calls(&self, words: &[&str]) -> (Vec<Call>, Ran) {
        let log = self.at("strace.log");
        let trace = format!("trace={WRITE_LIKE}");
        let log_text = log.to_str().expect("scratch folders have plain names");
        let ran = self.run(
            &["strace", "-qq", "-o", log_text, "-e", &trace, "-e", "signal=none"],
            words,
        );
        let text = fs::read_to_string(&log).expect("strace writes its log");
        fs::remove_file(&log).expect("it was just there");
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut calls = Vec::new();
        for line in text.lines() {
            let Some((name, _)) = line.split_once('(') else {
                continue;
            };
            let nth = counts.entry(name).or_default();
            *nth += 1;
            calls.push(Call {
                name: name.to_owned(),
                nth: *nth,
            });
        }
        (calls, ran)
    }

    /// Runs `jos` and harms it at `call`.
    pub fn harm(&self, call: &Call, harm: Harm, words: &[&str]) -> Ran {
        let (name, nth) = (&call.name, call.nth);
        let what = match harm {
            Harm::Kill => format!("inject={name}:signal=KILL:when={nth}"),
            Harm::Fail => format!("inject={name}:error=EIO:when={nth}"),
            Harm::Full => format!("inject={name}:error=ENOSPC:when={nth}+"),
        };
        let trace = format!("trace={name}");
        self.run(&["strace", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &what], words)
    }

    /// How everything is now.
    pub fn world(&self) -> World {
        let mut world = World::new();
        for top in ["etc", "srv"] {
            look(&self.dir, Path::new(top), &mut world);
        }
        world
    }

    fn run(&self, before: &[&str], words: &[&str]) -> Ran {
        // The folders of the bench over the machine's own; a /run without an init system.
        const WRAP: &str =
            "mount --bind \"$0/etc\" /etc && mount --bind \"$0/srv\" /srv && mount -t tmpfs none /run && exec \"$@\"";
        let mut command = Command::new("unshare");
        // A network of its own: what it sets below /proc/sys/net is nobody else's, and gone with it as at a power cut.
        let apart = [
            "--mount",
            "--net",
            "--propagation",
            "private",
            "--",
            "/bin/sh",
            "-c",
            WRAP,
        ];
        command.args(apart);
        command.arg(&self.dir).args(before).arg(jos_path()).args(words);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8");
        command.current_dir(&self.dir);
        run_within(&mut command, LIMIT, &[])
    }
}

fn look(base: &Path, below: &Path, world: &mut World) {
    let path = base.join(below);
    let meta = fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let kind = meta.file_type();
    let (what, content) = if kind.is_symlink() {
        let target = fs::read_link(&path).expect("a link can be read");
        ("link", target.into_os_string().into_encoded_bytes())
    } else if kind.is_dir() {
        ("directory", Vec::new())
    } else {
        ("file", fs::read(&path).expect("a file can be read"))
    };
    let mode = if kind.is_symlink() {
        0
    } else {
        meta.permissions().mode() & 0o7777
    };
    let owner = (meta.uid(), meta.gid());
    let seen = Seen {
        what,
        mode,
        owner,
        content,
    };
    world.insert(below.to_owned(), seen);
    if kind.is_dir() {
        let entries = fs::read_dir(&path).expect("a folder can be read");
        for entry in entries {
            look(base, &below.join(entry.expect("an entry").file_name()), world);
        }
    }
}

/// Where two worlds differ, a line each; empty when they are alike.
pub fn differences(found: &World, expected: &World) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, seen) in found {
        match expected.get(path) {
            None => lines.push(format!("{} is there: {seen:?}", path.display())),
            Some(other) if other != seen => lines.push(format!("{}: {seen:?}, expected {other:?}", path.display())),
            Some(_) => {}
        }
    }
    let gone = expected.keys().filter(|path| !found.contains_key(*path));
    lines.extend(gone.map(|path| format!("{} is missing", path.display())));
    lines
}
