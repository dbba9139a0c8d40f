//! Descriptors and the `…at` calls of POSIX, `openat2` where Linux has it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, fsync, symlinkat, unlinkat};

use super::xattr;
use super::{Id, Stat, Want};
use crate::disk::{Attrs, Kind, Meta, Xattrs};

/// A directory, for itself and for `fsync`; never through a link.
const DIRECTORY: OFlag = OFlag::O_DIRECTORY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_RDONLY);

/// The kernel says EAGAIN when something was renamed while it resolved (openat2(2)); after so many it is walked.
#[cfg(target_os = "linux")]
const AGAIN: u32 = 16;

/// Whether there is one call that resolves a whole path.
pub(crate) const WHOLE: bool = cfg!(target_os = "linux");

/// An open directory.
pub(crate) struct Dir(OwnedFd);

/// What one call for a whole path came to.
pub(crate) enum Whole {
    Found(Dir),
    Missing,
    /// The other way has to decide, this time.
    Unsure,
    /// The other way has to decide, from now on.
    Never,
}

impl Dir {
    /// A root, whose own links are followed.
    pub(crate) fn root(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
        Ok(Self(nix::fcntl::open(path, flags, Mode::empty())?))
    }

    /// The directory of this name in it.
    pub(crate) fn enter(&self, name: &str) -> io::Result<Self> {
        Ok(Self(openat(&self.0, name, DIRECTORY, Mode::empty())?))
    }

    /// The same directory, opened once more.
    pub(crate) fn again(&self) -> io::Result<Self> {
        self.enter(".")
    }

    /// By one call: the directory at a path of several components.
    #[cfg(target_os = "linux")]
    pub(crate) fn whole(&self, path: &str) -> Whole {
        use nix::fcntl::{OpenHow, ResolveFlag, openat2};
        let resolve = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH;
        let how = OpenHow::new().flags(DIRECTORY).resolve(resolve);
        for _ in 0..AGAIN {
            match openat2(&self.0, path, how) {
                Ok(fd) => return Whole::Found(Self(fd)),
                Err(Errno::ENOENT) => return Whole::Missing,
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                // EPERM is what a seccomp filter answers that was written before the call existed.
                Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL | Errno::E2BIG) => return Whole::Never,
                Err(_) => return Whole::Unsure,
            }
        }
        Whole::Unsure
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn whole(&self, _: &str) -> Whole {
        Whole::Never
    }

    /// Which one it is.
    pub(crate) fn id(&self) -> io::Result<Id> {
        Ok(id(&fstat(&self.0)?))
    }

