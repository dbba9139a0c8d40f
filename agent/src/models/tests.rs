//! Against a real HTTP server in this process, in both dialects, streamed and not, good and bad.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use jos_node::contract::{Prompt, Reply};
use serde_json::json;

use super::*;

/// Answers each connection with the next of `answers` and hands on what it was asked.
fn server(answers: Vec<String>) -> (String, mpsc::Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, asked) = mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((stream, _)) = listener.accept() else { return };
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|n| n > 0) {}
            let length = head.to_lowercase();
            let length = length
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next());
            let mut body = vec![0; length.and_then(|n| n.parse().ok()).unwrap_or(0)];
            reader.read_exact(&mut body).expect("a body");
            let _ = sender.send((head, serde_json::from_slice(&body).unwrap_or_default()));
            if answer.is_empty() {
                // Holds the line and says nothing until the other side gives up.
                let _ = reader.read_exact(&mut [0]);
                continue;
            }
            let _ = reader.get_mut().write_all(answer.as_bytes());
        }
    });
    (url, asked)
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn chunked(pieces: &[&str]) -> String {
    let mut all = String::from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
    for piece in pieces {
        all += &format!("{:x}\r\n{piece}\r\n", piece.len());
    }
    all + "0\r\n\r\n"
}

fn model(url: &str, settings: &str, environment: &[(&str, &str)]) -> Arc<dyn Model> {
    let data = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(data.path().join("config")).expect("a folder");
    std::fs::write(
        data.path().join("config/llm.toml"),
        format!("base_url = \"{url}\"\nmodel = \"m\"\n{settings}"),
    )
    .expect("a file");
    let environment = environment
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    choose(data.path(), &environment).expect("a model")
}

fn ask(model: &Arc<dyn Model>) -> Result<Reply, String> {
    let prompt = Prompt {
        system: Some("be short".into()),
        prompt: "hello".into(),
        options: json!({ "temperature": 0 }).as_object().cloned().expect("an object"),
    };
    model.complete(&prompt).map_err(|e| e.to_string())
}

