//! The verification of a desired state.
//!
//! Owns the order of the checks, which is part of their safety: limit → strict parse → canonical bytes → signatures
//! under the threshold of the role `admin` → types → name, audience, expiry, floor. Nothing that a signature does not
//! cover is interpreted, and only the last step ([`Authentic::admit`]) makes a [`Verified`] state.

use std::collections::BTreeMap;

use jos_schemas::documents::desired_state::{self, Audience, DesiredState};
use jos_schemas::documents::trust::Role;
use jos_schemas::node::Node;
use jos_schemas::read;
use jos_schemas::text::{Name, Utc};
use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::digest::{Digest, sha256};
use crate::floors::{Counter, Edition, Floors, InForce, Standing, Stream};
use crate::keys::KeyId;
use crate::refused::Refused;
use crate::root::{Received, TrustRoot};
use crate::signatures;
use crate::verified::{Parts, StateScope, Verified};

/// How a state reached the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// In the package, beside the first trust root.
    Baseline,
    /// As a file that somebody at the device handed over.
    Local,
    /// From a hub.
    Hub,
}

impl Channel {
    /// The sequence of versions that it counts in.
    pub fn stream(self) -> Stream {
        match self {
            Channel::Baseline => Stream::Baseline,
            Channel::Local | Channel::Hub => Stream::State,
        }
    }
}

/// The device that a state is held against, at one reading of now.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// How the state came.
    pub channel: Channel,
    /// The agent's own name, which `meta.name` must equal.
    pub name: &'a Name,
    /// The tenant pinned at enrolment; the trust root's counts where there is none.
    pub tenant: Option<&'a Name>,
    /// The device id pinned at enrolment.
    pub device: Option<&'a str>,
    /// The device's labels. They select, they do not authorise.
    pub labels: &'a BTreeMap<String, String>,
    /// The one reading of now of this turn, from [`Floors::now`].
    pub now: &'a Utc,
    /// What the device must not go back behind.
    pub floors: &'a Floors,
    /// Policy takes a hub's state without audience or expiry.
    pub allow_unscoped: bool,
}

/// Verifies a desired state: [`authenticate`], then [`Authentic::admit`].
pub fn verify_state(
    received: Received<'_>,
    root: &TrustRoot,
    context: &Context<'_>,
) -> Result<Verified<DesiredState>, Refused> {
    authenticate(received, root)?.admit(context)
}

/// A state whose signatures are good: it says who signed it, not whether this device may take it.
#[derive(Clone, Debug)]
pub struct Authentic<'r> {
    value: DesiredState,
    node: Node,
    content: Digest,
    signers: Vec<KeyId>,
    dev: bool,
    root: &'r TrustRoot,
}

/// Limit, strict parse, canonical bytes, signatures, types: everything that needs no device.
pub fn authenticate<'r>(received: Received<'_>, root: &'r TrustRoot) -> Result<Authentic<'r>, Refused> {
    let (node, message) = parse(received)?;
    let found = signatures::collect(&node).map_err(Refused::Signatures)?;
    let have = root
        .keyring()
        .count(Role::Admin, &found, &message)
        .map_err(Refused::Signatures)?;
    let (value, content) = typed(received, &node)?;
    Ok(Authentic {
        value,
        node,
        content,
        dev: have.iter().any(|k| k.dev),
        signers: have.into_iter().map(|k| k.id).collect(),
        root,
    })
}

/// Reads back the state in force under `counter`. It was verified when it was adopted and stays in force for ever: its
/// expiry gates adoption only, and its signer may have left the trust root since. So it is held against the content
/// that the floors recorded, not against today's keys.
pub fn reopen(
    received: Received<'_>,
    counter: &Counter,
    channel: Channel,
    floors: &Floors,
) -> Result<Verified<DesiredState>, Refused> {
    let (node, _message) = parse(received)?;
    let content = sha256(&canonical::unsigned_bytes(&node).map_err(Refused::NotCanonical)?);
    let kept = floors.in_force(counter);
    let Some(kept) = kept.filter(|k| k.content == content) else {
        return Err(Refused::NotInForce {
            found: content,
            expected: kept.map(|k| k.content),
        });
    };
    read_back(received, node, counter, channel, Standing::InForce, kept)
}

/// Reads back a state that was being tried under `counter` when the machine started anew. It was verified when its trial
/// began, and is held against the version and the content that the floors have noted since; `tried` adds who had signed it.
pub fn resume(
    received: Received<'_>,
    counter: &Counter,
    channel: Channel,
    floors: &Floors,
    tried: &InForce,
) -> Result<Verified<DesiredState>, Refused> {
    let (node, _message) = parse(received)?;
    let content = sha256(&canonical::unsigned_bytes(&node).map_err(Refused::NotCanonical)?);
    let noted = floors
        .floor(counter)
        .and_then(|floor| Some((floor.version, floor.content?)));
    if content != tried.content || noted != Some((tried.version, content)) {
        return Err(Refused::NotInForce {
            found: content,
            expected: noted.map(|(_, content)| content),
        });
    }
    let version = tried.version;
    let standing = floors.standing(counter, Edition { version, content })?;
    read_back(received, node, counter, channel, standing, tried)
}

