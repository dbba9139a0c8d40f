//! The end of every command that makes a version: keys at hand sign, the file is written, what is missing is said.

use std::path::Path;

use jos_schemas::documents::trust::{KIND, Role, Trust};
use jos_trust::keyfile::{self, NamedKey};
use jos_trust::sign;
use jos_trust::{KeyId, SecretKey, TrustRefused};
use serde_json::json;

use crate::cli::desk::keys::{cannot_sign, public, secret};
use crate::cli::desk::put::{Put, write};
use crate::cli::signing::{helped, now};
use crate::cli::trust::show::{described, missing, people};
use crate::cli::{Done, Failure, Ui};

/// Signs with every key at hand that is a root of the old or the new version, writes, and says what is missing.
pub(super) fn finish(out: &Path, trust: &Trust, before: Option<&Trust>, secrets: &[SecretKey], ui: &Ui) -> Done {
    let name = out.display().to_string();
    let mut node = sign::to_node(trust);
    for key in secrets {
        if is_root(trust, key.id()) || before.is_some_and(|before| is_root(before, key.id())) {
            node = sign::sign_document(&name, "", &node, KIND, key).map_err(|e| cannot_sign(&name, &e))?;
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

/// Whether this key has the role root there.
pub(super) fn is_root(trust: &Trust, key: &KeyId) -> bool {
    let root = trust.roles.get(&Role::Root);
    root.is_some_and(|held| held.keys.contains(key))
}

/// Key files named on the command line: their public halves, and the secrets that can sign.
#[derive(Default)]
pub(super) struct KeyFiles {
    pub(super) secrets: Vec<SecretKey>,
}

impl KeyFiles {
    pub(super) fn take(&mut self, path: &Path) -> Result<NamedKey, Failure> {
        if !keyfile::holds_secret(path) {
            return public(path);
        }
        let key = secret(path)?;
        let named = NamedKey::from(&key);
        self.add_secret(key);
        Ok(named)
    }

    pub(super) fn add_secret(&mut self, key: SecretKey) {
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
pub(super) fn unsound(refused: &TrustRefused) -> Failure {
    helped(Failure::invalid(refused), refused.help())
}
