//! `jos trust show`: what a trust document says, for people and scripts; several are checked as a chain.

use std::path::{Path, PathBuf};

use clap::Args;
use jos_schemas::documents::trust::{KIND, Role, Trust};
use jos_schemas::node::Node;
use jos_schemas::read;
use jos_schemas::text::{Name, Utc};
use jos_trust::refused::role_name;
use jos_trust::{KeyId, TrustRefused, sign};
use serde_json::{Value, json};

use crate::cli::signing::{Doc, now, trust_refused};
use crate::cli::{Done, Failure, Ui};

/// Show keys, roles, thresholds, expiry and signatures; several files are checked as a chain
#[derive(Args)]
#[command(
    after_help = "Examples:\n  jos trust show trust.json\n  jos trust show trust.json trust.v2.json trust.v3.json"
)]
pub(in crate::cli) struct Show {
    /// Trust documents, oldest first
    #[arg(value_name = "TRUST", required = true)]
    trust: Vec<PathBuf>,
}

pub(in crate::cli) fn show(args: &Show, ui: &Ui) -> Done {
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

/// For scripts.
pub(in crate::cli) fn described(trust: &Trust, node: &Node) -> Value {
    let signed: Vec<&str> = sign::signatures_of(node)
        .iter()
        .filter_map(|s| s.get("key_id")?.as_str())
        .collect();
    json!({
        "kind": trust.kind, "version": trust.version, "tenant": trust.tenant, "expires": trust.expires,
        "keys": trust.keys, "roles": trust.roles, "floors": trust.floors, "signed_by": signed,
    })
}

/// For people.
pub(in crate::cli) fn people(trust: &Trust, node: &Node) -> String {
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
pub(in crate::cli) fn read_trust(path: &Path) -> Result<(Trust, Node), Failure> {
    let doc = Doc::read(path)?;
    let node = doc.parse()?;
    if node.get("kind").and_then(Node::as_str) != Some(KIND) {
        return Err(
            Failure::invalid(format!("{}: expected a trust document (kind {KIND:?})", doc.name))
                .help("`jos trust init` makes one"),
        );
    }
    let trust: Trust =
        read::from_node(&doc.name, doc.text(), &node).map_err(|report| Failure::invalid(&report).details(report))?;
    sign::check(&trust).map_err(|r| trust_refused(&doc.name, &r))?;
    Ok((trust, node))
}

/// Which root signatures a version still lacks, its own roots' and those of the one before.
pub(in crate::cli) fn missing(node: &Node, trust: &Trust, before: Option<&Trust>) -> Result<Vec<String>, TrustRefused> {
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
