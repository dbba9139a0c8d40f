//! The main flow of an artifact: its guardrails, its grant, what upstream writes.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::home::{Home, artifact, send, shell, text};

#[test]
fn an_artifact_that_changed_after_its_grant_does_not_run() {
    let home = Home::new();
    home.write("hello.jos", artifact("hello", json!({ "a": shell("true") }), &["a"]));
    assert!(home.install("hello.jos", &[]).status.success());
    home.until("hello", "the flow is done", |s| s["flow"]["ok"] == true);
    let folder = home.path(".jos/agents/hello");
    let sneaked = format!("touch {}", home.path("sneaked").display());
    fs::write(
        folder.join("artifact.jos"),
        artifact("hello", json!({ "a": shell(sneaked) }), &["a"]),
    )
    .unwrap();
    let status = home.status("hello");
    send(&status, "pid", Signal::SIGHUP);
    let status = home.until("hello", "the reload is refused", |s| s["trouble"].is_string());
    assert!(
        status["trouble"].as_str().unwrap().contains("nobody granted"),
        "{status:#}"
    );
    assert!(!home.path("sneaked").exists());
}

#[test]
fn a_flow_keeps_to_its_guardrails() {
    let home = Home::new();
    let count = home.path("count");
    let mut flow: Value = serde_json::from_str(&artifact(
        "tries",
        json!({ "fail": shell(format!("echo x >> {}; exit 3", count.display())), "after": shell("touch never") }),
        &["fail", "after"],
    ))
    .unwrap();
    flow["guardrails"] = json!({ "max_retries": 1, "timeout_ms": 5000 });
    home.write("tries.jos", flow.to_string());
    assert!(home.install("tries.jos", &[]).status.success());
    let status = home.until("tries", "the flow has ended", |s| {
        s["flow"]["ok"] == false && s["phase"] == "waiting"
    });
    assert_eq!(status["flow"]["tries"], 2, "{status:#}");
    assert_eq!(status["flow"]["failed"], "tries/fail");
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\nx\n");

    flow["guardrails"] = json!({ "avoid": ["exit 3"] });
    home.write("avoid.jos", flow.to_string());
    let refused = home.install("avoid.jos", &["--name", "avoid"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
}

#[test]
fn the_command_for_the_very_system_goes_before_that_of_every_unix_and_that_before_the_common_one() {
    let home = Home::new();
    let own = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let note = |word: &str| format!("echo {word} >> {}", home.path("ran").display());
    let definitions = json!({
        "all": {
            "type": "shell", "command": note("common"), "command_unix": note("unix"),
            format!("command_{own}"): note("own"), "command_windows": note("windows"),
        },
        "unix": { "type": "shell", "command": note("common"), "command_unix": note("unix") },
        "only_unix": { "type": "shell", "command_unix": note("unix alone") },
        "common": { "type": "shell", "command": note("common"), "command_windows": note("windows") },
    });
    let steps = ["all", "unix", "only_unix", "common"];
    home.write("variants.jos", artifact("variants", definitions, &steps));
    let installed = home.install("variants.jos", &[]);
    assert!(installed.status.success(), "{}", text(&installed));
    home.until("variants", "the flow is done", |s| s["flow"]["ok"] == true);
    assert_eq!(
        fs::read_to_string(home.path("ran")).unwrap(),
        "own\nunix\nunix alone\ncommon\n"
    );
    let elsewhere = json!({ "a": { "type": "shell", "command_windows": "dir" } });
    home.write("elsewhere.jos", artifact("elsewhere", elsewhere, &["a"]));
    let refused = home.install("elsewhere.jos", &[]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(
        text(&refused).contains("no command for this system"),
        "{}",
        text(&refused)
    );
}

#[test]
fn an_artifact_names_another_by_upstreams_field_too() {
    let home = Home::new();
    let note = |word: &str| shell(format!("echo {word} >> {}", home.path("ran").display()));
    home.write("inner.jos", artifact("inner", json!({ "a": note("inner") }), &["a"]));
    let definitions = json!({
        "before": note("before"),
        "upstream": { "type": "jos", "artifact": "./inner.jos" },
        "both": { "type": "jos", "artifact": "inner.jos", "path": "inner.jos" },
    });
    let steps = ["definitions.before", "definitions.upstream", "both"];
    home.write("outer.jos", artifact("outer", definitions, &steps));
    let installed = home.install("outer.jos", &[]);
    assert!(installed.status.success(), "{}", text(&installed));
    let status = home.until("outer", "the flow is done", |s| s["flow"]["ok"] == true);
    assert_eq!(status["flow"]["done"], 3, "{status:#}");
    assert_eq!(fs::read_to_string(home.path("ran")).unwrap(), "before\ninner\ninner\n");
}

#[test]
fn upstreams_names_are_refused_where_they_contradict_ours_and_a_prompt_by_name_with_its_text() {
    let home = Home::new();
    home.write("a.jos", artifact("a", json!({ "a": shell("true") }), &["a"]));
    for (definition, said) in [
        (
            json!({ "type": "jos", "path": "a.jos", "artifact": "b.jos" }),
            &["\"path\" is \"a.jos\"", "\"artifact\" is \"b.jos\""][..],
        ),
        (
            json!({ "type": "jos", "artifact": "../a.jos" }),
            &["leaves the artifact's folder"],
        ),
        (json!({ "type": "jos", "artifact": "nowhere.jos" }), &["nowhere.jos"]),
        (json!({ "type": "jos" }), &["neither \"path\" nor \"artifact\""]),
        (
            json!({ "type": "prompt", "template": "Summarise {{input}}\nin a line" }),
            &["no model adapter", "\"Summarise {{input}}\""],
        ),
        (json!({ "type": "prompt" }), &["neither \"prompt\" nor \"template\""]),
        (
            json!({ "type": "prompt", "prompt": "one", "template": "other" }),
            &["mean the same thing"],
        ),
    ] {
        home.write("x.jos", artifact("x", json!({ "x": definition }), &["x"]));
        let refused = home.install("x.jos", &[]);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
        for words in said {
            assert!(text(&refused).contains(words), "{words}: {}", text(&refused));
        }
    }
    assert!(!home.path(".jos").exists() && !home.path("state").exists());
}
