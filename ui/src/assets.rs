//! The files that every page refers to. Each has the hash of its content in its name, so that a browser may keep it for
//! ever and never shows a new page with an old style.

/// One file, inside the program.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its name, with the hash.
    pub name: &'static str,
    /// How it is announced.
    pub kind: &'static str,
    /// What is in it.
    pub content: &'static str,
}

/// Where they are found.
pub const PREFIX: &str = "/assets/";

macro_rules! asset {
    ($file:literal, $ending:literal, $kind:literal) => {{
        const CONTENT: &str = include_str!(concat!("../assets/", $file, ".", $ending));
        const HASH: [u8; 16] = hex(fnv(CONTENT.as_bytes()));
        const NAME: [u8; $file.len() + $ending.len() + 18] = joined($file, &HASH, $ending);
        Asset {
            name: match std::str::from_utf8(&NAME) {
                Ok(name) => name,
                Err(_) => panic!("a name is ASCII"),
            },
            kind: $kind,
            content: CONTENT,
        }
    }};
}

/// The style sheet.
pub const STYLE: Asset = asset!("style", "css", "text/css; charset=utf-8");
/// The script.
pub const SCRIPT: Asset = asset!("page", "js", "text/javascript; charset=utf-8");
/// The icon.
pub const ICON: Asset = asset!("icon", "svg", "image/svg+xml");

/// The file of this name.
pub fn find(name: &str) -> Option<Asset> {
    [STYLE, SCRIPT, ICON].into_iter().find(|asset| asset.name == name)
}

/// Where a file is found.
pub fn path(asset: &Asset) -> String {
    format!("{PREFIX}{}", asset.name)
}

/// FNV-1a. It tells one version from another; nobody is kept out by it.
const fn fnv(bytes: &[u8]) -> u64 {
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

const fn hex(number: u64) -> [u8; 16] {
    let (mut out, mut at) = ([0; 16], 0);
    while at < 16 {
        out[at] = b"0123456789abcdef"[((number >> (60 - 4 * at)) & 15) as usize];
        at += 1;
    }
    out
}

/// `FILE-HASH.ENDING`
const fn joined<const N: usize>(file: &str, hash: &[u8; 16], ending: &str) -> [u8; N] {
    let mut out = [b'-'; N];
    let (file, ending) = (file.as_bytes(), ending.as_bytes());
    let mut at = 0;
    while at < file.len() {
        out[at] = file[at];
        at += 1;
    }
    at = 0;
    while at < 16 {
        out[file.len() + 1 + at] = hash[at];
        at += 1;
    }
    out[file.len() + 17] = b'.';
    at = 0;
    while at < ending.len() {
        out[file.len() + 18 + at] = ending[at];
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_by_the_name_that_pages_give_it_and_by_no_other() {
        for asset in [STYLE, SCRIPT, ICON] {
            assert_eq!(find(asset.name).map(|found| found.content), Some(asset.content));
        }
        assert!(
            STYLE.name.starts_with("style-") && STYLE.name.ends_with(".css"),
            "{}",
            STYLE.name
        );
        assert!(find("style.css").is_none() && find("").is_none());
    }

    #[test]
    fn nothing_in_the_style_or_the_script_is_fetched_from_elsewhere() {
        for asset in [STYLE, SCRIPT] {
            assert!(!asset.content.contains("http"), "{}", asset.name);
            assert!(!asset.content.contains("@import"), "{}", asset.name);
        }
    }
}
