//! Paths as documents name them, and as Windows does.

use std::os::windows::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A path of the managed machine, where this system itself finds it: `/` is the drive that Windows is on.
pub fn base(root: &Path) -> PathBuf {
    let Ok(rest) = root.strip_prefix("/") else {
        return root.to_owned();
    };
    let drive = std::env::var_os("SystemDrive").unwrap_or_else(|| "C:".into());
    let mut base = PathBuf::from(drive);
    base.push("\\");
    // One by one: with the separators that Windows writes.
    base.extend(rest);
    base
}

/// A path as documents name it: from `/` on where it lies on the drive that Windows is on.
pub fn managed(path: &Path) -> String {
    let text = path.to_string_lossy().replace('\\', "/");
    let text = text.strip_prefix("//?/").unwrap_or(&text);
    let drive = std::env::var("SystemDrive").unwrap_or_else(|_| "C:".into());
    match text.get(..drive.len()) {
        Some(start) if start.eq_ignore_ascii_case(&drive) => text[drive.len()..].to_owned(),
        _ => text.to_owned(),
    }
}

/// A path out of the kernel's own bytes: nothing here gives any.
pub(crate) fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// A name that is not Unicode, for a message.
pub(crate) fn escaped(name: &std::ffi::OsStr) -> String {
    char::decode_utf16(name.encode_wide())
        .map(|c| c.map_or_else(|e| format!("\\u{{{:x}}}", e.unpaired_surrogate()), String::from))
        .collect()
}
