//! `state.json`: what one agent keeps in mind between turns. A cache: the ledger and the floors say it all, and it is
//! rebuilt from them when it is missing or does not read.

use jos_schemas::documents::checkpoint::{HeldState, Streams};
use jos_schemas::documents::ledger::{Decision, OutcomeKind, Record};
use jos_schemas::documents::policy::Source;
use jos_schemas::own;
use jos_schemas::sorted::Map;
use jos_schemas::text::Utc;
use jos_trust::{Digest, Stream};
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, DiskError};
use crate::ledger::{CHECKPOINT, Ledger, LedgerError, LedgerHead};
use crate::plane::streams_of;

const FORMAT: u32 = 1;
const LIMIT: u64 = 4 * 1024 * 1024;

/// The machine state of one agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Book {
    pub(crate) format: u32,
    /// What is in force, by `baseline` and `state`.
    pub(crate) streams: Map<Stream, Kept>,
    pub(crate) last: Option<Last>,
    pub(crate) drift: Option<Drift>,
    /// Tries to finish what waited for the first boot, and when the next is due.
    #[serde(default)]
    pub(crate) first_boot: FirstBoot,
    /// Index of the last checkpoint, where there is one.
    #[serde(default)]
    pub(crate) checkpoint: Option<u64>,
    /// When it was taken, or the ledger begun; in seconds since 1970. Not known before it was asked once.
    #[serde(default)]
    pub(crate) checkpointed_at: Option<i64>,
}

/// A state in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    pub(crate) source: Source,
    pub(crate) version: u64,
    pub(crate) content: Digest,
    pub(crate) since: Utc,
    /// Applied to a root that was not running: services, commands and health wait.
    pub(crate) pending: bool,
}

impl Kept {
    fn of(held: HeldState) -> Self {
        Self {
            source: held.source,
            version: held.version,
            content: (&held.content).into(),
            since: held.since,
            pending: held.pending,
        }
    }
}

/// The last outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Last {
    /// How it ended.
    pub outcome: OutcomeKind,
    /// Which version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Who proposed it.
    pub source: Source,
    /// When.
    pub time: Utc,
    /// Where the ledger stood with the record of it as its last; not known of one that a program of before noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<LedgerHead>,
    /// Why, where it was not plainly good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// What drifted last: recorded when the set changes, counted when it repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drift {
    pub(crate) set: Digest,
    /// The decision that covers putting it right; none where it is only reported.
    pub(crate) decision: Option<u64>,
    pub(crate) since: Utc,
    pub(crate) repeats: u64,
}

/// See [`Book::first_boot`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FirstBoot {
    pub(crate) tries: u32,
    /// Seconds since 1970.
    pub(crate) next: i64,
}

/// What the book needs of an outcome record.
#[derive(Deserialize)]
struct Brief {
    outcome: OutcomeKind,
    #[serde(default)]
    reasons: Vec<String>,
    #[serde(default)]
    pending: bool,
}

impl Book {
    pub(crate) fn load(data: &Disk, path: &str, ledger: &Ledger<'_>) -> Result<Self, LedgerError> {
        match data.read(path, LIMIT) {
            Ok((bytes, _)) => match own::read::<Self>(&bytes) {
                Ok(book) if book.format == FORMAT => return Ok(book),
                _ => log::warn!("{}: does not read; rebuilt from the ledger", data.show(path)),
            },
            Err(e) if e.is_missing() => {}
            Err(e) => return Err(e.into()),
        }
        Self::rebuild(ledger)
    }

    pub(crate) fn save(&self, data: &Disk, path: &str) -> Result<(), DiskError> {
        let bytes = own::write(&Self {
            format: FORMAT,
            ..self.clone()
        })
        .expect("plain data");
        data.write_private(path, &bytes)
    }

    /// What is in force where history begins.
    fn begin_with(&mut self, record: &Record) {
        let Streams { baseline, state } = streams_of(&record.payload);
        let held = [(Stream::Baseline, baseline), (Stream::State, state)];
        self.streams = held
            .into_iter()
            .filter_map(|(stream, held)| Some((stream, Kept::of(held?))))
            .collect();
        if record.kind == CHECKPOINT {
            (self.checkpoint, self.checkpointed_at) = (Some(record.index), Some(record.time.unix()));
        }
    }

    /// Reads every decision with its outcome.
    fn rebuild(ledger: &Ledger<'_>) -> Result<Self, LedgerError> {
        let mut book = Self {
            format: FORMAT,
            ..Self::default()
        };
        let mut decisions: Map<u64, Decision> = Map::new();
        ledger.read(&mut |record, hash| {
            if record.kind == "decision" {
                if let Ok(decision) = own::read_value(&record.payload) {
                    decisions.insert(record.index, decision);
                }
                return;
            }
            if record.kind == CHECKPOINT || record.kind == "broken" {
                book.begin_with(record);
                return;
            }
            let Ok(report) = own::read_value::<Brief>(&record.payload) else {
                return;
            };
            let cause = record.cause.as_ref().and_then(|c| c.strip_prefix('#')?.parse().ok());
            let decision = cause.and_then(|index: u64| decisions.remove(&index));
            book.last = Some(Last {
                outcome: report.outcome,
                version: record.version,
                source: record.source,
                time: record.time.clone(),
                record: Some(LedgerHead::of(record.index + 1, hash)),
                reasons: report.reasons.clone(),
            });
            let good = matches!(report.outcome, OutcomeKind::Applied | OutcomeKind::Unchanged);
            let (Some(decision), true) = (decision, good) else {
                return;
            };
            match decision.kind.as_str() {
                "state.apply" => {
                    let field = |key: &str| decision.payload.get(key).and_then(|v| v.as_str());
                    let stream = if field("stream") == Some("baseline") {
                        Stream::Baseline
                    } else {
                        Stream::State
                    };
                    if let (Some(content), Some(version)) =
                        (field("content").and_then(|c| c.parse().ok()), record.version)
                    {
                        let (source, since) = (record.source, record.time.clone());
                        book.streams.insert(
                            stream,
                            Kept {
                                source,
                                version,
                                content,
                                since,
                                pending: report.pending,
                            },
                        );
                    }
                }
                "state.first_boot" => book.streams.values_mut().for_each(|k| k.pending = false),
                _ => {}
            }
        })?;
        Ok(book)
    }
}
