//! Models over HTTP and TLS: a node asks a real server, the reply is captured, the server goes, and a replay asks nobody.
//! Through the built program.

use std::fs;
use std::path::Path;

use jos_tests::command::{Ran, run};
use jos_tests::model::{Answer, Asked, Pair, Server};
use jos_tests::node::Node;
use serde_json::{Value, json};

/// A node with an agent that asks what its job says and proposes to write the reply down.
fn node(settings: &str) -> Node {
    let node = Node::new();
    let ask = json!({
        "type": "prompt", "system": "be short", "prompt": "{{input.say}}", "options": { "seed": 7 },
        "propose": [{ "kind": "fs.write", "payload": { "path": "artifacts/{{job.id}}", "content": "{{reply}}" } }],
    });
    let agent = json!({
        "id_jos": "asker", "orchestration_contract": { "version": "0.0.7" },
        "security": { "permissions": ["fs.write:artifacts"] },
        "orchestration": { "definitions": { "ask": ask }, "flows": { "main": { "steps": ["ask"] } } },
    });
    fs::write(node.path("agents/asker.jos"), agent.to_string()).expect("written");
    configure(&node, settings);
    node
}

fn configure(node: &Node, settings: &str) {
    let temp = node.path("config/.new");
    fs::write(&temp, settings).expect("written");
    fs::rename(temp, node.path("config/llm.toml")).expect("written");
}

fn settings(provider: &str, base_url: &str, more: &str) -> String {
    format!("provider = \"{provider}\"\nmodel = \"m\"\nbase_url = \"{base_url}\"\n{more}\n")
}

fn says(_: usize, asked: &Asked) -> Answer {
    Answer::Says(format!("you said: {}", asked.prompt()))
}

fn ask(node: &Node, id: &str, say: &str, environment: &[(&str, &str)]) -> Ran {
    node.drop_in(
        &format!("{id}.json"),
        &json!({ "agent": "asker", "input": { "say": say } }).to_string(),
    );
    let mut serve = node.command(&["serve", "--drain"]);
    run(serve.envs(environment.iter().copied())).ok()
}

fn written(node: &Node, id: &str) -> String {
    let file = fs::read_to_string(node.path(&format!("artifacts/{id}")));
    file.unwrap_or_else(|e| panic!("{e}: {:?}", node.text(&format!("failed/{id}.json.reason"))))
}

fn reason(node: &Node, id: &str) -> String {
    let reason = node.text(&format!("failed/{id}.json.reason"));
    reason.unwrap_or_else(|| panic!("{id} did not fail: {:?}", node.text(&format!("outbox/{id}.json"))))
}

#[test]
fn a_reply_of_either_protocol_whole_or_streamed_is_captured_and_replayed_when_the_server_is_gone() {
    for (provider, path) in [("ollama", ""), ("openai", "/v1")] {
        for stream in [true, false] {
            let server = Server::http(says);
            let more = format!("stream = {stream}\napi_key_env = \"MY_KEY\"\n[options]\ntemperature = 0");
            let node = node(&settings(provider, &format!("{}{path}", server.url()), &more));
            let said = ask(&node, "j", "größer \u{1f600}?", &[("MY_KEY", "s3cret-key")]);
            assert_eq!(written(&node, "j"), "you said: größer \u{1f600}?", "{provider}: {said}");
            let asked = server.asked();
            assert_eq!(asked.len(), 1, "{asked:?}");
            assert_eq!(asked[0].field("authorization").as_deref(), Some("bearer s3cret-key"));
            assert_eq!(
                (&asked[0].body["model"], &asked[0].body["stream"]),
                (&json!("m"), &json!(stream))
            );
            assert_eq!(
                asked[0].body["messages"][0],
                json!({ "role": "system", "content": "be short" })
            );
            let options = if provider == "ollama" {
                &asked[0].body["options"]
            } else {
                &asked[0].body
            };
            assert_eq!((&options["temperature"], &options["seed"]), (&json!(0), &json!(7)));
            drop(server);
            let report = node.replays();
            assert_eq!(
                (&report["modelCalls"], &report["capturedReplies"]),
                (&json!(0), &json!(1)),
                "{report:#}"
            );
            assert!(report["files"]["artifacts/j"].is_string(), "{report:#}");
            let ledger = fs::read_to_string(node.path("state/runtime/ledger/00000000.jsl")).expect("a ledger");
            assert!(
                ledger.contains("you said") && !ledger.contains("s3cret-key"),
                "{ledger}"
            );
            // With nobody there, the next job fails by name, and a replay tells both.
            ask(&node, "k", "anybody?", &[("MY_KEY", "s3cret-key")]);
            assert!(
                reason(&node, "k").contains(&format!("{provider}:m at http://127.0.0.1")),
                "{}",
                reason(&node, "k")
            );
            assert_eq!(node.replays()["attribution"][0]["job"], "k");
        }
    }
}

