use std::collections::BTreeMap;

use super::*;
use crate::formats::testing::{EPOCH, msi as sample, run};
use crate::formats::{Entry, inspect};

/// Every table of a package as `msiinfo export` writes it: rows of values, without the three lines of its head.
fn tables(bytes: &[u8]) -> BTreeMap<String, Vec<Vec<String>>> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("p.msi"), bytes).unwrap();
    let names = run(dir.path(), "msiinfo", &["tables", "p.msi"]);
    let mut all = BTreeMap::new();
    for name in names.lines().filter(|name| *name != "_SummaryInformation") {
        let text = run(dir.path(), "msiinfo", &["export", "p.msi", name]);
        let rows = text.lines().skip(3).map(|line| {
            let cells = line.trim_end_matches('\r').split('\t');
            cells.map(str::to_owned).collect()
        });
        all.insert(name.to_owned(), rows.collect());
    }
    all
}

fn column<'a>(rows: &'a [Vec<String>], key: &str, at: usize) -> &'a str {
    let row = rows.iter().find(|row| row[0] == key);
    row.map(|row| row[at].as_str())
        .unwrap_or_else(|| panic!("no {key} in {rows:?}"))
}

#[test]
fn every_table_is_read_by_msitools_and_names_only_rows_that_are_there() {
    let all = tables(&sample().to_bytes().unwrap());
    let keys = |table: &str| all[table].iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    for (name, schema) in tables::SCHEMAS {
        assert!(all.contains_key(*name), "{name} is missing: {:?}", all.keys());
        for row in &all[*name] {
            assert_eq!(row.len(), schema.len(), "{name}: {row:?}");
            for (text, cell) in schema.iter().zip(row) {
                let words: Vec<&str> = text.split(' ').collect();
                let is_nullable = words[1].starts_with(|c: char| c.is_ascii_uppercase());
                assert!(is_nullable || !cell.is_empty(), "{name}: {text} is empty in {row:?}");
                if let Some(table) = words.get(3).filter(|_| !cell.is_empty()) {
                    assert!(
                        keys(table).contains(cell),
                        "{name}: {text} is {cell:?}, which {table} has not"
                    );
                }
            }
        }
    }
    // What Windows knows by its own, and what a row in it says of another.
    for row in &all["Component"] {
        let of_file = all["File"].iter().find(|file| file[0] == row[5]);
        assert!(
            row[5].is_empty() || of_file.is_some_and(|file| file[1] == row[0]),
            "{row:?}"
        );
        assert_eq!(row[3].parse::<i32>().unwrap() & 0x100, 0x100, "64-bit: {row:?}");
    }
    let sequence: Vec<usize> = all["File"].iter().map(|row| row[7].parse().unwrap()).collect();
    let mut sorted = sequence.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=sequence.len()).collect::<Vec<_>>());
    assert_eq!(
        all["Media"],
        [["1", &sequence.len().to_string(), "", "#jos.cab", "", ""].map(str::to_owned)]
    );
}

#[test]
fn the_service_is_installed_started_stopped_and_removed() {
    let all = tables(&sample().to_bytes().unwrap());
    let service = &all["ServiceInstall"][0];
    assert_eq!(&service[1..6], ["probe", "Probe [\\[]test[\\]]", "16", "2", "32769"]);
    assert_eq!(
        service[10],
        "run --config \"[CommonAppDataFolder]probe\\probe settings.toml\""
    );
    let control = &all["ServiceControl"][0];
    let event: i32 = control[2].parse().unwrap();
    assert_eq!(
        (control[1].as_str(), event, control[4].as_str()),
        ("probe", 0x1 | 0x2 | 0x20 | 0x80, "1")
    );
    let program = all["File"].iter().find(|row| row[2] == "probe.exe").unwrap();
    assert_eq!(
        (&service[11], &control[5]),
        (&program[1], &program[1]),
        "of the program's component"
    );
    assert_eq!(
        column(&all["Component"], &program[1], 5),
        program[0],
        "whose key path is the program"
    );
    assert_eq!(all["Environment"][0][1], "=-*PATH");
}

#[test]
fn settings_stay_and_what_is_private_is_locked() {
    let all = tables(&sample().to_bytes().unwrap());
    let attributes = |name: &str| {
        let file = all["File"].iter().find(|row| row[2].ends_with(name)).unwrap();
        column(&all["Component"], &file[1], 3).parse::<i32>().unwrap()
    };
    assert_eq!(attributes("|probe settings.toml"), 0x10 | 0x80 | 0x100);
    assert_eq!(attributes("|trust.json"), 0x100);
    let locks: BTreeMap<&str, &str> = all["MsiLockPermissionsEx"]
        .iter()
        .map(|row| (row[1].split('_').nth(1).unwrap(), row[3].as_str()))
        .collect();
    assert_eq!(
        locks,
        BTreeMap::from([
            ("key", "D:P(A;;FA;;;SY)(A;;FA;;;BA)"),
            ("probe", "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"),
            ("secrets", "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"),
        ])
    );
}

