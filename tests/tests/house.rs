//! The house's own rules, which no compiler keeps: which crate may use which, what a device may not carry, how long a file
//! may be, what committed text may not say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use jos_tests::command::run;
use jos_tests::programs::workspace;

/// Clients of networks and databases, by the crates that people reach for.
const NETWORK_AND_DATABASES: [&str; 22] = [
    "attohttpc",
    "curl",
    "diesel",
    "h2",
    "hyper",
    "isahc",
    "libsqlite3-sys",
    "mysql",
    "native-tls",
    "openssl",
    "postgres",
    "quinn",
    "redis",
    "reqwest",
    "rusqlite",
    "rustls",
    "sled",
    "sqlx",
    "tokio",
    "tokio-postgres",
    "tungstenite",
    "ureq",
];
/// What costs a device more than it gives: each of them was weighed and left out.
const TOO_HEAVY_FOR_A_DEVICE: [&str; 9] = [
    "anyhow",
    "chrono",
    "fancy-regex",
    "jsonschema",
    "regex",
    "regex-automata",
    "time",
    "tokio",
    "tracing",
];
const LONGEST_FILE: usize = 500;

fn cargo(words: &[&str]) -> jos_tests::command::Ran {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .args(words)
        .args(["--locked", "--offline"])
        .current_dir(workspace()))
    .ok()
}

/// The files that are committed or would be.
fn files() -> Vec<PathBuf> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(workspace());
    let listed = run(&mut git).ok();
    let files: Vec<PathBuf> = listed
        .stdout
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .collect();
    assert!(files.len() > 50, "git lists only {} files", files.len());
    files
        .into_iter()
        .filter(|path| workspace().join(path).is_file())
        .collect()
}

fn golden(name: &str) -> String {
    let path = workspace().join("tests/golden").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Names of the crates that `package` is built with, dependencies of dependencies included, tests' and build scripts' not.
fn built_with(package: &str, features: &[&str]) -> BTreeSet<String> {
    let mut words = vec![
        "tree",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--package",
        package,
    ];
    words.extend(features);
    let built: BTreeSet<String> = cargo(&words)
        .stdout
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert!(built.contains(package), "cargo tree does not list {package} itself");
    built
}

#[test]
fn the_crates_use_only_whom_the_golden_file_lets_them_use() {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps"]).json();
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        let uses = arrows
            .entry(package["name"].as_str().expect("a package has a name"))
            .or_default();
        let dependencies = package["dependencies"].as_array().expect("a package has dependencies");
        // Tests may use more: a test double of one crate in the tests of another makes no arrow.
        let built_in = dependencies
            .iter()
            .filter(|dependency| dependency["kind"].as_str() != Some("dev"));
        uses.extend(
            built_in
                .filter_map(|dependency| dependency["name"].as_str())
                .filter(|name| ours.contains(name)),
        );
    }
    let drawn: String = arrows
        .iter()
        .map(|(name, uses)| {
            format!(
                "{name} ->{}\n",
                uses.iter().map(|used| format!(" {used}")).collect::<String>()
            )
        })
        .collect();
    let allowed = golden("crates.txt");
    let allowed: String = allowed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    assert_eq!(
        drawn, allowed,
        "the crate graph is not that of tests/golden/crates.txt; an arrow is a decision: if it is meant, change that file and docs/architecture.md"
    );
}

#[test]
fn nothing_below_the_agent_speaks_to_a_network_or_a_database() {
    for package in ["jos-schemas", "jos-trust", "jos-runtime", "jos-node", "jos-link"] {
        let built = built_with(package, &[]);
        let found: Vec<_> = NETWORK_AND_DATABASES
            .iter()
            .filter(|name| built.contains(**name))
            .collect();
        assert!(
            found.is_empty(),
            "{package} is built with {found:?}; what it needs of the world comes in through a trait"
        );
    }
}

#[test]
fn the_device_program_carries_none_of_the_crates_that_were_weighed_and_left_out() {
    let built = built_with("jos-agent", &["--no-default-features", "--features", "device"]);
    let found: Vec<_> = TOO_HEAVY_FOR_A_DEVICE
        .iter()
        .filter(|name| built.contains(**name))
        .collect();
    assert!(
        found.is_empty(),
        "the device program is built with {found:?}; `cargo tree -i {}` says through whom",
        found[0]
    );
}