#[test]
fn ollama_is_asked_in_its_own_way_whole_and_streamed() {
    let whole = answer("200 OK", r#"{"message":{"content":"ACCEPT"},"done":true}"#);
    let (url, asked) = server(vec![whole]);
    let reply = ask(&model(
        &url,
        "provider = \"ollama\"\nstream = false\n[options]\nseed = 7\n",
        &[],
    ))
    .expect("a reply");
    assert_eq!((reply.model.as_str(), reply.text.as_str()), ("ollama:m", "ACCEPT"));
    let (head, body) = asked.recv().expect("asked");
    assert!(head.starts_with("POST /api/chat HTTP/1.1"), "{head}");
    assert_eq!(body["options"], json!({ "seed": 7, "temperature": 0 }));
    assert_eq!(body["messages"][0], json!({ "role": "system", "content": "be short" }));
    let pieces = [
        "{\"message\":{\"content\":\"REJ\"},\"done\":false}\n{\"mess",
        "age\":{\"content\":\"ECT\"},\"done\":true}\n",
    ];
    let (url, _asked) = server(vec![chunked(&pieces)]);
    assert_eq!(
        ask(&model(&url, "provider = \"ollama\"\n", &[])).expect("a reply").text,
        "REJECT"
    );
}

#[test]
fn openai_is_asked_in_its_own_way_with_the_key_whole_and_streamed() {
    let whole = answer("200 OK", r#"{"choices":[{"message":{"content":"yes"}}]}"#);
    let (url, asked) = server(vec![whole]);
    let environment = [("JOS_LLM", "openai"), ("JOS_LLM_API_KEY", "k1")];
    assert_eq!(
        ask(&model(&url, "stream = false\n", &environment))
            .expect("a reply")
            .text,
        "yes"
    );
    let (head, body) = asked.recv().expect("asked");
    assert!(head.starts_with("POST /chat/completions HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer k1"), "{head}");
    assert_eq!(body["temperature"], json!(0));
    let events = [
        ": comment\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"y\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"es\"}}]}\n\n",
        "data: [DONE]\n\n",
    ];
    let (url, _asked) = server(vec![chunked(&events)]);
    assert_eq!(ask(&model(&url, "", &environment)).expect("a reply").text, "yes");
}

#[test]
fn a_busy_or_failing_server_is_asked_again_and_a_refusal_is_not() {
    let good = answer("200 OK", r#"{"message":{"content":"ok"},"done":true}"#);
    let busy = answer("429 Too Many Requests", "busy").replace("Connection", "Retry-After: 0\r\nConnection");
    let settings = "provider = \"ollama\"\nstream = false\nretries = 2\n";
    let (url, asked) = server(vec![busy, answer("500 Oops", "x"), good]);
    assert_eq!(ask(&model(&url, settings, &[])).expect("the third").text, "ok");
    assert_eq!(asked.try_iter().count(), 3);
    let (url, asked) = server(vec![answer("401 Unauthorized", "who?"); 3]);
    let error = ask(&model(&url, settings, &[])).expect_err("refused");
    assert!(error.contains("401") && error.contains("who?"), "{error}");
    assert_eq!(asked.try_iter().count(), 1);
    let (url, _asked) = server(vec![answer("503 Down", "x"); 3]);
    let error = ask(&model(&url, settings, &[])).expect_err("down");
    assert!(error.contains("3 tries"), "{error}");
}

#[test]
fn silence_and_garbage_are_errors_by_name() {
    let (url, _asked) = server(vec![String::new()]);
    let error = ask(&model(&url, "provider = \"ollama\"\ntimeout = 1\nretries = 0\n", &[])).expect_err("late");
    assert!(error.contains("within 1 s"), "{error}");
    for (body, expected) in [
        ("<html>", "no JSON"),
        ("{}", "/message/content"),
        ("{\"error\":\"no such model\"}", "no such model"),
    ] {
        let (url, _asked) = server(vec![answer("200 OK", body)]);
        let error = ask(&model(&url, "provider = \"ollama\"\nstream = false\n", &[])).expect_err(body);
        assert!(error.contains(expected), "{error}");
    }
    let (url, _asked) = server(vec![chunked(&[
        "{\"message\":{\"content\":\"half\"},\"done\":false}\n",
    ])]);
    let error = ask(&model(&url, "provider = \"ollama\"\n", &[])).expect_err("half");
    assert!(error.contains("before it was done"), "{error}");
}

#[test]
fn the_environment_counts_before_the_file_and_an_unknown_model_is_an_error_that_names_the_known() {
    let data = tempfile::tempdir().expect("a directory");
    let choose = |pairs: &[(&str, &str)]| {
        let environment = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        choose(data.path(), &environment).map(|model| model.name().to_owned())
    };
    assert_eq!(choose(&[]).as_deref(), Ok("echo"));
    std::fs::create_dir(data.path().join("config")).expect("a folder");
    std::fs::write(data.path().join("config/llm.toml"), "provider = \"uppercase\"\n").expect("a file");
    assert_eq!(choose(&[]).as_deref(), Ok("uppercase"));
    assert_eq!(
        choose(&[("JOS_LLM", "ollama"), ("JOS_LLM_MODEL", "gemma2:2b")]).as_deref(),
        Ok("ollama:gemma2:2b")
    );
    let error = choose(&[("JOS_LLM", "gpt")]).expect_err("unknown");
    assert!(
        error.contains("JOS_LLM: found \"gpt\", expected one of echo, uppercase, ollama, openai"),
        "{error}"
    );
    let error = choose(&[("JOS_LLM", "openai")]).expect_err("no model");
    assert!(error.contains("JOS_LLM_MODEL"), "{error}");
    std::fs::write(data.path().join("config/llm.toml"), "provide = \"echo\"\n").expect("a file");
    assert!(choose(&[]).expect_err("a slip").contains("provide"));
}
