//! What the network half offered: verified, then applied or refused, on the record either way.

use std::path::Path;

use jos_runtime::{Outcome, PlaneError};
use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::policy::Source;
use jos_schemas::read::Format;
use jos_trust::root::Received;
use jos_trust::state::{Channel, Context};
use jos_trust::{Refused, TrustRoot, Verified, sha256, verify_state};

use super::{Agent, Judged, Settings, Verdict};

/// What came of a document that was verified.
enum Tried {
    /// It was taken up, or refused by the plane.
    Ended {
        outcome: Box<Outcome>,
        /// It failed through no fault of its own: seconds until it is tried again.
        again: Option<u64>,
    },
    /// It failed so a moment ago.
    Waits { version: u64, seconds: u64 },
}

impl Agent<'_> {
    pub(super) fn judge(&mut self, bytes: &[u8]) {
        let Some((path, channel)) = self.settings.state.clone() else {
            return;
        };
        let digest = sha256(bytes);
        if self.judged == Some(Judged::Settled(digest)) {
            return;
        }
        self.live.trouble = None;
        self.judge_as(&path, bytes, channel);
        if self.judged.is_none() {
            self.judged = Some(Judged::Settled(digest));
        }
    }

    pub(super) fn judge_as(&mut self, path: &Path, bytes: &[u8], channel: Channel) {
        self.judged = None;
        self.verdict = Verdict::Settled;
        match self.try_judge(path, bytes, channel) {
            Ok(Tried::Ended { outcome, again }) => {
                self.pause.over();
                // A good end is in the log already; its changes are in the ledger.
                if outcome.exit_code() != 0 {
                    self.trouble(outcome.to_string());
                }
                if let Some(seconds) = again {
                    self.judged = Some(Judged::Refused);
                    self.verdict = Verdict::Again { seconds };
                }
            }
            Ok(Tried::Waits { version, seconds }) => {
                self.judged = Some(Judged::Refused);
                self.verdict = Verdict::Again { seconds };
                self.live.trouble = Some(format!(
                    "version {version} could not be kept; tried again in {seconds} s"
                ));
            }
            Err(why) => {
                self.judged = Some(Judged::Refused);
                self.verdict = Verdict::Refused;
                self.trouble(why);
            }
        }
    }

    /// Whose signatures count.
    pub(super) fn root(&self) -> Result<TrustRoot, String> {
        let trust = crate::files::read(&self.settings.trust, crate::subject::LIMIT).map_err(|e| e.to_string())?;
        let shown = self.settings.trust.display().to_string();
        let received = Received {
            name: &shown,
            bytes: &trust,
            format: Format::of_path(&self.settings.trust),
        };
        let root = TrustRoot::open(received).map_err(|e| format!("{shown}: {e}"))?;
        self.plane
            .trust_root(root, self.settings.tenant())
            .map_err(|e| format!("{shown}: {e}"))
    }

    fn try_judge(&mut self, path: &Path, bytes: &[u8], channel: Channel) -> Result<Tried, String> {
        let root = self.root()?;
        let floors = self.plane.floors().map_err(|e| e.to_string())?;
        let now = self.plane.now().map_err(|e| e.to_string())?;
        let labels = self.settings.labels();
        let context = Context {
            channel,
            name: &self.settings.name,
            tenant: self.settings.tenant(),
            device: self.settings.device(),
            labels: &labels,
            now: &now,
            floors: &floors,
            allow_unscoped: allow_unscoped(&self.settings, channel),
        };
        let name = path.display().to_string();
        let received = Received {
            name: &name,
            bytes,
            format: Format::of_path(path),
        };
        let verdict = verify_state(received, &root, &context);
        if channel == Channel::Hub && verdict.as_ref().err().is_none_or(is_signed) {
            let version = version(&name, bytes, Format::of_path(path));
            self.came = self.came.max(version.unwrap_or(0));
        }
        let why = match verdict {
            Ok(verified) => match crate::subject::filled_in(&name, verified.value()) {
                Ok(()) => return self.try_apply(&verified),
                Err(open) => open.to_string(),
            },
            Err(refused) => format!("{name}: {refused}"),
        };
        let version = version(&name, bytes, Format::of_path(path));
        match self.plane.refuse(source(channel), version, &why) {
            Ok(outcome) if channel == Channel::Hub => self.report(&outcome),
            Ok(_) => {}
            Err(error) => log::error!("{error}"),
        }
        Err(why)
    }

    fn try_apply(&mut self, verified: &Verified<DesiredState>) -> Result<Tried, String> {
        let text = |e: PlaneError| e.to_string();
        let seconds = self.plane.patience_with(verified).map_err(text)?;
        if seconds > 0 {
            let version = verified.version();
            return Ok(Tried::Waits { version, seconds });
        }
        let outcome = self.plane.apply(verified).map_err(|e| {
            self.pause.failed(self.started.elapsed());
            text(e)
        })?;
        if verified.channel() == Channel::Hub {
            self.report(&outcome);
        }
        let again = Some(self.plane.patience_with(verified).map_err(text)?).filter(|s| *s > 0);
        let outcome = Box::new(outcome);
        Ok(Tried::Ended { outcome, again })
    }
}

/// Whether what was refused is signed as it has to be: those who may have said what it says, and it is refused for that.
fn is_signed(refused: &Refused) -> bool {
    use Refused::{Malformed, NotCanonical, Signatures, WrongKind};
    !matches!(
        refused,
        Malformed(_) | NotCanonical(_) | Signatures(_) | WrongKind { .. }
    )
}

/// The version that a refused document claims, for who is told of it.
fn version(name: &str, bytes: &[u8], format: Format) -> Option<u64> {
    let node = jos_schemas::read::parse(name, bytes, format).ok()?;
    node.pointer("/meta/version")?.to_json().as_u64()
}

fn source(channel: Channel) -> Source {
    match channel {
        Channel::Baseline => Source::Baseline,
        Channel::Local => Source::Local,
        Channel::Hub => Source::Hub,
    }
}

fn allow_unscoped(settings: &Settings, channel: Channel) -> bool {
    settings
        .policy
        .grants
        .get(&source(channel))
        .is_some_and(|g| g.allow_unscoped)
}
