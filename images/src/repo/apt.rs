//! An APT repository: pool, `dists/SUITE`, `by-hash`, and the keyring package that brings key and address to a machine.
//!
//! Owns: what Debian's wiki calls the repository format, as far as apt asks for it: `Release` with SHA-256 of every index,
//! `InRelease` and `Release.gpg`, `Acquire-By-Hash`, `Valid-Until`. The index before this one stays under `by-hash`, for a
//! client that has read the older `InRelease`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{Keys, Offer, RepoError, Settings, entries, file_name, files, keyring, openpgp, put};
use crate::formats::{date, gzip, hash, inspect, xz};

const COMPONENT: &str = "main";
const DAY: u32 = 86_400;
/// How many indexes of each kind stay under `by-hash`.
const KEPT: usize = 3;

/// Where a package lies: `pool/main/n/name/`, `liba/` for names that begin with `lib` (Debian's own way).
pub(super) fn pool(name: &str, version: &str, architecture: &str) -> PathBuf {
    let letter = if name.starts_with("lib") && name.len() > 3 {
        &name[..4]
    } else {
        &name[..1]
    };
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    PathBuf::from(format!(
        "apt/pool/{COMPONENT}/{letter}/{name}/{name}_{version}_{architecture}.deb"
    ))
}

pub(super) fn write(dir: &Path, settings: &Settings, keys: &Keys, now: u32) -> Result<Offer, RepoError> {
    if entries(&dir.join("pool"))?.is_empty() {
        return Ok(Offer::default());
    }
    let keyring = keyring::package(settings, keys)?;
    let path = pool(&keyring.control.package, &keyring.control.version, "all");
    put(
        &dir.join(path.strip_prefix("apt").unwrap_or(&path)),
        &keyring.to_bytes()?,
    )?;
    let mut offer = Offer::default();
    let mut stanzas: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in packages(dir)? {
        let bytes = fs::read(&path).map_err(RepoError::io(&path))?;
        let mut stanza = inspect(&bytes)?.control;
        let below = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
        for (field, value) in [
            ("Filename", below),
            ("Size", bytes.len().to_string()),
            ("SHA256", hash::sha256(&bytes)),
        ] {
            stanza.insert_before("Description", field, &value)?;
        }
        let architecture = stanza.get("Architecture").unwrap_or_default().to_owned();
        let name = stanza.get("Package").unwrap_or_default();
        if name != keyring.control.package {
            offer.note(&architecture, name);
        }
        stanzas.entry(architecture).or_default().push(format!("{stanza}\n"));
    }
    // A machine asks for its own architecture and for `all`; apt takes the latter out of either list.
    let all = stanzas.remove("all").unwrap_or_default();
    if stanzas.is_empty() {
        stanzas.insert("all".to_owned(), Vec::new());
    }
    let suite = dir.join("dists").join(&settings.suite);
    let mut listed = BTreeMap::new();
    for (architecture, mut own) in stanzas.clone() {
        own.extend(all.iter().cloned());
        let text = own.concat();
        let folder = format!("{COMPONENT}/binary-{architecture}");
        for (name, bytes) in [
            ("Packages", text.clone().into_bytes()),
            ("Packages.gz", gzip::compress("Packages.gz", text.as_bytes())?),
            ("Packages.xz", xz::compress("Packages.xz", text.as_bytes())?),
        ] {
            put_by_hash(&suite.join(&folder), &bytes, name)?;
            listed.insert(format!("{folder}/{name}"), (hash::sha256(&bytes), bytes.len()));
        }
    }
    let architectures: Vec<_> = stanzas.into_keys().collect();
    let release = release(settings, &architectures, &listed, now);
    put(&suite.join("Release"), release.as_bytes())?;
    put(
        &suite.join("Release.gpg"),
        openpgp::detached(&keys.all_apt(), release.as_bytes(), now)?.as_bytes(),
    )?;
    put(
        &suite.join("InRelease"),
        openpgp::cleartext(&keys.all_apt(), &release, now)?.as_bytes(),
    )?;
    put(
        &dir.join(format!("{}.sources", settings.name)),
        sources(settings).as_bytes(),
    )?;
    Ok(offer)
}

pub(super) fn packages(dir: &Path) -> Result<Vec<PathBuf>, RepoError> {
    let mut all = Vec::new();
    for letter in entries(&dir.join("pool").join(COMPONENT))? {
        for name in entries(&letter)? {
            all.extend(files(&name, "deb")?);
        }
    }
    Ok(all)
}

/// Puts an index where `Release` names it and under its hash, and forgets the oldest under theirs.
fn put_by_hash(folder: &Path, bytes: &[u8], name: &str) -> Result<(), RepoError> {
    let by_hash = folder.join("by-hash/SHA256");
    let before = fs::read(folder.join(name)).ok().map(|old| hash::sha256(&old));
    let own = hash::sha256(bytes);
    put(&by_hash.join(&own), bytes)?;
    put(&folder.join(name), bytes)?;
    if before.is_some_and(|before| before != own) {
        let now =
            ["Packages", "Packages.gz", "Packages.xz"].map(|name| fs::read(folder.join(name)).unwrap_or_default());
        let now: BTreeSet<_> = now.iter().map(|bytes| hash::sha256(bytes)).collect();
        let mut old: Vec<_> = entries(&by_hash)?
            .into_iter()
            .filter(|path| !now.contains(&file_name(path)))
            .collect();
        let age = |path: &PathBuf| fs::metadata(path).and_then(|meta| meta.modified()).ok();
        old.sort_by_key(|path| std::cmp::Reverse(age(path)));
        for path in old.iter().skip(KEPT * 3) {
            fs::remove_file(path).map_err(RepoError::io(path))?;
        }
    }
    Ok(())
}

fn release(
    settings: &Settings,
    architectures: &[String],
    listed: &BTreeMap<String, (String, usize)>,
    now: u32,
) -> String {
    let until = now.saturating_add(settings.valid_days.saturating_mul(DAY));
    let mut text = String::new();
    for (field, value) in [
        ("Origin", settings.title.clone()),
        ("Label", settings.title.clone()),
        ("Suite", settings.suite.clone()),
        ("Codename", settings.suite.clone()),
        ("Date", date::rfc_5322(now, "UTC")),
        ("Valid-Until", date::rfc_5322(until, "UTC")),
        ("Acquire-By-Hash", "yes".to_owned()),
        ("Architectures", architectures.join(" ")),
        ("Components", COMPONENT.to_owned()),
        ("Description", format!("Packages of {}", settings.title)),
        ("SHA256", String::new()),
    ] {
        text.push_str(format!("{field}: {value}").trim_end());
        text.push('\n');
    }
    for (path, (sum, size)) in listed {
        text.push_str(&format!(" {sum} {size} {path}\n"));
    }
    text
}

/// The deb822 source (sources.list(5)).
pub(super) fn sources(settings: &Settings) -> String {
    format!(
        "Types: deb\nURIs: {}/apt\nSuites: {}\nComponents: {COMPONENT}\nSigned-By: /usr/share/keyrings/{}\n",
        settings.url,
        settings.suite,
        settings.keyring_file()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_lie_where_debians_own_do() {
        let place = |name| pool(name, "1:2.0-1", "amd64").display().to_string();
        assert_eq!(place("portal"), "apt/pool/main/p/portal/portal_2.0-1_amd64.deb");
        assert_eq!(place("libjos"), "apt/pool/main/libj/libjos/libjos_2.0-1_amd64.deb");
    }
}
