//! An image from a profile to a device in the field: made by an ordinary user, booted by firmware, enrolled at its hub,
//! given a state, its power cut in the middle of a change, and back whole.

use std::fs;
use std::path::{Path, PathBuf};

use jos_tests::baked::only;
use jos_tests::fleet::Hub;
use jos_tests::image::{self, Flashed, HOST, PATIENCE};
use jos_tests::programs::workspace;
use jos_tests::qemu::Cpu;
use jos_tests::wait::until;
use serde_json::{Value, json};

/// The fixture beside a token of `hub`, and the image made of it; the second says which words make it again.
fn image_of(hub: &Hub, cpu: Cpu, dir: &Path) -> (PathBuf, Vec<String>) {
    let profile = dir.join("profile");
    fs::create_dir(&profile).expect("a scratch folder");
    for entry in fs::read_dir(workspace().join("tests/fixtures/kiosk"))
        .expect("the fixture")
        .flatten()
    {
        fs::copy(entry.path(), profile.join(entry.file_name())).expect("a scratch folder");
    }
    fs::write(profile.join("token"), hub.token()).expect("a scratch folder");
    for name in ["root.key", "trust.json"] {
        fs::copy(hub.path(name), profile.join(name)).expect("a scratch folder");
    }
    let kiosk = profile.join("kiosk.toml");
    if cpu == Cpu::Arm64 {
        let text = fs::read_to_string(&kiosk).expect("the profile");
        fs::write(&kiosk, text.replace("cloud-amd64", "cloud-arm64")).expect("a scratch folder");
    }
    let (key, trust) = (profile.join("root.key"), profile.join("trust.json"));
    // A key is its owner's alone: the ordinary user's here.
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&key, Some(65534), None).expect("a scratch file");
    }
    let words = [
        "--key",
        key.to_str().expect("text"),
        "--trust",
        trust.to_str().expect("text"),
    ];
    let image = only(&image::make(&kiosk, cpu, &words, dir), ".img");
    (image, words.map(str::to_owned).to_vec())
}

fn enrolled(hub: &Hub, machine: &Flashed) -> Value {
    until("the device has enrolled", PATIENCE, || {
        let all = hub.remote(&["device", "list", "--json"]).ok().json();
        if all[0]["id"].is_string() {
            Ok(all[0].clone())
        } else {
            Err(machine.diagnosis())
        }
    })
}

fn reported(hub: &Hub, machine: &Flashed, version: u64, outcome: &str) -> Value {
    until(&format!("version {version} is {outcome}"), PATIENCE, || {
        let device = hub.device();
        let reports = device["reports"].as_array().cloned().unwrap_or_default();
        if reports
            .iter()
            .any(|r| r["version"] == version && r["outcome"] == outcome)
        {
            Ok(device)
        } else {
            Err(format!("{device:#}\n{}", machine.diagnosis()))
        }
    })
}

fn page(text: &str) -> Value {
    json!({ "type": "file", "path": "/etc/kiosk/page", "content": text, "mode": "0644" })
}

/// The whole way, on either processor.
fn from_image_to_the_field_and_back_from_a_power_cut(cpu: Cpu) {
    let hub = Hub::known_as("127.0.0.1", HOST);
    let dir = tempfile::tempdir().expect("a folder");
    let (image, _) = image_of(&hub, cpu, dir.path());
    let mut machine = Flashed::new(cpu, &image);
    machine.power_on();
    enrolled(&hub, &machine);
    hub.push(1, &json!({ "apply": [page("one\n")] }));
    reported(&hub, &machine, 1, "applied");

    // The page is changed, and then a command that never ends: the power goes while it runs.
    let slow = json!({ "type": "shell", "command": "logger JOS-IN-THE-MIDDLE; exec sleep 3600" });
    hub.push(2, &json!({ "apply": [page("two\n"), slow] }));
    machine.until_it_says("JOS-IN-THE-MIDDLE");
    machine.power_cut();
    hub.push(3, &json!({ "apply": [page("three\n")] }));
    machine.power_on();
    reported(&hub, &machine, 3, "applied");
    machine.power_cut();

    let root = machine.root();
    assert_eq!(image::file(&root, "/etc/kiosk/page").ok().stdout, "three\n");
    // What must not be the same on two devices was made here.
    assert_eq!(image::file(&root, "/etc/machine-id").ok().text().len(), 32);
    let name = image::file(&root, "/etc/hostname").ok().text().to_owned();
    assert!(
        name.starts_with("kiosk-") && name.len() > 6 && !name.contains('{'),
        "{name}"
    );
    assert!(
        image::file(&root, "/etc/jos/token").stdout.is_empty(),
        "a used token lies around"
    );
    // The root has taken the whole disk.
    assert!(fs::metadata(&root).expect("a file").len() > 2 << 30);
}

#[test]
fn an_image_made_without_any_right_is_the_same_to_the_byte_each_time() {
    let hub = Hub::known_as("127.0.0.1", HOST);
    let dir = tempfile::tempdir().expect("a folder");
    let (first, words) = image_of(&hub, Cpu::Amd64, dir.path());
    let sums = |image: &Path| fs::read_to_string(image.with_file_name("SHA256SUMS")).expect("the sums");
    let before = sums(&first);
    assert!(
        before.contains(".img\n") && before.contains("sbom.cdx.json"),
        "{before}"
    );
    fs::remove_dir_all(first.parent().expect("a folder")).expect("a scratch folder");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let again = image::make(&dir.path().join("profile/kiosk.toml"), Cpu::Amd64, &words, dir.path());
    assert_eq!(sums(&only(&again, ".img")), before);
}

#[test]
fn qemu_amd64_uefi_image_enrols_applies_loses_its_power_and_comes_back_whole() {
    from_image_to_the_field_and_back_from_a_power_cut(Cpu::Amd64);
}

#[test]
#[ignore = "soak: emulates another CPU for minutes"]
fn qemu_arm64_uefi_image_made_on_another_cpu_enrols_applies_loses_its_power_and_comes_back_whole() {
    from_image_to_the_field_and_back_from_a_power_cut(Cpu::Arm64);
}
