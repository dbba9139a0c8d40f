//! The wrong ones, each by name. What record means what stands in `original.rs`.

mod images;
mod outcomes;
mod packages;

use jos_schemas::documents::desired_state;
use jos_schemas::documents::policy::Source;
use jos_schemas::node::Node;
use jos_trust::{KeyId, SecretKey, canonical, sha256, sign};
use serde_json::{Value, json};

use super::{Tale, must_fail};
use crate::testing::{admin_key, name};

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn resign(tale: &mut Tale, at: usize, key: &SecretKey, change: impl FnOnce(&mut Value)) {
    let mut state = tale.decided(at)["state"].clone();
    change(&mut state);
    state.as_object_mut().unwrap().remove("signature");
    let node = sign::sign_document("test", "", &Node::from_json(&state), desired_state::KIND, key).unwrap();
    tale.decided(at)["content"] = sha256(&canonical::unsigned_bytes(&node).unwrap()).to_string().into();
    tale.decided(at)["state"] = node.to_json();
}

fn root_key() -> SecretKey {
    SecretKey::from_bytes(&[1; 32]).with_id(KeyId::new("root-1").unwrap())
}

// --- outcomes without their decision -----------------------------------------------------------------------------------

#[test]
fn an_outcome_of_a_decision_that_is_not_there() {
    must_fail(4, &["cause #99"], |t| {
        t.remove(4);
        t.records[4].cause = Some("#99".into());
    });
}

#[test]
fn an_outcome_without_a_cause() {
    must_fail(5, &["decision"], |t| t.records[5].cause = None);
}

#[test]
fn two_outcomes_of_one_decision() {
    must_fail(6, &["no second outcome of #4"], |t| t.copy(5, 6));
}

#[test]
fn an_outcome_that_comes_after_the_next_decision() {
    must_fail(6, &["cause #4"], |t| {
        t.copy(2, 5);
        t.records[5].cause = None;
    });
}

#[test]
fn an_outcome_of_another_source() {
    must_fail(5, &["source", "local"], |t| t.records[5].source = Source::Hub);
}

#[test]
fn an_outcome_of_another_version() {
    must_fail(5, &["version", "found 7"], |t| t.records[5].version = Some(7));
}

#[test]
fn a_refusal_that_changed_something() {
    must_fail(6, &["/etc/a", "refused"], |t| {
        let change = t.change(5, "/etc/a").clone();
        t.payload(6)["changes"] = json!([change]);
    });
}

// --- decisions that the plane cannot have made -------------------------------------------------------------------------

#[test]
fn a_decision_by_a_source_without_a_grant() {
    must_fail(4, &["the gate refuses", "local"], |t| {
        t.gate(4, |facts| {
            drop(facts["policy"]["grants"].as_object_mut().unwrap().remove("local"))
        });
    });
}

#[test]
fn a_decision_on_a_path_that_was_protected() {
    must_fail(4, &["the gate refuses", "protected"], |t| {
        t.gate(4, |facts| facts["protected"] = json!(["/etc/a"]))
    });
}

#[test]
fn a_decision_on_a_path_that_was_another_name_of_a_protected_one() {
    must_fail(4, &["the gate refuses", "another name of /var/lib/jos"], |t| {
        t.gate(4, |facts| {
            facts["second_names"] = json!({ "protected": { "/etc/a": "/var/lib/jos" } })
        })
    });
}

#[test]
fn a_command_that_was_not_listed() {
    must_fail(0, &["the gate refuses", "not listed"], |t| {
        t.gate(0, |facts| {
            facts["policy"]["grants"]["local"]["shell"] = json!(["do it"])
        });
    });
}

#[test]
fn a_flow_that_nobody_granted() {
    must_fail(9, &["the gate refuses", "artifact"], |t| {
        t.gate(9, |facts| {
            facts["policy"]["grants"]["artifact"]["files"] = json!(["/etc/**"])
        });
    });
}

