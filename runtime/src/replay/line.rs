//! Payloads as replay reads them: borrowed from the very bytes that the chain is taken over.
//!
//! Owns the reading side of what `plane/record.rs` writes. Every table refuses fields that it does not know: what a later
//! program recorded is not replayed by guessing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::documents::policy::Source;
use jos_schemas::text::Name;
use jos_trust::{Digest, Stream};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, Visitor};
use serde_json::value::RawValue;

use crate::plan::{Action, Shape};

/// A decision's own table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decided<'a> {
    pub(super) id: &'a str,
    pub(super) source: Source,
    pub(super) kind: &'a str,
    #[serde(borrow)]
    pub(super) payload: &'a RawValue,
}

/// `state.apply` and `state.move`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply<'a> {
    pub(super) stream: Stream,
    #[serde(with = "hex")]
    pub(super) content: Digest,
    #[serde(borrow)]
    pub(super) signers: Vec<&'a str>,
    #[serde(borrow)]
    pub(super) state: &'a RawValue,
    pub(super) root: bool,
    /// The system that ran, where a step names one.
    #[serde(default, borrow)]
    pub(super) image: Option<ImageLine<'a>>,
    /// The trust root under which its signatures count.
    #[serde(default)]
    pub(super) trust: Option<InBlob>,
    #[serde(with = "hex")]
    pub(super) gate: Digest,
    #[serde(default, borrow)]
    pub(super) ids: Ids<'a>,
    #[serde(default, borrow)]
    pub(super) found: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(super) inputs: Option<&'a RawValue>,
}

/// A system.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImageLine<'a> {
    pub(super) compatible: &'a str,
    pub(super) version: &'a str,
}

/// `state.converge` and `state.first_boot`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Converge<'a> {
    #[serde(borrow)]
    pub(super) changes: Vec<(Action, Cow<'a, str>)>,
    pub(super) count: u64,
    #[serde(with = "hex")]
    pub(super) set: Digest,
    #[serde(with = "hex")]
    pub(super) gate: Digest,
    #[serde(default, borrow)]
    pub(super) ids: Ids<'a>,
    #[serde(default, borrow)]
    pub(super) found: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(super) inputs: Option<&'a RawValue>,
}

/// `flow.step`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flow<'a> {
    #[serde(borrow)]
    pub(super) artifact: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) step: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) act: &'a RawValue,
    #[serde(with = "hex")]
    pub(super) gate: Digest,
    #[serde(default, borrow)]
    pub(super) ids: Ids<'a>,
    #[serde(default, borrow)]
    pub(super) found: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(super) inputs: Option<&'a RawValue>,
}

/// `agent.change`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change<'a> {
    pub(super) agent: Name,
    #[serde(borrow)]
    pub(super) node: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) job: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) decision: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) act: &'a RawValue,
    #[serde(with = "hex")]
    pub(super) gate: Digest,
    #[serde(default, borrow)]
    pub(super) ids: Ids<'a>,
    #[serde(default, borrow)]
    pub(super) found: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(super) inputs: Option<&'a RawValue>,
}

/// What the names of owners stood for: `root:lp` → `0:7`; the empty name for what no step names.
pub(crate) type Ids<'a> = BTreeMap<&'a str, &'a str>;

/// `{"blob": SHA256, "size": BYTES}` in place of a value.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InBlob {
    #[serde(with = "hex")]
    pub(super) blob: Digest,
    pub(super) size: u64,
}

/// `{"hash_only": SHA256, "size": BYTES}`: more than the device may keep.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HashOnly {
    #[serde(rename = "hash_only", with = "hex")]
    pub(super) _hash_only: Digest,
    #[serde(rename = "size")]
    pub(super) _size: u64,
}

/// What a file held before an edit was computed from it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputLine<'a> {
    #[serde(default, with = "hex::maybe")]
    pub(super) sha256: Option<Digest>,
    #[serde(default)]
    pub(super) size: Option<u64>,
    #[serde(default, borrow)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) mac: Option<&'a str>,
}

/// An outcome, or what was refused.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportLine<'a> {
    pub(super) outcome: OutcomeKind,
    #[serde(default, borrow)]
    pub(super) reasons: Vec<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub(super) changes: Vec<ChangeLine<'a>>,
    #[serde(default, borrow)]
    pub(super) captured: Vec<CapturedLine<'a>>,
    #[serde(default, borrow)]
    pub(super) notified: Vec<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub(super) health: Option<Cow<'a, str>>,
    #[serde(default, rename = "health_after")]
    pub(super) _health_after: IgnoredAny,
    #[serde(default, rename = "told_again")]
    pub(super) _told_again: IgnoredAny,
    #[serde(default, borrow)]
    pub(super) left: Vec<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub(super) released: Vec<Cow<'a, str>>,
    #[serde(default)]
    pub(super) pending: bool,
    /// The whole of it, where it was too large for a record.
    #[serde(default)]
    pub(super) more: Option<InBlob>,
}

