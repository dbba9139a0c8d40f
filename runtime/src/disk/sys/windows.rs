//! Handles, and NT's opens relative to a handle: what `openat` is on POSIX.
//!
//! Every open names one component below a handle and says `FILE_OPEN_REPARSE_POINT`: a symbolic link, a junction or a volume's
//! mount point is opened itself, and refused. What Windows has no counterpart for is constant here: files are 0644, folders
//! 0755, both of uid and gid 0; who may really read and write them is the access list, which a replacement keeps.
#![allow(unsafe_code)]

use std::ffi::{OsString, c_void};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::mem::{offset_of, size_of};
use std::os::windows::ffi::OsStringExt;
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::null;

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_CREATE, FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, FILE_OPEN, FILE_OPEN_FOR_BACKUP_INTENT, FILE_OPEN_IF,
    FILE_OPEN_REPARSE_POINT, FILE_RENAME_INFORMATION, FILE_SYNCHRONOUS_IO_NONALERT, FILE_WRITE_THROUGH,
    FileDispositionInformation, FileDispositionInformationEx, FileRenameInformation, FileRenameInformationEx,
    NtCreateFile, NtFlushBuffersFile, NtSetInformationFile,
};
use windows_sys::Win32::Foundation::{HANDLE, OBJ_CASE_INSENSITIVE, RtlNtStatusToDosError, UNICODE_STRING};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, DELETE, FILE_ADD_FILE, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL,
    FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_GENERIC_READ,
    FILE_GENERIC_WRITE, FILE_ID_BOTH_DIR_INFO, FILE_LIST_DIRECTORY, FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE,
    FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_TRAVERSE, FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA, FileIdBothDirectoryInfo,
    FileIdBothDirectoryRestartInfo, GetFileInformationByHandle, GetFileInformationByHandleEx, SYNCHRONIZE, WRITE_DAC,
};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

pub(crate) use super::windows_names::odd_name;
pub use super::windows_paths::{base, managed};
pub(crate) use super::windows_paths::{escaped, path_of};
pub use super::windows_security::{make_private, make_private_new};
pub(crate) use super::windows_security::{set_xattrs, xattrs};
use super::{Id, Stat, Want};
use crate::disk::{Attrs, Kind, Meta};

/// Whether there is one call that resolves a whole path.
pub(crate) const WHOLE: bool = false;

const SHARED: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
const FOLDER: u32 = FILE_LIST_DIRECTORY | FILE_TRAVERSE | FILE_READ_ATTRIBUTES | SYNCHRONIZE;
/// Replace what has the name, as POSIX does, even while it is open or marked read-only (Windows 10 1809).
const RENAME: u32 = 0x1 | 0x2 | 0x40;
/// Delete now, as POSIX does, even while it is open or marked read-only.
const REMOVE: u32 = 0x1 | 0x2 | 0x10;

/// An open directory.
pub(crate) struct Dir(OwnedHandle);

/// What one call for a whole path came to: there is none.
#[allow(dead_code)]
pub(crate) enum Whole {
    Found(Dir),
    Missing,
    Unsure,
    Never,
}

/// One open below a directory.
#[derive(Clone, Copy)]
struct How {
    access: u32,
    disposition: u32,
    options: u32,
}

