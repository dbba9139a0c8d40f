//! An image from a profile to a device in the field: made by an ordinary user, booted by firmware, enrolled at its hub,
//! given a state, its power cut in the middle of a change, and back whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jos_tests::baked::only;
use jos_tests::command::run;
use jos_tests::fleet::Hub;
use jos_tests::image::kiosk::{enrolled, image_of, page, profile_of, reported};
use jos_tests::image::{self, Board, Flashed, HOST, PATIENCE};
use jos_tests::programs::jos_image;
use jos_tests::vendor_disk::debugfs;
use jos_tests::wait::until;
use serde_json::json;

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

/// Two cards of one image, which holds no token: each is the device that its seed says, and the seed is gone.
fn cards_of_one_image_are_the_devices_of_their_seeds(board: Board) {
    let hub = Hub::known_as("127.0.0.1", HOST);
    let dir = tempfile::tempdir().expect("a folder");
    let (profile, words) = profile_of(&hub, board, dir.path());
    let text = fs::read_to_string(&profile).expect("the profile");
    fs::write(&profile, text.replace("[hub]\ntoken = \"token\"\n", "")).expect("a scratch folder");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let image = only(&image::make(&profile, board.cpu(), &words, dir.path()), ".img");
    let table = dir.path().join("devices.csv");
    let rows = format!(
        "name,hostname,token\nlobby,kiosk-lobby,{}\ndoor,kiosk-door,{}\n",
        hub.token(),
        hub.token()
    );
    fs::write(&table, rows).expect("a scratch folder");
    let cards = dir.path().join("cards");
    let mut seed = jos_image();
    seed.arg("seed").arg(&image).arg("--devices").arg(&table);
    run(seed.arg("--out").arg(&cards)).ok();
    let mut ids = Vec::new();
    for (name, hostname) in [("lobby", "kiosk-lobby"), ("door", "kiosk-door")] {
        let mut machine = Flashed::new(board, &cards.join(format!("{name}.img")));
        machine.power_on();
        let device = until("this device has enrolled", PATIENCE, || {
            let all = hub.remote(&["device", "list", "--json"]).ok().json();
            let all = all.as_array().cloned().unwrap_or_default();
            let new = all.into_iter().find(|device| !ids.contains(&device["id"]));
            new.ok_or_else(|| machine.diagnosis())
        });
        let id = device["id"].as_str().expect("an id");
        assert_eq!(hub.show(id)["device"]["facts"]["hostname"], hostname);
        ids.push(device["id"].clone());
        // The seed is overwritten and removed at the end of the first boot, before anything that uses the network.
        machine.power_cut();
        assert_eq!(image::file(&machine.root(), "/etc/hostname").ok().text(), hostname);
        let boot = fs::read(machine.bytes(1)).expect("the boot partition");
        let lies_there = |text: &[u8]| boot.windows(text.len()).any(|bytes| bytes == text);
        assert!(lies_there(b"jos-image"), "this is no boot partition");
        assert!(!lies_there(b"token=jos1-"), "the seed of {name} can still be read");
    }
}

/// Takes an image for a vendor's own, made on another day: the agent and what came with it are gone, all else is there.
fn without_its_agent(disk: &Path) {
    let table = run(Command::new("partx")
        .args(["--show", "--noheadings", "--output", "START", "--nr", "2"])
        .arg(disk))
    .ok();
    let start: u64 = table.text().parse().expect("a number");
    let root = PathBuf::from(format!("{}?offset={}", disk.display(), start * 512));
    let status = image::file(&root, "/var/lib/dpkg/status").stdout;
    let others = status.split("\n\n").filter(|one| !one.starts_with("Package: kiosk\n"));
    let others: Vec<&str> = others.collect();
    assert!(others.len() > 50, "no database of dpkg");
    let new = disk.with_extension("status");
    fs::write(&new, others.join("\n\n")).expect("a scratch file");
    let mut commands = format!(
        "rm /var/lib/dpkg/status\nwrite {} /var/lib/dpkg/status\n",
        new.display()
    );
    for path in [
        "/usr/bin/jos",
        "/usr/lib/systemd/system/kiosk.service",
        "/usr/lib/systemd/system/kiosk-recover.service",
        "/etc/systemd/system/multi-user.target.wants/kiosk.service",
        "/etc/jos/agent.toml",
        "/etc/jos/policy.toml",
        "/etc/jos/token",
        "/usr/share/jos/trust.json",
        "/usr/share/jos/baseline.json",
        "/etc/kiosk/page",
    ] {
        commands.push_str(&format!("rm {path}\n"));
    }
    debugfs(&root, &commands);
}

