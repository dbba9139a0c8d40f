//! Outcomes that the executor cannot have come to.

use super::*;

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
