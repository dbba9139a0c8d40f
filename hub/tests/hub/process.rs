//! The program itself: from `init` to a device that is served, by its command line, over the network and after a kill.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use jos_hub::tls;
use jos_schemas::documents::desired_state;
use jos_schemas::documents::trust::Role;
use jos_schemas::text::Name;
use jos_trust::keyfile::NamedKey;
use jos_trust::sign::{self, Grant, NewTrust};
use jos_trust::{SecretKey, keyfile};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::common::{admin_key, database, enrolment, read, root_key, signed, state, to_value};

/// The program with nothing of the caller's environment.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jos-hub"));
    command.env_clear().env("USER", "ana").args(words);
    command
}

pub(crate) fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn refused(output: &Output, code: i32, words: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(words), "{text}");
}

/// A hub's folder, and the process that serves it.
pub(crate) struct Served {
    folder: TempDir,
    pub(crate) process: Child,
    pub(crate) devices: String,
    pub(crate) admins: String,
    pub(crate) database: Option<jos_tests::postgres::Database>,
}

impl Served {
    pub(crate) fn new() -> Self {
        Self::on(database())
    }

    pub(crate) fn on(database: Option<jos_tests::postgres::Database>) -> Self {
        let folder = TempDir::new().expect("a folder");
        let data = folder.path().join("hub");
        let mut init = command(&["init", "--address", "https://127.0.0.1:1", "--data"]);
        if let Some(database) = &database {
            init.env("JOS_HUB_DATABASE_URL", database.url());
        }
        done(&init.arg(&data).output().expect("it runs"));
        let (process, devices, admins) = serve(&data);
        Self {
            folder,
            process,
            devices,
            admins,
            database,
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    pub(crate) fn kill(&mut self) {
        // SIGKILL: nothing is told of the end.
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it has ended");
    }

    pub(crate) fn again(&mut self) {
        (self.process, self.devices, self.admins) = serve(&self.data());
    }

    /// Where admins reach it.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.admins)
    }

    /// The command line over the network.
    pub(crate) fn remote(&self, words: &[&str]) -> Command {
        let mut command = command(words);
        command.args(["--url", &self.url(), "--token-file"]);
        command.arg(self.data().join("admin.token"));
        command
    }

    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let output = self.remote(words).arg("--json").output().expect("it runs");
        serde_json::from_str(&done(&output)).expect("JSON")
    }

    fn file(&self, name: &str, document: &Value) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, document.to_string()).expect("a file");
        path
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(data: &Path) -> (Child, String, String) {
    started(command(&[]), data, "127.0.0.1:0")
}

/// Starts the hub by a command that its words are added to; devices come to `listen`.
pub(crate) fn started(mut command: Command, data: &Path, listen: &str) -> (Child, String, String) {
    let words = [
        "serve",
        "--json",
        "--log",
        "warn",
        "--listen",
        listen,
        "--admin-listen",
        "127.0.0.1:0",
        "--data",
    ];
    let process = command.args(words).arg(data).stdout(Stdio::piped()).spawn();
    let mut process = process.expect("it starts");
    let mut line = String::new();
    let stdout = process.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let addresses: Value = serde_json::from_str(&line).expect("JSON");
    let address = |name: &str| addresses[name].as_str().expect("an address").to_owned();
    (process, address("devices"), address("admins"))
}

pub(crate) struct Device {
    pub(crate) agent: ureq::Agent,
    pub(crate) url: String,
}

pub(crate) fn ask(agent: &ureq::Agent, url: &str, body: &Value) -> Result<(u16, Value), ureq::Error> {
    let request = ureq::http::Request::builder()
        .method("POST")
        .uri(url)
        .body(body.to_string());
    Ok(read(agent.run(request.expect("a request"))?))
}

pub(crate) fn agent(data: &Path, own: Option<(&str, &KeyPair)>) -> ureq::Agent {
    let ca = std::fs::read(data.join("ca.pem")).expect("a CA");
    let own = own.map(|(pem, key)| {
        let certificate = Certificate::from_pem(pem.as_bytes()).expect("PEM");
        ClientCert::new_with_certs(
            &[certificate],
            PrivateKey::from_pem(key.serialize_pem().as_bytes()).expect("PEM"),
        )
    });
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[Certificate::from_pem(&ca).expect("PEM")]))
        .client_cert(own)
        .unversioned_rustls_crypto_provider(tls::provider());
    ureq::Agent::config_builder()
        .tls_config(tls.build())
        .http_status_as_error(false)
        .build()
        .into()
}

