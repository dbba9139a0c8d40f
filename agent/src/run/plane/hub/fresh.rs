//! Freeze: a hub, or whoever stands in its place, that keeps what is newer from this device, or vouches for nothing any more
//! while it goes on answering.
//!
//! Only a statement that was verified says what is newest. What came of it is told to people: `status`, the log, once in the
//! ledger for each occurrence, and the next heartbeat, which gets through where only the way back is tampered with.
//!
//! ```text
//! statement verified, its version was not given  ──► three of them, and the bound has passed ──► alarm
//! answers, and none of them a statement that is verified ──► the bound has passed ──► alarm
//! the version is given · a statement is verified ──► over
//! no answer at all ──► no alarm: that is an outage, and `status` shows it as one
//! ```

use jos_runtime::Last;
use jos_schemas::documents::policy::Source;
use jos_trust::Stream;
use jos_trust::floors::Counter;

use super::{Agent, Host};

/// Within this a state comes in the course of things, however short the interval is.
const SHORTEST: u64 = 10 * 60_000;
/// So many heartbeats may pass as well; and so many statements say it before it counts.
const HEARTBEATS: u64 = 3;
/// What begins each reason.
const FREEZE: &str = "freeze: ";

/// What a device knows of how fresh its hub's words are. Time is the host's count of milliseconds.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The trust document names somebody who may vouch for what is newest.
    able: bool,
    hidden: Option<Hidden>,
    unsaid: Option<Unsaid>,
}

/// A version that is vouched for and was not given.
#[derive(Debug)]
struct Hidden {
    version: u64,
    given: u64,
    since: u64,
    times: u64,
}

/// Answers without a word that counts.
#[derive(Debug)]
struct Unsaid {
    since: u64,
    latest: u64,
    why: Option<String>,
}

impl Watch {
    /// Where nobody may vouch for anything, nothing is expected.
    pub(super) fn may(&mut self, able: bool) {
        if !able {
            *self = Self::default();
        }
        self.able = able;
    }

    /// The hub took a question of this device's and answered it.
    pub(super) fn answered(&mut self, now: u64) {
        if self.able {
            let unsaid = self.unsaid.get_or_insert(Unsaid {
                since: now,
                latest: now,
                why: None,
            });
            unsaid.latest = now;
        }
    }

    /// What it said of what is newest does not count.
    pub(super) fn not_verified(&mut self, why: String) {
        if let Some(unsaid) = &mut self.unsaid {
            unsaid.why = Some(why);
        }
    }

    /// It vouches for this version; the newest that this device was given is `given`.
    pub(super) fn vouched(&mut self, now: u64, version: u64, given: u64) {
        self.unsaid = None;
        let before = self.hidden.take();
        if version > given {
            let (since, times) = before.map_or((now, 0), |hidden| (hidden.since, hidden.times));
            self.hidden = Some(Hidden {
                version,
                given,
                since,
                times: times + 1,
            });
        }
    }

    /// What people have to hear now.
    fn alarm(&self, now: u64, interval: u64) -> Option<String> {
        let bound = (HEARTBEATS * interval).max(SHORTEST);
        let minutes = bound / 60_000;
        if let Some(Hidden { version, given, .. }) = self
            .hidden
            .as_ref()
            .filter(|hidden| hidden.times >= HEARTBEATS && now.saturating_sub(hidden.since) >= bound)
        {
            return Some(format!(
                "{FREEZE}the hub vouches for version {version}, and for {minutes} minutes nothing newer than {given} has come"
            ));
        }
        let unsaid = self.unsaid.as_ref()?;
        (unsaid.latest - unsaid.since >= bound).then(|| {
            let why = unsaid.why.as_deref().unwrap_or("it does not answer heartbeats");
            format!("{FREEZE}the hub answers, and for {minutes} minutes it has vouched for nothing: {why}")
        })
    }
}

/// Whether the last outcome is an alarm of this kind: no state's.
pub(super) fn is_alarm(last: &Last) -> bool {
    last.reasons.first().is_some_and(|why| why.starts_with(FREEZE))
}

impl Agent<'_> {
    /// The newest version that this device was given, tried or not.
    pub(super) fn newest_given(&self) -> u64 {
        let tenant = self.settings.identity.as_ref().map(|identity| identity.tenant.clone());
        let counter = Counter {
            tenant,
            name: self.settings.name.clone(),
            stream: Stream::State,
        };
        let floors = self.plane.floors().unwrap_or_default();
        let tried = floors.floor(&counter).map_or(0, |floor| floor.version);
        tried.max(self.came)
    }

    /// Raises an alarm where one is due, and ends it.
    pub(super) fn watch(&mut self, host: &mut Host) {
        let alarm = host.watch.alarm(self.now(), host.interval);
        let name = &self.settings.name;
        match (&alarm, &host.told.alarm) {
            (Some(why), None) => {
                log::warn!("{name}: {why}");
                if let Err(error) = self.plane.refuse(Source::Hub, None, why) {
                    self.trouble(error.to_string());
                }
            }
            (None, Some(why)) => log::info!("{name}: over: {why}"),
            _ => {}
        }
        host.told.alarm = alarm;
    }
}

#[cfg(test)]
mod tests;
