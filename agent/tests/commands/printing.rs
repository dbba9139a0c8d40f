//! What holds for every command: exit codes, which stream says what, colour.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::desk::{Desk, JOS};

const STATE: &str = "kind = \"jos.agent.desired_state\"\n[meta]\nname = \"portal\"\nversion = 1\n[spec]\napply = []\n";

#[test]
fn exit_codes_are_0_done_1_refused_2_bad_use() {
    let desk = Desk::new();
    desk.write("state.toml", STATE);
    desk.write("broken.json", "{");
    desk.jos(&["--version"]).exits(0).says(&[env!("CARGO_PKG_VERSION")]);
    desk.jos(&["agent", "status", "--version"]).exits(0);
    desk.jos(&["--help"])
        .exits(0)
        .says(&["Exit codes: 0 done, 1 refused or failed, 2 bad use or invalid input."]);
    desk.jos(&["help", "agent", "install"]).exits(0).says(&["--state-dir"]);
    desk.jos(&["key", "new", "--out", "admin.key"]).exits(0);
    desk.jos(&["trust", "init", "--key", "admin.key"]).exits(0);

    desk.jos(&["verify", "--trust", "trust.json", "state.toml"])
        .exits(1)
        .says(&["not signed"]);
    desk.jos(&["agent", "status", "nobody"])
        .exits(1)
        .says(&["no agent is called \"nobody\""]);
    desk.jos(&["agent", "logs", "nobody"]).exits(1);
    desk.jos(&["agent", "uninstall", "nobody"]).exits(1);

    desk.jos(&[]).exits(2).says(&["Usage: jos"]);
    desk.jos(&["agnet"]).exits(2).says(&["'agent'"]);
    desk.jos(&["agent", "install"]).exits(2).says(&["<ARTIFACT>"]);
    desk.jos(&["agent", "install", "absent.jos"])
        .exits(2)
        .says(&["absent.jos"]);
    desk.jos(&["agent", "run", "absent.jos"]).exits(2).says(&["absent.jos"]);
    desk.jos(&["validate", "broken.json"])
        .exits(2)
        .says(&["broken.json:1:"]);
    desk.jos(&["sign", "--key", "admin.key", "broken.json"]).exits(2);
    desk.jos(&["agent", "status", "../x"]).exits(2);
    desk.jos(&["agent", "logs", "x", "--interval", "1"]).exits(2);
}

#[test]
fn an_error_is_one_json_object_on_demand() {
    let desk = Desk::new();
    for (code, arguments) in [
        (1, &["agent", "status", "nobody", "--json"][..]),
        (2, &["--json", "validate", "absent.toml"]),
        (2, &["key", "show", "absent.key", "--json"]),
    ] {
        let error = desk.jos(arguments).exits(code).json();
        let words: Vec<&String> = error.as_object().unwrap().keys().collect();
        assert_eq!(words, ["error", "help", "details"], "{error}");
        assert!(error["error"].is_string(), "{error}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let desk = Desk::new();
    for arguments in [&["agent", "list"][..], &["--help"], &["validate", "state.toml"]] {
        desk.write("state.toml", STATE);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut jos = desk.command(JOS);
        let output = jos
            .args(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), &b""[..]),
            "{arguments:?}"
        );
    }
}

/// Runs it with a terminal as its standard output; gives what a person sees.
fn at_a_terminal(mut command: Command) -> String {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let mut child = command.stdout(terminal.slave).stderr(Stdio::null()).spawn().unwrap();
    // The command holds the terminal's other end open, and with it open the reading would never end.
    drop(command);
    let mut seen = Vec::new();
    // Linux ends the reading of a terminal that nobody holds any more with an error.
    let _ = std::fs::File::from(terminal.master).read_to_end(&mut seen);
    assert!(child.wait().unwrap().success());
    String::from_utf8(seen).unwrap()
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let desk = Desk::new();
    desk.write("state.toml", STATE);
    let seen = |arguments: &[&str], no_color: Option<&str>| {
        let mut jos = desk.command(JOS);
        jos.args(arguments)
            .env("TERM", "xterm")
            .envs(no_color.map(|value| ("NO_COLOR", value)));
        at_a_terminal(jos)
    };
    let plain = "state.toml: valid, desired-state\r\n";
    let painted = "state.toml: \x1b[32mvalid\x1b[0m, desired-state\r\n";
    assert_eq!(seen(&["validate", "state.toml"], None), painted);
    assert_eq!(seen(&["validate", "state.toml"], Some("1")), plain);
    assert_eq!(
        seen(&["validate", "state.toml"], Some("")),
        painted,
        "an empty NO_COLOR says nothing"
    );
    assert!(!seen(&["validate", "state.toml", "--json"], None).contains('\x1b'));
    assert!(!seen(&["--help"], Some("1")).contains('\x1b'));
    assert_eq!(
        desk.jos(&["validate", "state.toml"]).exits(0).out,
        plain.replace('\r', "")
    );
}
