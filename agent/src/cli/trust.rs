//! `jos trust`: makes, extends, rotates and shows trust documents.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jos_schemas::documents::trust::{Role, Trust};
use jos_schemas::node::Node;
use jos_schemas::read;
use jos_schemas::text::{Name, Utc};
use jos_trust::keyfile::{self, NamedKey};
use jos_trust::refused::role_name;
use jos_trust::sign::{self, Grant, NewTrust};
use jos_trust::{KeyId, SecretKey, TrustRefused};
use serde_json::{Value, json};

use super::signing::{Doc, Put, cannot_sign, moment, now, pair, public, role, secret, trust_refused, write};
use super::{Done, Failure, Ui};

/// Make, extend, rotate and show trust documents: which keys may do what
///
/// A trust document lists public keys and gives them roles: `root` signs trust documents, `admin` signs desired states,
/// `freshness` is the hub's own key for saying what is newest. A device starts with the one in its package and then
/// walks from version to version, each signed by the root keys of the one before and by its own: keep every version.
#[derive(Args)]
pub(super) struct TrustCommand {
    #[command(subcommand)]
    command: TrustVerb,
}

#[derive(Subcommand)]
enum TrustVerb {
    Init(Init),
    Add(Add),
    Rotate(Rotate),
    Show(Show),
}

/// Make the first version of a trust document
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos key new --out admin.key\n  \
    jos trust init --key admin.key --tenant acme --out trust.json\n\n  \
    Two people who must both sign a change of keys, and either of whom may sign states:\n  \
    jos trust init --key ana.key --key ben.key.pub --threshold root=2\n  \
    jos sign --key ben.key trust.json                    on Ben's machine\n\n  \
    Roles apart, and the hub's own key for freshness:\n  \
    jos trust init --role root=safe.key --role admin=ana.key.pub --role freshness=hub.key.pub")]
struct Init {
    /// A key that gets the roles root and admin; FILE is a secret key (which then signs) or a .pub
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// A key for one role: root, admin or freshness
    #[arg(long, value_name = "ROLE=FILE", value_parser = role_and_file)]
    role: Vec<(Role, PathBuf)>,
    /// How many keys of a role must sign [default: 1]
    #[arg(long, value_name = "ROLE=N", value_parser = role_and_number)]
    threshold: Vec<(Role, u32)>,
    /// The tenant whose devices take it
    #[arg(long, value_name = "NAME")]
    tenant: Option<Name>,
    /// When it ends, as 2028-01-31; from then on devices adopt nothing new under it [default: never]
    #[arg(long, value_name = "UTC", value_parser = moment)]
    expires: Option<Utc>,
    /// Where to write it; an existing file is never overwritten
    #[arg(long, value_name = "FILE", default_value = "trust.json")]
    out: PathBuf,
}

/// Make the next version with one more key for a role
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos trust add trust.json --role admin=ben.key.pub --key root.key      writes trust.v2.json\n  \
    jos trust add trust.json --role freshness=hub.key.pub --key root.key")]
struct Add {
    /// The trust document to follow
    #[arg(value_name = "TRUST")]
    trust: PathBuf,
    /// A key for a role: root, admin or freshness
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
struct Rotate {
    /// The trust document to follow
    #[arg(value_name = "TRUST")]
    trust: PathBuf,
    /// A key that takes all roles of the key with this id, which leaves
    #[arg(long, value_name = "ID=FILE", value_parser = id_and_file)]
    replace: Vec<(KeyId, PathBuf)>,
    /// A further key for a role
    #[arg(long, value_name = "ROLE=FILE", value_parser = role_and_file)]
    role: Vec<(Role, PathBuf)>,
    /// A key that leaves, from one role or (ID alone) from all
    #[arg(long, value_name = "[ROLE=]ID", value_parser = maybe_role_and_id)]
    remove: Vec<(Option<Role>, KeyId)>,
    /// Sets the version counter of an agent's name on every device, exactly, even downwards
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
    /// How many keys of a role must sign
    #[arg(long, value_name = "ROLE=N", value_parser = role_and_number)]
    threshold: Vec<(Role, u32)>,
    /// When it ends, as 2028-01-31 [default: as before]
    #[arg(long, value_name = "UTC", value_parser = moment)]
    expires: Option<Utc>,
    /// Where to write it; an existing file is never overwritten [default: trust.v2.json, trust.v3.json, …]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Show keys, roles, thresholds, expiry and signatures; several files are checked as a chain
#[derive(Args)]
#[command(
    after_help = "Examples:\n  jos trust show trust.json\n  jos trust show trust.json trust.v2.json trust.v3.json"
)]
struct Show {
    /// Trust documents, oldest first
    #[arg(value_name = "TRUST", required = true)]
    trust: Vec<PathBuf>,
}

pub(super) fn run(command: &TrustCommand, ui: &Ui) -> Done {
    match &command.command {
        TrustVerb::Init(args) => init(args, ui),
        TrustVerb::Add(args) => add(args, ui),
        TrustVerb::Rotate(args) => rotate(args, ui),
        TrustVerb::Show(args) => show(args, ui),
    }
}

