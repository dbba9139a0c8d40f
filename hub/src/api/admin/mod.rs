//! What admins ask: by an API token over the network, or on the data directory itself. The same handlers either way.

pub mod ca;
pub mod devices;
pub mod health;
pub mod history;
pub mod logs;
pub mod questions;
pub mod rollouts;
pub mod states;
pub mod tenants;
pub mod tokens;
pub mod users;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::fault::{Done, Fault};
use crate::hub::DEFAULT_TENANT;

/// Which tenant is meant: `default` where none is named.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfTenant {
    /// Its name.
    pub tenant: Option<String>,
}

impl OfTenant {
    fn one(&self) -> &str {
        self.tenant.as_deref().unwrap_or(DEFAULT_TENANT)
    }

    fn all(&self) -> Option<&str> {
        self.tenant.as_deref()
    }
}

/// A request that did not work because there is no such thing.
fn absent(what: &str, id: &str) -> Fault {
    Fault::not_found(format!("there is no {what} {id:?}"))
}

/// Labels that a person gave: short words, so that they can be shown and typed anywhere.
fn check_labels(labels: &BTreeMap<String, String>) -> Done<()> {
    let key = |text: &str| {
        !text.is_empty() && text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b))
    };
    let value = |text: &str| text.chars().count() <= 128 && !text.chars().any(char::is_control);
    match labels.iter().find(|(k, v)| !key(k) || !value(v)) {
        None if labels.len() <= 64 => Ok(()),
        None => Err(Fault::malformed(format!(
            "found {} labels, expected 64 at most",
            labels.len()
        ))),
        Some((k, v)) => Err(Fault::malformed(format!(
            "found the label {k:?}={v:?}, expected a key of letters, digits and ._-/ (63 at most) and a value of one line (128 at most)"
        ))),
    }
}
