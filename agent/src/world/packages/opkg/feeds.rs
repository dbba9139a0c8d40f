//! opkg's feeds and their lists, as `opkg update` left them: it checked their signatures then.
//!
//! opkg itself names neither the feed of a package nor any version but the newest; the lists do.

use std::path::Path;

use jos_trust::digest::sha256;

use super::super::{LONG, SHORT, ask};

const CONFIGS: [&str; 3] = [
    "/etc/opkg.conf",
    "/etc/opkg/distfeeds.conf",
    "/etc/opkg/customfeeds.conf",
];

/// Prints the paragraph of one version of one package. Lists are long: what is not asked for never leaves the pipe.
const SEARCH: &str = r#"{ zcat "$1" 2>/dev/null || cat "$1"; } | awk -v p="Package: $2" -v v="Version: $3" '
BEGIN { RS = ""; FS = "\n" }
{ a = b = 0; for (i = 1; i <= NF; i++) { if ($i == p) a = 1; if ($i == v) b = 1 } if (a && b) { print; exit } }'"#;

/// A version of a package in a feed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// The feed's.
    pub(super) address: String,
    file: String,
    sha256: String,
}

/// The feeds that list this version.
pub(super) fn listed(name: &str, version: &str) -> Result<Vec<Listed>, String> {
    let texts = CONFIGS.map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let text = texts.join("\n");
    let mut found = Vec::new();
    for (feed, address) in read_feeds(&text) {
        let list = format!("{}/{feed}", lists_dir(&text));
        if !Path::new(&list).exists() {
            continue;
        }
        let paragraph = ask(&["sh", "-c", SEARCH, "sh", &list, name, version], SHORT)?;
        found.extend(read_paragraph(&paragraph, address));
    }
    Ok(found)
}

/// Downloads the file of this version to `folder`. The list was signed, and says what the file's hash must be.
pub(super) fn save(name: &str, version: &str, folder: &Path) -> Result<(), String> {
    let mut why = format!("no feed offers {name} {version} any more");
    for one in listed(name, version)? {
        let from = format!("{}/{}", one.address.trim_end_matches('/'), one.file);
        let to = folder.join(one.file.rsplit('/').next().unwrap_or(&one.file));
        match fetch(&from, &to, &one.sha256) {
            Ok(()) => return Ok(()),
            Err(e) => why = e,
        }
        let _ = std::fs::remove_file(&to);
    }
    Err(why)
}

/// By `wget`, as opkg itself does it.
fn fetch(from: &str, to: &Path, expected: &str) -> Result<(), String> {
    match from.strip_prefix("file:") {
        Some(path) => std::fs::copy(path, to).map(drop).map_err(|e| format!("{path}: {e}"))?,
        None => ask(&["wget", "-q", "-O", &to.display().to_string(), from], LONG).map(drop)?,
    }
    let bytes = std::fs::read(to).map_err(|e| format!("{}: {e}", to.display()))?;
    let found = sha256(&bytes).to_hex();
    if found.as_str() == expected {
        return Ok(());
    }
    Err(format!(
        "{from}: its SHA-256 is {}, the feed's list says {expected}",
        found.as_str()
    ))
}

/// `src/gz NAME ADDRESS`.
fn read_feeds(text: &str) -> Vec<(&str, &str)> {
    let feed = |line| {
        let mut words = str::split_whitespace(line);
        words.next().filter(|kind| matches!(*kind, "src" | "src/gz"))?;
        Some((words.next()?, words.next()?))
    };
    text.lines().filter_map(feed).collect()
}

/// `lists_dir NAME FOLDER`.
fn lists_dir(text: &str) -> &str {
    let line = text.lines().find(|line| line.starts_with("lists_dir "));
    line.and_then(|line| line.split_whitespace().nth(2))
        .unwrap_or("/var/opkg-lists")
}

fn read_paragraph(text: &str, address: &str) -> Option<Listed> {
    let value = |key: &str| text.lines().find_map(|l| Some(l.strip_prefix(key)?.trim().to_owned()));
    Some(Listed {
        address: address.to_owned(),
        file: value("Filename:")?,
        sha256: value("SHA256sum:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = "dest root /\nlists_dir ext /var/opkg-lists\noption check_signature\n\
        src/gz base https://downloads.example/base\n# src/gz off https://off.example\nsrc/gz own http://f/o\n";

    #[test]
    fn feeds_and_the_folder_of_their_lists_are_read() {
        let read = [("base", "https://downloads.example/base"), ("own", "http://f/o")];
        assert_eq!(read_feeds(CONF), read);
        assert_eq!(lists_dir(CONF), "/var/opkg-lists");
        assert_eq!(lists_dir("lists_dir ext /mnt/lists\n"), "/mnt/lists");
    }

    #[test]
    fn one_version_is_found_in_a_list_that_has_several_packed_or_not() {
        let list = "Package: hello-world\nVersion: 1.0-r1\nFilename: no.ipk\nSHA256sum: 0\n\n\
            Package: hello\nVersion: 1.0-r1\nFilename: hello_1.0-r1_all.ipk\nSHA256sum: ab12\nDescription: x\n y\n\n\
            Package: hello\nVersion: 1.1-r1\nFilename: hello_1.1-r1_all.ipk\nSHA256sum: cd34\n\n";
        let dir = tempfile::tempdir().expect("a scratch folder");
        let plain = dir.path().join("list");
        std::fs::write(&plain, list).expect("written");
        let plain = plain.display().to_string();
        let packed = format!("{plain}.gz");
        ask(&["sh", "-c", "gzip -c \"$1\" > \"$2\"", "sh", &plain, &packed], SHORT).expect("packed");
        for path in [&plain, &packed] {
            let text = ask(&["sh", "-c", SEARCH, "sh", path, "hello", "1.0-r1"], SHORT).expect("searched");
            let found = read_paragraph(&text, "http://f/o").expect("there");
            assert_eq!(
                (found.file.as_str(), found.sha256.as_str()),
                ("hello_1.0-r1_all.ipk", "ab12")
            );
            let text = ask(&["sh", "-c", SEARCH, "sh", path, "hello", "2"], SHORT).expect("searched");
            assert_eq!(read_paragraph(&text, "http://f/o"), None);
        }
    }

    #[test]
    fn a_file_that_is_not_what_the_list_says_is_not_saved() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let from = dir.path().join("from");
        std::fs::write(&from, "abc").expect("written");
        let from = format!("file:{}", from.display());
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        fetch(&from, &dir.path().join("to"), abc).expect("the same");
        let why = fetch(&from, &dir.path().join("to"), &abc.replace("ba78", "ba79")).expect_err("another");
        assert!(why.contains("the feed's list says ba79"), "{why}");
    }
}
