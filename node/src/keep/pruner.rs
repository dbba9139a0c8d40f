//! The steps of pruning, each of which may be the last one before the power goes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jos_runtime::disk::Disk;
use jos_runtime::ledger::{Blobs, Chapter, Ledger, LedgerError, asides, chapters, drop_segment, names_from};
use jos_schemas::text::Utc;
use jos_trust::{Digest, SecretKey};

use super::Kept;
use super::limits::{Limits, Results};
use crate::chapter::{at_once, between};
use crate::error::NodeError;
use crate::jobs;
use crate::place::{BLOBS, LEDGER};
use crate::pool::Shared;
use crate::records::{Draft, NAME};
use crate::seals;

/// A chapter is this part of the limit, in bytes and in days.
const PART: u64 = 8;
/// New jobs wait so long for those on their way, when a chapter is due.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same where the limit is passed.
const LAST_PATIENCE: Duration = Duration::from_secs(60);
/// Where jobs were on their way all the time, it is tried again after so many times as long as was waited.
const PAUSE: u32 = 10;
/// However short that was.
const SHORT: Duration = Duration::from_millis(100);
/// Looking may take this part of the time, and pauses at most so long.
const SHARE: u32 = 2;
const REST: Duration = Duration::from_secs(1);
/// So many blobs go before jobs are let on.
const BATCH: usize = 256;

pub(super) struct Pruner<'s> {
    shared: &'s Shared,
    key: SecretKey,
    known: Vec<Chapter>,
    rest: Option<Instant>,
    /// Not before this is a chapter tried to end again.
    again: Option<Instant>,
    kept: Kept,
}

impl<'s> Pruner<'s> {
    pub(super) fn new(shared: &'s Shared, key: SecretKey) -> Self {
        Self {
            shared,
            key,
            known: Vec::new(),
            rest: None,
            again: None,
            kept: Kept::default(),
        }
    }

    /// What is kept, and why it is more than should be.
    pub(super) fn waits(&mut self, why: String) -> Kept {
        self.kept.waits = Some(why);
        self.kept.clone()
    }

    /// Not before this has passed is anything looked at again.
    pub(super) fn rest(&self) -> Duration {
        self.rest
            .map_or(Duration::ZERO, |rest| rest.saturating_duration_since(Instant::now()))
    }

    /// Looks at what there is, and lets go what is too much.
    pub(super) fn look(&mut self, limits: &Limits) -> Result<Kept, NodeError> {
        // Another node of this directory is at it.
        let Some(_alone) = at_once(&self.shared.data, "keeper")? else {
            return Ok(self.kept.clone());
        };
        let began = Instant::now();
        self.kept.waits = None;
        self.results(&limits.results)?;
        self.ledger(limits)?;
        self.rest = Some(Instant::now() + (began.elapsed() * SHARE).min(REST));
        Ok(self.kept.clone())
    }

    fn disk(&self) -> Result<Disk, NodeError> {
        jobs::disk(&self.shared.data.path("state"), &self.shared.outside.hex(8))
    }

    fn now(&self) -> i64 {
        (self.shared.outside.now)()
    }

    fn stops(&self) -> bool {
        self.shared.bell.wait(Duration::ZERO)
    }

