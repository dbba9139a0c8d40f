//! The fixture `kiosk` as an image, and what its hub hears of it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Board, Flashed, PATIENCE, make};
use crate::baked::only;
use crate::fleet::Hub;
use crate::programs::workspace;
use crate::wait::until;

/// The fixture beside a token of `hub`, and the image made of it; the second says which words make it again.
///
/// # Panics
/// If it cannot be made.
pub fn image_of(hub: &Hub, board: Board, dir: &Path) -> (PathBuf, Vec<String>) {
    let (kiosk, words) = profile_of(hub, board, dir);
    let as_text: Vec<&str> = words.iter().map(String::as_str).collect();
    let image = only(&make(&kiosk, board.cpu(), &as_text, dir), ".img");
    (image, words)
}

/// The profile, and the words that a build of it needs.
///
/// # Panics
/// If it cannot be written.
pub fn profile_of(hub: &Hub, board: Board, dir: &Path) -> (PathBuf, Vec<String>) {
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
    let text = fs::read_to_string(&kiosk).expect("the profile");
    let kernel = match board {
        Board::Amd64Uefi => "cloud-amd64",
        Board::Arm64Uefi => "cloud-arm64",
        // The one for virtual machines has no driver of a Pi.
        Board::PiOnVirt => "arm64",
    };
    let boards = "boards = [\"amd64-uefi\", \"arm64-uefi\"]";
    assert!(text.contains(boards));
    let text = text.replace("cloud-amd64", kernel);
    let text = text.replace(boards, &format!("boards = [\"{}\"]", board.name()));
    fs::write(&kiosk, text).expect("a scratch folder");
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
    (kiosk, words.map(str::to_owned).to_vec())
}

/// The device, once its hub knows it.
///
/// # Panics
/// If that takes too long.
pub fn enrolled(hub: &Hub, machine: &Flashed) -> Value {
    until("the device has enrolled", PATIENCE, || {
        let all = hub.remote(&["device", "list", "--json"]).ok().json();
        if all[0]["id"].is_string() {
            Ok(all[0].clone())
        } else {
            Err(machine.diagnosis())
        }
    })
}

/// The device, once it has said that of this version.
///
/// # Panics
/// If that takes too long.
pub fn reported(hub: &Hub, machine: &Flashed, version: u64, outcome: &str) -> Value {
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

/// The step of the file that every kiosk may have.
pub fn page(text: &str) -> Value {
    json!({ "type": "file", "path": "/etc/kiosk/page", "content": text, "mode": "0644" })
}