#[test]
fn a_source_file_is_at_most_500_lines_long_and_the_list_of_exceptions_only_shrinks() {
    let exceptions = golden("long-files.txt");
    let mut exceptions: BTreeMap<&str, usize> = exceptions
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(' ').expect("a line is: LINES PATH"))
        .map(|(lines, path)| (path, lines.parse().expect("a line is: LINES PATH")))
        .collect();
    let mut complaints = String::new();
    for path in files()
        .iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
    {
        let text = fs::read_to_string(workspace().join(path))
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let (lines, path) = (text.lines().count(), path.to_string_lossy());
        match exceptions.remove(path.as_ref()) {
            None if lines > LONGEST_FILE => complaints.push_str(&format!("{path}: {lines} lines; split it by ideas\n")),
            Some(most) if lines > most => {
                complaints.push_str(&format!("{path}: {lines} lines, and it was {most}; it may not grow\n"))
            }
            Some(_) if lines <= LONGEST_FILE => {
                complaints.push_str(&format!("{path}: {lines} lines; take it off the list\n"))
            }
            _ => {}
        }
    }
    for path in exceptions.keys() {
        complaints.push_str(&format!("{path}: is on the list and not in the tree\n"));
    }
    assert!(complaints.is_empty(), "tests/golden/long-files.txt:\n{complaints}");
}

#[test]
fn committed_text_names_no_package_registrys_host_and_nothing_beside_the_checkout() {
    // Put together here, so that this file does not hold them.
    let forbidden: Vec<String> = [
        ["crates", ".io"],
        ["pypi", ".org"],
        ["pythonhosted", ".org"],
        ["deb.debian", ".org"],
        ["security.debian", ".org"],
        ["registry.npmjs", ".org"],
        ["../", "shared"],
        ["/work/", "shared"],
        ["/work/", "plan"],
        ["/work/", "main"],
    ]
    .map(|halves| halves.concat())
    .to_vec();
    let mut complaints = String::new();
    for path in files() {
        // Cargo writes the registry's address into the lock file by itself.
        if path.ends_with("Cargo.lock") {
            continue;
        }
        let bytes =
            fs::read(workspace().join(&path)).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let Ok(text) = String::from_utf8(bytes) else { continue };
        for (number, line) in text.lines().enumerate() {
            for words in forbidden.iter().filter(|words| line.contains(words.as_str())) {
                complaints.push_str(&format!("{}:{}: names {words}\n", path.display(), number + 1));
            }
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
}

#[test]
fn what_makes_bytes_that_must_repeat_uses_no_map_whose_order_changes_from_run_to_run() {
    let mut complaints = String::new();
    for path in files()
        .iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
    {
        if !["images/src", "runtime/src", "trust/src"]
            .iter()
            .any(|folder| path.starts_with(folder))
        {
            continue;
        }
        let text = fs::read_to_string(workspace().join(path))
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        for (number, line) in text.lines().enumerate() {
            if line.contains("HashMap") || line.contains("HashSet") {
                complaints.push_str(&format!(
                    "{}:{}: use a BTreeMap or BTreeSet\n",
                    path.display(),
                    number + 1
                ));
            }
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
}

#[test]
fn a_decision_has_a_number_of_its_own_and_says_what_was_rejected() {
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in files().into_iter().filter(|path| path.starts_with("docs/decisions")) {
        let name = path
            .file_name()
            .expect("a file has a name")
            .to_string_lossy()
            .into_owned();
        let number = name.split('-').next().unwrap_or_default().to_owned();
        assert!(
            number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit()),
            "{}: a decision's name is NNN-words.md",
            path.display()
        );
        let text = fs::read_to_string(workspace().join(&path))
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        assert!(
            text.contains("Rejected"),
            "{}: says nothing of what was rejected",
            path.display()
        );
        if let Some(other) = seen.insert(number, path.clone()) {
            panic!("{} and {} have the same number", other.display(), path.display());
        }
    }
    assert!(!seen.is_empty(), "no decision is written down");
}
