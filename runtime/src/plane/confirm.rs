//! Commit-confirmed: what decides, once the steps are done, whether a change is kept.
//!
//! ```text
//! trying ──steps done──► health ──good──► confirming ──confirm.command, hub_within──► confirmed ──► floors: in force
//!    │                      │ bad              │ no, or the deadline is over                 (the commit point)
//!    └──────────────────────┴──────────────────┴──► reverting: old state back, its health asked, services told
//!                                                        │ it was the hub that did not answer
//!                                                        ▼
//!                                   answers under the old state: `rolled_back`, the version has failed
//!                                   does not answer either:      `unconfirmed`, nobody's fault, tried again later
//! ```
//! Deadlines are monotonic time of this process; whoever sets the clock does not move them. A trial that a crash or a
//! reboot interrupts in any phase before `confirmed` is taken back: no state can declare a reboot of its own so far, so
//! there is no phase in which one is expected.

use std::time::Duration;

use jos_schemas::documents::desired_state::{Confirm, HealthCheck};
use jos_schemas::documents::policy::Source;

use super::Plane;
use super::record::payload;
use crate::act::{Captured, Cause, Done, Failed, Hands};
use crate::gate::Gate;
use crate::health;
use crate::journal::Phase;
use crate::outcome::Report;
use crate::world::{Hub, Invocation, Ran};

/// What decides at the end.
pub(super) struct Verdict<'t> {
    /// Who proposed the change.
    pub(super) source: Source,
    /// The health check, and under whose grant.
    pub(super) health: Option<(Source, &'t HealthCheck)>,
    pub(super) confirm: Option<&'t Confirm>,
    /// A failed health check takes the change back. Not for drift: what was before is nothing to go back to.
    pub(super) health_decides: bool,
}

/// For one question to the hub.
const PROBE: Duration = Duration::from_secs(10);
/// Between two questions: a second, then more, at most this.
const PROBE_PAUSE: Duration = Duration::from_secs(15);
/// The old state gets as long to reach the hub as the new one had, and at most so long.
const OLD_STATE: Duration = Duration::from_secs(300);
/// For `confirm.command`.
const COMMAND: Duration = Duration::from_secs(60);

impl Plane<'_> {
    /// Whether a trial may start: one that the hub has to confirm needs a hub that answers now, so that its silence
    /// afterwards says something about the change.
    pub(super) fn may_start(&self, confirm: Option<&Confirm>) -> Result<(), String> {
        let asked = self.live() && confirm.is_some_and(|c| c.hub_within.is_some());
        match self.world.hub.filter(|_| asked) {
            Some(hub) => hub.reachable(PROBE),
            None => Ok(()),
        }
    }

    /// Health, then whoever confirms.
    pub(super) fn judge(
        &self,
        gate: &Gate<'_>,
        wanted: &Verdict<'_>,
        hands: &Hands<'_>,
        done: &mut Done,
        report: &mut Report,
    ) -> Result<(), Failed> {
        if !self.live() {
            return Ok(());
        }
        let since = self.world.clock.monotonic();
        if let Some((source, check)) = wanted.health {
            match health::check(self.world, gate, source, check) {
                Ok(good) => report.health = Some(good),
                Err(bad) => {
                    report.health = Some(format!("failed: {bad}"));
                    let why = format!("the health check failed: {bad}");
                    if wanted.health_decides {
                        return Err(Failed::state(why));
                    }
                    report.reasons.push(why);
                }
            }
        }
        let Some(confirm) = wanted.confirm else { return Ok(()) };
        hands
            .journal
            .set_phase(Phase::Confirming, payload(report), None)
            .map_err(|e| Failed::device(e.to_string()))?;
        if let Some(text) = &confirm.command {
            let failed = |why: String| Failed::state(format!("confirm.command: {why}"));
            let argv = gate
                .command(wanted.source, text)
                .ok_or_else(|| failed("not listed".into()))?;
            let invocation = Invocation {
                argv,
                env: Vec::new(),
                timeout: COMMAND,
            };
            let ran: Ran = self.world.processes.run(&invocation).map_err(failed)?;
            done.captured.push(Captured::of("confirm.command", &ran));
            if !ran.ok() {
                return Err(failed(format!("it ended with {}", ran.ending())));
            }
        }
        if let Some(seconds) = confirm.hub_within {
            let hub = self
                .world
                .hub
                .ok_or_else(|| Failed::state("there is no hub to confirm".into()))?;
            let within = Duration::from_secs(u64::from(seconds));
            self.answers(hub, since, within).map_err(|why| Failed {
                why: format!("the hub did not answer within {seconds} s under the new state: {why}"),
                cause: Cause::Hub { within: seconds },
            })?;
        }
        Ok(())
    }

    /// Asks the hub until it answers or `within` is over; once at least.
    fn answers(&self, hub: &dyn Hub, since: Duration, within: Duration) -> Result<(), String> {
        let clock = self.world.clock;
        let left = || within.saturating_sub(clock.monotonic().saturating_sub(since));
        let mut pause = Duration::from_secs(1);
        loop {
            let why = match hub.reachable(PROBE.min(left().max(Duration::from_secs(1)))) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            };
            if left().is_zero() {
                return Err(why);
            }
            log::info!("{}: the hub does not answer yet: {why}", self.setup.name);
            clock.pause(pause.min(left()));
            pause = (pause * 2).min(PROBE_PAUSE);
        }
    }

    /// After the old state came back from a change that the hub did not confirm: whose fault it was. True where the hub
    /// answers now, so that it was the change.
    pub(super) fn hub_blames(&self, within: u32) -> bool {
        let Some(hub) = self.world.hub else { return false };
        let within = Duration::from_secs(u64::from(within)).min(OLD_STATE);
        self.answers(hub, self.world.clock.monotonic(), within).is_ok()
    }
}
