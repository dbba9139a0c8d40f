//! Each attack of "Signed state" that needs no hub, by its name; one file for each class of attack.

mod freeze;
mod parsing;
mod replay;
mod rollback;
mod signatures;

use jos_schemas::documents::trust::Role;
use jos_schemas::read::Format;
use serde_json::{Value, json};

use super::*;
use crate::refused::BadSignatures;
use crate::sign;
use crate::testing::*;

fn verify(bytes: &[u8], device: &Device) -> Result<Verified<DesiredState>, Refused> {
    verify_state(Received::json("state.json", bytes), &root(), &device.context())
}

fn good(version: u64, device: &Device) -> Verified<DesiredState> {
    verify(&signed_state(&state(version), &[&admin_key()]), device).expect("a good state")
}

fn refused(bytes: &[u8], device: &Device) -> Refused {
    verify(bytes, device).expect_err("it must be refused")
}

fn bad(bytes: &[u8]) -> BadSignatures {
    match refused(bytes, &Device::new()) {
        Refused::Signatures(bad) => bad,
        other => panic!("refused for another reason: {other:?}"),
    }
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

fn bytes_of(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON")
}

#[test]
fn a_state_signed_by_an_admin_for_this_device_is_verified() {
    let verified = good(7, &Device::new());
    assert_eq!(verified.version(), 7);
    assert_eq!(verified.standing(), Standing::New);
    assert_eq!(verified.signers(), [admin_key().id().clone()]);
    assert_eq!(verified.counter().tenant, Some(name("acme")));
    assert!(!verified.signed_by_dev_key());
    let again = verify(&verified.to_bytes(), &Device::new()).expect("what is stored verifies again");
    assert_eq!(again.content(), verified.content());
}

#[test]
fn the_same_state_in_toml_has_the_same_content_and_the_same_signature() {
    let json = signed_state(&state(7), &[&admin_key()]);
    let signature = json_of(&json)["signature"].clone();
    let toml = format!(
        "kind = \"jos.agent.desired_state\"\n[meta]\nname = \"portal\"\nversion = 7\nexpires = 2027-06-01T00:00:00Z\n\
         [meta.audience]\ntenant = \"acme\"\ndevices = [\"router-7\"]\nlabels = {{ site = \"mx-3\" }}\n\
         [[spec.apply]]\ntype = \"file\"\npath = \"/etc/motd\"\ncontent = \"version 7\\n\"\n\
         [signature]\nalg = \"ed25519\"\nkey_id = \"admin-1\"\nsig = {}\n",
        signature["sig"]
    );
    let received = Received {
        name: "state.toml",
        bytes: toml.as_bytes(),
        format: Format::Toml,
    };
    let verified = verify_state(received, &root(), &Device::new().context()).expect("a good state");
    assert_eq!(verified.content(), good(7, &Device::new()).content());
}
