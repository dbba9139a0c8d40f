//! What Windows has no counterpart for, and what runs there by its name alone.
//!
//! A state is the same document everywhere; a step that could not be kept there is refused by name, never done by half.
//! Compiled on every system, so that its tests run with the others'.

use jos_schemas::documents::desired_state::{Content, Step};

/// What `meta.requires` may not name there.
#[cfg(windows)]
pub(super) const ABSENT: &[&str] = &[
    "cron", "group", "link", "package", "secrets", "sysctl", "uci", "user", "image",
];

/// Paths of programs and of what starts them, besides those of other systems.
#[cfg(windows)]
pub(super) const CODE: &[&str] = &[
    "/Windows",
    "/Program Files",
    "/Program Files (x86)",
    "/ProgramData/Microsoft",
    "/ProgramData/Package Cache",
    "/Users/*/AppData",
    "/Users/*/Documents/WindowsPowerShell",
    "/Users/*/Documents/PowerShell",
    "/Users/*/Start Menu",
    "/Recovery",
    "/Boot",
    "/EFI",
    "/autoexec.bat",
    "/config.sys",
];

/// Endings by which Windows, or what it comes with, runs a file.
const RUN: &[&str] = &[
    "appref-ms",
    "application",
    "bat",
    "chm",
    "cmd",
    "com",
    "cpl",
    "dll",
    "drv",
    "exe",
    "gadget",
    "hta",
    "inf",
    "jar",
    "js",
    "jse",
    "lnk",
    "mof",
    "msc",
    "msi",
    "msix",
    "msp",
    "mst",
    "ocx",
    "pif",
    "ps1",
    "ps1xml",
    "psd1",
    "psm1",
    "py",
    "pyw",
    "reg",
    "scf",
    "scr",
    "sct",
    "settingcontent-ms",
    "sys",
    "url",
    "vb",
    "vbe",
    "vbs",
    "ws",
    "wsc",
    "wsf",
    "wsh",
    "xll",
];

/// Why a step cannot be kept there.
pub(super) fn why_not(step: &Step) -> Option<&'static str> {
    match step {
        Step::File(file) if matches!(file.content, Some(Content::Secret(_))) => {
            Some("not on Windows: a secret's file would need an access list, and the state has no words for one")
        }
        Step::File(file) if file.mode.is_some() || file.owner.is_some() => Some(MODES),
        Step::Directory(dir) if dir.mode.is_some() || dir.owner.is_some() => Some(MODES),
        Step::Link(_) => Some("not on Windows: links are not made there"),
        Step::User(_) | Step::Group(_) => Some("not on Windows: its accounts stand in no file"),
        Step::Package(_) => Some("not on Windows: no package manager that jos knows is there"),
        Step::Uci(_) => Some("not on Windows: UCI is OpenWrt's"),
        Step::Cron(_) => Some("not on Windows: there are no crontabs"),
        Step::Sysctl(_) => Some("not on Windows: there are no kernel parameters of this kind"),
        Step::Image(_) => Some("not on Windows: a machine with two root file systems runs Linux"),
        Step::File(_) | Step::Directory(_) | Step::Absent(_) | Step::Service(_) | Step::Shell(_) => None,
    }
}

const MODES: &str = "not on Windows: it has no permission bits and no owner by name; leave out `mode` and `owner`, and the file \
                     has the access list of the one that it replaces, or what its folder hands down";

/// Whether a file of this name runs when it is opened or found, whatever it holds.
pub(super) fn runs(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| RUN.contains(&ending.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(text: &str) -> Step {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_windows_has_no_counterpart_for_is_refused_by_name_and_plain_files_are_not() {
        for (text, refused) in [
            (
                r#"{"type":"file","path":"/ProgramData/acme/app.ini","content":"a"}"#,
                None,
            ),
            (r#"{"type":"directory","path":"/ProgramData/acme"}"#, None),
            (r#"{"type":"absent","path":"/ProgramData/acme/old"}"#, None),
            (
                r#"{"type":"file","path":"/a","content":"a","mode":"0644"}"#,
                Some("permission bits"),
            ),
            (r#"{"type":"directory","path":"/a","owner":"root"}"#, Some("owner")),
            (
                r#"{"type":"file","path":"/a","content":{"secret":"wifi"}}"#,
                Some("secret"),
            ),
            (r#"{"type":"link","path":"/a","target":"b"}"#, Some("links")),
        ] {
            let why = why_not(&step(text));
            match refused {
                None => assert_eq!(why, None, "{text}"),
                Some(word) => assert!(why.is_some_and(|why| why.contains(word)), "{text}: {why:?}"),
            }
        }
    }

    #[test]
    fn a_file_that_windows_runs_by_its_ending_is_code_whatever_its_folder() {
        for code in [
            "/ProgramData/acme/run.BAT",
            "/a/b.ps1",
            "/x.dll",
            "/Users/a/Desktop/x.lnk",
        ] {
            assert!(runs(code), "{code}");
        }
        for data in ["/ProgramData/acme/app.ini", "/a/exe", "/a.exe/b.txt", "/a/b."] {
            assert!(!runs(data), "{data}");
        }
    }
}
