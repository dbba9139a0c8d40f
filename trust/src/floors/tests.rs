use jos_schemas::documents::trust::Role;

use super::*;
use crate::digest::sha256;
use crate::root::Received;
use crate::sign;
use crate::state::verify_state;
use crate::testing::*;

fn counter() -> Counter {
    Counter {
        tenant: Some(name("acme")),
        name: name("portal"),
        stream: Stream::State,
    }
}

fn verified(version: u64, device: &Device) -> Verified<DesiredState> {
    let bytes = signed_state(&state(version), &[&admin_key()]);
    verify_state(Received::json("state.json", &bytes), &root(), &device.context()).expect("a good state")
}

#[test]
fn floors_come_back_as_they_were_written() {
    let mut device = Device::new();
    device
        .floors
        .adopt_trust(&[root()], None, None)
        .expect("the first root");
    device.floors.confirm(&verified(3, &device));
    let trial = verified(4, &device);
    device.floors.begin(&trial);
    device.floors.fail(&trial);
    let read = Floors::from_bytes(&device.floors.to_bytes()).expect("what was written");
    assert_eq!(read, device.floors);
    let floor = read.floor(&counter()).expect("a counter");
    assert_eq!(
        (
            floor.version,
            floor.in_force.as_ref().map(|f| f.version),
            floor.failed.len()
        ),
        (4, Some(3), 1)
    );
    assert_eq!(read.trust().map(|t| t.version), Some(1));
}

