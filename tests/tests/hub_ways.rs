//! The way to a hub where it is not straight: a proxy in between, a certificate that has ended.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use jos_tests::fleet::{Device, Hub, Net, Process, SOON};
use jos_tests::wait::{until, until_true};
use serde_json::{Value, json};

/// tinyproxy, which lets in whoever knows its password.
struct Proxy {
    dir: tempfile::TempDir,
    port: u16,
    _process: Process,
}

impl Proxy {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        // It cannot choose one by itself.
        let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = probe.local_addr().expect("an address").port();
        drop(probe);
        let settings = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 20\nAllow 127.0.0.1\nBasicAuth ana secret\nLogLevel Connect\n"
        );
        fs::write(dir.path().join("settings"), settings).expect("a file");
        let log = fs::File::create(dir.path().join("log")).expect("a file");
        let process = Command::new("tinyproxy")
            .arg("-d")
            .arg("-c")
            .arg(dir.path().join("settings"))
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("tinyproxy starts; scripts/setup installs it");
        let proxy = Self {
            dir,
            port,
            _process: Process::of(process),
        };
        until_true("tinyproxy listens", SOON, || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        proxy
    }

    /// Of a device that goes through it to `hub`.
    fn settings(&self, hub: &Hub, login: &str) -> String {
        let (hub, port) = (hub.address(), self.port);
        format!("[hub]\nurl = \"https://{hub}\"\nproxy = \"http://{login}@127.0.0.1:{port}\"\n")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).expect("a log")
    }
}

#[test]
fn a_device_behind_an_https_proxy_enrols_applies_and_reports_through_it() {
    let (hub, proxy) = (Hub::on("127.0.0.1"), Proxy::new());
    let mut device = Device::new(&[], &proxy.settings(&hub, "ana:secret"));
    device.enrol(&hub).ok().says("enrolled as d");
    device.start();
    hub.push(1, &json!({ "apply": [device.file("a", "one\n")] }));
    hub.until_reported(1, "applied");
    assert_eq!(device.content("a").as_deref(), Some("one\n"));
    let log = proxy.log();
    assert!(log.contains(&format!("CONNECT {}", hub.address())), "{log}");

    let mut refused = Device::new(&[], &proxy.settings(&hub, "ana:wrong"));
    fs::write(refused.path("token"), hub.token()).expect("a file");
    fs::set_permissions(refused.path("token"), fs::Permissions::from_mode(0o600)).expect("a mode");
    refused.start();
    let live = refused.until("it says why it reaches no hub", |live| {
        live["link"]["trouble"].is_string()
    });
    let trouble = live["link"]["trouble"].as_str().unwrap_or_default();
    assert!(trouble.contains("proxy: it answered"), "{live:#}");
}

#[test]
fn a_device_whose_certificate_has_ended_while_its_hub_was_away_comes_back_by_itself() {
    let mut hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "");
    device.enrol(&hub).ok();
    device.start();
    hub.push(1, &json!({ "apply": [device.file("a", "one\n")] }));
    hub.until_reported(1, "applied");
    let identity = |device: &Device| -> Value {
        serde_json::from_slice(&fs::read(device.path("state/identity/hub.json")).expect("a file")).expect("JSON")
    };
    let before = identity(&device);
    device.kill();
    hub.kill();
    // Certificates of devices are good for two weeks.
    hub.serve_at("+20d");
    device.start();
    hub.push(2, &json!({ "apply": [device.file("a", "two\n")] }));
    let seen = hub.until_reported(2, "applied");
    let after = identity(&device);
    assert_eq!(after["device"], before["device"]);
    assert_ne!(after["certificate"], before["certificate"]);
    assert_eq!(seen["alarms"].as_array().map_or(0, Vec::len), 0, "{seen:#}");
}

#[test]
fn a_device_whose_link_comes_up_does_not_wait_for_the_end_of_its_pause() {
    let net = Net::new(1);
    let hub = Hub::on(&net.host());
    net.plug(0, false);
    let mut device = Device::new(&[], "").in_namespace(&net.space(0));
    fs::write(device.path("token"), hub.token()).expect("a file");
    fs::set_permissions(device.path("token"), fs::Permissions::from_mode(0o600)).expect("a mode");
    device.start();
    // The fifth pause in a row is one of at least fourteen seconds.
    device.until("it has tried five times", |live| {
        live["link"]["starts"].as_u64() >= Some(5)
    });
    net.plug(0, true);
    until("it is enrolled", Duration::from_secs(8), || {
        let live = device.live();
        if live["link"]["device"].is_string() {
            Ok(())
        } else {
            Err(format!("{live:#}\n{}", device.log()))
        }
    });
}