#[test]
fn a_newer_version_replaces_an_older_one_which_replaces_none() {
    let old = tables(&sample().to_bytes().unwrap());
    let mut newer = sample();
    newer.info.version = "1.3.0.1".into();
    let new = tables(&newer.to_bytes().unwrap());
    let property = |all: &BTreeMap<String, Vec<Vec<String>>>, name: &str| column(&all["Property"], name, 1).to_owned();
    assert_eq!(property(&old, "UpgradeCode"), property(&new, "UpgradeCode"));
    assert_ne!(property(&old, "ProductCode"), property(&new, "ProductCode"));
    let bounds: BTreeMap<&str, &[String]> = new["Upgrade"].iter().map(|row| (row[6].as_str(), &row[..5])).collect();
    let code = property(&new, "UpgradeCode");
    assert_eq!(
        bounds["OLDER"],
        [&code, "0.0.0", "1.3.0.1", "", &(0x1 | 0x100 | 0x200).to_string()]
    );
    assert_eq!(bounds["NEWER"], [&code, "1.3.0.1", "", "", "2"]);
    let refusal = column(&new["LaunchCondition"], "Installed OR NOT NEWER", 1);
    assert!(
        refusal.starts_with("A newer version of [ProductName] is installed."),
        "{refusal}"
    );
    // A file keeps its component over versions.
    let ids = |all: &BTreeMap<String, Vec<Vec<String>>>| {
        let rows = all["Component"].iter();
        rows.map(|row| (row[0].clone(), row[1].clone()))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(ids(&old), ids(&new));
}

#[test]
fn msiextract_gives_the_files_back() {
    let dir = tempfile::tempdir().unwrap();
    let package = sample();
    std::fs::write(dir.path().join("p.msi"), package.to_bytes().unwrap()).unwrap();
    run(dir.path(), "msiextract", &["-C", "out", "p.msi"]);
    let mut found = 0;
    for entry in package.tree.entries() {
        if let EntryKind::File(bytes) = &entry.kind {
            let there = std::fs::read(dir.path().join("out").join(&entry.path));
            assert!(there.as_ref().is_ok_and(|there| there == bytes), "{}", entry.path);
            found += 1;
        }
    }
    assert_eq!(found, 4);
    let streams = run(dir.path(), "msiinfo", &["streams", "p.msi"]);
    assert!(
        streams.contains("jos.cab") && streams.contains("Icon.product.ico"),
        "{streams}"
    );
}

#[test]
fn the_summary_says_whose_it_is_for_which_machines_and_when() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("p.msi"), sample().to_bytes().unwrap()).unwrap();
    let summary = run(dir.path(), "msiinfo", &["suminfo", "p.msi"]);
    for line in [
        "Title: Installation Database",
        // msiinfo hands on the bytes of the Western code page.
        "Subject: Probe & S\u{fffd}hne",
        "Author: Ann Vendor",
        "Template: x64;1033",
        "Created: Fri Jan  2 03:04:05 2026",
        "Last saved: Fri Jan  2 03:04:05 2026",
    ] {
        assert!(summary.contains(line), "{line} is not in\n{summary}");
    }
}

#[test]
fn equal_input_gives_equal_bytes_and_other_input_other_codes() {
    let first = sample().to_bytes().unwrap();
    // A compound file has its time in steps of 100 ns: no two writes are in the same one.
    assert!(first == sample().to_bytes().unwrap(), "the clock is in it");
    let codes = |package: &MsiPackage| {
        let report = inspect(&package.to_bytes().unwrap()).unwrap();
        ["PackageCode", "ProductCode", "UpgradeCode"].map(|name| report.control.get(name).unwrap().to_owned())
    };
    let mut other = sample();
    other.tree.file("ProgramData/probe/more", 0o644, "x").unwrap();
    let (old, new) = (codes(&sample()), codes(&other));
    assert!(old[0] != new[0] && old[1] != new[1], "two packages, one code: {old:?}");
    assert_eq!(old[2], new[2]);
}

#[test]
fn letters_beyond_latin_1_are_kept_in_utf_8() {
    let mut package = sample();
    package.info.manufacturer = "Łódź Кафе".into();
    let report = inspect(&package.to_bytes().unwrap()).unwrap();
    assert_eq!(report.control.get("Manufacturer"), Some("Łódź Кафе"));
    assert_eq!(report.control.get("ProductName"), Some("Probe & Söhne"));
}

#[test]
fn versions_become_what_windows_compares() {
    for (given, expected) in [
        ("1.4.2", Some("1.4.2.3")),
        ("1.4.2~rc1", Some("1.4.2.3")),
        ("2", Some("2.0.0.3")),
        ("2026.11", Some("26.11.0.3")),
        ("255.255.65535", Some("255.255.65535.3")),
        ("1.2.3.4", Some("1.2.3.4")),
        ("1.2.3.99999", Some("1.2.3.65535")),
        ("256", None),
        ("1999.1", None),
        ("2256.1", None),
        ("1.256", None),
        ("1.2.65536", None),
    ] {
        assert_eq!(version(given, 3).as_deref(), expected, "{given}");
    }
}

#[test]
fn what_windows_cannot_have_is_refused() {
    let refusal = |change: &dyn Fn(&mut MsiPackage)| {
        let mut package = sample();
        change(&mut package);
        package.to_bytes().unwrap_err().to_string()
    };
    let said = refusal(&|p| p.tree.file("etc/probe", 0o644, "").unwrap());
    assert!(said.contains("\"etc\"") && said.contains("Program Files"), "{said}");
    let said = refusal(&|p| p.tree.file("ProgramData/probe/nul.txt", 0o644, "").unwrap());
    assert!(said.contains("device"), "{said}");
    let said = refusal(&|p| p.tree.file("ProgramData/probe/KEY", 0o644, "").unwrap());
    assert!(said.contains("letter case"), "{said}");
    let said = refusal(&|p| p.tree.insert(Entry::symlink("ProgramData/probe/link", "key")).unwrap());
    assert!(said.contains("is a link"), "{said}");
    let said = refusal(&|p| p.info.version = "1.256".into());
    assert!(said.contains("255.255.65535"), "{said}");
    let said = refusal(&|p| p.program = "Program Files/absent.exe".into());
    assert!(said.contains("program"), "{said}");
    let said = refusal(&|p| p.service.name = "a/b".into());
    assert!(said.contains("CreateService"), "{said}");
    assert_eq!(sample().epoch, EPOCH);
}