/// One change.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeLine<'a> {
    #[serde(borrow)]
    pub(super) step: Cow<'a, str>,
    pub(super) source: Source,
    pub(super) action: Action,
    #[serde(borrow)]
    pub(super) what: Cow<'a, str>,
    #[serde(default, borrow)]
    pub(super) details: Vec<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub(super) before: Option<ShapeLine<'a>>,
    #[serde(default, borrow)]
    pub(super) after: Option<ShapeLine<'a>>,
}

/// A [`Shape`], borrowed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShapeLine<'a> {
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(default)]
    pub(super) mode: Option<&'a str>,
    pub(super) owner: &'a str,
    #[serde(default)]
    pub(super) size: Option<u64>,
    #[serde(default)]
    pub(super) sha256: Option<&'a str>,
    #[serde(default)]
    pub(super) mac: Option<&'a str>,
    #[serde(default)]
    pub(super) secret: Option<&'a str>,
    #[serde(default, borrow)]
    pub(super) target: Option<Cow<'a, str>>,
}

/// What a command came to.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CapturedLine<'a> {
    #[serde(borrow)]
    pub(super) step: Cow<'a, str>,
    #[serde(rename = "ending")]
    pub(super) _ending: IgnoredAny,
    #[serde(default)]
    pub(super) code: Option<i32>,
    #[serde(rename = "output_sha256")]
    pub(super) _output: IgnoredAny,
    /// What the manager said of a package; earlier records have none.
    #[serde(default, borrow)]
    pub(super) package: Option<PackageLine<'a>>,
}

/// What became of a package.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PackageLine<'a> {
    #[serde(default, rename = "before")]
    pub(super) _before: IgnoredAny,
    #[serde(default, borrow)]
    pub(super) after: Option<Cow<'a, str>>,
}

impl<'a> ReportLine<'a> {
    /// One that says nothing but this.
    pub(super) fn of(outcome: OutcomeKind, changes: Vec<ChangeLine<'a>>) -> Self {
        Self {
            outcome,
            reasons: Vec::new(),
            changes,
            captured: Vec::new(),
            notified: Vec::new(),
            health: None,
            _health_after: IgnoredAny,
            _told_again: IgnoredAny,
            left: Vec::new(),
            released: Vec::new(),
            pending: false,
            more: None,
        }
    }
}

impl ShapeLine<'_> {
    pub(super) fn to_shape(&self) -> Shape {
        let text = |t: Option<&str>| t.map(str::to_owned);
        Shape {
            kind: self.kind.clone().into_owned(),
            mode: text(self.mode),
            owner: self.owner.to_owned(),
            size: self.size,
            sha256: text(self.sha256),
            mac: text(self.mac),
            secret: self.secret.and_then(|s| s.parse().ok()),
            target: self.target.as_deref().map(str::to_owned),
        }
    }
}

impl<'a> From<&'a Shape> for ShapeLine<'a> {
    fn from(shape: &'a Shape) -> Self {
        Self {
            kind: Cow::Borrowed(&shape.kind),
            mode: shape.mode.as_deref(),
            owner: &shape.owner,
            size: shape.size,
            sha256: shape.sha256.as_deref(),
            mac: shape.mac.as_deref(),
            secret: shape.secret.as_ref().map(AsRef::as_ref),
            target: shape.target.as_deref().map(Cow::Borrowed),
        }
    }
}

impl fmt::Display for ShapeLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}", self.kind)?;
        if let Some(mode) = self.mode {
            write!(f, " {mode}")?;
        }
        write!(f, " {}", self.owner)?;
        if let Some(size) = self.size {
            write!(f, ", {size} bytes")?;
        }
        if let Some(hash) = self.sha256 {
            write!(f, ", sha256 {hash}")?;
        }
        if let Some(mac) = self.mac {
            write!(f, ", mac {mac}")?;
        }
        if let Some(secret) = self.secret {
            write!(f, ", secret {secret}")?;
        }
        if let Some(target) = &self.target {
            write!(f, " → {target}")?;
        }
        Ok(())
    }
}

/// Digests as they stand in a record, read without a copy.
mod hex {
    use super::{Deserializer, Digest, Error, Visitor, fmt};

    struct Text;

    impl Visitor<'_> for Text {
        type Value = Digest;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("64 lower-case hex digits")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Digest, E> {
            text.parse().map_err(E::custom)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Digest, D::Error> {
        d.deserialize_str(Text)
    }

    pub(super) mod maybe {
        use super::{Deserializer, Digest};

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Digest>, D::Error> {
            super::deserialize(d).map(Some)
        }
    }
}
