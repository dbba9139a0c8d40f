//! `jos trust add` and `jos trust rotate`: the next version of a trust document.

use std::path::{Path, PathBuf};

use clap::Args;
use jos_schemas::documents::trust::{Role, Trust};
use jos_schemas::node::Node;
use jos_schemas::text::{Name, Utc};
use jos_trust::KeyId;
use jos_trust::refused::role_name;
use jos_trust::sign;

use super::finish::{KeyFiles, finish, is_root, unsound};
use super::{role, role_and_file, role_and_number};
use crate::cli::desk::keys::secret;
use crate::cli::desk::pair;
use crate::cli::signing::{moment, trust_refused};
use crate::cli::trust::show::read_trust;
use crate::cli::{Done, Failure, Ui};

/// Make the next version with one more key for a role
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos trust add trust.json --role admin=ben.key.pub --key root.key      writes trust.v2.json\n  \
    jos trust add trust.json --role freshness=hub.key.pub --key root.key")]
pub(crate) struct Add {
    /// The trust document to follow
    #[arg(value_name = "TRUST")]
    trust: PathBuf,
    /// A key for a role: root, admin or freshness; may be given several times
    #[arg(long, value_name = "ROLE=FILE", value_parser = role_and_file, required = true)]
    role: Vec<(Role, PathBuf)>,
    #[command(flatten)]
    next: Next,
}

/// Make the next version with other keys: signed by the old root threshold and by the new one
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    A key was stolen; its successor takes its roles:\n  \
    jos trust rotate trust.json --replace admin-1=new.key.pub --key root.key\n\n  \
    The stolen key had signed a huge version; let devices take version 43 again:\n  \
    jos trust rotate trust.json --replace admin-1=new.key.pub --floor portal=42 --key root.key\n\n  \
    The root key itself, by its old and its new holder:\n  \
    jos trust rotate trust.json --replace root-1=root2.key --key root.key\n\n  \
    Only a later end:\n  \
    jos trust rotate trust.json --expires 2029-01-31 --key root.key\n\n\
    A floor must be at or above every version you issued in earnest. Hand all versions to devices, in order.")]
pub(crate) struct Rotate {
    /// The trust document to follow
    #[arg(value_name = "TRUST")]
    trust: PathBuf,
    /// A key that takes all roles of the key with this id, which leaves; may be given several times
    #[arg(long, value_name = "ID=FILE", value_parser = id_and_file)]
    replace: Vec<(KeyId, PathBuf)>,
    /// A further key for a role: root, admin or freshness; may be given several times
    #[arg(long, value_name = "ROLE=FILE", value_parser = role_and_file)]
    role: Vec<(Role, PathBuf)>,
    /// A key that leaves, from one role or (ID alone) from all; may be given several times
    #[arg(long, value_name = "[ROLE=]ID", value_parser = maybe_role_and_id)]
    remove: Vec<(Option<Role>, KeyId)>,
    /// Sets the version counter of the agent NAME on every device, exactly, even downwards; may be given once a name
    #[arg(long, value_name = "NAME=N", value_parser = name_and_number)]
    floor: Vec<(Name, u64)>,
    #[command(flatten)]
    next: Next,
}

/// What `add` and `rotate` share.
#[derive(Args)]
struct Next {
    /// A secret root key that signs, of the old version or the new one; may be given several times
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// How many keys of a role must sign; may be given once a role [default: as before]
    #[arg(long, value_name = "ROLE=N", value_parser = role_and_number)]
    threshold: Vec<(Role, u32)>,
    /// When it ends, as 2028-01-31 [default: as before]
    #[arg(long, value_name = "UTC", value_parser = moment)]
    expires: Option<Utc>,
    /// Where to write it; an existing file is never overwritten [default: trust.v2.json, trust.v3.json, …]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn add(args: &Add, ui: &Ui) -> Done {
    let (before, node) = read_trust(&args.trust)?;
    let mut files = KeyFiles::default();
    let mut next = sign::successor(&before);
    for (role, path) in &args.role {
        let key = files.take(path)?;
        if next.roles.get(role).is_some_and(|held| held.keys.contains(&key.id)) {
            let message = format!("{} has the role {} already", key.id, role_name(*role));
            return Err(Failure::invalid(message));
        }
        sign::grant(&mut next, *role, &key).map_err(|r| unsound(&r))?;
    }
    succeed(&args.trust, &args.next, next, (&before, &node), files, ui)
}

