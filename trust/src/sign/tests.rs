use serde_json::json;

use super::*;
use crate::testing::*;

fn sign(value: &serde_json::Value, key: &SecretKey) -> Result<Node, CannotSign> {
    let node = Node::from_json(value);
    let kind = kind_of(&node)?;
    sign_document("state.json", "", &node, kind, key)
}

#[test]
fn one_signature_stands_alone_and_several_stand_in_a_list() {
    let one = sign(&state(1), &admin_key()).expect("signed");
    assert!(one.get("signature").is_some() && one.get("signatures").is_none());
    let two = sign(&one.to_json(), &second_admin_key()).expect("signed");
    assert!(two.get("signature").is_none());
    let ids: Vec<_> = signatures_of(&two)
        .iter()
        .filter_map(|s| s.get("key_id")?.as_str())
        .collect();
    assert_eq!(ids, ["admin-1", "admin-2"]);
    // Signing again replaces one's own signature.
    let again = sign(&two.to_json(), &admin_key()).expect("signed");
    assert_eq!(signatures_of(&again).len(), 2);
    assert_eq!(without_signatures(&again).to_json(), state(1));
}

#[test]
fn signing_is_deterministic_and_independent_of_layout() {
    let text = to_json_text(&sign(&state(1), &admin_key()).expect("signed"));
    assert_eq!(text, to_json_text(&sign(&state(1), &admin_key()).expect("signed")));
    assert!(text.ends_with("}\n"));
}

#[test]
fn what_no_device_could_verify_is_not_signed() {
    let mut float = state(1);
    float["spec"]["telemetry"] = json!({ "interval": 1.5 });
    assert!(matches!(sign(&float, &admin_key()), Err(CannotSign::NotCanonical(_))));
    let mut unknown = state(1);
    unknown["spec"]["aply"] = json!([]);
    assert!(matches!(sign(&unknown, &admin_key()), Err(CannotSign::Invalid(_))));
    let mut threshold = serde_json::to_value(trust()).expect("plain data");
    threshold["roles"]["root"]["threshold"] = json!(2);
    assert!(matches!(
        sign(&threshold, &root_key()),
        Err(CannotSign::BadTrust(_) | CannotSign::Invalid(_))
    ));
    for other in [
        json!({}),
        json!([]),
        json!({ "kind": "jos.policy" }),
        json!({ "kind": 1 }),
    ] {
        assert!(
            matches!(sign(&other, &admin_key()), Err(CannotSign::WrongKind { .. })),
            "{other}"
        );
    }
    let mut malformed = state(1);
    malformed["signature"] = json!({ "alg": "none" });
    assert!(matches!(sign(&malformed, &admin_key()), Err(CannotSign::Signatures(_))));
}
