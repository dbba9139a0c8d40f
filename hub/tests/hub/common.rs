//! A hub on free ports of loopback, an admin with real keys, and devices with keys of their own that speak the real wire.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jos_hub::clock::Clock;
use jos_hub::hub::{self, Hub, Place};
use jos_hub::serve::{self, Limits, Server};
use jos_hub::store::Database;
use jos_hub::tls;
use jos_link::Token;
use jos_schemas::documents::desired_state;
use jos_schemas::documents::hub::{Renewal, RenewalKind};
use jos_schemas::documents::trust::{self, Role, Trust};
use jos_schemas::node::Node;
use jos_schemas::text::{Name, Utc};
use jos_trust::keys::KeyId;
use jos_trust::sign::{self, Grant, NewTrust};
use jos_trust::{SecretKey, keyfile, statement};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use jos_tests::postgres;

pub(crate) const ENDS: &str = "2035-01-01T00:00:00Z";

/// Status and JSON of a reply; `null` where there is none.
pub(crate) type Reply = (u16, Value);

/// A hub; on PostgreSQL, where that is wanted, two: admins come to the first, devices to the second.
pub(crate) struct Running {
    pub(crate) dir: TempDir,
    pub(crate) hub: Arc<Hub>,
    /// The one that devices come to.
    pub(crate) of_devices: Arc<Hub>,
    pub(crate) clock: Clock,
    pub(crate) runtime: Runtime,
    servers: Mutex<Vec<Server>>,
    addresses: [SocketAddr; 3],
    admins: ureq::Agent,
    bearer: String,
    /// Last: it goes when nobody stands on it any more.
    database: Option<postgres::Database>,
}

/// A new database of PostgreSQL, where the tests are to stand on it.
pub(crate) fn database() -> Option<postgres::Database> {
    postgres::is_wanted().then(postgres::Database::fresh)
}

/// The folder of one more hub on the same database: all but the hub's own certificate.
pub(crate) fn one_more(data: &Path, copy: &Path) {
    std::fs::create_dir(copy).expect("a folder");
    for entry in std::fs::read_dir(data)
        .expect("a folder")
        .map(|entry| entry.expect("a file"))
    {
        if !entry.file_name().to_string_lossy().starts_with("server.") {
            std::fs::copy(entry.path(), copy.join(entry.file_name())).expect("a copy");
        }
    }
}

impl Running {
    pub(crate) fn new() -> Self {
        Self::within(Limits::default())
    }

    pub(crate) fn within(limits: Limits) -> Self {
        Self::on(database(), limits)
    }

    pub(crate) fn on(database: Option<postgres::Database>, limits: Limits) -> Self {
        let dir = TempDir::new().expect("a folder");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let clock = Clock::default();
        let data = dir.path().join("hub");
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let place = Place {
            data: data.clone(),
            database: database.as_ref().map(|at| Database::of_url(&at.url()).expect("a URL")),
        };
        let serve = async |data: &Path| {
            let hub = Hub::open(&Place::folder(data), clock.clone()).await.expect("it opens");
            let server = serve::start(hub.clone(), loopback, loopback, limits).await;
            (hub, server.expect("it serves"))
        };
        let mut hubs = runtime.block_on(async {
            let made = hub::init(&place, &["https://127.0.0.1:1".to_owned()], &clock).await;
            made.expect("a new hub");
            let mut hubs = vec![serve(&data).await];
            if database.is_some() {
                let second = dir.path().join("second");
                one_more(&data, &second);
                hubs.push(serve(&second).await);
            }
            hubs
        });
        let (hub, of_devices) = (hubs[0].0.clone(), hubs[hubs.len() - 1].0.clone());
        let servers: Vec<Server> = hubs.drain(..).map(|(_, server)| server).collect();
        let line = std::fs::read_to_string(data.join("admin.token")).expect("a token");
        let admins = agent(hub.authorities().ca().certificate(), None);
        Self {
            addresses: [
                servers[servers.len() - 1].devices,
                servers[0].admins,
                servers[servers.len() - 1].admins,
            ],
            dir,
            hub,
            of_devices,
            clock,
            runtime,
            servers: Mutex::new(servers),
            admins,
            bearer: format!("Bearer {}", line.trim()),
            database,
        }
    }

