//! The signed baseline and the first trust root.
//!
//! Owns: reading a baseline as `jos agent` would, signing it where it is not signed yet, and verifying the very bytes that
//! will be baked against the very trust root that will be baked. What a device would refuse never gets into a package.

use std::collections::{BTreeMap, BTreeSet};

use jos_schemas::documents::desired_state::{self, DesiredState};
use jos_schemas::documents::trust::{self, Role};
use jos_schemas::node::Node;
use jos_schemas::read::{Format, from_node, parse};
use jos_schemas::report::{Issue, Report};
use jos_schemas::text::PLACEHOLDER;
use jos_trust::keyfile::NamedKey;
use jos_trust::root::Received;
use jos_trust::sign::{Grant, NewTrust, new_trust, sign_document, to_json_text, to_node, without_signatures};
use jos_trust::state::authenticate;
use jos_trust::{SecretKey, TrustRoot};

use super::appliance::{Baseline, Input};
use super::secrets;
use crate::formats::hash::sha256;
use crate::profile::files::shown;
use crate::profile::{Problems, Resolved, paths};
use crate::targets::System;

/// With what a build signs.
#[derive(Debug, Default)]
pub struct Signing {
    /// `--key`, or the throwaway key of `--dev-key`.
    pub key: Option<SecretKey>,
    /// `--trust FILE`: its name and bytes.
    pub trust: Option<(String, Vec<u8>)>,
    /// In place of a key: what an earlier build of the same profile signed, so that anybody can build it again.
    pub published: Option<Published>,
}

/// What an earlier build signed.
#[derive(Debug, Default)]
pub struct Published {
    /// Its baselines as its packages carry them.
    pub baselines: BTreeMap<System, Vec<u8>>,
    /// Whether a throwaway key signed them.
    pub dev: bool,
    /// SHA-256 of the file that the trust root was read from. The root itself is in the packages, the file's own bytes are not.
    pub trust_file: String,
    /// Size and SHA-256 of its update bundles, by file name.
    pub bundles: BTreeMap<String, (u64, String)>,
}

impl Signing {
    /// The key is a throwaway: the trust root is made of it alone.
    #[must_use]
    pub fn is_dev(&self) -> bool {
        self.key.as_ref().is_some_and(SecretKey::is_dev) || self.published.as_ref().is_some_and(|p| p.dev)
    }
}

/// What signing gave.
pub struct Signed {
    /// The trust root as JSON.
    pub trust: Vec<u8>,
    /// Signed baselines.
    pub baselines: BTreeMap<System, Baseline>,
    /// By a throwaway key.
    pub dev: bool,
}

impl Signed {
    /// Tools carry neither trust root nor baseline.
    pub(super) fn of_tools(signing: &Signing) -> Self {
        Self {
            trust: Vec::new(),
            baselines: BTreeMap::new(),
            dev: signing.is_dev(),
        }
    }
}

/// Trust root and baselines for every system; `None` where something is wrong, which was then reported.
pub fn all(
    resolved: &Resolved,
    systems: &BTreeSet<System>,
    signing: &Signing,
    inputs: &mut Vec<Input>,
    problems: &mut Problems<'_>,
) -> Option<Signed> {
    let drafts: Vec<_> = systems
        .iter()
        .filter_map(|s| draft(resolved, *s, signing, inputs, problems).map(|d| (*s, d)))
        .collect();
    if drafts.len() != systems.len() {
        return None;
    }
    let root = trust_root(resolved, signing, inputs, problems)?;
    let mut baselines = BTreeMap::new();
    for (system, draft) in drafts {
        let bytes = to_json_text(&draft.node).into_bytes();
        match authenticate(Received::json(&draft.shown, &bytes), &root) {
            Ok(sound) => {
                baselines.insert(
                    system,
                    Baseline {
                        bytes,
                        state: sound.value().clone(),
                    },
                );
            }
            Err(refused) => {
                let message = format!("a device would refuse {}: {refused}", draft.shown);
                let help = refused
                    .help()
                    .unwrap_or("sign it with a key that the trust root gives the role admin");
                problems.at(&resolved.node, &draft.pointer, message, help);
            }
        }
    }
    (baselines.len() == systems.len()).then(|| Signed {
        trust: root.to_bytes(),
        baselines,
        dev: signing.is_dev(),
    })
}