    fn ledger(&mut self, limits: &Limits) -> Result<(), NodeError> {
        let disk = self.disk()?;
        let (bytes, age) = (limits.ledger.bytes, i64::from(limits.ledger.days) * 86_400);
        self.known = chapters(&disk, LEDGER, &self.known)?;
        self.count(&disk, bytes)?;
        // A dropping that was cut short is ended first: it was decided then.
        if self.drop_rest(&disk)? {
            self.collect(&disk)?;
            self.count(&disk, bytes)?;
        }
        let Some(newest) = self.known.last() else { return Ok(()) };
        let segments: u64 = self.known.iter().map(|chapter| chapter.bytes).sum();
        // Blobs are not told apart by chapter: they are shared out as the records are.
        let grown = u128::from(newest.bytes) * u128::from(self.kept.bytes) / u128::from(segments.max(1));
        let full = bytes > 0 && grown >= u128::from(bytes / PART);
        let aged = age > 0 && self.now().saturating_sub(newest.began) > age / PART.cast_signed();
        if full || aged {
            let over = bytes > 0 && self.kept.bytes > bytes;
            self.begin(&disk, if over { LAST_PATIENCE } else { PATIENCE })?;
            self.known = chapters(&disk, LEDGER, &self.known)?;
        }
        while !self.stops() {
            let over = bytes > 0 && self.kept.bytes > bytes - bytes / PART;
            let ended = self.known.get(1).map_or(i64::MAX, |next| next.began);
            let old = age > 0 && self.now().saturating_sub(ended) > age;
            if !(over || old) || self.known.len() < 3 {
                break;
            }
            if !self.drop_oldest(&disk)? {
                break;
            }
            self.collect(&disk)?;
            self.count(&disk, bytes)?;
        }
        if bytes > 0 && self.kept.bytes > bytes && self.kept.waits.is_none() {
            self.kept.waits = Some("the last two chapters of the ledger stay, whatever they weigh".into());
        }
        Ok(())
    }

    /// Counts what there is.
    fn count(&mut self, disk: &Disk, limit: u64) -> Result<(), NodeError> {
        let blobs: u64 = Blobs::open(disk, BLOBS)?.list()?.iter().map(|(_, size)| size).sum();
        let segments: u64 = self.known.iter().map(|chapter| chapter.bytes).sum();
        (self.kept.bytes, self.kept.limit) = (segments + blobs, limit);
        let first = self
            .known
            .iter()
            .find(|chapter| chapter.whole || chapter.segments.start == 0);
        self.kept.from = first.map_or(0, |chapter| chapter.first);
        self.kept.since = first
            .filter(|chapter| chapter.first > 0)
            .map(|chapter| Utc::from_unix(chapter.began));
        Ok(())
    }

    /// Begins a chapter, where that can be.
    fn begin(&mut self, disk: &Disk, patience: Duration) -> Result<(), NodeError> {
        let busy = "jobs are on their way all the time; what is old goes when none is for a moment";
        if self.again.is_some_and(|again| Instant::now() < again) {
            self.kept.waits = Some(busy.into());
            return Ok(());
        }
        let shared = self.shared;
        let began = Instant::now();
        let held = between(&shared.data, patience, &shared.bell)?;
        // Others read in the ledger how far a job came that goes on: none may be there now.
        let settled = held.is_some() && shared.jobs.0.is_settled(&shared.data)?;
        if !settled {
            self.again = Some(Instant::now() + began.elapsed().max(SHORT) * PAUSE);
            self.kept.waits = Some(busy.into());
            return Ok(());
        }
        let (outside, key) = (&shared.outside, &self.key);
        let mut wrong = None;
        let blobs = Blobs::open(disk, BLOBS)?;
        let begun = Ledger::open(disk, LEDGER)?.begin_chapter(&mut |head| {
            let document = seals::document(head, outside, key).map_err(|e| {
                let what = e.to_string();
                wrong = Some(e);
                LedgerError::Unwritable(what)
            })?;
            Draft::checkpoint(document).entry((outside.now)(), &blobs)
        });
        match (begun, wrong) {
            (Err(_), Some(e)) => Err(e),
            (Err(e), None) => Err(e.into()),
            (Ok(index), _) => {
                log::info!("the ledger: a chapter begins with record #{index}");
                self.again = None;
                Ok(())
            }
        }
    }

    /// Drops what is left of a chapter that was being dropped when the node ended.
    fn drop_rest(&mut self, disk: &Disk) -> Result<bool, NodeError> {
        let rest = |chapter: &Chapter| !chapter.whole && chapter.segments.start > 0;
        if self.known.len() < 2 || !self.known.first().is_some_and(rest) {
            return Ok(false);
        }
        self.drop_oldest(disk)
    }

