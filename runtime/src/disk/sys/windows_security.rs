//! Access lists: kept over a replacement and brought back by undo, as extended attributes are elsewhere; and a folder that
//! only the system, administrators and its owner may enter.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, ErrorKind};
use std::mem::size_of;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::ptr::{null_mut, without_provenance_mut};

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetKernelObjectSecurity, PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES,
    SetKernelObjectSecurity,
};
use windows_sys::Win32::Storage::FileSystem::CreateDirectoryW;

use crate::disk::Xattrs;

/// Under which name an access list stands among the attributes of a file.
const LIST: &str = "windows.dacl";
/// The system, administrators and the owner (S-1-3-4) may do everything, here and below; nothing is inherited from above.
const PRIVATE: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;S-1-3-4)";

/// The access list, as bytes in hex; none where the file system keeps none.
pub(crate) fn xattrs(file: &File) -> Xattrs {
    let mut size = 0_u32;
    let handle = file.as_raw_handle();
    // SAFETY: the handle is open; with no room the call only says how much it needs.
    unsafe { GetKernelObjectSecurity(handle, DACL_SECURITY_INFORMATION, null_mut(), 0, &raw mut size) };
    if size == 0 {
        return Vec::new();
    }
    let mut room = vec![0_u64; (size as usize).div_ceil(size_of::<u64>())];
    let at: PSECURITY_DESCRIPTOR = room.as_mut_ptr().cast();
    // SAFETY: the handle is open and `room` has at least `size` bytes.
    if unsafe { GetKernelObjectSecurity(handle, DACL_SECURITY_INFORMATION, at, size, &raw mut size) } == 0 {
        return Vec::new();
    }
    let bytes: Vec<u8> = room.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let bytes = bytes.get(..size as usize).unwrap_or(&bytes);
    vec![(LIST.to_owned(), crate::hex::encode(bytes))]
}

pub(crate) fn set_xattrs(file: &File, xattrs: &Xattrs) -> io::Result<()> {
    for (name, value) in xattrs {
        let bytes = crate::hex::decode(value).ok_or(ErrorKind::InvalidData)?;
        if name != LIST || bytes.len() < SMALLEST {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut room = vec![0_u64; bytes.len().div_ceil(size_of::<u64>())];
        for (word, piece) in room.iter_mut().zip(bytes.chunks(size_of::<u64>())) {
            let mut whole = [0; size_of::<u64>()];
            whole[..piece.len()].copy_from_slice(piece);
            *word = u64::from_ne_bytes(whole);
        }
        let at: PSECURITY_DESCRIPTOR = room.as_mut_ptr().cast();
        // SAFETY: the handle is open. The bytes are the plane's own, as `xattrs` read them; the system checks them besides.
        if unsafe { SetKernelObjectSecurity(file.as_raw_handle(), DACL_SECURITY_INFORMATION, at) } == 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Bytes of a self-relative security descriptor that holds nothing.
const SMALLEST: usize = 20;

/// Makes a directory that nobody else may enter; those above it are made as any. One that is there is left as it is.
///
/// # Errors
/// The system's own.
pub fn make_private(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above)?;
    }
    match make_private_new(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Makes a directory that nobody else may enter and that was not there.
///
/// # Errors
/// The system's own.
pub fn make_private_new(path: &Path) -> io::Result<()> {
    let wide = |text: &std::ffi::OsStr| text.encode_wide().chain([0]).collect::<Vec<u16>>();
    let text = wide(PRIVATE.as_ref());
    let mut list: PSECURITY_DESCRIPTOR = without_provenance_mut(0);
    // SAFETY: the text ends with NUL; what comes back is freed below.
    let read = unsafe {
        let size = null_mut();
        ConvertStringSecurityDescriptorToSecurityDescriptorW(text.as_ptr(), SDDL_REVISION_1, &raw mut list, size)
    };
    if read == 0 {
        return Err(io::Error::last_os_error());
    }
    let security = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: list,
        bInheritHandle: 0,
    };
    let path = wide(path.as_os_str());
    // SAFETY: the path ends with NUL, and the security descriptor lives until the call returns.
    let made = unsafe { CreateDirectoryW(path.as_ptr(), &raw const security) };
    let error = io::Error::last_os_error();
    // SAFETY: the system allocated it for us, and nothing points to it any more.
    unsafe { LocalFree(list) };
    if made == 0 { Err(error) } else { Ok(()) }
}