#[test]
fn a_drift_put_right_without_a_grant() {
    must_fail(2, &["the gate refuses"], |t| {
        t.gate(2, |facts| facts["policy"]["grants"] = json!({}))
    });
}

#[test]
fn a_gate_that_nobody_kept() {
    must_fail(4, &["no such blob"], |t| t.decided(4)["gate"] = HASH.into());
}

#[test]
fn a_version_that_goes_back() {
    must_fail(6, &["version", "2 at least"], |t| {
        t.copy(1, 6);
        t.copy(0, 6);
    });
}

#[test]
fn the_same_version_with_another_content() {
    must_fail(7, &["version 2", "content"], |t| {
        resign(t, 7, &admin_key(), |state| state["meta"]["version"] = 2.into());
        t.records[7].version = Some(2);
        t.payload(7)["id"] = "portal-2".into();
    });
}

#[test]
fn a_content_hash_that_is_not_the_states() {
    must_fail(4, &["content"], |t| t.decided(4)["content"] = HASH.into());
}

#[test]
fn a_state_that_was_changed_after_it_was_signed() {
    must_fail(4, &["vouch"], |t| {
        let mut state = t.decided(4)["state"].clone();
        state["spec"]["apply"][2]["content"] = "evil\n".into();
        let node = Node::from_json(&state);
        t.decided(4)["content"] = sha256(&canonical::unsigned_bytes(&node).unwrap()).to_string().into();
        t.decided(4)["state"] = state;
    });
}

#[test]
fn a_state_signed_in_another_role() {
    must_fail(4, &["vouch"], |t| {
        resign(t, 4, &root_key(), |_| {});
        t.decided(4)["signers"] = json!(["root-1"]);
    });
}

#[test]
fn a_signer_who_did_not_sign() {
    must_fail(4, &["signers", "admin-1"], |t| {
        t.decided(4)["signers"] = json!(["admin-2"])
    });
}

#[test]
fn a_signer_who_did_not_sign_where_no_trust_root_was_kept() {
    must_fail(0, &["signers", "admin-1"], |t| {
        t.decided(0).as_object_mut().unwrap().remove("trust");
        t.decided(0)["signers"] = json!(["admin-2"]);
    });
}

#[test]
fn a_state_of_another_agent() {
    must_fail(4, &["meta.name", "portal"], |t| {
        resign(t, 4, &admin_key(), |state| state["meta"]["name"] = "kiosk".into())
    });
}

#[test]
fn records_spliced_in_from_the_ledger_of_another_agent() {
    must_fail(4, &["the agent portal", "the agent kiosk"], |t| {
        t.records[4].name = name("kiosk");
        t.records[5].name = name("kiosk");
    });
}

#[test]
fn a_state_by_a_source_that_brings_none() {
    must_fail(4, &["source", "agent"], |t| {
        (t.records[4].source, t.payload(4)["source"]) = (Source::Agent, "agent".into());
    });
}

#[test]
fn a_source_in_the_record_that_is_not_the_decisions() {
    must_fail(4, &["hub"], |t| t.payload(4)["source"] = "hub".into());
}

#[test]
fn a_baseline_that_came_from_the_hub() {
    must_fail(11, &["source"], |t| {
        (t.records[11].source, t.payload(11)["source"]) = (Source::Hub, "hub".into());
    });
}

#[test]
fn a_drift_of_a_path_that_no_state_lists() {
    must_fail(2, &["/etc/unmanaged", "drift"], |t| {
        t.decided(2)["found"]["/etc/unmanaged"] = Value::Null
    });
}

#[test]
fn a_drift_other_than_the_one_decided_on() {
    must_fail(3, &["/etc/a"], |t| {
        t.change(3, "/etc/a")["before"]["mode"] = "0640".into()
    });
}

