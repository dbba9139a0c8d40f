//! The committed seeds, through the functions that libFuzzer drives: what a fuzzer once found stays found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jos_fuzz_targets::{TARGETS, Target, seeds};

/// Every file below `folder`, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    let below = paths.into_iter().map(|path| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    });
    below.flatten().collect()
}

fn seeds_of(target: &Target) -> Vec<(String, Vec<u8>)> {
    let line = seeds::folders().find(|(name, _)| *name == target.name);
    let (_, folders) = line.unwrap_or_else(|| panic!("fuzz/seeds.txt has no line for {}", target.name));
    let paths = folders.iter().flat_map(|folder| files(&seeds::checkout().join(folder)));
    let read = paths.map(|path| {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.display().to_string(), bytes)
    });
    read.collect()
}

/// Names the input that a target panics on.
struct Running<'a>(&'a str, &'a str);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} panicked on {}", self.0, self.1);
        }
    }
}

#[test]
fn every_target_takes_every_seed_and_its_cut_and_altered_forms() {
    for target in &TARGETS {
        let seeds = seeds_of(target);
        assert!(!seeds.is_empty(), "{} has no seed", target.name);
        for (path, bytes) in &seeds {
            let _named = Running(target.name, path);
            (target.run)(bytes);
            // A few neighbours of each, always the same: what libFuzzer would try first.
            for at in (0..bytes.len()).step_by(bytes.len() / 5 + 1) {
                (target.run)(&bytes[..at]);
                let mut altered = bytes.clone();
                altered[at] ^= 1 << (at % 8);
                (target.run)(&altered);
            }
        }
    }
}

#[test]
fn every_target_has_its_file_its_entry_and_its_line_and_there_are_no_others() {
    let folder = seeds::checkout().join("fuzz");
    let named: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let stem = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let found: BTreeSet<String> = files(&folder.join("fuzz_targets")).into_iter().map(stem).collect();
    assert_eq!(found, named, "fuzz/fuzz_targets");
    let listed: BTreeSet<String> = seeds::folders().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(listed, named, "fuzz/seeds.txt");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("fuzz/Cargo.toml");
    for name in &named {
        let entry = format!("path = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&entry), "fuzz/Cargo.toml has no [[bin]] with {entry}");
        let file = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).expect("readable");
        assert!(
            file.contains(&format!("::{name}(data)")),
            "{name}.rs runs another target"
        );
    }
}

#[test]
fn the_made_seeds_are_what_jos_writes_today() {
    let bless = std::env::var_os("JOS_BLESS").is_some();
    let mut stale = Vec::new();
    for seeds::Made { path, bytes } in seeds::made() {
        let place = seeds::checkout().join(&path);
        if bless {
            fs::create_dir_all(place.parent().expect("a folder")).expect("writable");
            fs::write(&place, &bytes).expect("writable");
        } else if fs::read(&place).ok().as_ref() != Some(&bytes) {
            stale.push(path);
        }
    }
    assert!(
        stale.is_empty(),
        "stale: {stale:?}; run JOS_BLESS=1 cargo test -p jos-fuzz-targets"
    );
}