#[test]
fn a_key_whose_variable_is_not_set_and_a_server_that_is_none_are_refused_before_the_node_runs() {
    for (text, expected) in [
        (
            settings("openai", "http://127.0.0.1:1", "api_key_env = \"NOT_SET\""),
            "the variable NOT_SET is not set",
        ),
        (settings("openai", "ftp://127.0.0.1", ""), "expected \"http"),
        (settings("gpt", "http://127.0.0.1:1", ""), "gpt"),
    ] {
        node(&text).jos(&["serve", "--drain"]).exits(2).says(expected);
    }
}

#[test]
fn a_server_that_stalls_in_the_middle_is_given_up_in_time_and_not_asked_again() {
    for (stream, provider, path) in [(true, "ollama", ""), (true, "openai", "/v1"), (false, "openai", "/v1")] {
        let server = Server::http(|_, _| Answer::Stalls("a long thought".into()));
        let more = format!("stream = {stream}\ntimeout = 100");
        let node = node(&settings(provider, &format!("{}{path}", server.url()), &more));
        ask(&node, "j", "x", &[("JOS_LLM_TIMEOUT", "1")]);
        let said = reason(&node, "j");
        assert!(said.contains("no whole answer within 1 s"), "{said}");
        assert_eq!(server.asked().len(), 1);
        assert_eq!(node.replays()["attribution"][0]["agent"], "asker");
    }
}

#[test]
fn a_connection_that_breaks_and_a_busy_server_are_asked_again_so_often_as_was_said() {
    for stream in [true, false] {
        let server = Server::http(|count, asked: &Asked| match count {
            1 => Answer::Breaks("half of it".into()),
            2 => Answer::Status("503 Service Unavailable", "Retry-After: 0\r\n".into(), "busy".into()),
            _ => says(count, asked),
        });
        let more = format!("stream = {stream}\nretries = 2");
        let node = node(&settings("openai", &format!("{}/v1", server.url()), &more));
        ask(&node, "j", "again", &[]);
        assert_eq!(written(&node, "j"), "you said: again");
        assert_eq!(server.asked().len(), 3);
        assert_eq!(node.replays()["capturedReplies"], 1, "what broke off is no reply");
    }
    let server = Server::http(|_, _| Answer::Breaks("half of it".into()));
    let node = node(&settings("ollama", &server.url(), "retries = 1"));
    ask(&node, "j", "again", &[]);
    assert!(reason(&node, "j").contains("(2 tries)"), "{}", reason(&node, "j"));
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn an_answer_beyond_the_limit_is_refused_by_name() {
    for (length, expected) in [
        ((1 << 20) + 1, "at most 1048576 are taken"),
        (5 << 20, "longer than 4194304 bytes"),
    ] {
        let server = Server::http(move |_, _| Answer::Says("x".repeat(length)));
        let node = node(&settings("openai", &format!("{}/v1", server.url()), ""));
        ask(&node, "j", "x", &[]);
        assert!(reason(&node, "j").contains(expected), "{}", reason(&node, "j"));
        assert_eq!(server.asked().len(), 1);
    }
}

#[test]
fn a_redirect_is_not_followed_and_the_key_goes_nowhere_else() {
    let other = Server::http(says);
    let place = format!("Location: {}/v1/chat/completions\r\n", other.url());
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let place = place.clone();
        let server = Server::http(move |_, _| Answer::Status(status, place.clone(), String::new()));
        let node = node(&settings("openai", &format!("{}/v1", server.url()), ""));
        ask(&node, "j", "x", &[("JOS_LLM_API_KEY", "k")]);
        assert!(
            reason(&node, "j").contains(&format!("it answered {}", &status[..3])),
            "{}",
            reason(&node, "j")
        );
    }
    assert!(other.asked().is_empty(), "{:?}", other.asked());
}