fn init(args: &Init, ui: &Ui) -> Done {
    let mut files = KeyFiles::default();
    let mut grants = Vec::new();
    for path in &args.key {
        grants.push(Grant {
            key: files.take(path)?,
            roles: vec![Role::Root, Role::Admin],
        });
    }
    for (role, path) in &args.role {
        grants.push(Grant {
            key: files.take(path)?,
            roles: vec![*role],
        });
    }
    for role in [Role::Root, Role::Admin] {
        if !grants.iter().any(|g| g.roles.contains(&role)) {
            let message = format!("no key gets the role {}", role_name(role));
            return Err(
                Failure::invalid(message).help("give --key FILE (root and admin), or --role ROLE=FILE for each")
            );
        }
    }
    let new = NewTrust {
        tenant: args.tenant.clone(),
        expires: args.expires.clone(),
        grants,
        thresholds: args.threshold.iter().copied().collect(),
    };
    let trust = sign::new_trust(&new).map_err(|r| unsound(&r))?;
    finish(&args.out, &trust, None, &files.secrets, ui)
}

fn add(args: &Add, ui: &Ui) -> Done {
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

fn rotate(args: &Rotate, ui: &Ui) -> Done {
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
        let is_root = |trust: &Trust| {
            trust
                .roles
                .get(&Role::Root)
                .is_some_and(|held| held.keys.contains(key.id()))
        };
        if !is_root(before) && !is_root(&next) {
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

/// Signs with every key at hand that is a root of the old or the new version, writes, and says what is missing.
fn finish(out: &Path, trust: &Trust, before: Option<&Trust>, secrets: &[SecretKey], ui: &Ui) -> Done {
    let name = out.display().to_string();
    let mut node = sign::to_node(trust);
    for key in secrets {
        let root_of = |trust: &Trust| {
            trust
                .roles
                .get(&Role::Root)
                .is_some_and(|held| held.keys.contains(key.id()))
        };
        if root_of(trust) || before.is_some_and(root_of) {
            let kind = jos_schemas::documents::trust::KIND;
            node = sign::sign_document(&name, "", &node, kind, key).map_err(|e| cannot_sign(&name, &e))?;
        }
    }
    let missing = missing(&node, trust, before).map_err(|r| unsound(&r))?;
    let mut notes = Vec::new();
    match &trust.expires {
        None => notes.push("it never expires: set an end with --expires, and rotate before it".to_owned()),
        Some(expires) if *expires <= now() => notes.push(format!("it expired at {expires}: no device adopts it")),
        Some(_) => {}
    }
    write(out, sign::to_json_text(&node).as_bytes(), Put::New)?;
    let mut value = described(trust, &node);
    value["file"] = json!(out);
    value["missing_signatures"] = json!(missing);
    value["notes"] = json!(notes);
    let mut text = format!("wrote    {name}\n{}", people(trust, &node));
    for line in &missing {
        text.push_str(&format!("missing  {line}\n"));
    }
    for note in &notes {
        text.push_str(&format!("note     {note}\n"));
    }
    if !missing.is_empty() {
        text.push_str(&format!(
            "\nnext: each missing holder runs: jos sign --key KEY {name}\n"
        ));
    }
    ui.result(&value, text);
    Ok(0)
}

fn missing(node: &Node, trust: &Trust, before: Option<&Trust>) -> Result<Vec<String>, TrustRefused> {
    let mut missing = Vec::new();
    let whose = [(Some(trust), "its own"), (before, "the old")];
    for (roots, whose) in whose.into_iter().filter_map(|(roots, whose)| Some((roots?, whose))) {
        let (have, need) = sign::root_signatures(node, roots)?;
        if have.len() < need {
            let held = roots
                .roles
                .get(&Role::Root)
                .map(|held| held.keys.as_slice())
                .unwrap_or_default();
            let others: Vec<&str> = held.iter().filter(|id| !have.contains(id)).map(KeyId::as_str).collect();
            let count = need - have.len();
            missing.push(format!("{count} of {whose} root keys: {}", others.join(", ")));
        }
    }
    Ok(missing)
}

fn show(args: &Show, ui: &Ui) -> Done {
    let mut values = Vec::new();
    let mut text = String::new();
    let mut before: Option<(Trust, Node)> = None;
    let mut last = None;
    for path in &args.trust {
        let (trust, node) = read_trust(path)?;
        let mut value = described(&trust, &node);
        let name = path.display().to_string();
        text.push_str(&format!("file     {name}\n{}", people(&trust, &node)));
        let missing = missing(&node, &trust, before.as_ref().map(|b| &b.0)).map_err(|r| trust_refused(&name, &r))?;
        for line in &missing {
            text.push_str(&format!("missing  {line}\n"));
        }
        if let Some((previous, _)) = &before
            && trust.version != previous.version + 1
        {
            let refused = TrustRefused::Gap {
                found: trust.version,
                expected: previous.version + 1,
            };
            return Err(trust_refused(&name, &refused));
        }
        text.push('\n');
        value["file"] = json!(path);
        value["missing_signatures"] = json!(missing);
        values.push(value);
        last = trust.expires.clone();
        before = Some((trust, node));
    }
    if let Some(expires) = last.filter(|expires| *expires <= now()) {
        text.push_str(&format!(
            "note     the newest version expired at {expires}: devices adopt nothing new under it\n"
        ));
    }
    if let [one] = values.as_slice() {
        ui.result(one, text.trim_end());
    } else {
        ui.result(&values, text.trim_end());
    }
    Ok(0)
}

fn described(trust: &Trust, node: &Node) -> Value {
    let signed: Vec<&str> = sign::signatures_of(node)
        .iter()
        .filter_map(|s| s.get("key_id")?.as_str())
        .collect();
    json!({
        "kind": trust.kind, "version": trust.version, "tenant": trust.tenant, "expires": trust.expires,
        "keys": trust.keys, "roles": trust.roles, "floors": trust.floors, "signed_by": signed,
    })
}

fn people(trust: &Trust, node: &Node) -> String {
    let mut text = format!("version  {}\n", trust.version);
    text.push_str(&format!(
        "tenant   {}\n",
        trust.tenant.as_ref().map_or("any", Name::as_str)
    ));
    text.push_str(&format!(
        "expires  {}\n",
        trust.expires.as_ref().map_or("never", Utc::as_str)
    ));
    for (role, held) in &trust.roles {
        let ids: Vec<&str> = held.keys.iter().map(KeyId::as_str).collect();
        let (need, of) = (held.threshold, ids.len());
        text.push_str(&format!(
            "role     {:<10} {need} of {of}: {}\n",
            role_name(*role),
            ids.join(", ")
        ));
    }
    for (id, key) in &trust.keys {
        let comment = key.comment.as_ref().map_or(String::new(), |c| format!("  {c}"));
        let dev = if key.dev {
            "  DEV KEY: never for a device that leaves the desk"
        } else {
            ""
        };
        text.push_str(&format!("key      {id}  {}{comment}{dev}\n", key.public));
    }
    for (name, floor) in &trust.floors {
        text.push_str(&format!("floor    {name} is set to version {floor} on adoption\n"));
    }
    let (have, need) = sign::root_signatures(node, trust).unwrap_or((Vec::new(), 0));
    let ids: Vec<&str> = have.iter().map(KeyId::as_str).collect();
    text.push_str(&format!(
        "signed   {} of {need} needed root keys: {}\n",
        have.len(),
        ids.join(", ")
    ));
    text
}

/// A trust document that is valid in itself; its signatures may still be missing.
fn read_trust(path: &Path) -> Result<(Trust, Node), Failure> {
    let doc = Doc::read(path)?;
    let node = doc.parse()?;
    let kind = jos_schemas::documents::trust::KIND;
    if node.get("kind").and_then(Node::as_str) != Some(kind) {
        return Err(
            Failure::invalid(format!("{}: expected a trust document (kind {kind:?})", doc.name))
                .help("`jos trust init` makes one"),
        );
    }
    let trust: Trust =
        read::from_node(&doc.name, doc.text(), &node).map_err(|report| Failure::invalid(&report).details(report))?;
    sign::check(&trust).map_err(|r| trust_refused(&doc.name, &r))?;
    Ok((trust, node))
}

/// Key files named on the command line: their public halves, and the secrets that can sign.
#[derive(Default)]
struct KeyFiles {
    secrets: Vec<SecretKey>,
}

impl KeyFiles {
    fn take(&mut self, path: &Path) -> Result<NamedKey, Failure> {
        if !keyfile::holds_secret(path) {
            return public(path);
        }
        let key = secret(path)?;
        let named = NamedKey::from(&key);
        self.add_secret(key);
        Ok(named)
    }

    fn add_secret(&mut self, key: SecretKey) {
        if !self
            .secrets
            .iter()
            .any(|k| k.id() == key.id() && k.public() == key.public())
        {
            self.secrets.push(key);
        }
    }
}

/// What was asked for makes no sound trust document: bad use.
fn unsound(refused: &TrustRefused) -> Failure {
    let failure = Failure::invalid(refused);
    match refused.help() {
        Some(help) => failure.help(help),
        None => failure,
    }
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

fn role_and_file(text: &str) -> Result<(Role, PathBuf), String> {
    let (left, right) = pair(text, "ROLE=FILE")?;
    Ok((role(left)?, PathBuf::from(right)))
}

fn role_and_number(text: &str) -> Result<(Role, u32), String> {
    let (left, right) = pair(text, "ROLE=N")?;
    Ok((
        role(left)?,
        right
            .parse()
            .map_err(|_| format!("found {right:?}, expected a number from 1"))?,
    ))
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
