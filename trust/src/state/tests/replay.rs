//! Replay: a good state that is meant for somebody else, or for nobody in particular.

use super::*;

#[test]
fn cross_tenant_replay() {
    let mut device = Device::new();
    let bytes = signed_state(&state(1), &[&admin_key()]);
    device.tenant = Some(name("other"));
    assert_eq!(refused(&bytes, &device).code(), "trust-of-other-tenant");
    let mut foreign = state(1);
    foreign["meta"]["audience"]["tenant"] = json!("other");
    let own = Some(name("acme"));
    let expected = Refused::OtherTenant {
        found: name("other"),
        own,
    };
    assert_eq!(
        refused(&signed_state(&foreign, &[&admin_key()]), &Device::new()),
        expected
    );
    // A device that was never enrolled belongs to the trust root's tenant.
    device.tenant = None;
    assert_eq!(
        verify(&bytes, &device).expect("the root's tenant").counter().tenant,
        Some(name("acme"))
    );
}

#[test]
fn cross_device_replay() {
    let bytes = signed_state(&state(1), &[&admin_key()]);
    for own in [Some("router-8".to_owned()), Some("router-7 ".to_owned()), None] {
        let mut device = Device::new();
        device.id = own.clone();
        assert_eq!(refused(&bytes, &device), Refused::OtherDevice { count: 1, own });
    }
}

#[test]
fn cross_group_replay() {
    let bytes = signed_state(&state(1), &[&admin_key()]);
    let mut device = Device::new();
    device.labels.insert("site".to_owned(), "mx-4".to_owned());
    assert_eq!(refused(&bytes, &device).code(), "other-label");
    device.labels.clear();
    assert_eq!(refused(&bytes, &device).code(), "other-label");
}

#[test]
fn a_state_for_another_agent_of_the_same_device_is_refused() {
    let mut device = Device::new();
    device.name = name("printer");
    let expected = Refused::OtherName {
        found: name("portal"),
        expected: name("printer"),
    };
    assert_eq!(refused(&signed_state(&state(1), &[&admin_key()]), &device), expected);
}

#[test]
fn unscoped_states_come_from_local_files_or_by_policy_alone() {
    let mut no_audience = state(1);
    no_audience["meta"].as_object_mut().expect("a table").remove("audience");
    let mut labels_only = state(1);
    labels_only["meta"]["audience"] = json!({ "labels": { "site": "mx-3" } });
    let mut no_expiry = state(1);
    no_expiry["meta"].as_object_mut().expect("a table").remove("expires");
    for unscoped in [no_audience, labels_only, no_expiry] {
        let bytes = signed_state(&unscoped, &[&admin_key()]);
        let mut device = Device::new();
        assert_eq!(refused(&bytes, &device).code(), "unscoped");
        device.allow_unscoped = true;
        verify(&bytes, &device).expect("policy allows it");
        device.allow_unscoped = false;
        device.channel = Channel::Local;
        verify(&bytes, &device).expect("a local file");
    }
}