impl Dir {
    /// A root, whose own links are followed.
    pub(crate) fn root(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.access_mode(FOLDER).share_mode(SHARED);
        let file = options.custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)?;
        if look_at(&file)?.meta.kind != Kind::Dir {
            return Err(ErrorKind::NotADirectory.into());
        }
        Ok(Self(file.into()))
    }

    /// The directory of this name in it.
    pub(crate) fn enter(&self, name: &str) -> io::Result<Self> {
        let how = How {
            access: FOLDER,
            disposition: FILE_OPEN,
            options: FILE_DIRECTORY_FILE,
        };
        let file = self.at(name, how)?;
        match look_at(&file)?.meta.kind {
            Kind::Dir => Ok(Self(file.into())),
            _ => Err(linked()),
        }
    }

    /// The same directory, opened once more.
    pub(crate) fn again(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// By one call: never.
    #[allow(clippy::unused_self)]
    pub(crate) fn whole(&self, _: &str) -> Whole {
        Whole::Never
    }

    /// Which one it is.
    pub(crate) fn id(&self) -> io::Result<Id> {
        Ok(stat(self.0.as_raw_handle())?.id)
    }

    /// What stands at a name, unfollowed.
    pub(crate) fn look(&self, name: &str) -> io::Result<Stat> {
        look_at(&self.at(name, How::of(FILE_READ_ATTRIBUTES))?)
    }

    /// What a link holds is not asked: no step makes one, so none may be replaced that undo could not make again.
    pub(crate) fn target(&self, name: &str) -> io::Result<OsString> {
        let _ = self.look(name)?;
        Err(unsupported("links are not managed on Windows"))
    }

    /// Where a link leads, for a message; none where no link stands.
    pub(crate) fn link_words(&self, name: &str) -> Option<String> {
        let found = self.look(name).ok()?;
        (found.meta.kind == Kind::Link).then(|| "another place (a reparse point)".to_owned())
    }

    /// Opens what stands at a name.
    pub(crate) fn open(&self, name: &str, want: Want) -> io::Result<File> {
        let appending = FILE_GENERIC_WRITE & !FILE_WRITE_DATA;
        let (access, disposition) = match want {
            Want::Read => (FILE_GENERIC_READ, FILE_OPEN),
            Want::Touch => (FILE_GENERIC_READ | FILE_WRITE_ATTRIBUTES | FILE_WRITE_DATA, FILE_OPEN),
            Want::New => (FILE_GENERIC_READ | FILE_GENERIC_WRITE | DELETE | WRITE_DAC, FILE_CREATE),
            Want::Append => (appending, FILE_OPEN),
            Want::AppendNew => (appending, FILE_CREATE),
            Want::AppendOrNew => (appending, FILE_OPEN_IF),
            Want::Write => (FILE_GENERIC_WRITE, FILE_OPEN),
            Want::Lock => (FILE_GENERIC_READ | FILE_GENERIC_WRITE, FILE_OPEN_IF),
        };
        let options = match want {
            // A directory too: whoever reads is told that one stands there.
            Want::Read | Want::Touch => 0,
            Want::New => FILE_NON_DIRECTORY_FILE | FILE_WRITE_THROUGH,
            _ => FILE_NON_DIRECTORY_FILE,
        };
        let how = How {
            access,
            disposition,
            options,
        };
        let file = match self.at(name, how) {
            // Who may not write it has nothing of its own to make durable there.
            Err(e) if want == Want::Touch && e.kind() == ErrorKind::PermissionDenied => {
                self.at(name, How::of(FILE_GENERIC_READ))?
            }
            other => other?,
        };
        match look_at(&file)?.meta.kind {
            Kind::Link => Err(linked()),
            _ => Ok(file),
        }
    }

    /// Gives what stands at one name the other, whose file goes.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.at(
            from,
            How {
                access: DELETE | FILE_READ_ATTRIBUTES,
                disposition: FILE_OPEN,
                options: FILE_WRITE_THROUGH,
            },
        )?;
        let name: Vec<u16> = to.encode_utf16().collect();
        let bytes = size_of::<u16>() * name.len();
        let whole = offset_of!(FILE_RENAME_INFORMATION, FileName) + bytes + size_of::<u16>();
        // Of u64, for the alignment of the structure.
        let mut room = vec![0_u64; whole.div_ceil(size_of::<u64>())];
        let info = room.as_mut_ptr().cast::<FILE_RENAME_INFORMATION>();
        // SAFETY: `room` is aligned and large enough for the structure with the whole name after it.
        unsafe {
            (*info).Anonymous.Flags = RENAME;
            (*info).RootDirectory = self.0.as_raw_handle();
            (*info).FileNameLength = u32::try_from(bytes).map_err(|_| ErrorKind::InvalidInput)?;
            std::ptr::copy_nonoverlapping(name.as_ptr(), (&raw mut (*info).FileName).cast::<u16>(), name.len());
        }
        let length = u32::try_from(whole).map_err(|_| ErrorKind::InvalidInput)?;
        set(&file, info.cast(), length, FileRenameInformationEx).or_else(|first| {
            if !is_unknown(&first) {
                return Err(first);
            }
            // SAFETY: as above. The older form has a Boolean in the place of the flags.
            unsafe { (*info).Anonymous.Flags = 1 };
            set(&file, info.cast(), length, FileRenameInformation)
        })
    }

    /// Removes a file or a link, or with `dir` an empty directory.
    pub(crate) fn remove(&self, name: &str, dir: bool) -> io::Result<()> {
        let kind = if dir {
            FILE_DIRECTORY_FILE
        } else {
            FILE_NON_DIRECTORY_FILE
        };
        let file = self.at(
            name,
            How {
                access: DELETE | FILE_READ_ATTRIBUTES,
                disposition: FILE_OPEN,
                options: kind,
            },
        )?;
        let (flags, yes) = (REMOVE, 1_u8);
        set(&file, (&raw const flags).cast(), 4, FileDispositionInformationEx).or_else(|first| {
            if is_unknown(&first) {
                set(&file, (&raw const yes).cast(), 1, FileDispositionInformation)
            } else {
                Err(first)
            }
        })
    }

    /// Makes a directory, with the access list that the one above hands down.
    pub(crate) fn make_dir(&self, name: &str) -> io::Result<()> {
        let how = How {
            access: FOLDER,
            disposition: FILE_CREATE,
            options: FILE_DIRECTORY_FILE,
        };
        self.at(name, how).map(drop)
    }

    #[allow(clippy::unused_self)]
    pub(crate) fn make_link(&self, _: &str, _: &str) -> io::Result<()> {
        Err(unsupported("links are not made on Windows"))
    }

    #[allow(clippy::unused_self)]
    pub(crate) fn own_link(&self, _: &str, _: Attrs) -> io::Result<()> {
        Err(unsupported("links are not managed on Windows"))
    }

    /// The names in it, in no order.
    pub(crate) fn names(self) -> io::Result<Vec<OsString>> {
        const ROOM: usize = 64 * 1024;
        let mut room = vec![0_u64; ROOM / size_of::<u64>()];
        let mut names = Vec::new();
        let mut class = FileIdBothDirectoryRestartInfo;
        loop {
            let handle = self.0.as_raw_handle();
            // SAFETY: the handle is open, and `room` has as many bytes as it is said to.
            let more = unsafe { GetFileInformationByHandleEx(handle, class, room.as_mut_ptr().cast(), ROOM as u32) };
            class = FileIdBothDirectoryInfo;
            if more == 0 {
                let error = io::Error::last_os_error();
                // ERROR_NO_MORE_FILES; ERROR_FILE_NOT_FOUND where the very first look finds none.
                return match error.raw_os_error() {
                    Some(18 | 2) => Ok(names),
                    _ => Err(error),
                };
            }
            let mut at = 0_usize;
            loop {
                let offset = offset_of!(FILE_ID_BOTH_DIR_INFO, FileName);
                // SAFETY: the system put a whole entry at each offset that it names, within `room`.
                let (next, name) = unsafe {
                    let entry = room.as_ptr().cast::<u8>().add(at).cast::<FILE_ID_BOTH_DIR_INFO>();
                    let first = entry.cast::<u8>().add(offset).cast::<u16>();
                    let units = (*entry).FileNameLength as usize / size_of::<u16>();
                    let name = OsString::from_wide(std::slice::from_raw_parts(first, units));
                    ((*entry).NextEntryOffset as usize, name)
                };
                if name != "." && name != ".." {
                    names.push(name);
                }
                if next == 0 {
                    break;
                }
                at += next;
            }
        }
    }

    /// Makes its names durable. NTFS logs them in the order in which they changed; a flush forces the log out. A file system
    /// that cannot flush a directory is as one that says EINVAL elsewhere.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let how = How {
            access: FILE_ADD_FILE | SYNCHRONIZE,
            disposition: FILE_OPEN,
            options: FILE_DIRECTORY_FILE,
        };
        match self.at("", how) {
            Ok(file) => flush(file.as_raw_handle()),
            Err(_) => Ok(()),
        }
    }

    fn at(&self, name: &str, how: How) -> io::Result<File> {
        let mut units: Vec<u16> = name.encode_utf16().collect();
        let bytes = u16::try_from(size_of::<u16>() * units.len()).map_err(|_| ErrorKind::InvalidInput)?;
        let name = UNICODE_STRING {
            Length: bytes,
            MaximumLength: bytes,
            Buffer: units.as_mut_ptr(),
        };
        let attributes = OBJECT_ATTRIBUTES {
            Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
            RootDirectory: self.0.as_raw_handle(),
            ObjectName: &raw const name,
            Attributes: OBJ_CASE_INSENSITIVE,
            SecurityDescriptor: null(),
            SecurityQualityOfService: null(),
        };
        let mut status = IO_STATUS_BLOCK::default();
        let mut handle: HANDLE = std::ptr::null_mut();
        let options =
            how.options | FILE_OPEN_REPARSE_POINT | FILE_SYNCHRONOUS_IO_NONALERT | FILE_OPEN_FOR_BACKUP_INTENT;
        // SAFETY: all that is pointed to lives until the call returns; the handle is ours from then on.
        let code = unsafe {
            NtCreateFile(
                &raw mut handle,
                how.access | SYNCHRONIZE,
                &raw const attributes,
                &raw mut status,
                null(),
                FILE_ATTRIBUTE_NORMAL,
                SHARED,
                how.disposition,
                options,
                null(),
                0,
            )
        };
        said(code)?;
        // SAFETY: the call succeeded, so the handle is open and nobody else's.
        Ok(unsafe { File::from_raw_handle(handle) })
    }
}

