//! What a device keeps for its hub, and of it, over a kill: telemetry that nobody has acknowledged, content that is half
//! here, the record that a report names. With the real programs.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use jos_tests::command::sh;
use jos_tests::fleet::{Device, Hub, SOON};
use jos_tests::wait::{until, until_true};
use serde_json::{Value, json};

#[expect(clippy::disallowed_methods, reason = "samples are compared with the real time")]
fn now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is later than 1970");
    i64::try_from(now.as_secs()).expect("seconds")
}

/// The batches of figures that lie on the device's disk, and their bytes.
fn figures(device: &Device) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(device.path("state/kiosk/figures"));
    let mut all: Vec<_> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .map(|path| (path.clone(), fs::read(&path).unwrap_or_default()))
        .collect();
    all.sort();
    all
}

fn lines(all: &[(PathBuf, Vec<u8>)]) -> usize {
    let of = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    all.iter().map(|(_, bytes)| of(bytes)).sum()
}

#[test]
fn what_a_device_measured_while_its_hub_was_away_outlives_a_kill_and_comes_once_with_its_own_time() {
    let mut hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "");
    device.enrol(&hub).ok();
    device.start();
    device.until("it calls", |live| live["link"]["last_contact"].is_string());
    let id = hub.device()["device"]["id"].as_str().expect("an id").to_owned();
    until_true("its figures come", SOON, || {
        !hub.history(&id, "memory.total").is_empty()
    });
    assert!(figures(&device).is_empty(), "nothing is written while the hub is there");

    hub.kill();
    let away = now();
    until_true("ten samples are on its disk", SOON, || lines(&figures(&device)) >= 10);
    device.kill();
    let (killed, kept) = (now(), figures(&device));
    // As a power cut may leave it: the last line torn, junk behind it.
    let (last, mut bytes) = kept.last().cloned().expect("a batch");
    bytes.truncate(bytes.len() - 7);
    bytes.extend([0, 0xff, b'\n', b'{']);
    fs::write(&last, bytes).expect("a file");
    let whole = lines(&kept) - 1;

    // From here on it calls seldom: the hub knows the last few batches, and one that is sent again is among these.
    let config = fs::read_to_string(device.path("agent.toml")).expect("a file");
    fs::write(
        device.path("agent.toml"),
        config.replace("interval = 1\n", "interval = 5\n"),
    )
    .expect("a file");
    // Two days later by the hub's clock: what comes with its own time lies apart from what is measured then.
    device.start();
    device.until("it runs without a hub", |live| live["turns"].as_u64() > Some(0));
    hub.serve_at("+2d");
    let seen = until("what was kept has come", SOON, || {
        let steps = hub.history(&id, "memory.total");
        let during = |step: &&Value| {
            step["start"]
                .as_i64()
                .is_some_and(|start| start + 300 > away && start <= killed)
        };
        let count: u64 = steps
            .iter()
            .filter(during)
            .filter_map(|step| step["metrics"]["memory.total"]["count"].as_u64())
            .sum();
        if figures(&device).is_empty() && count >= whole as u64 {
            Ok((steps, count))
        } else {
            Err(format!("{count} of {whole}: {steps:#?}\n{}", device.log()))
        }
    });
    let later = seen.0.last().and_then(|step| step["start"].as_i64());
    assert!(later.is_some_and(|start| start > killed + 86_400), "{:#?}", seen.0);

    // A hub that took a batch and could not say so gets it once more.
    device.kill();
    let before: u64 = counted(&hub, &id);
    let again = figures(&device);
    fs::create_dir_all(device.path("state/kiosk/figures")).expect("a folder");
    for (path, bytes) in kept
        .iter()
        .filter(|(path, _)| !again.iter().any(|(other, _)| other == path))
    {
        fs::write(path, bytes).expect("a file");
    }
    device.start();
    until_true("it is acknowledged again", SOON, || figures(&device).is_empty());
    device.kill();
    let more = counted(&hub, &id) - before;
    assert_eq!(more, 0, "a batch counted twice");
}

/// All samples of the time before the hub's clock jumped.
fn counted(hub: &Hub, id: &str) -> u64 {
    let steps = hub.history(id, "memory.total");
    let before = steps
        .iter()
        .filter(|step| step["start"].as_i64().is_some_and(|start| start < now() + 3600));
    before
        .filter_map(|step| step["metrics"]["memory.total"]["count"].as_u64())
        .sum()
}

/// A state that wants `content`, which the hub has, in the file `big`.
fn wants(hub: &Hub, device: &Device, content: &[u8]) -> Value {
    fs::write(hub.path("blob"), content).expect("a file");
    let sum = sh("sha256sum", &[&hub.path("blob").display().to_string()]).ok();
    let sha256 = sum.text().split(' ').next().expect("a hash").to_owned();
    let mut step = device.file("big", "");
    let members = step.as_object_mut().expect("a step");
    members.remove("content");
    members.insert("source".into(), json!({ "sha256": sha256, "size": content.len() }));
    json!({ "apply": [step] })
}

/// What has come of the one content that is under way.
fn part(device: &Device) -> Option<PathBuf> {
    let entries = fs::read_dir(device.path("state/kiosk/incoming")).ok()?;
    let mut all = entries.flatten().map(|entry| entry.path());
    all.find(|path| path.extension().is_some_and(|end| end == "part"))
}

#[test]
fn an_agent_that_is_killed_while_content_comes_fetches_only_the_rest() {
    const ALL: usize = 12 << 20;
    let content: Vec<u8> = (0..ALL).map(|at| (at / 251 % 256) as u8).collect();
    for junk in [false, true] {
        let hub = Hub::on("127.0.0.1");
        // Slow enough to be killed on the way.
        let slow = format!("[hub]\nurl = \"https://{}\"\nblob_rate = 1024\n", hub.address());
        let mut device = Device::new(&[], &slow);
        device.enrol(&hub).ok();
        device.start();
        hub.push_with(1, &wants(&hub, &device, &content), &["--blob", "blob"]);
        let length = |device: &Device| {
            part(device)
                .and_then(|path| fs::metadata(path).ok())
                .map_or(0, |meta| meta.len())
        };
        until_true("some of it is here", SOON, || length(&device) >= 2 << 20);
        device.kill();
        let (path, here) = (part(&device).expect("it is kept"), length(&device));
        assert!(here < ALL as u64, "it was too fast to be killed on the way");
        if junk {
            fs::write(&path, vec![b'j'; here as usize]).expect("a file");
        }
        let before = hub.counter("jos_hub_blob_bytes_total");
        fast(&device);
        device.start();
        hub.until_reported(1, "applied");
        assert!(fs::read(device.path("www/big")).is_ok_and(|found| found == content));
        let sent = hub.counter("jos_hub_blob_bytes_total") - before;
        let rest = ALL as u64 - here;
        // A look at whether the hub has it is a byte; a part that was on its way to the dead may be counted late.
        let spare = 2 << 20;
        if junk {
            assert!(sent >= rest + ALL as u64, "{sent} bytes");
        } else {
            assert!(
                (rest..rest + spare).contains(&sent),
                "{sent} bytes, the rest was {rest}"
            );
        }
        assert_eq!(part(&device), None);
    }
}

/// No limit any more.
fn fast(device: &Device) {
    let config = fs::read_to_string(device.path("agent.toml")).expect("a file");
    fs::write(
        device.path("agent.toml"),
        config.replace("blob_rate = 1024", "blob_rate = 100000"),
    )
    .expect("a file");
}
