//! Freeze and poisoned time: expiries, and clocks that are wrong.

use super::*;

#[test]
fn freeze_an_expired_state_is_not_adopted_but_one_in_force_stays_in_force() {
    let mut device = Device::new();
    let bytes = signed_state(&state(8), &[&admin_key()]);
    let verified = verify(&bytes, &device).expect("in time");
    device.floors.confirm(&verified);
    device.now = utc("2027-06-01T00:00:00Z");
    let expires = device.now.clone();
    assert_eq!(
        refused(&bytes, &device),
        Refused::Expired {
            expires: expires.clone(),
            now: expires
        }
    );
    let stored = verified.to_bytes();
    let kept = reopen(
        Received::json("state.json", &stored),
        verified.counter(),
        Channel::Hub,
        &device.floors,
    );
    assert_eq!(kept.expect("in force for ever").signers(), verified.signers());
}

#[test]
fn freeze_an_expired_trust_root_admits_nothing_new() {
    let mut device = Device::new();
    device.now = utc("2028-01-01T00:00:00Z");
    let mut late = state(8);
    late["meta"]["expires"] = json!("2030-01-01T00:00:00Z");
    let bytes = signed_state(&late, &[&admin_key()]);
    assert_eq!(refused(&bytes, &device).code(), "trust-expired");
    // The baseline lies beside the first root in its package: a router that lay two years in a box still starts.
    device.channel = Channel::Baseline;
    verify(&bytes, &device).expect("the baseline of the package");
}

#[test]
fn time_poisoning_a_clock_at_1970_still_updates_and_a_clock_far_ahead_bricks_nothing() {
    let built = utc("2026-11-01T00:00:00Z");
    let bytes = signed_state(&state(8), &[&admin_key()]);
    let mut device = Device::new();
    device.now = device.floors.now(&utc("1970-01-01T00:00:00Z"), &built);
    assert_eq!(device.now, built);
    verify(&bytes, &device).expect("a device without a clock still updates");
    device.now = device.floors.now(&utc("2099-01-01T00:00:00Z"), &built);
    assert_eq!(refused(&bytes, &device).code(), "trust-expired");
    // Nothing remembered the forced clock, nor the state's own expiry.
    device.now = device.floors.now(&utc(NOW), &built);
    device.floors.confirm(&verify(&bytes, &device).expect("as before"));
    assert_eq!(device.floors.now(&utc(NOW), &built), utc(NOW));
}
