//! No package carries a secret, and no file tree slips out of its folder.

mod common;

use common::{BASELINE, Bench};

#[track_caller]
fn refused(bench: &Bench, words: &[&str]) {
    let said = bench.build(&[]).invalid();
    for word in words {
        assert!(said.contains(word), "expected {word:?}:\n{said}");
    }
    assert!(!bench.path("dist").exists(), "something was written");
}

fn with_file(source: &str) -> Bench {
    let bench = Bench::new();
    let table = format!("[[files]]\npath = \"/etc/lobby.d/x\"\nsource = \"{source}\"\n\n[policy.grants.baseline]");
    bench.edit("[policy.grants.baseline]", &table);
    bench
}

#[test]
fn a_private_key_among_the_files_is_refused_with_its_line() {
    let bench = with_file("lobby/tls.pem");
    bench.write(
        "lobby/tls.pem",
        format!("# mine\n-----BEGIN {} KEY-----\nMIIB\n", "PRIVATE"),
    );
    refused(&bench, &["lobby/tls.pem:2", "a private key", "/etc/jos/secrets/"]);
}

#[test]
fn a_secret_key_of_jos_is_refused_wherever_it_lies_in_a_folder() {
    let bench = with_file("lobby/tree");
    bench.write(
        "lobby/tree/deep/admin.key",
        "{\"kind\":\"jos.key\",\"alg\":\"ed25519\"}",
    );
    refused(&bench, &["deep/admin.key:1", "a secret key of jos"]);
}

#[test]
fn a_passphrase_in_the_baseline_is_refused_at_its_line_and_never_shown() {
    let bench = Bench::new();
    let secret = "wpa_passphrase=correct-horse";
    bench.write(
        "lobby/baseline.toml",
        BASELINE.replace("hello\\n", &format!("ssid=x\\n{secret}\\n")),
    );
    let said = bench.build(&[]).invalid();
    assert!(
        said.contains("lobby/baseline.toml:10:11: spec.apply[0].content"),
        "{said}"
    );
    assert!(said.contains("a passphrase in plain text"), "{said}");
    assert!(!bench.path("dist").exists());
}

#[test]
fn an_enrolment_token_in_a_file_is_refused() {
    let bench = Bench::new();
    let token = format!("jos1-{}", "a".repeat(150));
    bench.edit(
        "[policy.grants.baseline]",
        &format!("[[files]]\npath = \"/etc/lobby-token\"\ncontent = \"{token}\"\n\n[policy.grants.baseline]"),
    );
    refused(&bench, &["lobby.toml:23:11: files[0].content", "an enrolment token"]);
}

/// As long as a real one, and found in any text that holds it.
const TOKEN: &str = "jos1-S1ZMPk5Qlb0oIewmtT0V7mnDNR67yhUcEsecretsecretsecretsecretsecret";

#[test]
fn a_token_that_a_profile_names_is_for_root_alone_and_in_nothing_but_the_packages() {
    let bench = Bench::new();
    bench.edit(
        "[state]",
        "[hub]\nurl = \"https://hub.acme.example\"\ntoken = \"lobby/token\"\n\n[state]",
    );
    bench.write("lobby/token", format!("{TOKEN}\n"));
    let said = bench.build(&["--json"]).ok();
    assert!(!said.contains(TOKEN), "{said}");
    let all = bench.names("dist/lobby");
    let packages = all
        .iter()
        .filter(|n| [".deb", ".ipk", ".apk"].iter().any(|end| n.ends_with(end)));
    assert_eq!(packages.clone().count(), 3, "{all:?}");
    for name in all.iter().filter(|n| !packages.clone().any(|p| p == *n)) {
        let text = bench.read(&format!("dist/lobby/{name}"));
        assert!(!String::from_utf8_lossy(&text).contains(TOKEN), "{name}");
    }
    for name in packages {
        let path = format!("dist/lobby/{name}");
        let seen = bench.tool(env!("CARGO_BIN_EXE_jos-image"), &["inspect", &path]);
        let line = seen
            .lines()
            .find(|l| l.ends_with(" /etc/jos/token"))
            .expect("the token's line");
        assert!(line.contains("0600"), "{line}");
        assert!(!seen.contains(TOKEN), "{seen}");
    }
}

#[test]
fn a_token_that_is_none_is_refused() {
    let bench = Bench::new();
    bench.edit("[state]", "[hub]\ntoken = \"lobby/token\"\n\n[state]");
    bench.write("lobby/token", "my password\n");
    let said = bench.build(&[]).invalid();
    assert!(said.contains("lobby/token holds no enrolment token"), "{said}");
    assert!(!said.contains("my password"), "{said}");
}

#[test]
fn a_hub_address_with_a_password_in_it_is_refused() {
    let bench = Bench::new();
    bench.edit(
        "[state]",
        "[hub]\nurl = \"https://me:pass@hub.acme.example\"\n\n[state]",
    );
    refused(&bench, &["hub.url"]);
}

#[test]
fn a_brought_link_that_climbs_out_is_refused() {
    let bench = with_file("lobby/tree");
    bench.write("lobby/tree/file", "x");
    std::os::unix::fs::symlink("../../../../../../../etc/shadow", bench.path("lobby/tree/slip")).expect("link");
    refused(&bench, &["slip", "leaves the root"]);
}

#[test]
fn a_brought_pipe_is_refused() {
    let bench = with_file("lobby/tree");
    bench.write("lobby/tree/file", "x");
    bench.tool("mkfifo", &["lobby/tree/pipe"]);
    refused(&bench, &["pipe", "FIFO"]);
}

#[test]
fn a_file_in_a_place_of_the_agent_is_refused() {
    for path in [
        "/usr/bin/jos",
        "/etc/jos/policy.toml",
        "/usr/share/jos/trust.json",
        "/var/lib/jos/x",
    ] {
        let bench = Bench::new();
        let table = format!("[[files]]\npath = \"{path}\"\ncontent = \"x\"\n\n[policy.grants.baseline]");
        bench.edit("[policy.grants.baseline]", &table);
        refused(&bench, &["lobby.toml:22:8: files[0].path"]);
    }
}

#[test]
fn the_throwaway_key_is_for_its_owner_alone_and_in_no_output() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    bench.build(&[]).ok();
    let key = bench.path("cache/dev.key");
    let mode = std::fs::metadata(&key).expect("key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text: serde_json::Value = serde_json::from_slice(&bench.read("cache/dev.key")).expect("JSON");
    let secret = text["secret"].as_str().expect("secret").as_bytes().to_vec();
    for (name, bytes) in common::tree(&bench.path("dist")) {
        assert!(!bytes.windows(secret.len()).any(|w| w == secret), "{name}");
    }
}
