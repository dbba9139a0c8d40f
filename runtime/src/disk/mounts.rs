//! Where something is mounted below the root: what lies there is another file system's, or another place of this one.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::Disk;

impl Disk {
    /// The paths below the root on which something is mounted, as the kernel lists them (proc_pid_mountinfo(5)); empty
    /// where it keeps no such list. A bind mount has the device number of what it shows, so a number tells too little.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let (Ok(table), Ok(root)) = (
            std::fs::read_to_string("/proc/self/mountinfo"),
            std::fs::canonicalize(self.root()),
        ) else {
            return Vec::new();
        };
        let below = |line: &str| {
            let point = unescaped(line.split(' ').nth(4)?);
            let inside = point.strip_prefix(&root).ok()?.to_str()?.to_owned();
            (!inside.is_empty()).then(|| format!("/{inside}"))
        };
        table.lines().filter_map(below).collect()
    }
}

/// Spaces, tabs, newlines and backslashes are written `\040` and so on.
fn unescaped(text: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, more)) = rest.split_first() {
        let code = more.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        match code.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &more[3..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn a_mount_point_with_spaces_is_read() {
        assert_eq!(unescaped(r"/mnt/a\040b\134c").to_str(), Some(r"/mnt/a b\c"));
        assert_eq!(unescaped(r"/mnt/\04").to_str(), Some(r"/mnt/\04"));
    }
}