pub(crate) fn enrolled(served: &Served, line: &str, seed: u8) -> Device {
    let key = KeyPair::generate().expect("a key");
    let request = enrolment(&key, &SecretKey::from_bytes(&[seed; 32]), line);
    let url = format!("https://{}", served.devices);
    let (status, reply) = ask(&agent(&served.data(), None), &format!("{url}/v1/enrol"), &request).expect("an answer");
    assert_eq!(status, 200, "{reply}");
    let certificate = reply["certificate"]["certificate"].as_str().expect("PEM");
    Device {
        agent: agent(&served.data(), Some((certificate, &key))),
        url,
    }
}

#[test]
fn init_makes_a_folder_for_its_owner_alone_and_never_another_over_it() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("hub");
    let init = || {
        command(&["init", "--address", "https://hub.example:8443", "--data"])
            .arg(&data)
            .output()
            .expect("it runs")
    };
    done(&init());
    let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o7777;
    assert_eq!(mode(&data), 0o700);
    for secret in [
        "ca.key",
        "server.key",
        "freshness.key",
        "challenge.key",
        "admin.token",
        "hub.db",
    ] {
        assert_eq!(mode(&data.join(secret)), 0o600, "{secret}");
    }
    let before = std::fs::read(data.join("ca.pem")).expect("a file");
    refused(&init(), 1, "never made over another");
    assert_eq!(std::fs::read(data.join("ca.pem")).expect("a file"), before);
    std::fs::set_permissions(data.join("ca.key"), std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let list = command(&["device", "list", "--data"])
        .arg(&data)
        .output()
        .expect("it runs");
    refused(&list, 1, "chmod 600");
}

#[test]
fn the_command_line_does_the_same_on_the_data_directory_and_from_afar() {
    let served = Served::new();
    let freshness = keyfile::read_public(&served.data().join("freshness.key.pub")).expect("a key");
    let grant = |key: NamedKey, role| Grant { key, roles: vec![role] };
    let document = sign::new_trust(&NewTrust {
        tenant: Some(Name::new("default").expect("a name")),
        grants: vec![
            grant((&root_key()).into(), Role::Root),
            grant((&admin_key()).into(), Role::Admin),
            grant(freshness, Role::Freshness),
        ],
        ..NewTrust::default()
    })
    .expect("a sound trust document");
    let trust = served.file("trust.json", &signed(&to_value(&document), "jos.trust", &[&root_key()]));
    let push = command(&["trust", "push", "--data"])
        .arg(served.data())
        .arg(&trust)
        .output()
        .expect("it runs");
    assert!(done(&push).contains("trust version 1 is new"));

    let line = done(
        &served
            .remote(&["token", "new", "--label", "site=mx-3", "--comment", "batch 7"])
            .output()
            .expect("it runs"),
    );
    assert!(line.starts_with("jos1-"), "{line}");
    let device = enrolled(&served, line.trim(), 1);
    let signed = signed(&state(1), desired_state::KIND, &[&admin_key()]);
    let file = served.file("state.json", &signed);
    let push = served.remote(&["push"]).arg(&file).output().expect("it runs");
    assert!(done(&push).contains("portal version 1 is new, meant for 1 device"));
    let got = read(
        device
            .agent
            .get(format!("{}/v1/state/portal", device.url))
            .call()
            .expect("an answer"),
    );
    assert_eq!(got, (200, signed));

    let local = command(&["device", "list", "--json", "--data"])
        .arg(served.data())
        .output()
        .expect("it runs");
    let local: Value = serde_json::from_str(&done(&local)).expect("JSON");
    assert_eq!(local, served.json(&["device", "list"]));
    let id = local[0]["id"].as_str().expect("an id");
    assert!(done(&served.remote(&["device", "show", id]).output().expect("it runs")).contains("site=mx-3"));
    let label = command(&["device", "label", id, "role=kiosk", "site-", "--data"])
        .arg(served.data())
        .output()
        .expect("it runs");
    assert!(done(&label).contains("role=kiosk"));
    assert_eq!(
        served
            .json(&["device", "list", "--label", "role=kiosk"])
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(served.json(&["audit"])["entries"][0]["actor"], "local:ana");

    // What is refused says so with its code, its help and exit code 1.
    let mut other = state(1);
    other["spec"]["apply"][0]["content"] = "other\n".into();
    let other = served.file(
        "other.json",
        &crate::common::signed(&other, desired_state::KIND, &[&admin_key()]),
    );
    refused(
        &served.remote(&["push"]).arg(&other).output().expect("it runs"),
        1,
        "raise `meta.version`",
    );
    refused(
        &command(&["device", "list"]).output().expect("it runs"),
        2,
        "--data DIR",
    );
}

#[test]
fn a_client_with_the_token_of_another_hub_tells_it_to_nobody() {
    let (served, other) = (Served::new(), Served::new());
    let output = command(&[
        "device",
        "list",
        "--url",
        &format!("https://{}", served.admins),
        "--token-file",
    ])
    .arg(other.data().join("admin.token"))
    .output()
    .expect("it runs");
    refused(&output, 1, "is not the hub that this token is for");
}

#[test]
fn kill_9_under_load_loses_no_acknowledged_report() {
    let mut served = Served::new();
    let line = served.json(&["token", "new", "--uses", "4"])["line"]
        .as_str()
        .expect("a line")
        .to_owned();
    let devices: Vec<Device> = (1..=4).map(|seed| enrolled(&served, &line, seed)).collect();
    let (acknowledged, enough) = (Mutex::new(0usize), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for device in &devices {
            scope.spawn(|| {
                for index in 1..100_000u32 {
                    let report = json!({
                        "kind": "jos.report", "name": "portal", "version": index, "outcome": "applied",
                        "time": "2026-11-21T00:00:00Z", "changed": 1,
                        "ledger": { "index": index, "hash": format!("{index:064x}") },
                    });
                    match ask(&device.agent, &format!("{}/v1/report", device.url), &report) {
                        Ok((204, _)) => {
                            let mut count = acknowledged.lock().expect("not poisoned");
                            *count += 1;
                            // Each device has a burst of 120.
                            if *count >= 200 {
                                enough.store(true, Ordering::Relaxed);
                            }
                        }
                        Ok((429, _)) => {}
                        Ok(other) => panic!("{other:?}"),
                        Err(_) => return,
                    }
                }
            });
        }
        while !enough.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        served.kill();
    });
    served.again();
    let acknowledged = *acknowledged.lock().expect("not poisoned");
    let kept = kept_reports(&served.data());
    // What was written and whose answer the kill cut off is kept too: one a device at most.
    assert!(
        (acknowledged..=acknowledged + devices.len()).contains(&kept),
        "{acknowledged} acknowledged, {kept} kept"
    );
}

