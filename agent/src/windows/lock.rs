//! Who runs: a file that its holder has open for writing and lets nobody else write. The system releases it when the holder ends
//! however it ends, and everybody may read who that is.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use windows_sys::Win32::Foundation::ERROR_SHARING_VIOLATION;
use windows_sys::Win32::Storage::FileSystem::FILE_SHARE_READ;

/// A held lock.
pub(crate) struct Lock(#[allow(dead_code)] File);

impl Lock {
    /// Takes the lock and writes this process' id into it; `None` when somebody holds it.
    pub(crate) fn take(path: &Path) -> io::Result<Option<Self>> {
        match open(path, true) {
            Ok(mut file) => {
                file.set_len(0)?;
                writeln!(file, "{}", std::process::id())?;
                Ok(Some(Self(file)))
            }
            Err(e) if is_held(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether somebody holds it.
    pub(crate) fn is_held(path: &Path) -> bool {
        open(path, false).is_err_and(|e| is_held(&e))
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(create).truncate(false);
    options.share_mode(FILE_SHARE_READ).open(path)
}

fn is_held(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_SHARING_VIOLATION.cast_signed())
}
