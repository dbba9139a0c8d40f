//! Two roots on one disk, in QEMU: a bundle goes into the one that does not run, and what does not start is left again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jos_tests::baked::only;
use jos_tests::command::run;
use jos_tests::fleet::Hub;
use jos_tests::image::kiosk::{enrolled, page, profile_of, reported};
use jos_tests::image::{self, Board, Flashed, HOST};
use serde_json::{Value, json};

/// A kiosk with two roots, whose bundles a pair of its own signs; further versions of it are other texts of its profile.
struct Slotted {
    profile: PathBuf,
    words: Vec<String>,
    text: String,
}

impl Slotted {
    fn of(hub: &Hub, dir: &Path) -> Self {
        let (profile, words) = profile_of(hub, Board::Amd64Uefi, dir);
        let pair = ["bundle.key", "bundle.pem"].map(|name| profile.with_file_name(name));
        run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"])
            .args(["-subj", "/CN=Acme Kiosks", "-keyout"])
            .arg(&pair[0])
            .arg("-out")
            .arg(&pair[1]))
        .ok();
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&pair[0], Some(65534), None).expect("a scratch file");
        }
        let text = fs::read_to_string(&profile).expect("the profile");
        let text = text.replace("[image]\n", "[image]\nroot = \"ro\"\nupdate = \"rauc\"\n");
        // What a listed command reads is code.
        let bundle = "{ path = \"/data/update.raucb\", code = true }";
        let text = text.replace("\"/etc/kiosk/*\"]", &format!("\"/etc/kiosk/*\", {bundle}]"));
        let text = text.replace("shell = [", &format!("shell = [{INSTALL:?}, {WHICH:?}, "));
        Self { profile, words, text }
    }

    /// The folder with its image and its bundle.
    fn built(&self, version: &str, cmdline: &str, dir: &Path) -> PathBuf {
        let text = self.text.replace("\"1.0.0\"", &format!("{version:?}"));
        let text = text.replace("cmdline = \"", &format!("cmdline = \"{cmdline} "));
        let file = format!("[[files]]\npath = \"/usr/share/kiosk/version\"\ncontent = \"{version}\\n\"\n");
        let signer = "[image.rauc]\ncert = \"bundle.pem\"\nkey = \"bundle.key\"\n";
        fs::write(&self.profile, format!("{text}\n{file}\n{signer}")).expect("a scratch folder");
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let out = image::make(&self.profile, Board::Amd64Uefi.cpu(), &words, dir);
        // Each by what was known before: the next build replaces this folder.
        let kept = dir.join(version);
        fs::rename(out, &kept).expect("a scratch folder");
        kept
    }
}

const INSTALL: &str = "rauc install /data/update.raucb";
const WHICH: &str = "logger JOS-RUNS-$(cat /usr/share/kiosk/version)";

/// The steps that bring a bundle to a device and into its other slot.
fn installation(bundle: &Path, address: &str) -> Value {
    let sum = run(Command::new("sha256sum").arg(bundle)).ok();
    let name = bundle.file_name().expect("a name").to_str().expect("text");
    let source = json!({
        "sha256": sum.text()[..64],
        "size": fs::metadata(bundle).expect("a file").len(),
        "urls": [format!("{address}/{name}")],
    });
    json!({ "apply": [
        { "type": "file", "path": "/data/update.raucb", "mode": "0600", "source": source },
        { "type": "shell", "command": INSTALL, "timeout": 900 },
    ] })
}

#[test]
#[ignore = "soak: three images with their bundles, and seven boots, for minutes"]
fn qemu_amd64_uefi_bundle_goes_into_the_other_slot_and_one_that_does_not_start_falls_back_by_itself() {
    let hub = Hub::known_as("127.0.0.1", HOST);
    let dir = tempfile::tempdir().expect("a folder");
    let kiosk = Slotted::of(&hub, dir.path());
    let first = kiosk.built("1.0.0", "", dir.path());
    let good = only(&kiosk.built("1.0.1", "", dir.path()), ".raucb");
    let bad = only(&kiosk.built("1.0.2", "init=/bin/false", dir.path()), ".raucb");
    let served = dir.path().join("served");
    fs::create_dir(&served).expect("a scratch folder");
    for bundle in [&good, &bad] {
        fs::copy(bundle, served.join(bundle.file_name().expect("a name"))).expect("a scratch folder");
    }
    let (_server, address) = image::served(&served);
    let sound = "Finished jos-image-slot-good.service";

    let mut machine = Flashed::new(Board::Amd64Uefi, &only(&first, ".img"));
    machine.power_on();
    machine.until_it_says("jos: slot A, try 1");
    let device = enrolled(&hub, &machine);
    machine.until_it_says(sound);
    hub.push(1, &installation(&good, &address));
    reported(&hub, &machine, 1, "applied");
    machine.power_cut();

    // The other system, which has the device's name, keys and ledger.
    machine.power_on();
    machine.until_it_says("jos: slot B, try 1");
    machine.until_it_says(sound);
    hub.push(
        2,
        &json!({ "apply": [page("two\n"), { "type": "shell", "command": WHICH }] }),
    );
    reported(&hub, &machine, 2, "applied");
    machine.until_it_says("JOS-RUNS-1.0.1");
    assert_eq!(enrolled(&hub, &machine)["id"], device["id"], "it is another device now");
    machine.power_cut();

    // A system that was good loses its power before it can say so again, and is not given up for an older one.
    machine.power_on();
    machine.until_it_says("jos: slot B, try 1");
    machine.power_cut();
    machine.power_on();
    machine.until_it_says("jos: slot B, try 2");
    machine.until_it_says(sound);

    // One whose first program ends at once: one try, and the device is back by itself.
    hub.push(3, &installation(&bad, &address));
    reported(&hub, &machine, 3, "applied");
    machine.power_cut();
    machine.power_on();
    machine.until_it_says("jos: slot A, try 1");
    machine.until_it_goes_down();
    machine.power_on();
    machine.until_it_says("jos: slot B, try 1");
    hub.push(
        4,
        &json!({ "apply": [page("four\n"), { "type": "shell", "command": WHICH }] }),
    );
    reported(&hub, &machine, 4, "applied");
    machine.until_it_says("JOS-RUNS-1.0.1");
    machine.power_cut();
    assert!(
        image::capacity(&machine.part(4)) > 1 << 30,
        "the data have not taken the rest of the disk"
    );
}