struct Draft {
    node: Node,
    shown: String,
    pointer: String,
}

fn draft(
    resolved: &Resolved,
    system: System,
    signing: &Signing,
    inputs: &mut Vec<Input>,
    problems: &mut Problems<'_>,
) -> Option<Draft> {
    let state = resolved.profile.state.clone().unwrap_or_default();
    let pointer = match state.by_system.get(system.name()) {
        Some(_) => format!("/state/by_system/{}", system.name()),
        None => "/state/baseline".to_owned(),
    };
    let (path, bytes) = paths::read(&resolved.files, &resolved.node, &pointer, problems)?;
    let shown = shown(&path);
    let name = resolved
        .node
        .pointer(&pointer)
        .and_then(Node::as_str)
        .unwrap_or_default()
        .to_owned();
    inputs.push(Input {
        role: "baseline",
        name,
        sha256: sha256(&bytes),
    });
    let text = String::from_utf8_lossy(&bytes);
    let read = parse(&shown, &bytes, Format::of_path(&path))
        .and_then(|node| from_node::<DesiredState>(&shown, &text, &node).map(|value| (node, value)));
    let (node, value) = match read {
        Ok(read) => read,
        Err(report) => {
            problems.foreign(report);
            return None;
        }
    };
    let mut issues = Vec::new();
    let mut issue = |pointer: &str, message: String, help: String| {
        let span = node.pointer(pointer).map_or(0..0, |n| n.span.clone());
        let issue = Issue {
            pointer: pointer.to_owned(),
            ..Issue::new(message)
        };
        issues.push(issue.help(help).at(&text, &span));
    };
    let package = resolved.profile.package.as_ref().and_then(|p| p.name.as_ref());
    if let Some(name) = package.filter(|n| **n != value.meta.name) {
        let message = format!("found {:?}, expected {:?}", value.meta.name.as_str(), name.as_str());
        issue(
            "/meta/name",
            message,
            "a state is for the agent of its name, and the package's name is the agent's".into(),
        );
    }
    for pointer in value.placeholders() {
        let help = "a placeholder of an example: write the real text there";
        issue(&pointer, format!("found {PLACEHOLDER:?}"), help.into());
    }
    for (pointer, what) in secrets::in_state(&value) {
        issue(&pointer, format!("found {what}"), secrets::HELP.into());
    }
    if !issues.is_empty() {
        problems.foreign(Report {
            file: shown,
            issues,
            more: false,
        });
        return None;
    }
    let is_signed = value.signature.is_some() || !value.signatures.is_empty();
    let node = match &signing.key {
        None if signing.published.is_some() => {
            let earlier = signing.published.as_ref().and_then(|p| p.baselines.get(&system));
            let earlier = earlier.and_then(|bytes| parse("baseline.json", bytes, Format::Json).ok());
            let same =
                |other: &Node| to_json_text(&without_signatures(other)) == to_json_text(&without_signatures(&node));
            let Some(earlier) = earlier.filter(same) else {
                let message = format!("{shown} is not the baseline that was signed and packaged");
                let help = "build from the sources of that release: the same profile, and all that it names";
                problems.at(&resolved.node, &pointer, message, help);
                return None;
            };
            earlier
        }
        // A throwaway trust root knows the throwaway key alone.
        Some(key) if key.is_dev() => signed(
            &shown,
            &text,
            &without_signatures(&node),
            key,
            &pointer,
            resolved,
            problems,
        )?,
        Some(key) if !is_signed => signed(&shown, &text, &node, key, &pointer, resolved, problems)?,
        None if !is_signed => {
            let message = format!("{shown} is not signed, and no key was given");
            let help = "sign it with --key FILE (or --dev-key on the desk), or beforehand with `jos sign --key FILE`";
            problems.at(&resolved.node, &pointer, message, help);
            return None;
        }
        _ => node,
    };
    Some(Draft { node, shown, pointer })
}