/// An appliance on a disk that somebody else made: it boots as before, and is an appliance.
fn a_brought_base_boots_and_enrols(board: Board) {
    let hub = Hub::known_as("127.0.0.1", HOST);
    let dir = tempfile::tempdir().expect("a folder");
    let (made, words) = image_of(&hub, board, dir.path());
    let disk = dir.path().join("profile/vendor.img");
    fs::rename(made, &disk).expect("a scratch folder");
    without_its_agent(&disk);
    let sum = run(Command::new("sha256sum").arg(&disk)).ok();
    let base = format!(
        "base = \"vendor.img@sha256:{}\"",
        sum.text().split(' ').next().expect("a sum")
    );
    let profile = dir.path().join("profile/kiosk.toml");
    let text = fs::read_to_string(&profile).expect("the profile");
    let lines = text.lines().map(|line| match line {
        _ if line.starts_with("kernel = ") => base.as_str(),
        _ if line.starts_with("cmdline = ") => "",
        line => line,
    });
    fs::write(&profile, lines.collect::<Vec<_>>().join("\n")).expect("a scratch folder");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let image = only(&image::make(&profile, board.cpu(), &words, dir.path()), ".img");
    let mut machine = Flashed::new(board, &image);
    machine.power_on();
    enrolled(&hub, &machine);
    hub.push(1, &json!({ "apply": [page("one\n")] }));
    reported(&hub, &machine, 1, "applied");
    machine.power_cut();
    let root = machine.root();
    assert_eq!(image::file(&root, "/etc/kiosk/page").ok().stdout, "one\n");
    assert_eq!(image::file(&root, "/etc/machine-id").ok().text().len(), 32);
    assert!(image::file(&root, "/etc/hostname").ok().text().starts_with("kiosk-"));
    assert!(
        fs::metadata(&root).expect("a file").len() > 2 << 30,
        "the root has not grown"
    );
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
#[ignore = "soak: a second image, and its boots, for minutes"]
fn qemu_amd64_uefi_cards_of_one_image_enrol_by_the_name_and_token_of_their_seeds() {
    cards_of_one_image_are_the_devices_of_their_seeds(Board::Amd64Uefi);
}

#[test]
#[ignore = "soak: a second image, and its boot, for minutes"]
fn qemu_amd64_uefi_image_on_a_base_that_is_brought_boots_enrols_and_applies() {
    a_brought_base_boots_and_enrols(Board::Amd64Uefi);
}

#[test]
#[ignore = "soak: emulates another CPU for minutes"]
fn qemu_raspberry_pi_card_enrols_applies_loses_its_power_and_comes_back_whole() {
    from_image_to_the_field_and_back_from_a_power_cut(Board::PiOnVirt);
}

/// Seconds of the machine's own time from its kernel's start until its hub's first state is being applied: it has enrolled,
/// fetched and verified before. An instruction is a nanosecond there, so the time does not depend on what else works here.
fn time_to_the_first_state(board: Board) -> f64 {
    const SAID: &str = "logger JOS-UP-$(cut -d' ' -f1 /proc/uptime)-";
    let hub = Hub::known_as("127.0.0.1", HOST);
    let dir = tempfile::tempdir().expect("a folder");
    let (profile, words) = profile_of(&hub, board, dir.path());
    let text = fs::read_to_string(&profile).expect("the profile");
    let granted = text.replace("shell = [", &format!("shell = [{SAID:?}, "));
    assert!(granted != text);
    fs::write(&profile, granted).expect("a scratch folder");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let image = only(&image::make(&profile, board.cpu(), &words, dir.path()), ".img");
    hub.push(1, &json!({ "apply": [{ "type": "shell", "command": SAID }] }));
    let mut machine = Flashed::counting(board, &image);
    machine.power_on();
    enrolled(&hub, &machine);
    reported(&hub, &machine, 1, "applied");
    machine.until_it_says("JOS-UP-");
    let console = machine.console();
    let said = console.split("JOS-UP-").nth(1).and_then(|rest| rest.split('-').next());
    let seconds = said.and_then(|text| text.parse().ok()).expect("a number");
    println!("{}: {seconds} s of emulated time", board.name());
    seconds
}

#[test]
#[ignore = "soak: one core that counts instructions, for minutes"]
fn qemu_amd64_uefi_image_has_its_first_state_within_90_seconds_of_emulated_time() {
    assert!(time_to_the_first_state(Board::Amd64Uefi) < 90.0);
}

#[test]
#[ignore = "soak: one core of another CPU that counts instructions, for minutes"]
fn qemu_raspberry_pi_card_has_its_first_state_within_90_seconds_of_emulated_time() {
    assert!(time_to_the_first_state(Board::PiOnVirt) < 90.0);
}
