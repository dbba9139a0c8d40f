//! The names that Windows Installer asks for: GUIDs, keys of rows, short file names beside long ones.
//!
//! All of them are derived from what they name (UUIDv5, SHA-1), so that equal input gives equal packages and a newer version
//! of a product has the components of the older one.

use std::collections::BTreeSet;

use sha1::{Digest, Sha1};
use uuid::Uuid;

/// The name space of every GUID here. It never changes: an upgrade finds its predecessor by a GUID made in it.
const SPACE: Uuid = Uuid::from_u128(0x5d0b_7f52_93a1_5c4e_8a6d_1e0f_c2b7_4a39);

/// A GUID that is always the same for the same `kind` and `name` (RFC 9562, version 5).
pub(super) fn guid(kind: &str, name: &str) -> Uuid {
    let mut hash = Sha1::new();
    hash.update(SPACE.as_bytes());
    hash.update(format!("{kind}:{name}"));
    let mut first = [0; 16];
    first.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_sha1_bytes(first).into_uuid()
}

/// As tables hold it: `{5D0B7F52-…}`.
pub(super) fn braced(guid: &Uuid) -> String {
    format!("{{{}}}", guid.hyphenated()).to_ascii_uppercase()
}

/// The key of a row: `PREFIX_NAME_1a2b3c4d`, where the name is the end of the path as far as a key may hold it.
pub(super) fn key(prefix: &str, path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or(path);
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' };
    let name: String = last.chars().take(32).map(plain).collect();
    format!("{prefix}_{name}_{}", &digest(path)[..10])
}

/// `SHORT|Long name` for a file or folder, or the name alone where it is a short one (8.3). `taken` holds the short names
/// that its folder has already.
pub(super) fn filename(name: &str, path: &str, taken: &mut BTreeSet<String>) -> String {
    if is_short(name) && taken.insert(name.to_ascii_uppercase()) {
        return name.to_owned();
    }
    let extension: String = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => {
            extension.chars().filter(char::is_ascii_alphanumeric).take(3).collect()
        }
        _ => String::new(),
    };
    let mut salt = 0_u32;
    loop {
        let stem = digest(&format!("{salt}:{path}"))[..7].to_ascii_uppercase();
        let short = match extension.is_empty() {
            true => format!("J{stem}"),
            false => format!("J{stem}.{}", extension.to_ascii_uppercase()),
        };
        if taken.insert(short.clone()) {
            return format!("{short}|{name}");
        }
        salt += 1;
    }
}

/// Why Windows has no file of this name, if so.
pub(super) fn unfit(name: &str) -> Option<&'static str> {
    const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    let numbered = ["COM", "LPT"].iter().any(|port| {
        stem.strip_prefix(port)
            .is_some_and(|n| n.len() == 1 && n.as_bytes()[0].is_ascii_digit())
    });
    if name.contains(|c: char| c.is_control() || "<>:\"\\|?*[]".contains(c)) {
        Some("has one of < > : \" \\ | ? * [ ] in its name, which no file of a Windows package may have")
    } else if name.ends_with(['.', ' ']) || name.starts_with(' ') {
        Some("begins or ends with a blank or a dot, which Windows drops")
    } else if DEVICES.contains(&stem.as_str()) || numbered {
        Some("has the name of a device, which Windows opens in its place")
    } else {
        None
    }
}

fn is_short(name: &str) -> bool {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let plain = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    (1..=8).contains(&stem.len()) && extension.len() <= 3 && plain(stem) && plain(extension) && !name.ends_with('.')
}

fn digest(text: &str) -> String {
    super::super::hash::hex(&Sha1::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_are_uuids_of_version_5_and_stay_the_same() {
        let one = guid("upgrade", "lobby-printer");
        assert_eq!(one.get_version_num(), 5);
        assert_eq!(one, guid("upgrade", "lobby-printer"));
        assert_ne!(one, guid("upgrade", "lobby-printer2"));
        assert_ne!(one, guid("product", "lobby-printer"));
        let text = braced(&one);
        assert!(text.len() == 38 && text == text.to_ascii_uppercase(), "{text}");
        // Installed machines know their upgrades by it: this line may never change.
        assert_eq!(text, "{C3CCD6E8-279C-5C40-A74F-349D66836B1F}");
    }

    #[test]
    fn short_names_are_8_3_and_no_two_in_a_folder_are_one() {
        let mut taken = BTreeSet::new();
        assert_eq!(filename("jos.exe", "a/jos.exe", &mut taken), "jos.exe");
        // Windows tells no letter case apart.
        let again = filename("JOS.EXE", "a/JOS.EXE", &mut taken);
        assert!(again.ends_with(".EXE|JOS.EXE"), "{again}");
        let long = filename("agent.toml", "a/agent.toml", &mut taken);
        let (short, name) = long.split_once('|').expect("two names");
        assert!(is_short(short) && name == "agent.toml", "{long}");
        assert_eq!(filename("noextension", "b", &mut taken).find('|'), Some(8));
        for (name, sound) in [
            ("jos.exe", true),
            ("a b", false),
            (".profile", false),
            ("a.b.c", false),
            ("x.", false),
        ] {
            assert_eq!(is_short(name), sound, "{name}");
        }
    }

    #[test]
    fn names_that_windows_cannot_have_are_known() {
        for name in [
            "a:b", "nul", "NUL.txt", "com1", "what?", "dot.", "blank ", "a\tb", "[x]",
        ] {
            assert!(unfit(name).is_some(), "{name:?}");
        }
        for name in ["agent.toml", "com", "com10", "console.log", "Ölstand", "a b"] {
            assert_eq!(unfit(name), None, "{name:?}");
        }
    }

    #[test]
    fn keys_are_identifiers_and_differ_where_paths_differ() {
        let one = key("f", "ProgramData/jos/agent.toml");
        assert!(one.starts_with("f_agent.toml_") && one.len() <= 72, "{one}");
        assert_ne!(one, key("f", "ProgramData/other/agent.toml"));
        let odd = key("d", "ProgramData/Ölstand & mehr");
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        assert!(odd.chars().all(plain), "{odd}");
    }
}