    /// Drops the oldest chapter. Not while somebody reads.
    fn drop_oldest(&mut self, disk: &Disk) -> Result<bool, NodeError> {
        let Some(_nobody) = at_once(&self.shared.data, "readers")? else {
            self.kept.waits =
                Some("somebody reads the ledger (`jos replay`, `jos ledger`); what is old goes after".into());
            return Ok(false);
        };
        // Files of jobs that ended are put where they are without waiting for the disk: so far the ledger could tell.
        let root =
            std::fs::File::open(self.shared.data.root()).map_err(NodeError::io(self.shared.data.root(), "open it"))?;
        nix::unistd::syncfs(&root).map_err(|e| NodeError::io(self.shared.data.root(), "write it out")(e.into()))?;
        let oldest = self.known.remove(0);
        for number in oldest.segments.clone() {
            drop_segment(disk, LEDGER, number)?;
        }
        let from = self.known.first().map_or(0, |chapter| chapter.first);
        log::info!("the ledger: {} bytes before record #{from} are gone", oldest.bytes);
        Ok(true)
    }

    /// Removes blobs that no record names, in batches: whoever writes one names it before a batch begins, or after it ended.
    fn collect(&mut self, disk: &Disk) -> Result<(), NodeError> {
        let blobs = Blobs::open(disk, BLOBS)?;
        let mut left: BTreeSet<Digest> = blobs.list()?.into_iter().map(|(digest, _)| digest).collect();
        if left.is_empty() {
            return Ok(());
        }
        let mut named = BTreeSet::new();
        // Those of damaged ledgers, too: people look into them.
        for folder in asides(disk, NAME)? {
            names_from(disk, &format!("{NAME}/{folder}"), 0, &mut named)?;
        }
        let mut from = names_from(disk, LEDGER, 0, &mut named)?;
        let mut gone = 0;
        loop {
            let shared = self.shared;
            let Some(_between) = between(&shared.data, PATIENCE, &shared.bell)? else {
                break;
            };
            from = names_from(disk, LEDGER, from, &mut named)?;
            left.retain(|digest| !named.contains(digest));
            let batch: Vec<Digest> = left.iter().take(BATCH).copied().collect();
            for digest in &batch {
                shared.data.remove(&format!("state/{BLOBS}/{digest}"))?;
                left.remove(digest);
            }
            gone += batch.len();
            if left.is_empty() {
                break;
            }
        }
        if gone > 0 {
            log::info!("the ledger: {gone} blobs that nothing names any more are gone");
        }
        Ok(())
    }

    /// Takes results away, where somebody said so. The oldest first.
    fn results(&mut self, limits: &Results) -> Result<(), NodeError> {
        if limits.count == 0 && limits.days == 0 {
            return Ok(());
        }
        let data = &self.shared.data;
        let written = |name: &String| {
            data.path(&format!("outbox/{name}"))
                .metadata()
                .and_then(|m| m.modified())
        };
        let names = data.names("outbox")?.into_iter().filter(|name| name.ends_with(".json"));
        let mut aged: Vec<_> = names.filter_map(|name| Some((written(&name).ok()?, name))).collect();
        aged.sort();
        let over = match limits.count {
            0 => 0,
            most => (aged.len() as u64).saturating_sub(most),
        };
        let oldest = self.now().saturating_sub(i64::from(limits.days) * 86_400);
        let is_old = |at: &std::time::SystemTime| {
            let at = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
            limits.days > 0 && i64::try_from(at).unwrap_or(i64::MAX) < oldest
        };
        let mut gone = 0;
        for (place, (at, name)) in aged.iter().enumerate() {
            if place as u64 >= over && !is_old(at) {
                break;
            }
            data.remove(&format!("outbox/{name}"))?;
            gone += 1;
        }
        if gone > 0 {
            log::info!("{gone} results are gone from outbox/, as {} says", super::FILE);
            self.kept.results_gone += gone;
        }
        Ok(())
    }
}
