//! Whether a repository is what its keys signed: every index, every package, and nothing besides.
//!
//! Owns: the same conclusions that opkg, apk and apt would come to, all of them at once and with the file named.
//! Never: trusts the folder's own word where the caller brought keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jos_apk::Index;
use jos_apk::block::Blocks;
use jos_trust::{PublicKey, release};

use super::keys::PublicKeys;
use super::{RepoError, Repository, apk, apt, entries, file_name, files, openpgp};
use crate::formats::control::Stanza;
use crate::formats::{date, gzip, hash, inspect, xz};

/// Something that a device, or whoever publishes, should not meet.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Below the repository.
    pub file: String,
    /// What is wrong.
    pub problem: String,
}

struct Findings<'a> {
    dir: &'a Path,
    all: Vec<Finding>,
}

impl Findings<'_> {
    fn note(&mut self, path: &Path, problem: impl Into<String>) {
        let file = path.strip_prefix(self.dir).unwrap_or(path).display().to_string();
        let problem = problem.into();
        self.all.push(Finding { file, problem });
    }

    /// The bytes of a file that must be there. A list is a stranger's until its signature is known, and may name any path.
    fn read(&mut self, path: &Path) -> Option<Vec<u8>> {
        if path.components().any(|part| part == std::path::Component::ParentDir) || !path.starts_with(self.dir) {
            self.note(path, "is named by a list and lies outside the repository");
            return None;
        }
        let read = fs::read(path);
        if let Err(e) = &read {
            self.note(path, e.to_string());
        }
        read.ok()
    }

    fn text(&mut self, path: &Path) -> Option<String> {
        let text = String::from_utf8(self.read(path)?);
        if text.is_err() {
            self.note(path, "is not UTF-8, expected text");
        }
        text.ok()
    }
}

/// Checks everything in a repository by `keys`, as of `now` (seconds since 1970). Nothing found: all is well.
///
/// # Errors
/// [`RepoError::Io`] for a folder that cannot be listed.
pub fn verify(repository: &Repository, keys: &PublicKeys, now: u32) -> Result<Vec<Finding>, RepoError> {
    let dir = &repository.dir;
    let mut findings = Findings { dir, all: Vec::new() };
    for feed in entries(&dir.join("opkg"))? {
        opkg(&feed, &keys.opkg, &mut findings)?;
    }
    for folder in entries(&dir.join("apk"))? {
        apk_folder(&folder, &keys.apk, &mut findings)?;
    }
    let keyring = dir.join("keys").join(repository.settings.keyring_file());
    if let Some(bytes) = findings.read(&keyring)
        && !openpgp::is_certificate(&bytes, &keys.apt, &repository.settings.maintainer)
    {
        findings.note(&keyring, "is not the certificate of the trusted key");
    }
    if dir.join("apt/dists").exists() {
        apt_suite(repository, &keys.apt, now, &mut findings)?;
    }
    for (folder, extension) in [("macos", "pkg"), ("windows", "msi")] {
        for path in files(&dir.join(folder), extension)? {
            package(&path, &mut findings);
        }
    }
    Ok(findings.all)
}

/// Parts that do not agree, and secrets.
fn package(path: &Path, findings: &mut Findings<'_>) {
    let Some(bytes) = findings.read(path) else { return };
    match inspect(&bytes) {
        Ok(report) => {
            report.problems.iter().for_each(|problem| findings.note(path, problem));
            if let Some(why) = super::secret(&report) {
                findings.note(path, why);
            }
        }
        Err(e) => findings.note(path, e.to_string()),
    }
}

fn opkg(feed: &Path, key: &PublicKey, findings: &mut Findings<'_>) -> Result<(), RepoError> {
    let (list, signature) = (feed.join("Packages"), feed.join("Packages.sig"));
    let Some(text) = findings.text(&list) else {
        return Ok(());
    };
    if let Some(signed) = findings.text(&signature)
        && !release::verifies_file(text.as_bytes(), &signed, key)
    {
        findings.note(&signature, "is no signature of Packages by the trusted key");
    }
    let packed = feed.join("Packages.gz");
    if let Some(bytes) = findings.read(&packed)
        && gzip::decompress("Packages.gz", &bytes, text.len() as u64)
            .ok()
            .as_deref()
            != Some(text.as_bytes())
    {
        findings.note(&packed, "is not Packages, compressed");
    }
    let listed = stanzas(&list, &text, "SHA256sum", findings);
    compare(feed, &listed, files(feed, "ipk")?, findings);
    Ok(())
}

/// File, size and sum of each stanza of a list of packages.
fn stanzas(list: &Path, text: &str, sum: &str, findings: &mut Findings<'_>) -> BTreeMap<String, (String, String)> {
    let mut all = BTreeMap::new();
    for part in text.split("\n\n").filter(|part| !part.trim().is_empty()) {
        match Stanza::parse("Packages", &format!("{}\n", part.trim_matches('\n'))) {
            Ok(stanza) => {
                let field = |name: &str| stanza.get(name).unwrap_or_default().to_owned();
                all.insert(field("Filename"), (field("Size"), field(sum)));
            }
            Err(e) => findings.note(list, e.to_string()),
        }
    }
    all
}

