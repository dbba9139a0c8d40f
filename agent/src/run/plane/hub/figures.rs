//! What the machine measured, on its way to the hub: kept where no hub is there, told in order once one is.

use std::collections::BTreeMap;

use jos_link::Reply;
use jos_runtime::Wishes;
use jos_schemas::documents::hub::{Figures, Sample};
use jos_schemas::text::{Name, Utc};
use serde_json::Value;

use super::{Agent, Host};

impl Agent<'_> {
    /// The machine's figures as they are now, those that policy lets out.
    pub(super) fn measure(&self, host: &mut Host, wishes: &Wishes) -> BTreeMap<Name, Value> {
        let custom = self.settings.metrics();
        let services = (self.world.services, &wishes.services);
        let root = std::path::Path::new("/");
        let mut all = host
            .telemetry
            .read(root, &self.settings.state_dir, services, custom.as_deref());
        if let Some(figures) = &self.settings.policy.telemetry {
            all.retain(|name, _| figures.iter().any(|figure| figure.word() == name.as_str()));
        }
        all
    }

    /// Takes figures where that is due and no heartbeat has, and writes those that wait for long; gives when it has to be
    /// called again.
    pub(super) fn keep_figures(&mut self, host: &mut Host) -> u64 {
        if self.settings.identity.is_none() {
            return u64::MAX;
        }
        if self.now() >= host.figures_due {
            let wishes = self.plane.wishes().unwrap_or_default();
            let telemetry = self.measure(host, &wishes);
            self.keep(host, telemetry);
        }
        self.figures.write(self.now());
        host.figures_due.min(self.figures.due())
    }

    /// What a heartbeat with this telemetry says of figures before it. Where the hub takes none, the telemetry is all.
    pub(super) fn tell_figures(&mut self, host: &mut Host, telemetry: &BTreeMap<Name, Value>) -> Option<Figures> {
        host.telling = None;
        if !host.takes_figures {
            return None;
        }
        // A heartbeat that comes early, to say what became of a state, is no further sample.
        if self.now() + self.span(host) / 2 >= host.figures_due {
            self.keep(host, telemetry.clone());
        }
        let figures = self.figures.next();
        host.telling = figures.as_ref().map(|figures| figures.batch.clone());
        figures
    }

    /// The hub has taken a heartbeat, and what it said of figures.
    pub(super) fn told_figures(&mut self, host: &mut Host, takes: bool) {
        match host.telling.take() {
            Some(batch) => self.figures.done(&batch),
            // Its telemetry counts as it is.
            None => host.figures_due = self.now() + self.span(host),
        }
        host.takes_figures = takes;
    }

    /// A heartbeat that the hub does not read must not stand in the way of all that follow: its figures are given up.
    pub(super) fn refused_figures(&mut self, host: &mut Host, reply: &Reply) {
        let status = match reply {
            Reply::Answer { status: 200..=399, .. } => return,
            Reply::Answer { status, .. } => *status,
            Reply::Failed { .. } => 0,
        };
        if let Some(batch) = host.telling.take().filter(|_| matches!(status, 400 | 413)) {
            log::error!("the hub does not take the figures of batch {batch}: they are given up");
            self.figures.done(&batch);
            host.takes_figures = false;
        }
    }

    fn keep(&mut self, host: &mut Host, telemetry: BTreeMap<Name, Value>) {
        let time = self.plane.now();
        let time = time.unwrap_or_else(|_| Utc::from_unix(self.world.clock.now()));
        let now = self.now();
        self.figures.add(now, &Sample { time, telemetry });
        host.figures_due = now + self.span(host);
    }

    /// Milliseconds from one sample to the next where there is no heartbeat: longer than from one heartbeat to the next,
    /// which take them as they come.
    fn span(&self, host: &Host) -> u64 {
        host.interval * 9 / 8
    }
}