pub(super) fn rotate(args: &Rotate, ui: &Ui) -> Done {
    let (before, node) = read_trust(&args.trust)?;
    let mut files = KeyFiles::default();
    let mut next = sign::successor(&before);
    let absent = |id: &KeyId| {
        Failure::invalid(format!("{}: no key {id} there", args.trust.display()))
            .help(format!("`jos trust show {}` lists the keys", args.trust.display()))
    };
    for (id, path) in &args.replace {
        let key = files.take(path)?;
        let roles: Vec<Role> = before
            .roles
            .iter()
            .filter(|(_, held)| held.keys.contains(id))
            .map(|(r, _)| *r)
            .collect();
        if roles.is_empty() {
            return Err(absent(id));
        }
        if key.id == *id {
            return Err(Failure::invalid(format!(
                "{}: the new key has the id of the old one, {id}",
                path.display()
            ))
            .help("make a new key under another id: `jos key new --id ID`"));
        }
        let thresholds: Vec<(Role, u32)> = roles.iter().map(|r| (*r, before.roles[r].threshold)).collect();
        for role in &roles {
            sign::grant(&mut next, *role, &key).map_err(|r| unsound(&r))?;
        }
        sign::withdraw(&mut next, None, id);
        for (role, threshold) in thresholds {
            sign::set_threshold(&mut next, role, threshold).map_err(|r| unsound(&r))?;
        }
    }
    for (role, path) in &args.role {
        sign::grant(&mut next, *role, &files.take(path)?).map_err(|r| unsound(&r))?;
    }
    for (role, id) in &args.remove {
        if !sign::withdraw(&mut next, *role, id) {
            return Err(absent(id));
        }
    }
    next.floors = args.floor.iter().cloned().collect();
    succeed(&args.trust, &args.next, next, (&before, &node), files, ui)
}

/// The common end of `add` and `rotate`: thresholds, expiry, soundness, signatures, file.
fn succeed(
    path: &Path,
    args: &Next,
    mut next: Trust,
    (before, before_node): (&Trust, &Node),
    mut files: KeyFiles,
    ui: &Ui,
) -> Done {
    let (have, need) =
        sign::root_signatures(before_node, before).map_err(|r| trust_refused(&path.display().to_string(), &r))?;
    if have.len() < need {
        return Err(Failure::failed(format!(
            "{}: {} of {need} root keys signed it",
            path.display(),
            have.len()
        ))
        .help("finish this version first: `jos sign --key KEY FILE`"));
    }
    for (role, threshold) in &args.threshold {
        sign::set_threshold(&mut next, *role, *threshold).map_err(|r| unsound(&r))?;
    }
    if let Some(expires) = &args.expires {
        next.expires = Some(expires.clone());
    }
    sign::check(&next).map_err(|r| unsound(&r))?;
    for path in &args.key {
        let key = secret(path)?;
        if !is_root(before, key.id()) && !is_root(&next, key.id()) {
            return Err(
                Failure::invalid(format!("{}: {} has not the role root", path.display(), key.id()))
                    .help("only root keys sign trust documents"),
            );
        }
        files.add_secret(key);
    }
    let out = args.out.clone().unwrap_or_else(|| successor_path(path, next.version));
    finish(&out, &next, Some(before), &files.secrets, ui)
}

/// `trust.json`, `trust.v7.json` → `trust.v8.json`.
fn successor_path(path: &Path, version: u64) -> PathBuf {
    let stem = path
        .file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default();
    let base = match stem.rsplit_once(".v") {
        Some((base, number)) if !base.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => base.to_owned(),
        _ => stem,
    };
    path.with_file_name(format!("{base}.v{version}.json"))
}

fn id_and_file(text: &str) -> Result<(KeyId, PathBuf), String> {
    let (left, right) = pair(text, "ID=FILE")?;
    Ok((KeyId::new(left).map_err(|e| e.to_string())?, PathBuf::from(right)))
}

fn maybe_role_and_id(text: &str) -> Result<(Option<Role>, KeyId), String> {
    let (left, id) = match text.contains('=') {
        true => pair(text, "[ROLE=]ID").map(|(left, right)| (Some(left), right))?,
        false => (None, text),
    };
    Ok((left.map(role).transpose()?, KeyId::new(id).map_err(|e| e.to_string())?))
}

fn name_and_number(text: &str) -> Result<(Name, u64), String> {
    let (left, right) = pair(text, "NAME=N")?;
    let number = right.parse().ok().filter(|n| (1..=9_007_199_254_740_991).contains(n));
    let number = number.ok_or_else(|| format!("found {right:?}, expected a version from 1 to 2^53-1"))?;
    Ok((Name::new(left).map_err(|e| e.to_string())?, number))
}
