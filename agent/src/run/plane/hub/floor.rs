//! How far this device had come, where it does not know that itself: noticed, asked of the hub, verified, taken up.
//!
//! Asked is where the floors were lost, and where no version of the hub's was ever tried: a new device hears 0, one whose
//! data was dropped hears what it had come to.

use jos_runtime::Word;
use jos_schemas::documents::hub::DeviceFloor;
use jos_schemas::documents::trust::Role;
use jos_trust::Stream;
use jos_trust::floors::Counter;
use jos_trust::root::Received;
use jos_trust::statement::{self, Asked};

use super::{Agent, Host};

impl Agent<'_> {
    /// Looks after the floors, before anything is held against them.
    pub(in crate::run::plane) fn notice_floors(&mut self) {
        match self.plane.notice_lost_floors(&|| self.settings.counting_tenant()) {
            Ok(None) => self.floors_lost = false,
            Ok(Some(why)) => {
                let first = !std::mem::replace(&mut self.floors_lost, true);
                if first {
                    self.trouble(format!("the floors of this device were lost: {why}"));
                    if let Some(host) = &mut self.host {
                        host.turn.doubt_floor();
                    }
                }
            }
            Err(error) => self.trouble(error.to_string()),
        }
    }

    /// A nonce, where the hub has to be asked.
    pub(super) fn floor_question(&mut self, host: &mut Host) -> Result<Option<Vec<u8>>, String> {
        if !self.wants_floor()? {
            return Ok(None);
        }
        host.floor_nonce = format!("n{}", crate::files::unlike_any_other().map_err(|e| e.to_string())?);
        Ok(Some(host.floor_nonce.clone().into_bytes()))
    }

    fn wants_floor(&self) -> Result<bool, String> {
        let text = |e: jos_runtime::PlaneError| e.to_string();
        if self.plane.lost_floors().map_err(text)?.is_some() {
            return Ok(true);
        }
        let Some(identity) = &self.settings.identity else {
            return Ok(false);
        };
        let counter = Counter {
            tenant: Some(identity.tenant.clone()),
            name: self.settings.name.clone(),
            stream: Stream::State,
        };
        if self.plane.floors().map_err(text)?.has_tried(&counter) {
            return Ok(false);
        }
        // Where the trust document lets nobody speak of freshness, there is nobody to ask; without one no state counts.
        Ok(self.may_vouch())
    }

    /// Whether the trust document lets anybody speak of freshness.
    pub(super) fn may_vouch(&self) -> bool {
        self.root().is_ok_and(|root| root.has_role(Role::Freshness))
    }

    /// What the hub says of it.
    pub(super) fn floor(&mut self, host: &mut Host, bytes: &[u8]) -> Result<(), String> {
        // An answer counts once.
        let nonce = std::mem::take(&mut host.floor_nonce);
        let identity = self.settings.identity.clone().ok_or("a floor for nobody")?;
        let root = self.root()?;
        let asked = Asked {
            tenant: &identity.tenant,
            device: &identity.device,
            name: &self.settings.name,
            nonce: &nonce,
        };
        let said = statement::verify::<DeviceFloor>(Received::json("the hub's floor", bytes), &root, &asked)
            .map_err(|why| format!("the hub's floor for this device: {why}"))?;
        let regained = self.plane.regain_floor(Word::Hub(&said)).map_err(|e| e.to_string())?;
        self.floors_lost = false;
        if regained.lost.is_some() || regained.floor > regained.before {
            let (name, floor, said) = (&self.settings.name, regained.floor, said.value().floor);
            log::warn!("{name}: versions below {floor} are old: the hub knows of {said}");
            self.live.trouble = None;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
