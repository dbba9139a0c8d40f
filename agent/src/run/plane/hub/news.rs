//! What the hub said of the time and of trust: verified before it counts.

use jos_link::Taken;
use jos_link::wire::HeartbeatReply;
use jos_schemas::documents::hub::Freshness;
use jos_schemas::documents::trust::Role;
use jos_schemas::own;
use jos_schemas::text::Utc;
use jos_trust::TrustRoot;
use jos_trust::root::Received;
use jos_trust::statement::{self, Asked};

use super::{Agent, Host};
use crate::identity::{self, hub_ca};

/// Seconds by which the hub's time has to be ahead of the floor before that is worth a write.
const FLOOR_STEP: i64 = 3600;
/// A clock that is so far behind is wrong.
const CLOCK_OFF: i64 = 60;

impl Agent<'_> {
    pub(super) fn heard(&mut self, host: &mut Host, reply: HeartbeatReply) -> Result<(), String> {
        self.told_figures(host, reply.figures);
        host.told.held = reply.held.as_ref().and_then(|held| serde_json::to_value(held).ok());
        let Some(identity) = self.settings.identity.clone() else {
            return Ok(());
        };
        // Without a trust document nobody's word about the time counts; the rest of the answer does.
        let Ok(root) = self.root() else { return Ok(()) };
        host.watch.may(root.has_role(Role::Freshness));
        let asked = Asked {
            tenant: &identity.tenant,
            device: &identity.device,
            name: &self.settings.name,
            nonce: &host.nonce,
        };
        let bytes = own::write(&reply.freshness).map_err(|e| e.to_string())?;
        match statement::verify::<Freshness>(Received::json("freshness", &bytes), &root, &asked) {
            Ok(statement) => {
                let floors = self.plane.floors().map_err(|e| e.to_string())?;
                let mut risen = floors.clone();
                risen.heard(&statement);
                // A floor is worth a write to flash when it is an hour off, or when it corrects the clock.
                let (old, new) = (
                    floors.now(&Utc::from_unix(0), &crate::world::built()),
                    statement.value().time.unix(),
                );
                let system = self.world.clock.now();
                if risen != floors
                    && (new - old.unix() >= FLOOR_STEP || (system < new - CLOCK_OFF && old.unix() < new - CLOCK_OFF))
                {
                    self.plane
                        .change_floors(&mut |floors| floors.heard(&statement))
                        .map_err(|e| e.to_string())?;
                }
                host.told.freshness = Some(statement.value().time.to_string());
                let offered = statement.value().offered;
                host.told.offered = Some(offered).filter(|v| *v > 0);
                host.watch.vouched(self.now(), offered, self.newest_given());
            }
            // Once is nothing: it may be signed by a key that the next trust document names.
            Err(why) => {
                log::debug!("the hub's freshness statement: {why}");
                host.watch.not_verified(why.to_string());
            }
        }
        Ok(())
    }

    pub(super) fn trust(&mut self, version: u64, bytes: &[u8]) -> Result<Taken, String> {
        let received = Received::json("the hub's trust document", bytes);
        let tenant = self.settings.identity.as_ref().map(|i| i.tenant.clone());
        let root = match self.root() {
            Ok(root) => root,
            Err(_) if !self.settings.trust.exists() => return self.first_trust(version, bytes),
            Err(why) => return Err(why),
        };
        let floors = self.plane.floors().map_err(|e| e.to_string())?;
        let system = Utc::from_unix(self.world.clock.now());
        let chain = root
            .walk(&[received], &floors, &system, &crate::world::built())
            .map_err(|e| format!("trust document {version}: {e}"))?;
        let Some(last) = chain.last() else {
            return Ok(Taken::Refused);
        };
        self.plane
            .adopt_roots(&chain, Some(&root), tenant.as_ref())
            .map_err(|e| e.to_string())?;
        // It may have set the floors anew, even downwards.
        self.came = 0;
        log::info!("{}: trust document {} is in use", self.settings.name, last.version());
        Ok(Taken::Trust(last.version()))
    }

    /// What is said to be the admins' word on the hub's CA. Believed from the next connection on.
    pub(super) fn hub_ca(&mut self, host: &mut Host, bytes: &[u8]) -> Result<Taken, String> {
        let root = self.root()?;
        let state_dir = self.settings.state_dir.clone();
        host.lock = None;
        let lock = identity::lock(&state_dir)?;
        // Another agent of this device may have renewed meanwhile.
        let mut kept = identity::Identity::load(&state_dir)?.ok_or("the identity is gone")?;
        let version = hub_ca::take(bytes, &root, &state_dir, &mut kept)?;
        drop(lock);
        log::info!("{}: the hub's CA {version} is believed", self.settings.name);
        self.settings.identity = Some(kept);
        self.lead(host)?;
        Ok(Taken::HubCa(version))
    }

    /// The package brought none: the one that the token named is the first.
    fn first_trust(&mut self, version: u64, bytes: &[u8]) -> Result<Taken, String> {
        let root = TrustRoot::open(Received::json("the hub's trust document", bytes)).map_err(|e| e.to_string())?;
        let wanted = self.settings.identity.as_ref().and_then(|i| i.trust);
        if wanted != Some(root.edition().content) {
            log::debug!("trust document {version} is not the one of the token");
            return Ok(Taken::Refused);
        }
        self.settings.trust = identity::save_trust(&self.settings.state_dir, bytes)?;
        let root = self.root()?;
        log::info!("{}: trust document {} of the token", self.settings.name, root.version());
        Ok(Taken::Trust(root.version()))
    }
}
