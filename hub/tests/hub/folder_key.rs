//! The folder's own key, and another one in its place.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{command, done, refused};

#[test]
fn the_folders_own_key_is_replaced_and_a_crash_on_the_way_loses_no_sealed_key() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("hub");
    let run = |words: &[&str]| {
        let output = command(words).arg("--data").arg(&data).output();
        output.expect("it runs")
    };
    done(&run(&["init", "--address", "https://127.0.0.1:1"]));
    let public = folder.path().join("next.key.pub");
    done(&run(&[
        "key",
        "rotate",
        "freshness",
        "--out",
        &public.display().to_string(),
    ]));
    let shown = || done(&run(&["key", "show", "--json"]));
    let (key, next) = (data.join("challenge.key"), data.join("challenge.key.next"));
    let read = |path: &Path| std::fs::read_to_string(path).expect("a file");
    let (before, keys) = (read(&key), shown());

    // A crash before anything was sealed anew: the half-written next key means nothing.
    std::fs::write(&next, "abc").expect("a file");
    std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    assert_eq!((shown(), read(&key)), (keys.clone(), before.clone()));

    let told: Value = serde_json::from_str(&done(&run(&["key", "rotate", "challenge", "--json"]))).expect("JSON");
    assert_eq!(told["sealed"], 1, "{told}");
    let after = read(&key);
    assert!(before != after && !next.exists());
    assert_eq!(
        std::fs::metadata(&key).expect("it is there").permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(shown(), keys, "the same keys, under another seal");

    // A crash after that, before the file had its name.
    std::fs::rename(&key, &next).expect("a name");
    std::fs::write(&key, &before).expect("a file");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    assert_eq!((shown(), read(&key)), (keys, after));

    // Who has the key of before opens nothing any more.
    std::fs::remove_file(&next).expect("it is there");
    std::fs::write(&key, &before).expect("a file");
    refused(&run(&["key", "show"]), 1, "sealed by another folder than this one");
    refused(
        &command(&[
            "key",
            "rotate",
            "challenge",
            "--url",
            "https://127.0.0.1:1",
            "--token-file",
            "x",
        ])
        .output()
        .expect("it runs"),
        2,
        "on the hub's own machine",
    );
}
