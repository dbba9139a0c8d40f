//! What a program is made of: the crates that its build takes in, with versions, licences and checksums.
//!
//! Owns: asking cargo for them, for the features and the platform of the program. Macros and build scripts run on the
//! builder's machine and are no part of the program; they are left out, and what only they need as well.
//! cargo may fetch the manifest of a crate that another program of the workspace uses: it reads the whole graph.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BuildError, Flavour};

/// One crate of a program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An SPDX expression, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// SHA-256 of its archive, as the lock file pins it; none for a crate of this workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Name and version of each crate that it uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<(String, String)>,
}

/// The crates of `jos` of one flavour as built from `root` for `triple`, sorted. `cargo` is the builder's own, ready to be run.
pub(super) fn of(mut cargo: Command, root: &Path, triple: &str, flavour: Flavour) -> Result<Vec<Crate>, BuildError> {
    cargo
        .current_dir(root.join("agent"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args([
            "--no-default-features",
            "--features",
            flavour.features(),
            "--filter-platform",
            triple,
        ])
        .stdin(Stdio::null());
    let program = cargo.get_program().to_owned();
    let done = cargo.output().map_err(|e| BuildError::io(program, e))?;
    if !done.status.success() {
        return Err(BuildError::Failed {
            what: "cargo metadata".into(),
            status: done.status.to_string(),
            tail: String::from_utf8_lossy(&done.stderr).into_owned(),
        });
    }
    let path = root.join("Cargo.lock");
    let lock = std::fs::read_to_string(&path).map_err(|e| BuildError::io(&path, e))?;
    let graph = serde_json::from_slice(&done.stdout).ok();
    graph
        .and_then(|graph: Value| reached(&graph, &checksums(&lock)))
        .ok_or_else(|| BuildError::Failed {
            what: "cargo metadata".into(),
            status: "success".into(),
            tail: "what it printed does not have the form of format version 1".into(),
        })
}

fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let lock: toml::Table = lock.parse().unwrap_or_default();
    let packages = lock.get("package").and_then(|p| p.as_array());
    let one = |package: &toml::Value| {
        let field = |name: &str| Some(package.get(name)?.as_str()?.to_owned());
        Some(((field("name")?, field("version")?), field("checksum")?))
    };
    packages.into_iter().flatten().filter_map(one).collect()
}

/// What `jos-agent` reaches in cargo's graph.
fn reached(graph: &Value, checksums: &BTreeMap<(String, String), String>) -> Option<Vec<Crate>> {
    let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
    let mut packages = BTreeMap::new();
    let mut start = None;
    for package in graph["packages"].as_array()? {
        let id = text(package, "id")?;
        if package["name"] == "jos-agent" {
            start = Some(id.clone());
        }
        packages.insert(id, package);
    }
    let is_macro = |id: &str| {
        let targets = packages.get(id).and_then(|p| p["targets"].as_array());
        let mut kinds = targets
            .into_iter()
            .flatten()
            .filter_map(|t| t["kind"].as_array())
            .flatten();
        kinds.any(|kind| kind == "proc-macro")
    };
    let mut nodes = BTreeMap::new();
    for node in graph["resolve"]["nodes"].as_array()? {
        let mut used = BTreeSet::new();
        for dependency in node["deps"].as_array()? {
            let id = text(dependency, "pkg")?;
            let linked = dependency["dep_kinds"]
                .as_array()?
                .iter()
                .any(|kind| kind["kind"].is_null());
            if linked && !is_macro(&id) {
                used.insert(id);
            }
        }
        nodes.insert(text(node, "id")?, used);
    }
    let mut open = vec![start?];
    let mut seen = BTreeSet::from([open[0].clone()]);
    let mut all = Vec::new();
    let key = |id: &str| Some((text(packages.get(id)?, "name")?, text(packages.get(id)?, "version")?));
    while let Some(id) = open.pop() {
        let used = nodes.get(&id)?;
        open.extend(used.iter().filter(|id| seen.insert((*id).clone())).cloned());
        let (name, version) = key(&id)?;
        let mut uses: Vec<_> = used.iter().map(|id| key(id)).collect::<Option<_>>()?;
        uses.sort();
        all.push(Crate {
            checksum: checksums.get(&(name.clone(), version.clone())).cloned(),
            license: text(packages.get(&id)?, "license"),
            name,
            version,
            uses,
        });
    }
    all.sort();
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crates_of_this_checkout_are_found_without_macros_and_other_programs() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let of =
            |flavour| of(Command::new(env!("CARGO")), &root, "x86_64-unknown-linux-musl", flavour).expect("crates");
        let all = of(Flavour::Device);
        let find = |name: &str| all.iter().find(|c| c.name == name);
        let serde = find("serde").expect("serde");
        assert!(serde.checksum.as_ref().is_some_and(|sum| sum.len() == 64), "{serde:?}");
        assert_eq!(serde.license.as_deref(), Some("MIT OR Apache-2.0"));
        let agent = find("jos-agent").expect("jos-agent");
        assert_eq!((agent.license.as_deref(), &agent.checksum), (Some("MIT"), &None));
        assert!(agent.uses.iter().any(|(name, _)| name == "jos-runtime"));
        for absent in [
            "serde_derive",
            "syn",
            "jos-images",
            "jos-hub",
            "axum",
            "jsonschema",
            "tempfile",
            "jos-node",
            "wasmi",
        ] {
            assert!(find(absent).is_none(), "{absent}");
        }
        assert!(all.iter().all(|c| c.license.is_some()), "every licence is known");
        let more = of(Flavour::Runtime);
        let there = |name: &str| more.iter().any(|c| c.name == name);
        assert!(there("jos-node") && there("wasmi") && there("ureq"), "{more:?}");
        assert!(!there("jsonschema") && !there("wast") && !there("maud"), "{more:?}");
        assert!(more.iter().all(|c| c.license.is_some()), "every licence is known");
    }
}