#[test]
fn a_drift_whose_set_is_another() {
    must_fail(3, &["the drift that was decided on"], |t| {
        t.decided(2)["set"] = HASH.into();
        t.payload(2)["id"] = format!("portal-drift-{}", &HASH[..16]).into();
    });
}

#[test]
fn a_drift_put_right_by_another_source() {
    must_fail(2, &["source", "drift"], |t| {
        (t.records[2].source, t.payload(2)["source"]) = (Source::Hub, "hub".into());
    });
}

#[test]
fn a_state_that_was_rolled_back_and_is_in_force_all_the_same() {
    must_fail(16, &["version", "4, which is in force"], |t| {
        t.records[16].version = Some(3)
    });
}

#[test]
fn what_was_rolled_back_is_what_the_next_change_found() {
    must_fail(14, &["/srv/data/a"], |t| {
        let mut change = t.change(8, "/srv/data/a").clone();
        change["before"] = change["after"].clone();
        change["after"] = t.change(1, "/srv/data/a")["after"].clone();
        t.changes(14).insert(0, change);
    });
}

#[test]
fn a_state_that_needs_a_feature_which_was_not_there() {
    must_fail(4, &["meta.requires", "uci"], |t| {
        resign(t, 4, &admin_key(), |state| state["meta"]["requires"] = json!(["uci"]));
        t.gate(4, |facts| {
            facts["features"].as_array_mut().unwrap().retain(|f| f != "uci")
        });
    });
}

#[test]
fn a_trust_root_that_nobody_signed() {
    must_fail(4, &["a sound trust root"], |t| {
        let digest = t.decided(4)["trust"]["blob"].as_str().unwrap().parse().unwrap();
        let mut root: Value = serde_json::from_slice(&t.blobs[&digest]).unwrap();
        root["version"] = 9.into();
        let bytes = serde_json::to_vec(&root).unwrap();
        let blob = t.keep(&bytes);
        t.decided(4)["trust"] = json!({ "blob": blob, "size": bytes.len() });
    });
}

// --- checkpoints and records of no shape ---------------------------------------------------------------------------------

#[test]
fn a_checkpoint_with_another_hash_of_a_file() {
    must_fail(15, &["/etc/base"], |t| {
        t.payload(15)["paths"]["/etc/base"]["sha256"] = HASH.into()
    });
}

#[test]
fn a_checkpoint_that_forgets_a_path() {
    must_fail(15, &["/etc/wpa", "nothing"], |t| {
        drop(t.payload(15)["paths"].as_object_mut().unwrap().remove("/etc/wpa"))
    });
}

#[test]
fn a_checkpoint_that_adds_a_path() {
    must_fail(15, &["/etc/evil"], |t| {
        let path = t.payload(15)["paths"]["/etc/base"].clone();
        t.payload(15)["paths"]["/etc/evil"] = path;
    });
}

#[test]
fn a_checkpoint_of_a_state_that_was_rolled_back() {
    must_fail(15, &["streams"], |t| {
        t.payload(15)["streams"]["state"]["version"] = 3.into()
    });
}

#[test]
fn a_checkpoint_that_blames_another() {
    must_fail(15, &["/etc/base"], |t| {
        t.payload(15)["paths"]["/etc/base"]["signers"] = json!(["admin-2"])
    });
}

#[test]
fn a_checkpoint_that_follows_another_record() {
    must_fail(15, &["head"], |t| {
        t.keeps_head = true;
        t.payload(15)["head"] = json!({ "index": 14, "hash": HASH });
    });
}

#[test]
fn a_record_of_no_known_kind() {
    must_fail(6, &["nonsense"], |t| t.records[6].kind = "nonsense".into());
}

#[test]
fn a_decision_of_no_known_kind() {
    must_fail(4, &["state.forget"], |t| t.payload(4)["kind"] = "state.forget".into());
}

#[test]
fn a_field_that_this_program_does_not_know() {
    must_fail(4, &["unknown field"], |t| t.decided(4)["extra"] = json!(1));
}
