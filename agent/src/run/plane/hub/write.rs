//! What the device says to its hub.

use jos_link::Document;
use jos_schemas::documents::hub::{Heartbeat, HeartbeatKind, Renewal, RenewalKind};
use jos_schemas::own;
use jos_schemas::text::Name;
use jos_trust::{Stream, request, statement};

use super::report::head;
use super::{Agent, Host, fresh};
use crate::identity;

impl Agent<'_> {
    pub(super) fn write(&mut self, host: &mut Host, document: &Document) -> Result<Option<Vec<u8>>, String> {
        let text = |e: serde_json::Error| e.to_string();
        match document {
            Document::Enrolment { token } => {
                host.lock = None;
                host.lock = Some(identity::lock(&self.settings.state_dir)?);
                let (one, _) = host.applicant.as_ref().ok_or("nobody is to be enrolled")?;
                one.enrolment(token.clone()).map(Some)
            }
            Document::Renew | Document::Renewal { .. } => {
                let Some(identity) = self.fresh_identity(host)? else {
                    return Ok(None);
                };
                let tls = request::certificate_request(&identity::tls_key(&self.settings.state_dir)?);
                let Document::Renewal { challenge } = document else {
                    return own::write(&jos_link::wire::RenewRequest { tls })
                        .map(Some)
                        .map_err(text);
                };
                let renewal = Renewal {
                    schema: None,
                    kind: RenewalKind::default(),
                    device: identity.device,
                    tls,
                    challenge: challenge.clone(),
                    signature: None,
                };
                let key = identity::ledger_key(&self.settings.state_dir)?;
                let signed = statement::sign_renewal(&renewal, &key).map_err(|e| e.to_string())?;
                own::write(&signed).map(Some).map_err(text)
            }
            Document::Heartbeat => own::write(&self.heartbeat(host)?).map(Some).map_err(text),
            Document::Floor => self.floor_question(host),
            Document::Report => Ok(self.spool().oldest().map(|(number, bytes)| {
                host.reporting = Some(number);
                bytes
            })),
            Document::Answer(question) => self.answer(host, question),
        }
    }

    /// Our identity, under the lock; none where another agent of this device has renewed it, which is taken up then.
    fn fresh_identity(&mut self, host: &mut Host) -> Result<Option<identity::Identity>, String> {
        host.lock = None;
        let lock = identity::lock(&self.settings.state_dir)?;
        let kept = identity::Identity::load(&self.settings.state_dir)?.ok_or("the identity is gone")?;
        let ours = self.settings.identity.as_ref().map(|i| &i.certificate);
        if ours != Some(&kept.certificate) {
            self.settings.identity = Some(kept);
            self.lead(host)?;
            return Ok(None);
        }
        host.lock = Some(lock);
        Ok(Some(kept))
    }

    fn heartbeat(&mut self, host: &mut Host) -> Result<Heartbeat, String> {
        let status = self.plane.status().map_err(|e| e.to_string())?;
        let wishes = self.plane.wishes().unwrap_or_default();
        let interval = wishes.interval.unwrap_or(self.settings.interval);
        host.turn.set_interval(interval);
        host.interval = u64::from(interval.max(1)) * 1000;
        host.nonce = format!("n{}", crate::files::unlike_any_other().map_err(|e| e.to_string())?);
        let mut telemetry = self.measure(host, &wishes);
        let figures = self.tell_figures(host, &telemetry);
        if let (Some(alarm), Ok(name)) = (&host.told.alarm, Name::new("alarm")) {
            telemetry.insert(name, alarm.clone().into());
        }
        let last = status.last.as_ref().filter(|last| !fresh::is_alarm(last));
        let in_force = status.in_force.iter().find(|s| s.stream == Stream::State);
        Ok(Heartbeat {
            schema: None,
            kind: HeartbeatKind::default(),
            name: self.settings.name.clone(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            session: host.session.clone(),
            features: self.plane.features(),
            version: in_force.map(|s| s.version),
            outcome: last.map(|l| l.outcome),
            ledger: head(&status.ledger),
            nonce: host.nonce.clone(),
            hub_ca: host.turn.hub_ca(),
            telemetry,
            figures,
        })
    }
}
