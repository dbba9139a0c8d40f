//! Users of the dashboard, by the command line as it is typed.

use super::process::{Served, command, done};

#[test]
fn users_are_added_changed_and_removed_by_the_command_line() {
    let served = Served::new();
    let local = |words: &[&str]| {
        let ran = command(words).arg("--data").arg(served.data()).output();
        done(&ran.expect("it runs")).trim().to_owned()
    };
    let remote = |words: &[&str]| {
        let ran = served.remote(words).output();
        done(&ran.expect("it runs")).trim().to_owned()
    };
    assert!(
        local(&["user", "add", "ana", "--role", "admin"]).len() >= 12,
        "a password"
    );
    assert!(remote(&["user", "add", "bo", "--role", "viewer", "--tenant", "default"]).len() >= 12);
    assert!(local(&["user", "passwd", "ana"]).len() >= 12);
    remote(&["user", "role", "bo", "operator", "--tenant", "default"]);
    local(&["user", "role", "bo", "none", "--tenant", "default"]);
    let list = remote(&["user", "list"]);
    assert!(list.contains("ana") && list.contains("bo"), "{list}");
    local(&["user", "remove", "bo"]);
    assert!(!remote(&["user", "list"]).contains("bo "));
}