/// Holds what a list says against what lies below `root`.
fn compare(root: &Path, listed: &BTreeMap<String, (String, String)>, there: Vec<PathBuf>, findings: &mut Findings<'_>) {
    for (name, (size, sum)) in listed {
        let path = root.join(name);
        let Some(bytes) = findings.read(&path) else { continue };
        if *size != bytes.len().to_string() || *sum != hash::sha256(&bytes) {
            findings.note(&path, "is not the file that the list names: size or SHA-256 differ");
        }
    }
    for path in there {
        let below = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if !listed.contains_key(&below) {
            findings.note(&path, "is in no list: `jos-image repo sign` lists what lies here");
        }
        package(&path, findings);
    }
}

fn apk_folder(folder: &Path, key: &jos_apk::PublicKey, findings: &mut Findings<'_>) -> Result<(), RepoError> {
    let path = folder.join(apk::INDEX);
    let Some(bytes) = findings.read(&path) else {
        return Ok(());
    };
    let index = match Index::verified(&bytes, std::slice::from_ref(key), apk::LIMITS) {
        Ok(index) => index,
        Err(e) => {
            findings.note(&path, e.to_string());
            return Ok(());
        }
    };
    let mut named = BTreeSet::new();
    for info in &index.packages {
        let path = folder.join(info.file_name());
        named.insert(path.clone());
        let Some(bytes) = findings.read(&path) else { continue };
        match Blocks::from_bytes(&bytes, apk::LIMITS) {
            Ok(blocks) => {
                if blocks.hash()[..] != info.hash || info.file_size != Some(bytes.len() as u64) {
                    findings.note(&path, "is not the package that the index names: size or hash differ");
                }
                if let Err(e) = blocks.verify(std::slice::from_ref(key)) {
                    findings.note(&path, e.to_string());
                }
            }
            Err(e) => findings.note(&path, e.to_string()),
        }
    }
    for path in files(folder, "apk")? {
        if !named.contains(&path) {
            findings.note(&path, "is in no index: `jos-image repo sign` lists what lies here");
        }
        package(&path, findings);
    }
    Ok(())
}

fn apt_suite(repository: &Repository, key: &PublicKey, now: u32, findings: &mut Findings<'_>) -> Result<(), RepoError> {
    let root = repository.dir.join("apt");
    let suite = root.join("dists").join(&repository.settings.suite);
    let at = |name: &str| suite.join(name);
    let Some(release) = findings.text(&at("Release")) else {
        return Ok(());
    };
    match findings.text(&at("InRelease")).map(|text| openpgp::open(key, &text)) {
        Some(Some(text)) if text == release => {}
        Some(Some(_)) => findings.note(&at("InRelease"), "says something else than Release"),
        Some(None) => findings.note(
            &at("InRelease"),
            "is not signed by the trusted key, or was changed since",
        ),
        None => {}
    }
    if let Some(signature) = findings.text(&at("Release.gpg"))
        && !openpgp::verify(key, release.as_bytes(), &signature)
    {
        findings.note(&at("Release.gpg"), "is no signature of Release by the trusted key");
    }
    let until = release
        .lines()
        .find_map(|line| line.strip_prefix("Valid-Until: "))
        .unwrap_or_default();
    if date::unix(until).is_none_or(|until| until < now) {
        let problem =
            format!("Valid-Until is {until:?}, which has passed or is no date; `jos-image repo sign` renews it");
        findings.note(&at("Release"), problem);
    }
    let mut listed = BTreeMap::new();
    for line in release.lines().filter(|line| line.starts_with(' ')) {
        let [sum, size, name] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            findings.note(&at("Release"), format!("a line that is no sum: {line:?}"));
            continue;
        };
        let path = suite.join(name);
        let Some(bytes) = findings.read(&path) else { continue };
        if sum != hash::sha256(&bytes) || size != bytes.len().to_string() {
            findings.note(&path, "is not the file that Release names: size or SHA-256 differ");
        }
        let by_hash = path.with_file_name("by-hash").join("SHA256").join(sum);
        if fs::read(&by_hash).ok().as_deref() != Some(&bytes[..]) {
            findings.note(&by_hash, format!("is not there, or not the same as {name}"));
        }
        let limit = 1 << 30;
        let plain = match file_name(&path).as_str() {
            "Packages.gz" => gzip::decompress(name, &bytes, limit),
            "Packages.xz" => xz::decompress(name, &bytes, limit),
            _ => Ok(bytes),
        };
        match plain.map(String::from_utf8) {
            Ok(Ok(text)) => listed.extend(stanzas(&path, &text, "SHA256", findings)),
            Ok(Err(_)) => findings.note(&path, "is not UTF-8, expected text"),
            Err(e) => findings.note(&path, e.to_string()),
        }
    }
    compare(&root, &listed, apt::packages(&root)?, findings);
    Ok(())
}