impl How {
    fn of(access: u32) -> Self {
        Self {
            access,
            disposition: FILE_OPEN,
            options: 0,
        }
    }
}

fn set(file: &File, info: *const c_void, length: u32, class: i32) -> io::Result<()> {
    let mut status = IO_STATUS_BLOCK::default();
    // SAFETY: the handle is open and `info` has `length` bytes of what `class` expects.
    said(unsafe { NtSetInformationFile(file.as_raw_handle(), &raw mut status, info, length, class) })
}

/// What an older system says of a newer kind of question.
fn is_unknown(error: &io::Error) -> bool {
    // ERROR_INVALID_FUNCTION, _NOT_SUPPORTED, _INVALID_PARAMETER, _CALL_NOT_IMPLEMENTED, _INVALID_LEVEL.
    matches!(error.raw_os_error(), Some(1 | 50 | 87 | 120 | 124))
}

fn flush(handle: HANDLE) -> io::Result<()> {
    let mut status = IO_STATUS_BLOCK::default();
    // SAFETY: the handle is open.
    match said(unsafe { NtFlushBuffersFile(handle, &raw mut status) }) {
        Err(e) if is_unknown(&e) || matches!(e.raw_os_error(), Some(5 | 6)) => Ok(()),
        other => other,
    }
}