/// A state whose signatures were counted before; `known` remembers whose they were.
fn read_back(
    received: Received<'_>,
    node: Node,
    counter: &Counter,
    channel: Channel,
    standing: Standing,
    known: &InForce,
) -> Result<Verified<DesiredState>, Refused> {
    let (value, content) = typed(received, &node)?;
    let scope = StateScope {
        channel,
        counter: counter.clone(),
        standing,
    };
    Ok(Verified::new(Parts {
        version: value.meta.version,
        value,
        node,
        content,
        signers: known.signers.clone(),
        dev: known.dev,
        scope,
    }))
}

fn parse(received: Received<'_>) -> Result<(Node, Vec<u8>), Refused> {
    let node = read::parse(received.name, received.bytes, received.format).map_err(Refused::Malformed)?;
    let message = canonical::signed_bytes(desired_state::KIND, &node).map_err(Refused::NotCanonical)?;
    if node.get("kind").and_then(|k| k.as_str()) != Some(desired_state::KIND) {
        let found = node.get("kind").map_or("nothing".to_owned(), |k| k.describe());
        return Err(Refused::WrongKind {
            found,
            expected: desired_state::KIND,
        });
    }
    Ok((node, message))
}

fn typed(received: Received<'_>, node: &Node) -> Result<(DesiredState, Digest), Refused> {
    let text = std::str::from_utf8(received.bytes).unwrap_or_default();
    let value = read::from_node(received.name, text, node).map_err(Refused::Malformed)?;
    let content = sha256(&canonical::unsigned_bytes(node).map_err(Refused::NotCanonical)?);
    Ok((value, content))
}

impl Authentic<'_> {
    /// The state.
    pub fn value(&self) -> &DesiredState {
        &self.value
    }

    /// The keys whose signatures counted, each once.
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }

    /// SHA-256 of the canonical bytes without the signatures.
    pub fn content(&self) -> Digest {
        self.content
    }

    /// Whether a throwaway key was among the signers.
    pub fn signed_by_dev_key(&self) -> bool {
        self.dev
    }

    /// Whether `now` lies before the expiry of the state and of the trust root. The baseline lies in one package with the
    /// first root, whose expiry is not asked then: a device that lay in a box for years still starts.
    pub fn in_time(&self, channel: Channel, now: &Utc) -> Result<(), Refused> {
        let past = |expires: &Option<Utc>| expires.clone().filter(|expires| now >= expires);
        let of_root = if channel == Channel::Baseline {
            None
        } else {
            past(&self.root.value().expires)
        };
        if let Some(expires) = of_root {
            return Err(Refused::TrustExpired {
                version: self.root.version(),
                expires,
                now: now.clone(),
            });
        }
        match past(&self.value.meta.expires) {
            Some(expires) => Err(Refused::Expired {
                expires,
                now: now.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Name, tenant, audience, scope, expiry, floor: whether this device may take it, now.
    pub fn admit(self, context: &Context<'_>) -> Result<Verified<DesiredState>, Refused> {
        let meta = &self.value.meta;
        if meta.name != *context.name {
            return Err(Refused::OtherName {
                found: meta.name.clone(),
                expected: context.name.clone(),
            });
        }
        let tenant = match (context.tenant, self.root.tenant()) {
            (Some(own), Some(found)) if own != found => {
                return Err(Refused::TrustOfOtherTenant {
                    found: found.clone(),
                    own: own.clone(),
                });
            }
            (own, of_root) => own.or(of_root),
        };
        let nobody = Audience::default();
        let audience = meta.audience.as_ref().unwrap_or(&nobody);
        addressed(audience, tenant, context.device, context.labels)?;
        if context.channel == Channel::Hub && !context.allow_unscoped {
            // Labels alone name no owner: they select, they do not authorise.
            if audience.tenant.is_none() && audience.devices.is_empty() {
                return Err(Refused::Unscoped {
                    missing: "`meta.audience` with a tenant or devices",
                });
            }
            if meta.expires.is_none() {
                return Err(Refused::Unscoped {
                    missing: "`meta.expires`",
                });
            }
        }
        self.in_time(context.channel, context.now)?;
        let counter = Counter {
            tenant: tenant.cloned(),
            name: meta.name.clone(),
            stream: context.channel.stream(),
        };
        let version = meta.version;
        let standing = context.floors.standing(
            &counter,
            Edition {
                version,
                content: self.content,
            },
        )?;
        let scope = StateScope {
            channel: context.channel,
            counter,
            standing,
        };
        let Authentic {
            value,
            node,
            content,
            signers,
            dev,
            ..
        } = self;
        Ok(Verified::new(Parts {
            value,
            node,
            content,
            signers,
            version,
            dev,
            scope,
        }))
    }
}

/// Whether an audience names a device; a hub offers by the same rule as a device takes.
pub fn addressed(
    audience: &Audience,
    tenant: Option<&Name>,
    device: Option<&str>,
    labels: &BTreeMap<String, String>,
) -> Result<(), Refused> {
    if let Some(found) = audience.tenant.as_ref().filter(|found| Some(*found) != tenant) {
        return Err(Refused::OtherTenant {
            found: found.clone(),
            own: tenant.cloned(),
        });
    }
    let devices = &audience.devices;
    if !devices.is_empty() && !device.is_some_and(|own| devices.iter().any(|d| d == own)) {
        return Err(Refused::OtherDevice {
            count: devices.len(),
            own: device.map(str::to_owned),
        });
    }
    for (key, expected) in &audience.labels {
        let own = labels.get(key);
        if own != Some(expected) {
            return Err(Refused::OtherLabel {
                key: key.clone(),
                expected: expected.clone(),
                own: own.cloned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
