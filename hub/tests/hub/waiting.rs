//! Devices that wait on one connection: what comes behind the question, who goes, and the hub's end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jos_hub::tls;
use jos_tests::wait::until;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use crate::common::{Device, Running, state};

/// A connection of a device's, to say on it what no HTTP library would.
struct Line(StreamOwned<ClientConnection, TcpStream>);

impl Line {
    fn of(running: &Running, device: &Device) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(jos_hub::ca::der(running.hub.authorities().ca().certificate()).expect("PEM"))
            .expect("a CA");
        let own = device.certificate["certificate"].as_str().expect("PEM");
        let own = vec![CertificateDer::from_pem_slice(own.as_bytes()).expect("PEM")];
        let key = PrivateKeyDer::from_pem_slice(device.key.serialize_pem().as_bytes()).expect("PEM");
        let config = ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_client_auth_cert(own, key)
            .expect("a key that fits");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
        let stream = TcpStream::connect(running.devices()).expect("it listens");
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).expect("a timeout");
        Self(StreamOwned::new(connection, stream))
    }

    fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("it is sent");
        self.0.flush().expect("it is sent");
    }

    /// Asks for the state of `portal`, with more lines for the head.
    fn ask(&mut self, wait: u32, more: &str) {
        self.say(&format!(
            "GET /v1/state/portal?wait={wait} HTTP/1.1\r\nhost: hub\r\n{more}\r\n"
        ));
    }

    /// The next answer: its head, and its body where that has a length.
    fn hear(&mut self) -> (String, Vec<u8>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut one = [0];
            self.0
                .read_exact(&mut one)
                .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&head)));
            head.push(one[0]);
        }
        let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
        self.0.read_exact(&mut body).expect("the body");
        (head, body)
    }

    fn is_over(&mut self) -> bool {
        self.0.read(&mut [0; 1]).unwrap_or(0) == 0
    }
}

fn parked(running: &Running) -> u64 {
    running.of_devices.metrics.parked.load(Ordering::Relaxed)
}

/// Waits until so many waits in all were parked, and so many devices wait now.
fn until_parked(running: &Running, in_all: u64, now: usize) {
    until("a wait is parked, or over", Duration::from_secs(30), || {
        let found = (parked(running), running.of_devices.waiting());
        if found == (in_all, now) {
            Ok(())
        } else {
            Err(format!("{found:?}, expected {:?}", (in_all, now)))
        }
    });
}

#[test]
fn a_device_that_waits_is_told_of_a_push_and_what_it_asked_behind_that_is_answered_after_it() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    let mut line = Line::of(&running, &device);
    line.ask(60, "");
    until_parked(&running, 1, 1);
    // What comes now is the next question, in two pieces; the wait goes on.
    line.say("GET /v1/state/portal?wait=0 HTTP/1.1\r\nif-none-");
    until_parked(&running, 2, 1);
    line.say("match: \"none\"\r\n\r\n");
    assert_eq!(running.push(&state(1)).0, 200);
    let (head, body) = line.hear();
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    let shown: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(shown["meta"]["version"], 1, "{shown}");
    let (again, _) = line.hear();
    assert!(again.starts_with("http/1.1 200 "), "{again}");

    let tag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .expect("a tag");
    line.ask(60, &format!("if-none-match: {tag}\r\n"));
    until_parked(&running, 3, 1);
    assert_eq!(running.push(&state(2)).0, 200);
    let (_, body) = line.hear();
    let shown: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(shown["meta"]["version"], 2, "{shown}");
}

#[test]
fn a_wait_that_was_in_vain_ends_at_its_time_and_the_connection_serves_on() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    let mut line = Line::of(&running, &device);
    for turn in 1..=2 {
        let began = Instant::now();
        line.ask(1, "");
        assert!(line.hear().0.starts_with("http/1.1 204 "));
        assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
        until_parked(&running, turn, 0);
    }
    let requests = running.of_devices.metrics.requests.load(Ordering::Relaxed);
    line.ask(0, "");
    assert!(line.hear().0.starts_with("http/1.1 204 "));
    let after = running.of_devices.metrics.requests.load(Ordering::Relaxed);
    assert_eq!(after, requests + 1);
}

#[test]
fn a_device_that_goes_while_it_waits_leaves_nothing_behind() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    let mut line = Line::of(&running, &device);
    line.ask(300, "");
    until_parked(&running, 1, 1);
    drop(line);
    until_parked(&running, 1, 0);
}

#[test]
fn whoever_waits_is_answered_when_the_hub_ends() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    let mut line = Line::of(&running, &device);
    line.ask(300, "");
    until_parked(&running, 1, 1);
    let began = Instant::now();
    running.stop();
    assert!(line.hear().0.starts_with("http/1.1 204 "));
    assert!(line.is_over());
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

#[test]
fn a_question_that_says_more_than_its_path_waits_as_it_came() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    let mut line = Line::of(&running, &device);
    line.ask(1, "connection: close\r\n");
    let (head, _) = line.hear();
    assert!(
        head.starts_with("http/1.1 204 ") && head.contains("connection: close"),
        "{head}"
    );
    assert!(line.is_over());
    let mut line = Line::of(&running, &device);
    line.say("HEAD /v1/state/portal?wait=1 HTTP/1.1\r\n\r\n");
    assert!(line.hear().0.starts_with("http/1.1 204 "));
    assert_eq!(parked(&running), 0);
}
