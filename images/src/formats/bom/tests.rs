use proptest::prelude::*;

use super::*;
use crate::formats::testing::{EPOCH, long_path, run, tree};

#[test]
fn the_checksum_is_the_one_of_cksum() {
    let dir = tempfile::tempdir().unwrap();
    for length in [0, 1, 2, 255, 256, 70_000] {
        let bytes: Vec<u8> = (0..length).map(|n: u32| (n % 251) as u8).collect();
        std::fs::write(dir.path().join("f"), &bytes).unwrap();
        assert_eq!(
            run(dir.path(), "cksum", &["f"]),
            format!("{} {length} f\n", cksum(&bytes))
        );
    }
}

#[test]
fn a_bill_reads_back_with_every_path_in_key_order() {
    let tree = tree();
    let bytes = write(&tree, EPOCH).unwrap();
    assert_eq!(bytes, write(&tree, EPOCH).unwrap());
    let rows = read(&bytes).unwrap();
    assert_eq!(rows.len(), tree.len() + 1);
    assert_eq!(
        (rows[0].path.as_str(), rows[0].mode, rows[0].mtime),
        (".", 0o040_755, EPOCH)
    );
    let find = |path: &str| rows.iter().find(|r| r.path == path).unwrap();
    let probe = find("./usr/bin/probe");
    assert_eq!((probe.kind, probe.mode, probe.size), (RowKind::File, 0o100_755, 17));
    assert_eq!(probe.cksum, cksum(b"#!/bin/sh\nexit 0\n"));
    assert_eq!(find("./usr/bin/probe-too").target, "probe");
    assert_eq!(find(&format!("./{}", long_path())).size, 5);
}

#[test]
fn more_paths_than_one_page_holds_are_chained_and_branched() {
    for count in [255u32, 256, 257, 1000] {
        let mut tree = Tree::new();
        for n in 0..count {
            tree.file(format!("d{}/f{n:04}", n % 7), 0o644, n.to_string()).unwrap();
        }
        let rows = read(&write(&tree, EPOCH).unwrap()).unwrap();
        let mut paths: Vec<_> = rows
            .iter()
            .skip(1)
            .map(|r| r.path.trim_start_matches("./").to_owned())
            .collect();
        paths.sort();
        let expected: Vec<_> = tree.entries().map(|e| e.path.clone()).collect();
        assert_eq!(paths, expected, "{count} files");
    }
}

#[test]
fn a_bill_cut_anywhere_is_refused() {
    let bytes = write(&tree(), EPOCH).unwrap();
    for n in (0..bytes.len() - 20).step_by(7) {
        assert!(read(&bytes[..n]).is_err(), "cut to {n} bytes");
    }
}

proptest! {
    #[test]
    fn a_changed_bill_never_panics(at in 0usize..60_000, byte: u8) {
        let mut bytes = write(&tree(), EPOCH).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = read(&bytes);
    }
}