pub(crate) fn kept_reports(data: &Path) -> usize {
    use sqlx::Row;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let hub = jos_hub::hub::Hub::open(&jos_hub::hub::Place::folder(data), jos_hub::clock::Clock::default()).await;
        let hub = hub.expect("it opens");
        let mut conn = hub.store.read().await.expect("a connection");
        let row = sqlx::query("SELECT COUNT(*) FROM reports")
            .fetch_one(&mut *conn)
            .await
            .expect("a row");
        usize::try_from(row.get::<i64, _>(0)).expect("a count")
    })
}

#[test]
fn a_backup_taken_while_the_hub_runs_serves_the_same_devices() {
    let mut served = Served::new();
    let line = served.json(&["token", "new"])["line"]
        .as_str()
        .expect("a line")
        .to_owned();
    let device = enrolled(&served, &line, 1);
    let backup = served.folder.path().join("backup");
    done(
        &command(&["backup", "--data"])
            .arg(served.data())
            .arg("--to")
            .arg(&backup)
            .output()
            .expect("it runs"),
    );
    assert_eq!(
        backup.metadata().expect("it is there").permissions().mode() & 0o7777,
        0o700
    );
    served.kill();
    std::fs::remove_dir_all(served.data()).expect("it is ours");
    done(
        &command(&["restore", "--from"])
            .arg(&backup)
            .arg("--data")
            .arg(served.data())
            .output()
            .expect("it runs"),
    );
    served.again();
    let got = device
        .agent
        .get(format!("https://{}/v1/state/portal", served.devices))
        .call()
        .expect("an answer");
    assert_eq!(got.status(), 204);
    let over = command(&["restore", "--from"])
        .arg(&backup)
        .arg("--data")
        .arg(served.data())
        .output()
        .expect("it runs");
    refused(&over, 1, "never made over another");
}

#[test]
fn sigterm_ends_it_in_order() {
    let mut served = Served::new();
    let line = served.json(&["token", "new"])["line"]
        .as_str()
        .expect("a line")
        .to_owned();
    let _device = enrolled(&served, &line, 1);
    let pid = i32::try_from(served.process.id()).expect("a pid");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).expect("it is ours");
    assert!(served.process.wait().expect("it ends").success());
    // The write-ahead log is folded in: the database is one file again.
    assert!(!served.data().join("hub.db-wal").exists());
}
