//! The wrong ones, each by name. What record means what stands in `original.rs`.

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

// --- outcomes that the executor cannot have come to --------------------------------------------------------------------

#[test]
fn an_outcome_with_a_wrong_hash() {
    must_fail(1, &["/srv/data/a", "sha256", HASH], |t| {
        t.change(1, "/srv/data/a")["after"]["sha256"] = HASH.into()
    });
}

#[test]
fn an_outcome_with_a_wrong_size() {
    must_fail(1, &["/srv/data/a", "size 4"], |t| {
        t.change(1, "/srv/data/a")["after"]["size"] = 5.into()
    });
}

#[test]
fn an_outcome_with_a_wrong_mode() {
    must_fail(1, &["/srv/data", "mode 0750"], |t| {
        t.change(1, "/srv/data")["after"]["mode"] = "0777".into()
    });
}

#[test]
fn an_outcome_with_a_wrong_owner() {
    must_fail(1, &["/etc/a", "owner 0:0"], |t| {
        t.change(1, "/etc/a")["after"]["owner"] = "1000:1000".into()
    });
}

#[test]
fn a_link_that_points_elsewhere() {
    must_fail(1, &["/srv/link", "target data"], |t| {
        t.change(1, "/srv/link")["after"]["target"] = "/etc".into()
    });
}

#[test]
fn a_file_where_the_state_wants_a_link() {
    must_fail(1, &["/srv/link", "a link"], |t| {
        t.change(1, "/srv/link")["after"]["kind"] = "file".into()
    });
}

#[test]
fn a_secret_known_by_its_hash() {
    must_fail(1, &["/etc/wpa", "MAC"], |t| {
        let after = &mut t.change(1, "/etc/wpa")["after"];
        after.as_object_mut().unwrap().remove("mac");
        after["sha256"] = HASH.into();
    });
}

#[test]
fn a_file_that_is_not_in_the_state() {
    must_fail(1, &["/etc/evil", "no state in force lists it"], |t| {
        let mut evil = t.change(1, "/srv/data/a").clone();
        evil["what"] = "/etc/evil".into();
        t.changes(1).push(evil);
    });
}

#[test]
fn a_change_under_the_label_of_another_step() {
    must_fail(1, &["/etc/a"], |t| {
        t.change(1, "/etc/a")["step"] = "step 2 (file /srv/data/a)".into()
    });
}

#[test]
fn a_change_by_another_source() {
    must_fail(1, &["/etc/a", "hub"], |t| {
        t.change(1, "/etc/a")["source"] = "hub".into()
    });
}

#[test]
fn a_change_that_is_missing() {
    must_fail(5, &["/etc/a", "a change"], |t| {
        t.changes(5).retain(|c| c["what"] != "/etc/a")
    });
}

#[test]
fn a_removal_that_is_missing() {
    must_fail(14, &["/srv/link", "prunes"], |t| {
        t.changes(14).retain(|c| c["what"] != "/srv/link")
    });
}

#[test]
fn a_path_that_was_let_go_in_silence() {
    must_fail(5, &["/etc/extra", "released"], |t| t.payload(5)["released"] = json!([]));
}

#[test]
fn a_path_let_go_that_is_still_listed() {
    must_fail(5, &["/srv/link", "released"], |t| {
        t.payload(5)["released"] = json!(["/etc/extra", "/srv/link"])
    });
}

#[test]
fn a_file_that_was_not_as_the_ledger_left_it() {
    must_fail(5, &["/etc/a", "no drift is recorded"], |t| {
        t.change(5, "/etc/a")["before"]["sha256"] = HASH.into()
    });
}

#[test]
fn a_file_made_where_the_ledger_says_one_stands() {
    must_fail(5, &["/etc/a"], |t| {
        let change = t.change(5, "/etc/a");
        change["action"] = "create".into();
        change.as_object_mut().unwrap().remove("before");
    });
}

#[test]
fn an_input_whose_edit_gives_another_result() {
    must_fail(14, &["/etc/config/network", "sha256"], |t| {
        let input = &mut t.decided(13)["inputs"]["/etc/config/network"];
        let text = input["content"].as_str().unwrap().replace("static", "dhcp");
        (input["sha256"], input["size"]) = (sha256(text.as_bytes()).to_string().into(), text.len().into());
        input["content"] = text.into();
        let before = t.decided(13)["inputs"]["/etc/config/network"].clone();
        let change = t.change(14, "/etc/config/network");
        (change["before"]["sha256"], change["before"]["size"]) = (before["sha256"].clone(), before["size"].clone());
    });
}

#[test]
fn an_input_that_does_not_have_its_hash() {
    must_fail(13, &["input /etc/config/network"], |t| {
        t.decided(13)["inputs"]["/etc/config/network"]["content"] = "config interface 'lan'\n".into();
    });
}

#[test]
fn an_edit_that_did_not_happen() {
    must_fail(14, &["/etc/config/network", "a change"], |t| {
        t.changes(14).retain(|c| c["what"] != "/etc/config/network");
    });
}

#[test]
fn a_service_that_nobody_notified() {
    must_fail(1, &["notified", "web"], |t| {
        drop(t.payload(1).as_object_mut().unwrap().remove("notified"))
    });
}

#[test]
fn a_service_restarted_that_no_file_concerns() {
    must_fail(10, &["notified", "cups"], |t| {
        t.payload(10)["notified"] = json!(["cups"])
    });
}

#[test]
fn a_restart_that_is_due_and_was_not_made() {
    must_fail(1, &["step 8 (service cups)", "restart"], |t| {
        t.changes(1).retain(|c| c["action"] != "service")
    });
}

#[test]
fn a_command_that_failed_in_a_good_outcome() {
    must_fail(1, &["step 7 (shell)", "exit code 0"], |t| {
        let captured = t.payload(1)["captured"].as_array_mut().unwrap();
        captured.iter_mut().find(|c| c["step"] == "step 7 (shell)").unwrap()["code"] = 3.into();
    });
}

#[test]
fn a_command_that_never_ran_in_a_good_outcome() {
    must_fail(1, &["step 7 (shell)", "unless"], |t| {
        drop(t.payload(1).as_object_mut().unwrap().remove("captured"))
    });
}

#[test]
fn a_failed_health_check_in_a_good_outcome() {
    must_fail(1, &["health_check"], |t| {
        t.payload(1)["health"] = "failed: connection refused".into()
    });
}

#[test]
fn an_unchanged_outcome_with_changes() {
    must_fail(5, &["unchanged"], |t| t.payload(5)["outcome"] = "unchanged".into());
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
