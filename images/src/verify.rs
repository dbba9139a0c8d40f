//! Whether a folder of outputs is what its builder signed: sums, statements, lists and packages, all of them at once.
//!
//! Owns: the checks that a person could make with signify, sha256sum and a reader of in-toto, and the one they could not:
//! that manifest, bill of materials and statements speak of the same files.
//! Never: trusts the folder's own key where the caller brought one; builds anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jos_trust::{PublicKey, release};
use serde_json::Value;

use crate::formats::hash::sha256;
use crate::formats::inspect;
use crate::{manifest, provenance, sbom};

/// Something that whoever received the folder should not meet.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// In the folder.
    pub file: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What a look at a folder gave.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// What is wrong; nothing where all agrees.
    pub findings: Vec<Finding>,
    /// Whether there was a signature, and it was checked.
    pub signed: bool,
    /// `manifest.json` as it lies there.
    pub manifest: Value,
}

const SUMS: &str = "SHA256SUMS";
const SIGNATURE: &str = "SHA256SUMS.sig";
const KEY: &str = "SHA256SUMS.pub";

struct Look<'a> {
    files: BTreeMap<String, Vec<u8>>,
    findings: &'a mut Vec<Finding>,
}

impl Look<'_> {
    fn note(&mut self, file: &str, problem: impl Into<String>) {
        let (file, problem) = (file.to_owned(), problem.into());
        self.findings.push(Finding { file, problem });
    }

    fn text(&mut self, file: &str) -> Option<String> {
        let Some(bytes) = self.files.get(file) else {
            self.note(file, "is not there");
            return None;
        };
        let text = String::from_utf8(bytes.clone());
        if text.is_err() {
            self.note(file, "is not UTF-8, expected text");
        }
        text.ok()
    }

    fn json(&mut self, file: &str) -> Value {
        let Some(text) = self.text(file) else {
            return Value::Null;
        };
        serde_json::from_str(&text).unwrap_or_else(|e| {
            self.note(file, format!("is no JSON: {e}"));
            Value::Null
        })
    }

    fn sum(&self, file: &str) -> Option<String> {
        self.files.get(file).map(|bytes| sha256(bytes))
    }
}

/// Checks a folder that `jos-image build` wrote, by `trusted` or else by the key that lies in it.
///
/// # Errors
/// An I/O error for a folder that cannot be read.
pub fn verify(folder: &Path, trusted: Option<&PublicKey>) -> std::io::Result<Checked> {
    let mut checked = Checked::default();
    let mut look = Look {
        files: BTreeMap::new(),
        findings: &mut checked.findings,
    };
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() {
            look.files.insert(name, fs::read(entry.path())?);
        } else {
            look.note(&name, "is no file, and no build wrote it");
        }
    }
    let key = signature(trusted, &mut look);
    let listed = sums(&mut look);
    let manifest = look.json("manifest.json");
    if manifest["kind"] != manifest::KIND {
        look.note("manifest.json", format!("is no {}", manifest::KIND));
    }
    let outputs = outputs(&manifest, &mut look);
    bill(&outputs, &mut look);
    if let Some(key) = &key {
        statements(&manifest, &outputs, key, &mut look);
    }
    let beside = ["manifest.json", sbom::FILE, provenance::FILE, SUMS, SIGNATURE, KEY];
    let strange: Vec<String> = look.files.keys().cloned().collect();
    for name in strange {
        if !outputs.contains(&name) && !beside.contains(&name.as_str()) {
            look.note(&name, "is in no list: no build wrote it");
        } else if !listed.contains(&name) && ![SUMS, SIGNATURE, KEY].contains(&name.as_str()) {
            look.note(&name, "has no line in SHA256SUMS");
        }
    }
    checked.signed = key.is_some();
    checked.manifest = manifest;
    Ok(checked)
}

/// The key that signed, once its signature was checked; none where there is no signature to check.
fn signature(trusted: Option<&PublicKey>, look: &mut Look<'_>) -> Option<PublicKey> {
    if trusted.is_none()
        && ![SIGNATURE, KEY, provenance::FILE]
            .iter()
            .any(|f| look.files.contains_key(*f))
    {
        return None;
    }
    let key = match trusted {
        Some(key) => *key,
        None => {
            let text = look.text(KEY)?;
            let Some(key) = release::public_of(&text) else {
                look.note(KEY, "is no public key that signify or usign would read");
                return None;
            };
            key
        }
    };
    let (list, signature) = (look.text(SUMS)?, look.text(SIGNATURE)?);
    if !release::verifies_file(list.as_bytes(), &signature, &key) {
        look.note(SIGNATURE, "is no signature of SHA256SUMS by the trusted key");
    }
    Some(key)
}