    /// What stands at a name, unfollowed.
    pub(crate) fn look(&self, name: &str) -> io::Result<Stat> {
        Ok(stat(&fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW)?))
    }

    /// What a symbolic link holds.
    pub(crate) fn target(&self, name: &str) -> io::Result<OsString> {
        Ok(readlinkat(&self.0, name)?)
    }

    /// Where a link leads, for a message; none where no link stands.
    pub(crate) fn link_words(&self, name: &str) -> Option<String> {
        Some(self.target(name).ok()?.to_string_lossy().into_owned())
    }

    /// Opens what stands at a name.
    pub(crate) fn open(&self, name: &str, want: Want) -> io::Result<File> {
        let base = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let flags = match want {
            // O_NONBLOCK: a FIFO in the place of a file must not hang us before it is refused.
            Want::Read | Want::Touch => OFlag::O_RDONLY | OFlag::O_NONBLOCK,
            Want::New => OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL,
            Want::Append => OFlag::O_WRONLY | OFlag::O_APPEND,
            Want::AppendNew => OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_EXCL,
            Want::AppendOrNew => OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT,
            Want::Write => OFlag::O_WRONLY,
            Want::Lock => OFlag::O_RDWR | OFlag::O_CREAT,
        };
        Ok(openat(&self.0, name, base | flags, Mode::from_bits_truncate(0o600))?.into())
    }

    /// Gives what stands at one name the other, whose file goes.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }

    /// Removes a file or a link, or with `dir` an empty directory.
    pub(crate) fn remove(&self, name: &str, dir: bool) -> io::Result<()> {
        let flag = if dir {
            UnlinkatFlags::RemoveDir
        } else {
            UnlinkatFlags::NoRemoveDir
        };
        Ok(unlinkat(&self.0, name, flag)?)
    }

    /// Makes a directory that is nobody else's yet.
    pub(crate) fn make_dir(&self, name: &str) -> io::Result<()> {
        Ok(mkdirat(&self.0, name, Mode::from_bits_truncate(0o700))?)
    }

    /// Makes a symbolic link.
    pub(crate) fn make_link(&self, name: &str, target: &str) -> io::Result<()> {
        Ok(symlinkat(target, &self.0, name)?)
    }

    /// Gives a link itself away.
    pub(crate) fn own_link(&self, name: &str, attrs: Attrs) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(attrs.uid), Gid::from_raw(attrs.gid));
        Ok(fchownat(
            &self.0,
            name,
            Some(uid),
            Some(gid),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )?)
    }

    /// The names in it, in no order.
    pub(crate) fn names(self) -> io::Result<Vec<OsString>> {
        let mut dir = nix::dir::Dir::from_fd(self.0)?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    /// Makes its names durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match fsync(&self.0) {
            // Some file systems cannot sync a directory (EINVAL, fsync(2)); their renames are ordered by themselves.
            Ok(()) | Err(Errno::EINVAL) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

/// What an open file or directory says of itself.
pub(crate) fn look_at(file: &File) -> io::Result<Stat> {
    Ok(stat(&fstat(file)?))
}

/// Owner first: chown clears setuid bits (chown(2)), so the mode comes after.
pub(crate) fn set_owner(file: &File, attrs: Attrs) -> io::Result<()> {
    Ok(fchown(
        file,
        Some(Uid::from_raw(attrs.uid)),
        Some(Gid::from_raw(attrs.gid)),
    )?)
}

pub(crate) fn set_mode(file: &File, attrs: Attrs) -> io::Result<()> {
    Ok(fchmod(file, Mode::from_bits_truncate(attrs.mode as _))?)
}

/// Makes what was touched durable.
pub(crate) fn sync_touched(file: &File) -> io::Result<()> {
    Ok(fsync(file)?)
}

/// Makes what somebody else wrote durable. Not fsync(2) itself: on macOS that leaves the bytes in the drive's cache.
pub(crate) fn sync_settled(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// What undo has to bring back besides.
pub(crate) fn xattrs(file: &File) -> Xattrs {
    xattr::all(file.as_fd())
}

pub(crate) fn set_xattrs(file: &File, xattrs: &Xattrs) -> io::Result<()> {
    xattr::set_all(file.as_fd(), xattrs)
}

pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// An error of this kind as the system itself would say it.
pub(crate) fn error(kind: ErrorKind) -> io::Error {
    match kind {
        ErrorKind::NotFound => Errno::ENOENT.into(),
        ErrorKind::AlreadyExists => Errno::EEXIST.into(),
        ErrorKind::ResourceBusy => Errno::EBUSY.into(),
        ErrorKind::InvalidData => Errno::EILSEQ.into(),
        other => other.into(),
    }
}

/// What an error says where the bytes on the medium themselves are lost.
pub(crate) fn damage(error: &io::Error) -> Option<&'static str> {
    let errno = Errno::from_raw(error.raw_os_error()?);
    #[cfg(target_os = "linux")]
    if errno == Errno::EUCLEAN {
        return Some("the file system says that it is corrupt");
    }
    matches!(errno, Errno::EIO | Errno::EBADMSG).then_some("the disk cannot read it")
}

/// Which numbers this process has as an owner of files.
pub(crate) fn me() -> (u32, u32) {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}

/// A path of the managed machine, where this system itself finds it.
pub fn base(root: &Path) -> PathBuf {
    root.to_owned()
}

/// A path as documents name it.
pub fn managed(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A path out of the kernel's own bytes.
pub(crate) fn path_of(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

/// Which file or directory stands at a path, if it is no link.
pub(crate) fn id_of_path(path: &Path) -> Option<Id> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    (!meta.is_symlink()).then(|| (meta.dev(), meta.ino()))
}

/// Which file it is on its file system.
pub(crate) fn number_of(file: &File) -> Option<u64> {
    file.metadata().ok().map(|meta| meta.ino())
}

/// Why a component names something else than it says, where it does.
pub(crate) fn odd_name(_: &str) -> Option<&'static str> {
    None
}

/// Makes a directory that nobody else may enter, and those above it.
///
/// # Errors
/// The system's own.
pub fn make_private(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a directory that nobody else may enter and that was not there.
///
/// # Errors
/// The system's own.
pub fn make_private_new(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

/// Whether this process may give files to others.
pub fn may_give_away() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A name that is not UTF-8, for a message.
pub(crate) fn escaped(name: &std::ffi::OsStr) -> String {
    name.as_bytes().escape_ascii().to_string()
}

// The types differ between systems: some of the conversions are none here and needed there.
#[allow(clippy::unnecessary_cast, clippy::cast_sign_loss, trivial_numeric_casts)]
fn id(stat: &FileStat) -> Id {
    (stat.st_dev as u64, stat.st_ino as u64)
}

fn stat(found: &FileStat) -> Stat {
    Stat {
        meta: meta(found),
        id: id(found),
    }
}

// The field types differ between Linux, 32-bit Linux and macOS: some of the conversions are none here and needed there.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
fn meta(stat: &FileStat) -> Meta {
    let mode = stat.st_mode as u32;
    let kind = match mode & 0o170_000 {
        0o100_000 => Kind::File,
        0o040_000 => Kind::Dir,
        0o120_000 => Kind::Link,
        0o010_000 => Kind::Special("a FIFO"),
        0o140_000 => Kind::Special("a socket"),
        0o060_000 => Kind::Special("a block device"),
        0o020_000 => Kind::Special("a character device"),
        _ => Kind::Special("something unknown"),
    };
    Meta {
        kind,
        mode: mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        links: stat.st_nlink as u64,
        inode: stat.st_ino as u64,
    }
}