    /// With the first trust document of the tenant `default`.
    pub(crate) fn trusted() -> Self {
        Self::new().with_trust()
    }

    pub(crate) fn with_trust(self) -> Self {
        let running = self;
        let (status, pushed) = running.admin("POST", "/api/v1/trust", &running.trust("default"));
        assert_eq!((status, &pushed["notes"]), (200, &Value::Null), "{pushed}");
        running
    }

    pub(crate) fn devices(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn admins(&self) -> SocketAddr {
        self.addresses[1]
    }

    /// Where the hub that devices come to counts what it did.
    pub(crate) fn admins_of_devices(&self) -> SocketAddr {
        self.addresses[2]
    }

    /// The database crashes, and is back when this comes back.
    pub(crate) fn crash(&mut self) {
        let cluster = self.database.as_mut().and_then(postgres::Database::cluster);
        cluster.expect("a cluster of its own").crash();
    }

    pub(crate) fn stop(&self) {
        for server in self.servers.lock().expect("not poisoned").drain(..) {
            self.runtime.block_on(server.stop());
        }
    }

    /// The trust document of a tenant: root, admin and the hub's own freshness key.
    pub(crate) fn trust(&self, tenant: &str) -> Value {
        signed(&to_value(&self.trust_of(tenant)), trust::KIND, &[&root_key()])
    }

    pub(crate) fn trust_of(&self, tenant: &str) -> Trust {
        let freshness = keyfile::read_public(&self.hub.dir.file("freshness.key.pub")).expect("a public key");
        let grant = |key: &SecretKey, role| Grant {
            key: key.into(),
            roles: vec![role],
        };
        sign::new_trust(&NewTrust {
            tenant: Some(Name::new(tenant).expect("a name")),
            expires: Some(Utc::new(ENDS).expect("a time")),
            grants: vec![
                grant(&root_key(), Role::Root),
                grant(&admin_key(), Role::Admin),
                Grant {
                    key: freshness,
                    roles: vec![Role::Freshness],
                },
            ],
            thresholds: BTreeMap::new(),
        })
        .expect("a sound trust document")
    }

    /// Asks as an admin.
    pub(crate) fn admin(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.admin_bytes(method, path, body.to_string().into_bytes())
    }

    pub(crate) fn admin_bytes(&self, method: &str, path: &str, body: Vec<u8>) -> Reply {
        self.ask_by(&self.bearer, method, path, body)
    }

    /// Asks by some token.
    pub(crate) fn ask_by(&self, bearer: &str, method: &str, path: &str, body: Vec<u8>) -> Reply {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.admins()))
            .header("authorization", bearer);
        let reply = if method == "GET" || method == "DELETE" {
            self.admins.run(request.body(()).expect("a request"))
        } else {
            self.admins.run(request.body(body).expect("a request"))
        };
        read(reply.expect("the hub answers"))
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, value) = self.admin("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    pub(crate) fn push(&self, state: &Value) -> Reply {
        self.admin(
            "POST",
            "/api/v1/states",
            &signed(state, desired_state::KIND, &[&admin_key()]),
        )
    }

    /// A token's line.
    pub(crate) fn token(&self, asked: &Value) -> String {
        let (status, made) = self.admin("POST", "/api/v1/tokens", asked);
        assert_eq!(status, 200, "{made}");
        made["line"].as_str().expect("a line").to_owned()
    }

    /// A new device by a token of its own.
    pub(crate) fn device(&self, labels: &Value) -> Device {
        let line = self.token(&json!({ "labels": labels }));
        Device::enrol(self, &line).expect("it is enrolled")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A device: its keys are made here and go nowhere.
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) key: KeyPair,
    pub(crate) ledger: SecretKey,
    pub(crate) certificate: Value,
    pub(crate) session: String,
    agent: ureq::Agent,
    url: String,
}