fn sums(look: &mut Look<'_>) -> BTreeSet<String> {
    let mut listed = BTreeSet::new();
    for line in look.text(SUMS).unwrap_or_default().lines() {
        let Some((sum, name)) = line.split_once("  ") else {
            look.note(SUMS, format!("a line that is no sum: {line:?}"));
            continue;
        };
        match look.sum(name) {
            Some(found) if found == sum => {}
            Some(_) => look.note(name, "is not the file that SHA256SUMS names: its SHA-256 differs"),
            None => look.note(name, "is named by SHA256SUMS and is not there"),
        }
        listed.insert(name.to_owned());
    }
    listed
}

/// The names of the outputs, each held against the manifest and read whole.
fn outputs(manifest: &Value, look: &mut Look<'_>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for output in manifest["outputs"].as_array().into_iter().flatten() {
        let name = output["file"].as_str().unwrap_or_default().to_owned();
        let Some(bytes) = look.files.get(&name) else {
            look.note(&name, "is named by manifest.json and is not there");
            continue;
        };
        let same = output["sha256"] == sha256(bytes).as_str() && output["size"] == bytes.len();
        let package = [".deb", ".ipk", ".apk", ".pkg"].iter().any(|end| name.ends_with(end));
        let report = package.then(|| inspect(bytes));
        if !same {
            look.note(
                &name,
                "is not the file that manifest.json names: size or SHA-256 differ",
            );
        }
        match report {
            Some(Ok(report)) => report.problems.iter().for_each(|problem| look.note(&name, problem)),
            Some(Err(e)) => look.note(&name, e.to_string()),
            None => {}
        }
        all.insert(name);
    }
    all
}

fn bill(outputs: &BTreeSet<String>, look: &mut Look<'_>) {
    let bill = look.json(sbom::FILE);
    for name in outputs {
        let components = bill["components"].as_array().into_iter().flatten();
        let mut own = components.filter(|one| one["type"] == "file" && one["name"] == name.as_str());
        let sum = look.sum(name).unwrap_or_default();
        if !own.any(|one| one["hashes"][0]["content"] == sum.as_str()) {
            look.note(sbom::FILE, format!("does not list {name} as it is"));
        }
    }
}

fn statements(manifest: &Value, outputs: &BTreeSet<String>, key: &PublicKey, look: &mut Look<'_>) {
    let Some(text) = look.text(provenance::FILE) else {
        return;
    };
    let mut about: BTreeSet<String> = BTreeSet::new();
    for (at, line) in text.lines().enumerate() {
        let line_number = at + 1;
        let mut wrong = |problem: String| look.note(provenance::FILE, format!("line {line_number} {problem}"));
        let statement = match provenance::open(line, key) {
            Ok(statement) => statement,
            Err(why) => {
                wrong(why.to_string());
                continue;
            }
        };
        let predicate = &statement["predicate"];
        let definition = &predicate["buildDefinition"];
        let dependencies = definition["resolvedDependencies"].as_array();
        for input in manifest["inputs"].as_array().into_iter().flatten() {
            let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
            let name = format!("{}:{}", text("role"), text("name"));
            let there = dependencies.into_iter().flatten();
            let mut there = there.filter(|d| d["name"] == name.as_str() && d["digest"]["sha256"] == input["sha256"]);
            if there.next().is_none() {
                wrong(format!("does not name {name} as manifest.json does"));
            }
        }
        let subject = &statement["subject"][0];
        let name = subject["name"].as_str().unwrap_or_default();
        let byproducts = predicate["runDetails"]["byproducts"].as_array().into_iter().flatten();
        let files = byproducts.chain(std::iter::once(subject)).cloned().collect::<Vec<_>>();
        if !outputs.contains(name) || !about.insert(name.to_owned()) {
            wrong(format!(
                "is about {name:?}, which is no output, or had its statement already"
            ));
        }
        for file in &files {
            let name = file["name"].as_str().unwrap_or_default();
            let sum = look.sum(name).unwrap_or_default();
            if file["digest"]["sha256"] != sum.as_str() {
                look.note(
                    name,
                    format!(
                        "is not the file that line {line_number} of {} is about",
                        provenance::FILE
                    ),
                );
            }
        }
    }
    for name in outputs.difference(&about) {
        look.note(name, format!("has no statement in {}", provenance::FILE));
    }
}
