//! What a device makes of a refusal.

use jos_schemas::own;

use super::{Action, BARRED, LONGEST_RETRY, Loop, News, Of};
use crate::wire::{Problem, code};

impl Loop {
    pub(super) fn refused(&mut self, now: u64, of: Of, status: u16, retry_after: Option<u32>, body: &[u8]) {
        // Whatever stands in front of the hub may answer in words of its own.
        let problem = own::read::<Problem>(body).unwrap_or_else(|_| Problem {
            code: String::new(),
            message: format!("it answered {status}"),
            help: None,
            details: serde_json::Value::Null,
        });
        let pause = retry_after.map(|seconds| {
            let span = (u64::from(seconds) * 1000).min(LONGEST_RETRY);
            // Not before, and not all at once.
            span + self.jitter.up_to(span / 10 + 1000)
        });
        if let Some(pause) = pause {
            self.not_before = now + pause;
        }
        match (problem.code.as_str(), of) {
            // Nothing to do with us: it ended, or the hub knows another key of ours.
            (code::NO_CERTIFICATE | code::UNKNOWN_DEVICE, of) if !self.recover && of != Of::Enrolled => {
                self.recover = true;
                self.trouble = Some(problem.message);
                self.go_on(now);
            }
            (
                code::QUARANTINED
                | code::REVOKED
                | code::BAD_TOKEN
                | code::BAD_RENEWAL
                | code::KNOWN_KEY
                | code::UNKNOWN_DEVICE,
                _,
            ) => {
                let pause = pause.unwrap_or_else(|| self.jitter.around(BARRED));
                self.heartbeat = now + pause;
                // A renewal that was not taken is asked for anew; the certificate may be good after all.
                self.recover &= problem.code != code::BAD_RENEWAL;
                let Problem { code, message, .. } = problem;
                self.trouble = Some(format!("{code}: {message}"));
                self.hand(Action::Take(News::Barred { code, message }), Of::BarredTaken { pause });
            }
            (code::MALFORMED | code::TOO_LONG, Of::Reported) => {
                // It will not be better for being sent again, and others wait behind it.
                let refused = Some(problem.message);
                self.hand(Action::Take(News::Reported { refused }), Of::ReportedTaken);
            }
            // Somebody's curiosity is no reason to send anything twice; while the question is open, it comes again.
            (_, Of::Answered) if pause.is_none() => self.go_on(now),
            (code::NOT_FOUND, Of::Trust(version)) => {
                self.trust_taken(now, version, super::Taken::Refused);
                self.go_on(now);
            }
            (code::NOT_FOUND, Of::HubCa) => {
                self.hub_ca_taken(now, super::Taken::Refused);
                self.go_on(now);
            }
            (_, Of::FloorSaid) => {
                self.floor_refused(now, format!("{status} {}: {}", problem.code, problem.message));
                match pause {
                    Some(pause) => self.at = super::At::Resting { until: now + pause },
                    None => self.go_on(now),
                }
            }
            _ => {
                self.fail(now, format!("{status} {}: {}", problem.code, problem.message));
                if let Some(pause) = pause {
                    self.at = super::At::Resting { until: now + pause };
                }
            }
        }
    }
}