fn signed(
    shown: &str,
    text: &str,
    node: &Node,
    key: &SecretKey,
    pointer: &str,
    resolved: &Resolved,
    problems: &mut Problems<'_>,
) -> Option<Node> {
    match sign_document(shown, text, node, desired_state::KIND, key) {
        Ok(node) => Some(node),
        Err(jos_trust::sign::CannotSign::Invalid(report)) => {
            problems.foreign(report);
            None
        }
        Err(why) => {
            let help = why.help().unwrap_or("correct it, then build again");
            problems.at(
                &resolved.node,
                pointer,
                format!("{shown} cannot be signed: {why}"),
                help,
            );
            None
        }
    }
}

fn trust_root(
    resolved: &Resolved,
    signing: &Signing,
    inputs: &mut Vec<Input>,
    problems: &mut Problems<'_>,
) -> Option<TrustRoot> {
    const INIT: &str =
        "make one with `jos trust init`, then name it under [trust] file = \"trust.json\" or with --trust FILE";
    let (name, bytes, pointer) = match (&signing.key, &signing.trust) {
        (Some(key), _) if key.is_dev() => (
            "throwaway trust root".to_owned(),
            throwaway(key, problems, resolved)?,
            "/trust",
        ),
        (_, Some((name, bytes))) => (name.clone(), bytes.clone(), "/trust"),
        _ => {
            let pointer = "/trust/file";
            if resolved.node.pointer(pointer).is_none() {
                let message = "no trust root: devices would not know whose states to take";
                problems.at(&resolved.node, pointer, message, INIT);
                return None;
            }
            let (path, bytes) = paths::read(&resolved.files, &resolved.node, pointer, problems)?;
            (shown(&path), bytes, pointer)
        }
    };
    let short = name.rsplit('/').next().unwrap_or(&name).to_owned();
    inputs.push(Input {
        role: "trust",
        name: short,
        sha256: match &signing.published {
            Some(published) => published.trust_file.clone(),
            None => sha256(&bytes),
        },
    });
    let received = Received {
        name: &name,
        bytes: &bytes,
        format: Format::of_path(&name),
    };
    match TrustRoot::open(received) {
        Ok(root) => Some(root),
        Err(refused) => {
            let help = refused.help().unwrap_or(INIT);
            problems.at(
                &resolved.node,
                pointer,
                format!("a device would refuse {name}: {refused}"),
                help,
            );
            None
        }
    }
}

/// A trust root in which the throwaway key holds both roles that a build needs. Equal keys give equal bytes.
fn throwaway(key: &SecretKey, problems: &mut Problems<'_>, resolved: &Resolved) -> Option<Vec<u8>> {
    let tenant = resolved.profile.agent.as_ref().and_then(|a| a.tenant.clone());
    let grants = vec![Grant {
        key: NamedKey::from(key),
        roles: vec![Role::Root, Role::Admin],
    }];
    let made = new_trust(&NewTrust {
        tenant,
        grants,
        ..NewTrust::default()
    })
    .map_err(|e| e.to_string())
    .and_then(|t| sign_document("throwaway trust root", "", &to_node(&t), trust::KIND, key).map_err(|e| e.to_string()));
    match made {
        Ok(node) => Some(to_json_text(&node).into_bytes()),
        Err(why) => {
            problems.at(
                &resolved.node,
                "/trust",
                format!("the throwaway trust root: {why}"),
                "remove the key and try again",
            );
            None
        }
    }
}
