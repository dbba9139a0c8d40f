//! Rollback and fast-forward: versions, and what the floors remember of them.

use super::*;

#[test]
fn rollback_to_an_older_version_is_refused_also_after_a_restart_and_a_restored_cache() {
    let mut device = Device::new();
    let newer = good(8, &device);
    device.floors.begin(&newer);
    device.floors.confirm(&newer);
    // The floors outlive the process, a reinstalled package and a restored `state.json`: they are files of their own.
    device.floors = Floors::from_bytes(&device.floors.to_bytes()).expect("what was written");
    let older = signed_state(&state(7), &[&admin_key()]);
    assert_eq!(refused(&older, &device), Refused::Rollback { offered: 7, floor: 8 });
    device.channel = Channel::Local;
    assert_eq!(refused(&older, &device), Refused::Rollback { offered: 7, floor: 8 });
}

#[test]
fn going_back_to_the_state_in_force_after_a_failed_trial_is_no_rollback_attack() {
    let mut device = Device::new();
    device.floors.confirm(&good(8, &device));
    let trial = good(9, &device);
    device.floors.begin(&trial);
    device.floors.fail(&trial);
    assert_eq!(good(8, &device).standing(), Standing::InForce);
    let again = signed_state(&state(9), &[&admin_key()]);
    assert_eq!(refused(&again, &device), Refused::AlreadyFailed { version: 9 });
    assert_eq!(good(10, &device).standing(), Standing::New);
}

#[test]
fn same_version_other_content_is_refused_and_identical_content_is_no_change() {
    let mut device = Device::new();
    let first = good(8, &device);
    device.floors.begin(&first);
    assert_eq!(good(8, &device).standing(), Standing::Again);
    let mut other = state(8);
    other["spec"]["apply"][0]["content"] = json!("something else");
    let other = signed_state(&other, &[&admin_key()]);
    assert_eq!(refused(&other, &device).code(), "same-version-other-content");
    device.floors.confirm(&first);
    assert_eq!(good(8, &device).standing(), Standing::InForce);
    assert_eq!(refused(&other, &device).code(), "same-version-other-content");
    // Another signature under the same content is the same content.
    let resigned = verify(&signed_state(&state(8), &[&second_admin_key()]), &device).expect("the same content");
    assert_eq!(
        (resigned.standing(), resigned.content()),
        (Standing::InForce, first.content())
    );
}

#[test]
fn fast_forward_by_a_stolen_key_is_undone_by_rotation() {
    const FAR: u64 = 9_007_199_254_740_991;
    let mut device = Device::new();
    let before = root();
    device
        .floors
        .adopt_trust(std::slice::from_ref(&before), None, device.tenant.as_ref())
        .expect("the first root");
    device.floors.confirm(&good(41, &device));
    let inflated = good(FAR, &device);
    device.floors.begin(&inflated);
    device.floors.confirm(&inflated);
    let legitimate = signed_state(&state(42), &[&second_admin_key()]);
    assert_eq!(
        refused(&legitimate, &device),
        Refused::Rollback {
            offered: 42,
            floor: FAR
        }
    );

    // The root's holder withdraws the stolen key and names a floor at or above every legitimate version.
    let mut next = sign::successor(&trust());
    sign::withdraw(&mut next, Some(Role::Admin), admin_key().id());
    next.floors.insert(name("portal"), 41);
    let bytes = signed_trust(&next, &[&root_key()]);
    let received = [Received::json("trust.v2.json", &bytes)];
    let chain = before
        .walk(&received, &device.floors, &device.now, &device.now)
        .expect("a good rotation");
    let adopted = device
        .floors
        .adopt_trust(&chain, Some(&before), device.tenant.as_ref())
        .expect("newer");
    assert_eq!(adopted.floors.len(), 1);
    let newest = &chain[0];
    let received = Received::json("state.json", &legitimate);
    let recovered = verify_state(received, newest, &device.context()).expect("the counter recovered");
    assert_eq!(recovered.standing(), Standing::New);
    let stolen = signed_state(&state(FAR), &[&admin_key()]);
    let received = Received::json("state.json", &stolen);
    assert_eq!(
        verify_state(received, newest, &device.context())
            .expect_err("withdrawn")
            .code(),
        "wrong-key"
    );
    // A later root that names no floor leaves the counter alone.
    device.floors.confirm(&recovered);
    let third = signed_trust(&sign::successor(newest.value()), &[&root_key()]);
    let received = [Received::json("trust.v3.json", &third)];
    let chain3 = newest
        .walk(&received, &device.floors, &device.now, &device.now)
        .expect("a good rotation");
    device
        .floors
        .adopt_trust(&chain3, Some(newest), device.tenant.as_ref())
        .expect("newer");
    assert_eq!(device.floors.floor(recovered.counter()).expect("a counter").version, 42);
}

#[test]
fn the_baseline_and_the_hub_count_apart() {
    let mut device = Device::new();
    device.floors.confirm(&good(42, &device));
    device.channel = Channel::Baseline;
    let baseline = good(3, &device);
    assert_eq!(
        (baseline.standing(), baseline.counter().stream),
        (Standing::New, Stream::Baseline)
    );
    device.floors.confirm(&baseline);
    device.channel = Channel::Hub;
    assert_eq!(good(42, &device).standing(), Standing::InForce);
}

#[test]
fn only_the_very_state_in_force_is_reopened() {
    let mut device = Device::new();
    let kept = good(8, &device);
    let counter = kept.counter().clone();
    let reopen =
        |bytes: &[u8], floors: &Floors| reopen(Received::json("state.json", bytes), &counter, Channel::Hub, floors);
    assert_eq!(
        reopen(&kept.to_bytes(), &device.floors)
            .expect_err("nothing in force")
            .code(),
        "not-in-force"
    );
    device.floors.confirm(&kept);
    assert_eq!(
        reopen(&kept.to_bytes(), &device.floors).expect("in force").content(),
        kept.content()
    );
    let other = good(9, &Device::new());
    assert_eq!(
        reopen(&other.to_bytes(), &device.floors)
            .expect_err("another one")
            .code(),
        "not-in-force"
    );
}

#[test]
fn only_the_very_state_whose_trial_began_is_resumed_and_no_later_than_the_next() {
    let mut device = Device::new();
    let begun = good(8, &device);
    let counter = begun.counter().clone();
    let tried = crate::floors::InForce {
        version: begun.version(),
        content: begun.content(),
        signers: begun.signers().to_vec(),
        dev: false,
    };
    let resume = |bytes: &[u8], floors: &Floors| {
        let received = Received::json("state.json", bytes);
        crate::state::resume(received, &counter, Channel::Hub, floors, &tried)
    };
    let code = |found: Result<crate::Verified<_>, Refused>| found.expect_err("it is refused").code();
    assert_eq!(code(resume(&begun.to_bytes(), &device.floors)), "not-in-force");
    device.floors.begin(&begun);
    let resumed = resume(&begun.to_bytes(), &device.floors).expect("its trial began");
    assert_eq!(
        (resumed.content(), resumed.standing()),
        (begun.content(), Standing::Again)
    );
    assert_eq!(resumed.signers(), begun.signers());
    let other = good(9, &Device::new());
    assert_eq!(code(resume(&other.to_bytes(), &device.floors)), "not-in-force");
    let mut failed = device.floors.clone();
    failed.fail(&begun);
    assert_eq!(code(resume(&begun.to_bytes(), &failed)), "already-failed");
    device.floors.begin(&other);
    assert_eq!(code(resume(&begun.to_bytes(), &device.floors)), "not-in-force");
}