#[test]
fn damaged_floors_are_never_taken_for_absent_ones() {
    let bytes = Floors::default().to_bytes();
    assert_eq!(Floors::from_bytes(&bytes), Ok(Floors::default()));
    for cut in 0..bytes.len() {
        assert!(Floors::from_bytes(&bytes[..cut]).is_err(), "{cut}");
    }
    let newer = String::from_utf8(bytes)
        .expect("UTF-8")
        .replace("\"format\":1", "\"format\":2");
    assert_eq!(
        Floors::from_bytes(newer.as_bytes()),
        Err(FloorsDamaged::Format { found: 2, expected: 1 })
    );
    let entry = r#"{"counter":{"name":"a","stream":"state"},"floor":{"version":1}}"#;
    let twice = format!(r#"{{"format":1,"counters":[{entry},{entry}]}}"#);
    assert_eq!(
        Floors::from_bytes(twice.as_bytes()),
        Err(FloorsDamaged::Twice { name: name("a") })
    );
}

#[test]
fn a_verdict_older_than_the_floors_never_lowers_them() {
    let mut device = Device::new();
    let (old, new) = (verified(5, &device), verified(6, &device));
    device.floors.begin(&new);
    device.floors.begin(&old);
    assert_eq!(device.floors.floor(&counter()).expect("a counter").version, 6);
}

#[test]
fn the_failed_versions_kept_are_bounded_and_the_floor_still_refuses_the_forgotten_ones() {
    let mut device = Device::new();
    for version in 1..=40 {
        let trial = verified(version, &device);
        device.floors.begin(&trial);
        device.floors.fail(&trial);
    }
    assert_eq!(
        device.floors.floor(&counter()).expect("a counter").failed.len(),
        FAILED_KEPT
    );
    for version in 1..=40 {
        assert!(
            device
                .floors
                .standing(
                    &counter(),
                    Edition {
                        version,
                        content: sha256(b"x")
                    }
                )
                .is_err(),
            "{version}"
        );
    }
}

#[test]
fn enrolment_moves_the_counters_under_the_tenant_so_that_it_is_no_way_back() {
    let mut floors = Floors::default();
    let loose = Counter {
        tenant: None,
        ..counter()
    };
    floors.counters.insert(
        loose.clone(),
        Floor {
            version: 9,
            ..Floor::default()
        },
    );
    floors.pin_tenant(&name("acme"));
    assert_eq!(floors.floor(&loose), None);
    assert_eq!(floors.floor(&counter()).expect("moved").version, 9);
    floors.counters.insert(
        loose,
        Floor {
            version: 3,
            ..Floor::default()
        },
    );
    floors.pin_tenant(&name("acme"));
    assert_eq!(floors.floor(&counter()).expect("the higher one stays").version, 9);
}

#[test]
fn adopting_a_root_sets_its_floors_exactly_and_once() {
    let mut next = sign::successor(&trust());
    next.floors.insert(name("portal"), 10);
    let next = open(&signed_trust(&next, &[&root_key()]));
    let mut floors = Floors::default();
    floors.counters.insert(
        counter(),
        Floor {
            version: 4,
            ..Floor::default()
        },
    );
    let adopted = floors
        .adopt_trust(std::slice::from_ref(&next), Some(&root()), Some(&name("acme")))
        .expect("newer");
    assert_eq!(adopted.floors, [(counter(), 4, 10)]);
    // The number itself is acceptable on a device that never saw it, anything below is not.
    let edition = |version| Edition {
        version,
        content: sha256(b"x"),
    };
    assert_eq!(floors.standing(&counter(), edition(10)), Ok(Standing::New));
    assert_eq!(
        floors.standing(&counter(), edition(9)),
        Err(Refused::Rollback { offered: 9, floor: 10 })
    );
    floors.counters.insert(
        counter(),
        Floor {
            version: 12,
            ..Floor::default()
        },
    );
    let again = floors
        .adopt_trust(&[next], None, Some(&name("acme")))
        .expect("the same");
    assert!(again.unchanged);
    assert_eq!(floors.floor(&counter()).expect("a counter").version, 12);
}

#[test]
fn a_device_that_slept_through_a_recovery_still_gets_its_floor() {
    let mut second = sign::successor(&trust());
    second.floors.insert(name("portal"), 10);
    let third = sign::successor(&second);
    assert!(third.floors.is_empty());
    let chain = [
        open(&signed_trust(&second, &[&root_key()])),
        open(&signed_trust(&third, &[&root_key()])),
    ];
    let mut floors = Floors::default();
    floors.counters.insert(
        counter(),
        Floor {
            version: 9_000_000,
            ..Floor::default()
        },
    );
    floors
        .adopt_trust(&chain, Some(&root()), Some(&name("acme")))
        .expect("newer");
    assert_eq!(floors.floor(&counter()).expect("a counter").version, 10);
    assert_eq!(floors.trust().map(|t| t.version), Some(3));
}

#[test]
fn an_older_root_and_another_one_of_the_same_version_change_nothing() {
    let second = open(&signed_trust(&sign::successor(&trust()), &[&root_key()]));
    let mut other = sign::successor(&trust());
    other.floors.insert(name("portal"), 1);
    let other = open(&signed_trust(&other, &[&root_key()]));
    let mut floors = Floors::default();
    floors.adopt_trust(&[second], Some(&root()), None).expect("newer");
    let before = floors.clone();
    assert_eq!(
        floors.adopt_trust(&[root()], None, None).expect_err("older").code(),
        "rollback"
    );
    assert_eq!(
        floors.adopt_trust(&[other], None, None).expect_err("other").code(),
        "same-version-other-content"
    );
    assert_eq!(floors, before);
}

#[test]
fn time_that_a_replaced_freshness_key_vouched_for_is_dropped() {
    let mut floors = Floors {
        time: Some(utc("2099-01-01T00:00:00Z")),
        ..Floors::default()
    };
    let (system, built) = (utc(NOW), utc("2026-11-01T00:00:00Z"));
    assert_eq!(floors.now(&system, &built), utc("2099-01-01T00:00:00Z"));
    // The same freshness key: the time stays, and the root is past its expiry.
    let same = signed_trust(&sign::successor(&trust()), &[&root_key()]);
    let walk = root().walk(&[Received::json("t", &same)], &floors, &system, &built);
    assert_eq!(walk.expect_err("2099 is past its expiry").code(), "trust-expired");
    // Another freshness key: neither the walk nor the device is held by the forced time.
    let mut next = sign::successor(&trust());
    sign::withdraw(&mut next, Some(Role::Freshness), freshness_key().id());
    sign::grant(&mut next, Role::Freshness, &(&key(5, "hub-2")).into()).expect("a new id");
    let next = signed_trust(&next, &[&root_key()]);
    let chain = root()
        .walk(&[Received::json("t", &next)], &floors, &system, &built)
        .expect("not held by a stolen key");
    let adopted = floors.adopt_trust(&chain, Some(&root()), None).expect("newer");
    assert!(adopted.time_lowered);
    assert_eq!(floors.now(&system, &built), system);
}

#[test]
fn a_trial_is_confirmed_by_its_numbers_only_where_the_floors_know_it() {
    let mut device = Device::new();
    let trial = verified(4, &device);
    let kept = |version, content| InForce {
        version,
        content,
        signers: trial.signers().to_vec(),
        dev: false,
    };
    let right = kept(4, trial.content());
    assert!(!device.floors.confirm_edition(&counter(), right.clone()), "not begun");
    device.floors.begin(&trial);
    for wrong in [
        kept(3, trial.content()),
        kept(5, trial.content()),
        kept(4, sha256(b"x")),
    ] {
        assert!(!device.floors.confirm_edition(&counter(), wrong));
    }
    assert!(device.floors.in_force(&counter()).is_none());
    assert!(device.floors.confirm_edition(&counter(), right.clone()));
    assert_eq!(device.floors.in_force(&counter()), Some(&right));
    let mut other = Device::new();
    other.floors.confirm(&trial);
    assert_eq!(other.floors, device.floors, "as if the state itself had been at hand");
}
