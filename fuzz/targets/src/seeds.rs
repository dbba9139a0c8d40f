//! Where a fuzzer begins: folders of the checkout, listed in `fuzz/seeds.txt`, which scripts and tests read alike.

use std::path::{Path, PathBuf};

/// One line for each target: its name and its folders, from the checkout.
pub const LIST: &str = include_str!("../../seeds.txt");

/// The checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The targets and their folders, as [`LIST`] names them.
pub fn folders() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| {
        let mut words = line.split_whitespace();
        (words.next().unwrap_or_default(), words.collect())
    })
}

/// A seed that no fixture could be: something signed, or binary.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its place, from the checkout.
    pub path: String,
    /// What stands there.
    pub bytes: Vec<u8>,
}

/// The seeds that are made by jos itself. `JOS_BLESS=1 cargo test -p jos-fuzz-targets` writes them.
pub fn made() -> Vec<Made> {
    let made = [
        ("desired_state", crate::signed::signed_states()),
        ("trust_root", crate::signed::signed_roots()),
        ("ledger", crate::history::histories()),
        ("link_frame", crate::wire::streams()),
        ("package_inspect", crate::packages::written()),
    ];
    let paths = made.into_iter().flat_map(|(target, files)| {
        files.into_iter().map(move |(name, bytes)| Made {
            path: format!("fuzz/seeds/{target}/{name}"),
            bytes,
        })
    });
    paths.collect()
}