impl Device {
    pub(crate) fn enrol(running: &Running, line: &str) -> Result<Self, Reply> {
        let key = KeyPair::generate().expect("a key");
        let ledger = fresh_key();
        let request = enrolment(&key, &ledger, line);
        let (status, reply) = stranger(running, "POST", "/v1/enrol", &request);
        if status != 200 {
            return Err((status, reply));
        }
        Ok(Self::with(
            running,
            key,
            ledger,
            &reply["device"],
            reply["certificate"].clone(),
        ))
    }

    /// A device that shows this certificate.
    pub(crate) fn with(running: &Running, key: KeyPair, ledger: SecretKey, id: &Value, certificate: Value) -> Self {
        let own = certificate["certificate"].as_str().expect("PEM");
        let agent = agent(running.hub.authorities().ca().certificate(), Some((own, &key)));
        Self {
            id: id.as_str().expect("an id").to_owned(),
            agent,
            url: format!("https://{}", running.devices()),
            key,
            ledger,
            certificate,
            session: unique("s"),
        }
    }

    /// The same keys and certificate once more, as whoever copied the disk has them.
    pub(crate) fn copied(&self, running: &Running) -> Self {
        let key = KeyPair::from_pem(&self.key.serialize_pem()).expect("a key");
        let id = Value::from(self.id.as_str());
        Self::with(running, key, self.ledger.clone(), &id, self.certificate.clone())
    }

    pub(crate) fn try_ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match body {
            Some(body) => self.agent.run(request.body(body.to_string()).expect("a request")),
            None => self.agent.run(request.body(()).expect("a request")),
        }
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        read(self.try_ask(method, path, &[], body).expect("the hub answers"))
    }

    /// A heartbeat with these members besides what every one has.
    pub(crate) fn heartbeat(&self, more: &Value) -> Reply {
        self.ask("POST", "/v1/heartbeat", Some(&self.heartbeat_of(more)))
    }

    pub(crate) fn heartbeat_of(&self, more: &Value) -> Value {
        let mut said = json!({
            "kind": "jos.heartbeat", "name": "portal", "agent": "0.1.0", "session": self.session, "nonce": unique("n"),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            said[key] = value.clone();
        }
        said
    }

    /// Status, entity tag and bytes of the state of `portal`.
    pub(crate) fn state(&self, tag: Option<&str>, wait: u32) -> (u16, String, Vec<u8>) {
        let headers: Vec<(&str, &str)> = tag.map(|tag| ("if-none-match", tag)).into_iter().collect();
        let path = format!("/v1/state/portal?wait={wait}");
        let mut reply = self.try_ask("GET", &path, &headers, None).expect("the hub answers");
        let tag = reply
            .headers()
            .get("etag")
            .and_then(|tag| tag.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let bytes = reply.body_mut().read_to_vec().expect("bytes");
        (reply.status().as_u16(), tag, bytes)
    }

    pub(crate) fn renew(&self, key: &KeyPair, subject: &str) -> Reply {
        self.ask("POST", "/v1/renew", Some(&json!({ "tls": csr(key, subject) })))
    }

    /// Comes back by its `ledger` key, over a connection without a certificate.
    pub(crate) fn recover(&self, running: &Running, key: &KeyPair, signer: &SecretKey) -> Reply {
        let (status, given) = stranger(
            running,
            "GET",
            &format!("/v1/challenge?device={}", self.id),
            &Value::Null,
        );
        assert_eq!(status, 200, "{given}");
        let challenge = given["challenge"].as_str().expect("a challenge");
        stranger(running, "POST", "/v1/recover", &self.renewal(key, signer, challenge))
    }

    pub(crate) fn renewal(&self, key: &KeyPair, signer: &SecretKey, challenge: &str) -> Value {
        let renewal = Renewal {
            schema: None,
            kind: RenewalKind::default(),
            device: self.id.clone(),
            tls: csr(key, "anything"),
            challenge: challenge.to_owned(),
            signature: None,
        };
        to_value(&statement::sign_renewal(&renewal, signer).expect("canonical"))
    }
}

/// Asks without a certificate.
pub(crate) fn stranger(running: &Running, method: &str, path: &str, body: &Value) -> Reply {
    let agent = agent(running.hub.authorities().ca().certificate(), None);
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("https://{}{path}", running.devices()));
    let reply = if method == "GET" {
        agent.run(request.body(()).expect("a request"))
    } else {
        agent.run(request.body(body.to_string()).expect("a request"))
    };
    read(reply.expect("the hub answers"))
}

