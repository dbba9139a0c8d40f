//! Two roots on one disk, in QEMU: a state moves the device to the other one and is kept there, or the device goes back.

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
        let shell = format!("images = [\"{}\"]\nshell = [{WHICH:?}, ", compatible());
        let text = text.replace("shell = [", &shell);
        assert!(text.contains(&shell));
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

const WHICH: &str = "logger JOS-RUNS-$(cat /usr/share/kiosk/version)";

/// For which devices its bundles are.
fn compatible() -> String {
    format!("kiosk-{}", Board::Amd64Uefi.name())
}

/// The step that moves a device to the system in a bundle.
fn image(bundle: &Path, address: &str) -> Value {
    let sum = run(Command::new("sha256sum").arg(bundle)).ok();
    let name = bundle.file_name().expect("a name").to_str().expect("text");
    let version = name.split('_').nth(1).expect("a version");
    json!({ "type": "image", "compatible": compatible(), "version": version, "source": {
        "sha256": sum.text()[..64],
        "size": fs::metadata(bundle).expect("a file").len(),
        "urls": [format!("{address}/{name}")],
    } })
}

fn which() -> Value {
    json!({ "type": "shell", "command": WHICH })
}

#[test]
#[ignore = "soak: three images with their bundles, and nine boots, for minutes"]
fn qemu_amd64_uefi_state_moves_to_another_system_is_kept_there_or_brings_the_old_one_back() {
    let hub = Hub::known_as("127.0.0.1", HOST);
    let dir = tempfile::tempdir().expect("a folder");
    let kiosk = Slotted::of(&hub, dir.path());
    let first = kiosk.built("1.0.0", "", dir.path());
    let good = only(&kiosk.built("1.0.1", "", dir.path()), ".raucb");
    let bad = only(&kiosk.built("1.0.2", "init=/bin/false", dir.path()), ".raucb");
    let earlier = only(&first, ".raucb");
    let served = dir.path().join("served");
    fs::create_dir(&served).expect("a scratch folder");
    for bundle in [&earlier, &good, &bad] {
        fs::copy(bundle, served.join(bundle.file_name().expect("a name"))).expect("a scratch folder");
    }
    let (_server, address) = image::served(&served);
    let sound = "Finished jos-image-slot-good.service";

    let mut machine = Flashed::new(Board::Amd64Uefi, &only(&first, ".img"));
    machine.power_on();
    machine.until_it_says("jos: slot A, try 1");
    let device = enrolled(&hub, &machine);
    machine.until_it_says(sound);
    let confirmed = json!({
        "apply": [image(&good, &address), page("one\n"), which()],
        "confirm": { "hub_within": 300 },
    });
    hub.push(1, &confirmed);
    machine.until_it_goes_down();

    // The other system, which has the device's name, keys and ledger, and the state that named it.
    machine.power_on();
    machine.until_it_says("jos: slot B, try 1");
    reported(&hub, &machine, 1, "applied");
    machine.until_it_says("JOS-RUNS-1.0.1");
    assert_eq!(enrolled(&hub, &machine)["id"], device["id"], "it is another device now");
    machine.power_cut();

    // A system that was kept loses its power before it can say so again, and is not given up for an older one.
    machine.power_on();
    machine.until_it_says("jos: slot B, try 1");
    machine.power_cut();
    machine.power_on();
    machine.until_it_says("jos: slot B, try 2");
    machine.until_it_says(sound);

    // One whose first program ends at once: one try, and the device is back by itself, and says so.
    hub.push(2, &json!({ "apply": [image(&bad, &address), page("two\n")] }));
    machine.until_it_goes_down();
    machine.power_on();
    machine.until_it_says("jos: slot A, try 1");
    machine.until_it_goes_down();
    machine.power_on();
    machine.until_it_says("jos: slot B, try 1");
    reported(&hub, &machine, 2, "rolled_back");

    // One that starts, and in which the state is not healthy: it leaves by itself.
    let unhealthy = json!({
        "apply": [image(&earlier, &address), page("three\n"), which()],
        "health_check": { "type": "tcp", "host": "127.0.0.1", "port": 1, "retries": 0 },
    });
    hub.push(3, &unhealthy);
    machine.until_it_goes_down();
    machine.power_on();
    machine.until_it_says("jos: slot A, try 1");
    machine.until_it_says("JOS-RUNS-1.0.0");
    machine.until_it_goes_down();
    machine.power_on();
    machine.until_it_says("jos: slot B, try 1");
    reported(&hub, &machine, 3, "rolled_back");

    // Nothing of all that is in the way of the next state.
    hub.push(
        4,
        &json!({ "apply": [image(&good, &address), page("four\n"), which()] }),
    );
    reported(&hub, &machine, 4, "applied");
    machine.until_it_says("JOS-RUNS-1.0.1");
    machine.power_cut();
    assert!(
        image::capacity(&machine.part(4)) > 1 << 30,
        "the data have not taken the rest of the disk"
    );
}
