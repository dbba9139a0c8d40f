//! What of the workspace's two manifests reaches the device program.
//!
//! Owns: cutting `Cargo.lock` down to the packages that `jos-agent` can reach, and `Cargo.toml` to what those read, so
//! that a new dependency of another program does not make every device program be compiled again.
//! Never: leaves out what it does not understand: then the whole file counts.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

/// The package whose program devices run.
const PROGRAM: &str = "jos-agent";

/// The lock file's entries that the program can reach, over every feature and platform, and their names; `None` when
/// the text is not a lock file that holds the program.
pub(super) fn reached(lock: &str) -> Option<(String, BTreeSet<String>)> {
    let lock: Table = lock.parse().ok()?;
    let mut packages: BTreeMap<&str, Vec<&Table>> = BTreeMap::new();
    for package in lock.get("package")?.as_array()? {
        let package = package.as_table()?;
        packages
            .entry(package.get("name")?.as_str()?)
            .or_default()
            .push(package);
    }
    let mut open: Vec<&Table> = packages.get(PROGRAM)?.clone();
    let mut kept = BTreeMap::new();
    let mut names = BTreeSet::new();
    while let Some(package) = open.pop() {
        let (name, text) = (package.get("name")?.as_str()?, package.to_string());
        if kept.insert(text, ()).is_some() {
            continue;
        }
        names.insert(name.to_owned());
        let Some(dependencies) = package.get("dependencies") else {
            continue;
        };
        for dependency in dependencies.as_array()? {
            // `name`, with the version where the lock holds several of that name.
            let mut words = dependency.as_str()?.split(' ');
            let (name, version) = (words.next()?, words.next());
            let named = packages
                .get(name)?
                .iter()
                .filter(|p| version.is_none_or(|version| p.get("version").and_then(Value::as_str) == Some(version)));
            open.extend(named);
        }
    }
    Some((kept.into_keys().collect(), names))
}

/// The workspace's manifest without its members, and with those of its dependencies alone that are among `names`.
pub(super) fn manifest(text: &str, names: &BTreeSet<String>) -> Option<String> {
    let mut manifest: Table = text.parse().ok()?;
    let workspace = manifest.get_mut("workspace")?.as_table_mut()?;
    workspace.remove("members")?;
    let dependencies = workspace.get_mut("dependencies")?.as_table_mut()?;
    dependencies.retain(|name, value| {
        let renamed = value.get("package").and_then(Value::as_str);
        names.contains(renamed.unwrap_or(name))
    });
    Some(manifest.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
        version = 4
        [[package]]
        name = "jos-agent"
        version = "0.1.0"
        dependencies = ["serde", "nix 0.31.0"]
        [[package]]
        name = "serde"
        version = "1.0.0"
        checksum = "aa"
        [[package]]
        name = "nix"
        version = "0.31.0"
        [[package]]
        name = "nix"
        version = "0.30.0"
        [[package]]
        name = "axum"
        version = "0.8.0"
        dependencies = ["serde"]
    "#;
    const MANIFEST: &str = r#"
        [workspace]
        members = ["agent"]
        [workspace.dependencies]
        serde = "1"
        axum = "0.8"
        posix = { package = "nix", version = "0.31" }
        [profile.device]
        lto = "fat"
    "#;

    #[test]
    fn only_what_the_program_reaches_counts() {
        let (kept, names) = reached(LOCK).expect("a lock file");
        assert_eq!(
            names.iter().map(String::as_str).collect::<Vec<_>>(),
            ["jos-agent", "nix", "serde"]
        );
        assert!(
            kept.contains("0.31.0") && !kept.contains("0.30.0") && !kept.contains("axum"),
            "{kept}"
        );
        let without = LOCK.replace("0.8.0", "0.9.0");
        assert_eq!(reached(&without), reached(LOCK));
        assert_ne!(reached(&LOCK.replace("aa", "ab")), reached(LOCK));
    }

    #[test]
    fn of_the_manifest_profiles_and_reached_dependencies_count() {
        let (_, names) = reached(LOCK).expect("a lock file");
        let kept = manifest(MANIFEST, &names).expect("a manifest");
        assert!(
            kept.contains("posix") && kept.contains("fat") && !kept.contains("axum"),
            "{kept}"
        );
        let more = MANIFEST
            .replace("\"agent\"", "\"agent\", \"hub\"")
            .replace("0.8", "0.9");
        assert_eq!(manifest(&more, &names).as_ref(), Some(&kept));
        assert_ne!(manifest(&MANIFEST.replace("fat", "thin"), &names), Some(kept));
    }

    #[test]
    fn the_manifests_of_this_checkout_are_understood() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = |name: &str| std::fs::read_to_string(root.join(name)).expect(name);
        let (_, names) = reached(&text("Cargo.lock")).expect("a lock file");
        assert!(names.contains("serde") && !names.contains("jos-images"), "{names:?}");
        assert!(manifest(&text("Cargo.toml"), &names).is_some_and(|kept| !kept.contains("indicatif")));
    }

    #[test]
    fn a_file_that_is_no_manifest_is_not_cut() {
        assert_eq!(reached("Cargo.lock"), None);
        assert_eq!(reached("version = 4"), None);
        assert_eq!(manifest("[package]\nname = \"x\"", &BTreeSet::new()), None);
    }
}