pub(crate) fn enrolment(key: &KeyPair, ledger: &SecretKey, line: &str) -> Value {
    let token: Token = line.parse().expect("a token");
    json!({
        "kind": "jos.enrolment", "token": token.secret_text(), "name": "portal",
        "keys": { "tls": csr(key, "router"), "ledger": ledger.public().to_base64() },
        "facts": { "hostname": "OpenWrt", "mac": "00:11:22:33:44:55" },
    })
}

pub(crate) fn csr(key: &KeyPair, subject: &str) -> String {
    let mut params = CertificateParams::new(vec!["admin.example".to_owned()]).expect("names");
    params.distinguished_name.push(DnType::CommonName, subject);
    params.serialize_request(key).expect("a request").pem().expect("PEM")
}

pub(crate) fn agent(ca: &str, own: Option<(&str, &KeyPair)>) -> ureq::Agent {
    let ca = Certificate::from_pem(ca.as_bytes()).expect("PEM");
    let own = own.map(|(certificate, key)| {
        let certificate = Certificate::from_pem(certificate.as_bytes()).expect("PEM");
        ClientCert::new_with_certs(
            &[certificate],
            PrivateKey::from_pem(key.serialize_pem().as_bytes()).expect("PEM"),
        )
    });
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[ca]))
        .client_cert(own)
        .unversioned_rustls_crypto_provider(tls::provider())
        .build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(std::time::Duration::from_secs(120)))
        .build()
        .into()
}

pub(crate) fn read(mut reply: ureq::http::Response<ureq::Body>) -> Reply {
    let status = reply.status().as_u16();
    let bytes = reply.body_mut().read_to_vec().expect("bytes");
    let value = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
    (status, if bytes.is_empty() { Value::Null } else { value })
}

/// Numbers that no two callers get, so that keys and nonces differ and repeat from run to run.
fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", number())
}

fn fresh_key() -> SecretKey {
    let mut seed = [42; 32];
    seed[..8].copy_from_slice(&number().to_be_bytes());
    SecretKey::from_bytes(&seed)
}

pub(crate) fn root_key() -> SecretKey {
    named(1, "root-1")
}
pub(crate) fn admin_key() -> SecretKey {
    named(2, "admin-1")
}
pub(crate) fn stranger_key() -> SecretKey {
    named(9, "admin-1")
}
pub(crate) fn named(seed: u8, id: &str) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32]).with_id(KeyId::new(id).expect("an id"))
}

pub(crate) fn to_value(document: &impl serde::Serialize) -> Value {
    serde_json::to_value(document).expect("plain data")
}

pub(crate) fn signed(document: &Value, kind: &str, keys: &[&SecretKey]) -> Value {
    let node = keys.iter().fold(Node::from_json(document), |node, key| {
        sign::sign_document("test", "", &node, kind, key).expect("a document that can be signed")
    });
    node.to_json()
}

/// A state of `portal` for the whole tenant `default`.
pub(crate) fn state(version: u64) -> Value {
    json!({
        "kind": "jos.agent.desired_state",
        "meta": { "name": "portal", "version": version, "expires": ENDS, "audience": { "tenant": "default" } },
        "spec": { "apply": [{ "type": "file", "path": "/etc/motd", "content": format!("version {version}\n") }] },
    })
}

/// The same for devices with these labels.
pub(crate) fn state_for(version: u64, labels: &Value) -> Value {
    let mut state = state(version);
    state["meta"]["audience"]["labels"] = labels.clone();
    state
}