#[test]
fn a_server_over_tls_is_believed_by_its_certificate_and_its_name_alone() {
    let (own, other) = (Pair::of(&["localhost"]), Pair::of(&["localhost"]));
    let server = Server::https(&own, says);
    let ca = |path: &Path| format!("retries = 0\nca = \"{}\"", path.display());
    let (good, bad) = (ca(&own.ca()), ca(&other.ca()));
    let file = own.ca().display().to_string();
    let trusted = [("SSL_CERT_FILE", file.as_str())];
    let refused = [
        ("another's", "localhost", bad.as_str(), &[][..], "UnknownIssuer"),
        ("the system's", "localhost", "retries = 0", &[], "UnknownIssuer"),
        ("another name", "127.0.0.1", &good, &[], "not valid for name"),
        // Those that the settings name count instead of the others, not besides.
        (
            "another's, although the environment's fits",
            "localhost",
            &bad,
            &trusted,
            "UnknownIssuer",
        ),
    ];
    for (what, host, more, environment, expected) in refused {
        let node = node(&settings("openai", &format!("{}/v1", server.url_of(host)), more));
        ask(&node, "j", "x", environment);
        let said = reason(&node, "j");
        assert!(said.contains(expected), "{what}: {said}");
    }
    assert!(
        server.asked().is_empty(),
        "nothing was said to it: {:?}",
        server.asked()
    );
    for (what, more, environment) in [
        ("ca", good.as_str(), &[][..]),
        ("the environment", "retries = 0", &trusted),
    ] {
        for stream in [true, false] {
            let more = format!("{more}\nstream = {stream}");
            let node = node(&settings(
                "openai",
                &format!("{}/v1", server.url_of("localhost")),
                &more,
            ));
            ask(&node, "j", what, environment);
            assert_eq!(written(&node, "j"), format!("you said: {what}"));
        }
    }
    let missing = node(&settings("openai", "https://localhost:1", "ca = \"/nowhere.pem\""));
    missing.jos(&["serve", "--drain"]).exits(2).says("/nowhere.pem");
}

#[test]
fn an_edit_of_the_settings_counts_from_the_next_question_on_and_a_bad_one_changes_nothing() {
    let server = Server::http(says);
    let node = node("provider = \"uppercase\"\n");
    let serving = node.serve(&[]);
    let ask = |id: &str| {
        node.drop_in(
            &format!("{id}.json"),
            &json!({ "agent": "asker", "input": { "say": "hear" } }).to_string(),
        );
        node.comes(&format!("outbox/{id}.json"));
        written(&node, id)
    };
    assert_eq!(ask("one"), "HEAR");
    configure(&node, &settings("ollama", &server.url(), ""));
    assert_eq!(ask("two"), "you said: hear");
    configure(&node, "provider = \"nobody\"\n");
    assert_eq!(ask("three"), "you said: hear");
    assert!(node.log().contains("ollama:m is asked as before"), "{}", node.log());
    fs::remove_file(node.path("config/llm.toml")).expect("removed");
    assert_eq!(ask("four"), "hear");
    serving.stop();
    assert_eq!(node.replays()["capturedReplies"], 4);
}

#[test]
fn a_case_is_asked_of_the_configured_model_where_that_is_wanted_and_of_echo_else() {
    let server = Server::http(|_, _| Answer::Says("REJECT: no".into()));
    let node = node(&settings("ollama", &server.url(), ""));
    let case = |name: &str, content: &str| {
        let document = json!({
            "kind": "jos.eval", "name": name, "agent": "asker", "input": { "say": "hello" },
            "expect": { "decisions": ["fs.write", "advance"], "result": { "bytes": content.len() } },
        });
        fs::write(node.path(&format!("evals/{name}.json")), document.to_string()).expect("written");
    };
    case("of-echo", "hello");
    case("of-the-server", "REJECT: no");
    let passed = |words: &[&str]| -> Vec<String> {
        let said: Value = node.jos(&[&["eval", "--json"], words].concat()).exits(1).json();
        let all = said["cases"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|one| one["passed"] == true);
        all.map(|one| one["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(passed(&[]), ["of-echo"]);
    assert!(server.asked().is_empty());
    assert_eq!(passed(&["--model"]), ["of-the-server"]);
    assert_eq!(server.asked().len(), 2);
}
