//! Floors that were lost: what they are put together from again, and that none of it leads back.
//!
//! Whatever is said of a counter here raises it or changes nothing: the hub's word, which is bound to this device and this
//! question, an operator's at the machine, and what the device's own ledger knows.

use jos_schemas::documents::hub::DeviceFloor;

use super::{Counter, Floors, InForce, Stream};
use crate::verified::Verified;

impl Floors {
    /// The counter that the hub speaks of.
    pub fn vouched_counter(said: &Verified<DeviceFloor>) -> Counter {
        Counter {
            tenant: Some(said.value().tenant.clone()),
            name: said.value().name.clone(),
            stream: Stream::State,
        }
    }

    /// The counter stands at `version` at least from now on. Gives whether it rose.
    pub fn raise(&mut self, counter: &Counter, version: u64) -> bool {
        let known = self.counters.get(counter).map_or(0, |floor| floor.version);
        if version <= known {
            return false;
        }
        let floor = self.counters.or_default(counter.clone());
        (floor.version, floor.content) = (version, None);
        true
    }

    /// What the device's own ledger says it keeps, where these floors know of nothing. Gives whether they did not.
    pub fn remember(&mut self, counter: &Counter, kept: InForce) -> bool {
        if self.in_force(counter).is_some() {
            return false;
        }
        let floor = self.counters.or_default(counter.clone());
        if kept.version >= floor.version {
            (floor.version, floor.content) = (kept.version, Some(kept.content));
        }
        floor.in_force = Some(kept);
        true
    }

    /// Whether a version was ever tried under `counter`. A number alone, which a trust document set, is no trial.
    pub fn has_tried(&self, counter: &Counter) -> bool {
        self.counters
            .get(counter)
            .is_some_and(|floor| floor.content.is_some() || floor.in_force.is_some() || !floor.failed.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use jos_schemas::documents::hub::DeviceFloor;

    use super::*;
    use crate::digest::sha256;
    use crate::floors::{Edition, Standing};
    use crate::refused::Refused;
    use crate::root::{Received, TrustRoot};
    use crate::sign as trust_sign;
    use crate::statement::{Asked, StatementRefused, sign, verify};
    use crate::testing::*;
    use jos_schemas::documents::trust::Role;

    fn counter() -> Counter {
        Counter {
            tenant: Some(name("acme")),
            name: name("portal"),
            stream: Stream::State,
        }
    }

    fn floor() -> DeviceFloor {
        let floor = serde_json::json!({
            "kind": "jos.floor", "tenant": "acme", "device": "router-7", "name": "portal", "floor": 42, "time": NOW, "nonce": "n-1",
        });
        serde_json::from_value(floor).expect("a floor")
    }

    fn judge_by(root: &TrustRoot, floor: &DeviceFloor) -> Result<Verified<DeviceFloor>, StatementRefused> {
        let signed = sign(floor, &freshness_key()).expect("canonical");
        let bytes = serde_json::to_vec(&signed).expect("plain data");
        let (tenant, name) = (name("acme"), name("portal"));
        let asked = Asked {
            tenant: &tenant,
            device: "router-7",
            name: &name,
            nonce: "n-1",
        };
        verify(Received::json("hub", &bytes), root, &asked)
    }

    fn kept(version: u64) -> InForce {
        InForce {
            version,
            content: sha256(&version.to_be_bytes()),
            signers: Vec::new(),
            dev: false,
        }
    }

    #[test]
    fn a_floor_for_another_device_name_or_tenant_or_an_earlier_question_is_no_answer() {
        assert!(judge_by(&root(), &floor()).is_ok());
        let others = [
            (
                "device",
                DeviceFloor {
                    device: "router-8".into(),
                    ..floor()
                },
            ),
            (
                "name",
                DeviceFloor {
                    name: name("kiosk"),
                    ..floor()
                },
            ),
            (
                "tenant",
                DeviceFloor {
                    tenant: name("other"),
                    ..floor()
                },
            ),
            (
                "nonce",
                DeviceFloor {
                    nonce: "n-0".into(),
                    ..floor()
                },
            ),
        ];
        for (what, other) in others {
            match judge_by(&root(), &other).expect_err(what) {
                StatementRefused::NotAsked { field, .. } => assert_eq!(field, what),
                other => panic!("{what}: {other}"),
            }
        }
    }

    #[test]
    fn a_floor_signed_by_a_key_that_has_left_the_trust_root_is_refused() {
        let mut next = trust_sign::successor(&trust());
        trust_sign::withdraw(&mut next, Some(Role::Freshness), freshness_key().id());
        trust_sign::grant(&mut next, Role::Freshness, &(&key(5, "hub-2")).into()).expect("a new id");
        let next = signed_trust(&next, &[&root_key()]);
        let next = TrustRoot::open(Received::json("t", &next)).expect("a root");
        assert!(matches!(
            judge_by(&next, &floor()),
            Err(StatementRefused::Signatures(_))
        ));
    }

    #[test]
    fn a_word_about_a_floor_raises_it_and_never_lowers_what_is_known() {
        let said = judge_by(&root(), &floor()).expect("the answer");
        assert_eq!(Floors::vouched_counter(&said), counter());
        let mut floors = Floors::default();
        assert!(floors.raise(&counter(), said.value().floor));
        let old = Edition {
            version: 41,
            content: sha256(b"old"),
        };
        assert_eq!(
            floors.standing(&counter(), old),
            Err(Refused::Rollback { offered: 41, floor: 42 })
        );
        let same = Edition { version: 42, ..old };
        assert_eq!(
            floors.standing(&counter(), same),
            Ok(Standing::New),
            "its content is not known"
        );
        let mut floors = Floors::default();
        floors.remember(&counter(), kept(50));
        let before = floors.clone();
        assert!(!floors.raise(&counter(), 42));
        assert!(!floors.remember(&counter(), kept(60)), "what is in force is known");
        assert_eq!(floors, before);
    }

    #[test]
    fn a_number_that_a_trust_document_set_is_no_trial() {
        let mut floors = Floors::default();
        assert!(!floors.has_tried(&counter()));
        floors.raise(&counter(), 7);
        assert!(!floors.has_tried(&counter()));
        floors.remember(&counter(), kept(6));
        assert!(floors.has_tried(&counter()));
        assert_eq!(floors.floor(&counter()).map(|f| f.version), Some(7));
    }
}
