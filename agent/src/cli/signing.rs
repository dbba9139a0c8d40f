//! What the commands share that read signed documents: documents as files, and their errors in one voice.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::node::Node;
use jos_schemas::read::{self, Format, Limits};
use jos_schemas::text::Utc;
use jos_trust::refused::{Refused, TrustRefused};
use jos_trust::root::Received;
use serde_json::json;

use super::Failure;
use crate::subject;

/// A document as it lies in a file.
pub(super) struct Doc {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) format: Format,
}

impl Doc {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = bytes(path).map_err(|e| Failure::invalid(format!("{}: cannot read: {e}", path.display())))?;
        let name = path.display().to_string();
        Ok(Self {
            name,
            bytes,
            format: Format::of_path(path),
        })
    }

    pub(super) fn received(&self) -> Received<'_> {
        Received {
            name: &self.name,
            bytes: &self.bytes,
            format: self.format,
        }
    }

    /// The text, for excerpts in errors.
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }

    pub(super) fn parse(&self) -> Result<Node, Failure> {
        read::parse(&self.name, &self.bytes, self.format).map_err(|report| Failure::invalid(&report).details(report))
    }

    /// Refuses a desired state that still holds placeholders. What is none, or a broken one, is left to its reader.
    pub(super) fn filled_in(&self, node: &Node) -> Result<(), Failure> {
        match read::from_node::<DesiredState>(&self.name, self.text(), node) {
            Ok(state) => subject::filled_in(&self.name, &state),
            Err(_) => Ok(()),
        }
    }
}

/// One byte more than the limit of a document, so that the limit's own error is the one shown.
pub(super) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    File::open(path)?
        .take(Limits::DOCUMENT.bytes as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A refusal of `file`: exit code 2 where the file is no document of its kind, else 1.
pub(super) fn refused(file: &str, refused: &Refused) -> Failure {
    match refused {
        Refused::Malformed(report) => Failure::invalid(report).details(report),
        _ => refusal(file, refused, refused.code(), refused.help()),
    }
}

/// The same for a trust document.
pub(super) fn trust_refused(file: &str, refused: &TrustRefused) -> Failure {
    match refused {
        TrustRefused::Malformed(report) => Failure::invalid(report).details(report),
        _ => refusal(file, refused, refused.code(), refused.help()),
    }
}

fn refusal(file: &str, refused: &dyn std::fmt::Display, code: &str, help: Option<&str>) -> Failure {
    let details = json!({ "file": file, "code": code });
    helped(
        Failure::failed(format!("{file}: refused: {refused}")).details(details),
        help,
    )
}

/// Adds help where there is some.
pub(super) fn helped(failure: Failure, help: Option<&str>) -> Failure {
    match help {
        Some(help) => failure.help(help),
        None => failure,
    }
}

/// The system clock, read once.
#[expect(clippy::disallowed_methods, reason = "this is where a command reads the clock")]
pub(super) fn now() -> Utc {
    let seconds = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    };
    Utc::from_unix(seconds)
}

/// `2027-01-31T00:00:00Z`, or a date alone for its first second.
pub(super) fn moment(text: &str) -> Result<Utc, String> {
    let whole = if text.len() == 10 {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    let moment = Utc::new(whole).map_err(|e| format!("expected {}, or a date as \"2027-01-31\"", e.expected))?;
    // A day that its month does not have reads as one of the next month; say so instead of moving it.
    match Utc::from_unix(moment.unix()) == moment {
        true => Ok(moment),
        false => Err("there is no such day".to_owned()),
    }
}
