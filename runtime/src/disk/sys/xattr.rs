//! Extended attributes (xattr(7)), kept over a replacement and brought back by undo. Linux only: nothing that jos
//! manages on macOS carries any that matter, and there the functions do nothing.
//!
//! Attributes that the kernel computes or guards for itself are left alone.

use std::io;
use std::os::fd::BorrowedFd;

use crate::disk::Xattrs;

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
mod sys {
    use std::ffi::CString;
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd};

    use nix::libc;

    /// Calls twice, for the size and for the bytes. A list that grows in between is an ERANGE, an error like another.
    fn sized(call: impl Fn(*mut u8, usize) -> isize) -> io::Result<Vec<u8>> {
        let size = usize::try_from(call(std::ptr::null_mut(), 0)).map_err(|_| io::Error::last_os_error())?;
        let mut bytes = vec![0; size];
        let got = usize::try_from(call(bytes.as_mut_ptr(), size)).map_err(|_| io::Error::last_os_error())?;
        bytes.truncate(got);
        Ok(bytes)
    }

    pub(super) fn list(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
        // SAFETY: `sized` passes a null pointer with size 0 or a buffer of exactly `n` bytes; the descriptor is open.
        sized(|p, n| unsafe { libc::flistxattr(fd.as_raw_fd(), p.cast(), n) })
    }

    pub(super) fn get(fd: BorrowedFd<'_>, name: &CString) -> io::Result<Vec<u8>> {
        // SAFETY: as above, and `name` ends with NUL.
        sized(|p, n| unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), p.cast(), n) })
    }

    pub(super) fn set(fd: BorrowedFd<'_>, name: &CString, value: &[u8]) -> io::Result<()> {
        // SAFETY: `name` ends with NUL, `value` is valid for its length, the descriptor is open.
        let r = unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
        if r == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// All of them, or none where the file system has none.
#[cfg(target_os = "linux")]
pub(super) fn all(fd: BorrowedFd<'_>) -> Xattrs {
    let Ok(names) = sys::list(fd) else { return Vec::new() };
    let kept =
        |name: &&[u8]| !name.is_empty() && !name.starts_with(b"security.ima") && !name.starts_with(b"system.nfs4");
    let mut found = Vec::new();
    for name in names.split(|b| *b == 0).filter(kept) {
        let Ok(text) = String::from_utf8(name.to_vec()) else {
            continue;
        };
        let Ok(c_name) = std::ffi::CString::new(name) else {
            continue;
        };
        if let Ok(value) = sys::get(fd, &c_name) {
            found.push((text, crate::hex::encode(&value)));
        }
    }
    found.sort();
    found
}

#[cfg(target_os = "linux")]
pub(super) fn set_all(fd: BorrowedFd<'_>, xattrs: &Xattrs) -> io::Result<()> {
    for (name, value) in xattrs {
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        let c_name = std::ffi::CString::new(name.as_str()).map_err(|_| bad())?;
        sys::set(fd, &c_name, &crate::hex::decode(value).ok_or_else(bad)?)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn all(_: BorrowedFd<'_>) -> Xattrs {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn set_all(_: BorrowedFd<'_>, _: &Xattrs) -> io::Result<()> {
    Ok(())
}
