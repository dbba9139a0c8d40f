//! What admins ask: by an API token over the network, or on the data directory itself. The same handlers either way.

pub mod api_tokens;
pub mod ca;
pub mod devices;
pub mod export;
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
use crate::rights::Asker;
use crate::store::Conn;
use crate::store::devices::{self as stored_devices, Device};

/// Which tenant is meant, where one is named.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfTenant {
    /// Its name.
    pub tenant: Option<String>,
}

impl OfTenant {
    /// The one to do it in.
    fn one(&self, asker: &Asker) -> Done<String> {
        asker.one(self.tenant.as_deref())
    }

    /// Those to list.
    fn some(&self, asker: &Asker) -> Done<Option<String>> {
        asker.some(self.tenant.as_deref())
    }
}

/// A device that whoever asks knows of, and may do this to.
async fn device(conn: &mut Conn, asker: &Asker, id: &str) -> Done<Device> {
    let found = stored_devices::by_id(conn, id).await?;
    let device = found
        .filter(|device| asker.sees(&device.tenant))
        .ok_or_else(|| absent("device", id))?;
    asker.may(&device.tenant)?;
    Ok(device)
}

/// A request that did not work because there is no such thing.
fn absent(what: &str, id: &str) -> Fault {
    Fault::not_found(format!("there is no {what} {id:?}"))
}

/// A comment that a person gave.
fn check_comment(comment: &str) -> Done<()> {
    if comment.chars().count() > 200 || comment.chars().any(char::is_control) {
        return Err(Fault::malformed("comment: expected one line of at most 200 characters"));
    }
    Ok(())
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
