//! An image from a profile to a device in the field: made by an ordinary user, booted by firmware, enrolled at its hub,
//! given a state, its power cut in the middle of a change, and back whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jos_tests::baked::only;
use jos_tests::command::run;
use jos_tests::fleet::Hub;
use jos_tests::image::{self, Board, Flashed, HOST, PATIENCE};
use jos_tests::programs::workspace;
use jos_tests::wait::until;
use serde_json::{Value, json};

/// The fixture beside a token of `hub`, and the image made of it; the second says which words make it again.
fn image_of(hub: &Hub, board: Board, dir: &Path) -> (PathBuf, Vec<String>) {
    let (kiosk, words) = profile_of(hub, board, dir);
    let as_text: Vec<&str> = words.iter().map(String::as_str).collect();
    let image = only(&image::make(&kiosk, board.cpu(), &as_text, dir), ".img");
    (image, words)
}

/// The profile, and the words that a build of it needs.
fn profile_of(hub: &Hub, board: Board, dir: &Path) -> (PathBuf, Vec<String>) {
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

/// A device whose root is never written to keeps what makes it this device, and what its agent knows; nothing else.
fn a_read_only_root_forgets_all_but_who_it_is(board: Board) {
    let hub = Hub::known_as("127.0.0.1", HOST);
    let dir = tempfile::tempdir().expect("a folder");
    let (profile, words) = profile_of(&hub, board, dir.path());
    let text = fs::read_to_string(&profile).expect("the profile");
    fs::write(&profile, text.replace("[image]\n", "[image]\nroot = \"ro\"\n")).expect("a scratch folder");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let image = only(&image::make(&profile, board.cpu(), &words, dir.path()), ".img");
    let mut machine = Flashed::new(board, &image);
    machine.power_on();
    let device = enrolled(&hub, &machine);
    hub.push(1, &json!({ "apply": [page("one\n")] }));
    reported(&hub, &machine, 1, "applied");
    let slow = json!({ "type": "shell", "command": "logger JOS-IN-THE-MIDDLE; exec sleep 3600" });
    hub.push(2, &json!({ "apply": [page("two\n"), slow] }));
    machine.until_it_says("JOS-IN-THE-MIDDLE");
    machine.power_cut();
    let machine_id = image::file(&machine.part(3), "/identity/etc/machine-id").ok().stdout;
    assert_eq!(machine_id.trim().len(), 32);

    hub.push(3, &json!({ "apply": [page("three\n")] }));
    machine.power_on();
    reported(&hub, &machine, 3, "applied");
    machine.power_cut();
    assert_eq!(enrolled(&hub, &machine)["id"], device["id"], "it is another device now");
    let data = machine.part(3);
    assert_eq!(image::file(&data, "/identity/etc/machine-id").ok().stdout, machine_id);
    assert!(
        image::file(&data, "/identity/etc/hostname")
            .ok()
            .text()
            .starts_with("kiosk-")
    );
    assert!(image::capacity(&data) > 1 << 30, "the data has not grown");
    // Not a byte of the root has changed.
    let root = image::root_of(&image);
    let (before, after) = (root.to_str().expect("text"), machine.bytes(2));
    run(Command::new("cmp").args([before, after.to_str().expect("text")])).ok();
}

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

/// The whole way, on any board.
fn from_image_to_the_field_and_back_from_a_power_cut(board: Board) {
    let hub = Hub::known_as("127.0.0.1", HOST);
    let dir = tempfile::tempdir().expect("a folder");
    let (image, _) = image_of(&hub, board, dir.path());
    let mut machine = Flashed::new(board, &image);
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

fn the_same_to_the_byte_each_time(board: Board) -> (tempfile::TempDir, PathBuf) {
    let hub = Hub::known_as("127.0.0.1", HOST);
    let dir = tempfile::tempdir().expect("a folder");
    let (first, words) = image_of(&hub, board, dir.path());
    let sums = |image: &Path| fs::read_to_string(image.with_file_name("SHA256SUMS")).expect("the sums");
    let before = sums(&first);
    assert!(
        before.contains(".img\n") && before.contains("sbom.cdx.json"),
        "{before}"
    );
    fs::remove_dir_all(first.parent().expect("a folder")).expect("a scratch folder");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let again = image::make(&dir.path().join("profile/kiosk.toml"), board.cpu(), &words, dir.path());
    let image = only(&again, ".img");
    assert_eq!(sums(&image), before);
    (dir, image)
}

#[test]
fn an_image_made_without_any_right_is_the_same_to_the_byte_each_time() {
    the_same_to_the_byte_each_time(Board::Amd64Uefi);
}

#[test]
#[ignore = "soak: makes the base of another CPU"]
fn a_raspberry_pis_image_is_the_same_to_the_byte_each_time_and_read_by_other_tools_as_it_should_be() {
    let (_dir, image) = the_same_to_the_byte_each_time(Board::PiOnVirt);
    let said = |program: &str, words: &[&str]| run(Command::new(program).args(words)).ok().stdout;
    let at = image.to_str().expect("text");
    let table = said("partx", &["--show", "--noheadings", "--output", "NR,START,TYPE", at]);
    let table: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(table[0], ["1", "8192", "0xc"], "FAT32 by sector, at 4 MiB");
    assert_eq!(table[1][..], ["2", &(8192 + (512 << 11)).to_string(), "0x83"]);
    assert_eq!(table.len(), 2);

    let boot = image::boot_files(&image);
    for name in ["bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"] {
        assert!(boot.join(name).is_file(), "the loader of a 3 or a 4 lacks {name}");
    }
    for name in ["bcm2837-rpi-3-b.dtb", "bcm2837-rpi-3-b-plus.dtb", "bcm2711-rpi-4-b.dtb"] {
        let tree = fs::read(boot.join(name)).expect("a device tree");
        assert_eq!(tree[..4], [0xd0, 0x0d, 0xfe, 0xed], "{name}");
    }
    let config = fs::read_to_string(boot.join("config.txt")).expect("a text");
    let line = |key: &str| {
        config
            .lines()
            .find_map(|l| l.strip_prefix(key))
            .expect("a line")
            .to_owned()
    };
    assert!(
        config.contains("\narm_64bit=1\n") && config.contains("\nupstream_kernel=1\n"),
        "{config}"
    );
    let kernel = fs::read(boot.join(line("kernel="))).expect("the kernel");
    assert_eq!(
        &kernel[56..60],
        b"ARM\x64",
        "an uncompressed kernel: the loader of a 3 unpacks none"
    );
    assert_eq!(
        fs::read(boot.join(line("initramfs "))).expect("a file")[..2],
        [0x1f, 0x8b]
    );

    let root = image::root_of(&image);
    let uuid = said(
        "blkid",
        &["-p", "-o", "value", "-s", "UUID", root.to_str().expect("text")],
    );
    let cmdline = fs::read_to_string(boot.join("cmdline.txt")).expect("a text");
    assert!(
        cmdline.contains(&format!(" root=UUID={} rw ", uuid.trim())),
        "{cmdline}"
    );
    let text = |path: &str| image::file(&root, path).ok().stdout;
    assert!(text("/etc/fstab").contains(" /boot/firmware vfat "));
    assert!(text("/etc/default/raspi-firmware").contains(&format!("\nROOTPART=\"UUID={}\"\n", uuid.trim())));
    assert!(
        text("/etc/apt/sources.list").contains(" main non-free-firmware"),
        "firmware is not upgraded"
    );
    assert!(text("/var/lib/dpkg/status").contains("\nPackage: raspi-firmware\nStatus: install ok installed\n"));
    let hook = image::stat(&root, "/etc/kernel/postinst.d/z50-raspi-firmware");
    assert!(hook.contains("Mode:  0755"), "{hook}");
    assert!(!image::stat(&root, "/etc/kernel/postinst.d/zz-jos-image").contains("Mode:"));
    // The hook itself, on the settings that the root has: not a letter of both texts is another after an upgrade.
    let there = tempfile::tempdir().expect("a folder");
    let there = there.path().to_str().expect("text");
    fs::create_dir_all(format!("{there}/boot/firmware")).expect("a folder");
    for name in [line("kernel="), line("initramfs ")] {
        fs::write(format!("{there}/boot/{name}"), "").expect("a file");
    }
    for name in ["raspi-firmware", "raspi-extra-cmdline"] {
        let settings = text(&format!("/etc/default/{name}"));
        fs::write(
            format!("{there}/{name}"),
            settings
                + if name == "raspi-firmware" {
                    "KERNEL_ARCH=arm64\n"
                } else {
                    ""
                },
        )
        .expect("a file");
    }
    let hook = text("/etc/kernel/postinst.d/z50-raspi-firmware")
        .replace("/boot/", &format!("{there}/boot/"))
        .replace("if ischroot ;", "if true ;")
        .replace("\"/etc/default/", &format!("\"{there}/"))
        .replace("[ -r /etc/default/", &format!("[ -r {there}/"))
        .replace(". /etc/default/", &format!(". {there}/"));
    run(Command::new("sh")
        .args(["-c", &hook])
        .env("DEB_MAINT_PARAMS", "configure"))
    .ok();
    let wrote = |name: &str| fs::read_to_string(format!("{there}/boot/firmware/{name}")).expect("a text");
    assert_eq!((wrote("config.txt"), wrote("cmdline.txt")), (config, cmdline));
    assert!(image::stat(&root, "/boot/firmware").contains("Type: directory"));
}

#[test]
fn qemu_amd64_uefi_image_enrols_applies_loses_its_power_and_comes_back_whole() {
    from_image_to_the_field_and_back_from_a_power_cut(Board::Amd64Uefi);
}

#[test]
#[ignore = "soak: emulates another CPU for minutes"]
fn qemu_arm64_uefi_image_made_on_another_cpu_enrols_applies_loses_its_power_and_comes_back_whole() {
    from_image_to_the_field_and_back_from_a_power_cut(Board::Arm64Uefi);
}

#[test]
#[ignore = "soak: a second image, and its boots, for minutes"]
fn qemu_amd64_uefi_image_with_a_read_only_root_keeps_who_it_is_and_forgets_the_rest() {
    a_read_only_root_forgets_all_but_who_it_is(Board::Amd64Uefi);
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

#[test]
#[ignore = "soak: emulates another CPU for minutes"]
fn qemu_raspberry_pi_card_enrols_applies_loses_its_power_and_comes_back_whole() {
    from_image_to_the_field_and_back_from_a_power_cut(Board::PiOnVirt);
}