fn said(status: i32) -> io::Result<()> {
    if status >= 0 {
        return Ok(());
    }
    // SAFETY: it only looks the number up.
    let code = unsafe { RtlNtStatusToDosError(status) };
    Err(io::Error::from_raw_os_error(code.cast_signed()))
}

fn linked() -> io::Error {
    io::Error::other("a link stands there (a reparse point), and none is followed")
}

fn unsupported(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::Unsupported, why)
}

fn stat(handle: HANDLE) -> io::Result<Stat> {
    let mut found = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and the structure is what the call fills.
    if unsafe { GetFileInformationByHandle(handle, &raw mut found) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let has = |attribute| found.dwFileAttributes & attribute != 0;
    let kind = if has(FILE_ATTRIBUTE_REPARSE_POINT) {
        Kind::Link
    } else if has(FILE_ATTRIBUTE_DIRECTORY) {
        Kind::Dir
    } else {
        Kind::File
    };
    let long = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let inode = long(found.nFileIndexHigh, found.nFileIndexLow);
    let meta = Meta {
        kind,
        mode: if kind == Kind::Dir { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        size: long(found.nFileSizeHigh, found.nFileSizeLow),
        links: u64::from(found.nNumberOfLinks),
        inode,
    };
    Ok(Stat {
        meta,
        id: (u64::from(found.dwVolumeSerialNumber), inode),
    })
}

/// What an open file or directory says of itself.
pub(crate) fn look_at(file: &File) -> io::Result<Stat> {
    stat(file.as_raw_handle())
}

/// Nothing here has an owner by number.
pub(crate) fn set_owner(_: &File, _: Attrs) -> io::Result<()> {
    Ok(())
}

/// Nothing here has permission bits.
pub(crate) fn set_mode(_: &File, _: Attrs) -> io::Result<()> {
    Ok(())
}

/// Makes what was touched durable.
pub(crate) fn sync_touched(file: &File) -> io::Result<()> {
    flush(file.as_raw_handle())
}

/// Makes what somebody else wrote durable.
pub(crate) fn sync_settled(file: &File) -> io::Result<()> {
    flush(file.as_raw_handle())
}

pub(crate) fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = file.seek_write(bytes, offset)?;
        if written == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

/// An error of this kind.
pub(crate) fn error(kind: ErrorKind) -> io::Error {
    kind.into()
}

/// What an error says where the bytes on the medium themselves are lost.
pub(crate) fn damage(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        // ERROR_FILE_CORRUPT, ERROR_DISK_CORRUPT
        1392 | 1393 => Some("the file system says that it is corrupt"),
        // ERROR_CRC, ERROR_IO_DEVICE
        23 | 1117 => Some("the disk cannot read it"),
        _ => None,
    }
}

/// Which numbers this process has as an owner of files: there are none.
pub(crate) fn me() -> (u32, u32) {
    (0, 0)
}

/// Which file or directory stands at a path, if it is no link.
pub(crate) fn id_of_path(path: &Path) -> Option<Id> {
    let mut options = OpenOptions::new();
    options.access_mode(FILE_READ_ATTRIBUTES).share_mode(SHARED);
    let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT;
    let found = look_at(&options.custom_flags(flags).open(path).ok()?).ok()?;
    (found.meta.kind != Kind::Link).then_some(found.id)
}

/// Which file it is on its file system.
pub(crate) fn number_of(file: &File) -> Option<u64> {
    look_at(file).ok().map(|found| found.meta.inode)
}

/// Whether this process may give files to others: there is nobody, by number.
pub fn may_give_away() -> bool {
    false
}
