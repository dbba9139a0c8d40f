//! Those who want to wear the hub out. Each test is a line of *Hub* in the list of attacks.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jos_hub::serve::Limits;
use jos_hub::tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use crate::common::Running;

fn impatient() -> Limits {
    Limits {
        handshake: Duration::from_millis(400),
        stranger: Duration::from_millis(400),
        ..Limits::default()
    }
}

/// A TLS connection without a certificate.
fn tls_to(running: &Running) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(jos_hub::ca::der(running.hub.authorities().ca().certificate()).expect("PEM"))
        .expect("a CA");
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let stream = TcpStream::connect(running.devices()).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    StreamOwned::new(connection, stream)
}

/// Reads until the other end is done; gives what came.
fn rest(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    // An end without TLS' goodbye is an end.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn slowloris_is_cut_off_before_its_head_is_whole() {
    let running = Running::within(impatient());
    let began = Instant::now();
    let mut silent = TcpStream::connect(running.devices()).expect("it listens");
    silent
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let mut slow = tls_to(&running);
    slow.write_all(b"GET /v1/ca HTTP/1.1\r\nhost: x\r\n")
        .expect("it is sent");
    assert!(!rest(&mut slow).contains("200 OK"));
    assert_eq!(rest(&mut silent), "");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn header_floods_are_refused() {
    let running = Running::new();
    let mut many = tls_to(&running);
    let mut head = "GET /v1/ca HTTP/1.1\r\nhost: x\r\n".to_owned();
    for n in 0..200 {
        head.push_str(&format!("x-{n}: 1\r\n"));
    }
    many.write_all(format!("{head}\r\n").as_bytes()).expect("it is sent");
    assert!(rest(&mut many).starts_with("HTTP/1.1 431"));
    let mut long = tls_to(&running);
    let sent = long.write_all(format!("GET /v1/ca HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)).as_bytes());
    let answer = rest(&mut long);
    assert!(
        sent.is_err() || answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
}

/// Ten thousand, or half of the files that this process may open.
fn many() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
    usize::try_from(hard.saturating_sub(500) / 2)
        .unwrap_or(10_000)
        .min(10_000)
}

#[test]
fn ten_thousand_idle_connections_keep_no_device_out_and_are_cut_off() {
    let running = Running::within(impatient());
    let device = running.device(&json!({}));
    let mut idle: Vec<TcpStream> = (0..many())
        .map(|_| TcpStream::connect(running.devices()).expect("it listens"))
        .collect();
    assert_eq!(device.heartbeat(&json!({})).0, 200);
    for stream in &mut idle {
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout");
        assert_eq!(rest(stream), "");
    }
}

#[test]
fn connections_beyond_the_limit_wait_and_are_served_when_others_go() {
    let running = Running::within(Limits {
        connections: 2,
        ..impatient()
    });
    let _held: Vec<TcpStream> = (0..4)
        .map(|_| TcpStream::connect(running.devices()).expect("it listens"))
        .collect();
    let mut late = tls_to(&running);
    late.write_all(b"GET /v1/ca HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .expect("it is sent");
    assert!(rest(&mut late).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_hub_that_ends_answers_who_waits() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    let began = Instant::now();
    let status = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| device.state(None, 120).0);
        while running.of_devices.waiting() == 0 {
            assert!(began.elapsed() < Duration::from_secs(60), "nobody waits");
            std::thread::yield_now();
        }
        running.stop();
        waiting.join().expect("no panic")
    });
    assert_eq!(status, 204);
    assert!(began.elapsed() < Duration::from_secs(100), "{:?}", began.elapsed());
}

/// A hello of TLS 1.2 (RFC 5246 §7.4.1.2), as a client sends it that knows nothing newer.
fn old_hello() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&[7; 32]);
    hello.push(0);
    // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, no compression.
    hello.extend_from_slice(&[0, 2, 0xc0, 0x2b, 1, 0]);
    // supported_groups: P-256; signature_algorithms: ecdsa_secp256r1_sha256.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3];
    hello.extend_from_slice(&[0, extensions.len() as u8]);
    hello.extend_from_slice(&extensions);
    let mut message = vec![1, 0, 0, hello.len() as u8];
    message.extend_from_slice(&hello);
    let mut record = vec![22, 3, 1, 0, message.len() as u8];
    record.extend_from_slice(&message);
    record
}

#[test]
fn a_client_that_knows_no_tls_1_3_is_refused() {
    let running = Running::new();
    for address in [running.devices(), running.admins()] {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        stream.write_all(&old_hello()).expect("it is sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        // A fatal alert: protocol_version.
        assert_eq!(
            (answer.first(), answer.get(5), answer.get(6)),
            (Some(&21), Some(&2), Some(&70)),
            "{answer:?}"
        );
    }
}

#[test]
fn a_turn_of_some_devices_wakes_nobody_else() {
    let running = Running::new();
    let hub = &running.hub;
    hub.wake_only(7, ["d-1".to_owned()].into());
    assert!(!hub.is_spared("d-1", 6, 7));
    assert!(hub.is_spared("d-2", 6, 7));
    // Whoever has missed a change looks, and so does everybody when it is another one.
    assert!(!hub.is_spared("d-2", 5, 7));
    hub.wake(8);
    assert!(!hub.is_spared("d-2", 7, 8));
}
