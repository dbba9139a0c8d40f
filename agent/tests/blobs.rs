//! `file` with `source`, by the built program against a real HTTP server: what a mirror may send, and what it may not.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

const CONTENT: &[u8] = b"the content that was signed\n";

/// A desk with keys and a trust root, and a machine in a folder beside them.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().expect("a directory"));
        fs::create_dir_all(bench.path("root/srv")).expect("made");
        bench.jos("key new --out desk.key --id desk");
        bench.jos("trust init --key desk.key --out trust.json");
        let policy = json!({ "kind": "jos.policy", "grants": { "local": { "files": ["/srv/**"] } } });
        fs::write(bench.path("policy.json"), policy.to_string()).expect("written");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn jos(&self, line: &str) -> (i32, Value) {
        let output = Command::new(env!("CARGO_BIN_EXE_jos"))
            .args(line.split(' '))
            .current_dir(self.0.path())
            .output()
            .expect("it runs");
        let value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().unwrap_or(-1), value)
    }

    fn apply(&self, version: u64, url: Option<String>, more: &str) -> (i32, Value) {
        let urls: Vec<String> = url.into_iter().collect();
        let source = json!({ "sha256": jos_trust::sha256(CONTENT).to_string(), "size": CONTENT.len(), "urls": urls });
        let state = json!({
            "kind": "jos.agent.desired_state", "meta": { "name": "portal", "version": version },
            "spec": { "apply": [{ "type": "file", "path": "/srv/blob", "source": source }] },
        });
        fs::write(self.path("state.json"), state.to_string()).expect("written");
        self.jos("sign --key desk.key state.json");
        self.jos(&format!(
            "agent apply state.json --root root --policy policy.json --trust trust.json --state-dir data --json{more}"
        ))
    }

    fn nothing_is_there(&self) -> bool {
        let staged = fs::read_dir(self.path("data/portal/incoming")).map_or(0, Iterator::count);
        !self.path("root/srv/blob").exists() && staged == 0
    }
}

/// A server that answers each request with what `serve` writes.
fn server(serve: impl Fn(&mut TcpStream) + Send + 'static) -> Option<String> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/blob", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 2048];
            let _ = stream.read(&mut request);
            serve(&mut stream);
        }
    });
    Some(url)
}

fn reason(outcome: &Value) -> String {
    outcome["reasons"][0].as_str().unwrap_or_default().to_owned()
}

#[test]
fn content_comes_from_a_server_and_from_a_folder() {
    let b = Bench::new();
    let url = server(|s| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", CONTENT.len());
        let _ = s.write_all(head.as_bytes()).and_then(|()| s.write_all(CONTENT));
    });
    let (code, outcome) = b.apply(1, url, "");
    assert_eq!((code, &outcome["outcome"]), (0, &json!("applied")), "{outcome:#}");
    assert_eq!(fs::read(b.path("root/srv/blob")).expect("there"), CONTENT);

    let b = Bench::new();
    fs::create_dir(b.path("offered")).expect("made");
    fs::write(b.path("offered").join(jos_trust::sha256(CONTENT).to_string()), CONTENT).expect("written");
    let (code, outcome) = b.apply(1, None, "");
    assert_eq!((code, &outcome["outcome"]), (1, &json!("refused")), "{outcome:#}");
    assert!(reason(&outcome).contains("offer it with --blobs DIR"), "{outcome:#}");
    let (code, outcome) = b.apply(1, None, " --blobs offered");
    assert_eq!((code, &outcome["outcome"]), (0, &json!("applied")), "{outcome:#}");
}

#[test]
fn mix_and_match_another_content_of_the_same_size() {
    let b = Bench::new();
    let url = server(|s| {
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let _ = s.write_all(&vec![b'x'; CONTENT.len()]);
    });
    let (code, outcome) = b.apply(1, url, "");
    assert_eq!((code, &outcome["outcome"]), (1, &json!("refused")), "{outcome:#}");
    assert!(reason(&outcome).contains("its SHA-256 is"), "{outcome:#}");
    assert!(b.nothing_is_there());
}

#[test]
fn endless_data_from_a_server_that_never_stops() {
    let b = Bench::new();
    let url = server(|s| {
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while s.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let (code, outcome) = b.apply(1, url, "");
    assert_eq!((code, &outcome["outcome"]), (1, &json!("refused")), "{outcome:#}");
    assert!(reason(&outcome).contains("more than the"), "{outcome:#}");
    assert!(b.nothing_is_there());
}

#[test]
fn a_short_answer_and_https_are_refused_by_name() {
    let b = Bench::new();
    let url = server(|s| {
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\n\r\nthe con");
    });
    let (code, outcome) = b.apply(1, url, "");
    assert_eq!((code, &outcome["outcome"]), (1, &json!("refused")), "{outcome:#}");
    assert!(reason(&outcome).contains("7 bytes, the state names"), "{outcome:#}");
    let (code, outcome) = b.apply(2, Some("https://mirror.example/blob".into()), "");
    assert_eq!((code, &outcome["outcome"]), (1, &json!("unsupported")), "{outcome:#}");
    assert!(b.nothing_is_there());
}
