//! Two root file systems on one disk, of which one runs and the other waits for the next update (`[image] update = "rauc"`).
//!
//! Owns: what chooses between them (GRUB, its settings and its environment), what RAUC is told of them, and what tells the
//! loader that the one that runs is sound. A root brings its own kernel, so that all of a system comes and goes at once.
//! On the boot partition nothing but 1024 bytes ever changes: GRUB's environment, in place, its words all in one sector.

use jos_schemas::documents::profile::{Image, Update};

use super::boot::Files;
use super::initrd::Kernel;
use super::layer::Layer;
use super::{Ids, ImageError, root};
use crate::bake::Appliance;

use super::board::{Board, Firmware};

/// What a base needs for it, besides the loader's package.
pub(super) const PACKAGES: [&str; 3] = ["grub-common", "rauc", "rauc-service"];

/// Where GRUB of Debian looks for its settings, on the boot partition.
const SETTINGS: &str = "EFI/debian";

/// GRUB's environment has this size, whatever is in it.
const ENVIRONMENT: usize = 1024;

/// Whether an image has two roots.
pub(super) fn wanted(image: &Image) -> bool {
    image.update == Some(Update::Rauc)
}

/// What RAUC holds a bundle against before it installs it.
pub(super) fn compatible(app: &Appliance, board: &Board) -> String {
    format!("{}-{}", app.name, board.name)
}

/// Bytes of the file system that is built: it is never written to, so a little more than its content.
pub(super) fn root_bytes(layer: &Layer) -> Result<u64, ImageError> {
    let weight = layer.weight()?;
    Ok((weight + weight / 8 + (64 << 20)).next_multiple_of(16 << 20))
}

/// Bytes of each of the two places, for good: what the profile says, else twice what is there today.
pub(super) fn bytes(image: &Image, today: u64) -> Result<u64, ImageError> {
    let Some(text) = &image.size else {
        return Ok((2 * today).next_multiple_of(256 << 20));
    };
    match root::bytes_of(text) {
        Some(bytes) if bytes >= today => Ok(bytes),
        _ => Err(ImageError::Unfit(format!(
            "[image] size {text:?} is too small: the root file system takes {} MiB, and those of later versions have to fit",
            today >> 20
        ))),
    }
}

/// Lays into the root what it needs to be one of two.
pub(super) fn install(
    layer: &mut Layer,
    app: &Appliance,
    board: &Board,
    ids: &Ids<'_>,
    keyring: &[u8],
) -> Result<(), ImageError> {
    let boot = board.firmware.mount();
    let [a, b] = ["root-a", "root-b"].map(|slot| ids.uuid(&format!("{slot}-partition")));
    let settings = format!(
        "# Written by jos-image.\n\
         [system]\ncompatible={}\nbootloader=grub\ngrubenv=/{boot}/{SETTINGS}/grubenv\n\
         data-directory=/data/rauc\nmountprefix=/run/rauc\nbundle-formats=verity\n\n\
         [keyring]\npath=/etc/rauc/keyring.pem\n\n\
         [slot.root.0]\ndevice=/dev/disk/by-partuuid/{a}\ntype=ext4\nbootname=A\n\n\
         [slot.root.1]\ndevice=/dev/disk/by-partuuid/{b}\ntype=ext4\nbootname=B\n",
        compatible(app, board)
    );
    layer.file("etc/rauc/system.conf", 0o644, settings);
    layer.file("etc/rauc/keyring.pem", 0o644, keyring);
    // By which the agent knows what runs: a step `image` names the same two.
    let image = serde_json::json!({ "compatible": compatible(app, board), "version": app.full_version() });
    layer.file("usr/lib/jos-image/image.json", 0o644, format!("{image}\n"));
    let folder = "# Written by jos-image.\nd /data/rauc 0700 root root -\n";
    layer.file("usr/lib/tmpfiles.d/jos-image-rauc.conf", 0o644, folder);
    let service = |text: &str| {
        text.replace("@SERVICE@", &app.service)
            .replace("@BOOT@", &format!("/{boot}"))
    };
    let script = service(include_str!("scripts/slot.sh"));
    layer.file("usr/lib/jos-image/slot", 0o755, script);
    for (name, text) in [
        ("jos-image-slot-good.service", include_str!("scripts/slot-good.service")),
        ("jos-image-slot-late.service", include_str!("scripts/slot-late.service")),
        ("jos-image-slot-late.timer", include_str!("scripts/slot-late.timer")),
    ] {
        root::unit_file(layer, name, &service(text));
    }
    Ok(())
}

/// How this root is started: read by the loader out of the root itself. `name` is what it shows, `words` are for its kernel.
pub(super) fn own_settings(layer: &mut Layer, kernel: &Kernel, initrd: Vec<u8>, name: &str, words: &str) {
    let release = &kernel.release;
    layer.file(&format!("boot/initrd.img-{release}"), 0o644, initrd);
    let words: Vec<String> = words.split_whitespace().map(quoted).collect();
    let words = words.join(" ");
    let name = quoted(name);
    // A kernel that cannot go on makes room for the other.
    let settings = format!(
        "# Written by jos-image. $words come from the loader: which root this is, and where the data are.\n\
         echo {name}\nlinux /boot/vmlinuz-{release} $words ro panic=10 {words}\n\
         initrd /boot/initrd.img-{release}\nboot\n"
    );
    layer.file("boot/grub.cfg", 0o644, settings);
}

/// A word as GRUB's language takes it; quotes and backslashes it would hand on otherwise, so a profile has none.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+.,:/=@%".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{word}'")
    }
}

/// The loader, its settings and its environment. None of it changes with an update.
pub(super) fn loader(layer: &Layer, firmware: Firmware, ids: &Ids<'_>) -> Result<Files, ImageError> {
    let Firmware::Uefi { loader, grub, .. } = firmware else {
        return Err(ImageError::Unfit("two roots need a board with UEFI".into()));
    };
    let program = layer.read(&format!("usr/lib/grub/{}", grub.1))?;
    let settings = include_str!("scripts/grub.cfg").replace("@DATA@", &format!("UUID={}", ids.uuid("data")));
    Ok(vec![
        (format!("EFI/BOOT/{}", loader.1), program),
        (format!("{SETTINGS}/grub.cfg"), settings.into_bytes()),
        (format!("{SETTINGS}/grubenv"), environment()),
    ])
}

/// A device leaves the desk with a system in A and nothing in B.
fn environment() -> Vec<u8> {
    let mut text = "# GRUB Environment Block\n".to_owned();
    for (name, value) in [
        ("ORDER", "A B"),
        ("A_OK", "1"),
        ("A_TRY", "0"),
        ("B_OK", "0"),
        ("B_TRY", "0"),
        ("CONFIRMED", "A"),
    ] {
        text.push_str(&format!("{name}={value}\n"));
    }
    let mut bytes = text.into_bytes();
    bytes.resize(ENVIRONMENT, b'#');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grubs_environment_has_its_size_and_all_that_changes_in_its_first_sector() {
        let bytes = environment();
        assert_eq!(bytes.len(), 1024);
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.starts_with("# GRUB Environment Block\nORDER=A B\n"));
        assert!(text[..512].contains("\nCONFIRMED=A\n#"));
    }

    #[test]
    fn what_grub_would_read_otherwise_in_a_profiles_words_is_quoted() {
        let mut layer = Layer::default();
        let kernel = Kernel {
            release: "6.1".into(),
            image: Vec::new(),
        };
        own_settings(
            &mut layer,
            &kernel,
            Vec::new(),
            "Kiosk 1.0-1",
            "console=ttyS0,115200  a;b $c",
        );
        let text = layer.text("boot/grub.cfg").expect("a text");
        let line = "\necho 'Kiosk 1.0-1'\nlinux /boot/vmlinuz-6.1 $words ro panic=10 console=ttyS0,115200 'a;b' '$c'\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn a_place_takes_what_the_profile_says_and_never_less_than_what_is_there() {
        let sized = |size: Option<&str>| Image {
            size: size.map(str::to_owned),
            ..Image::default()
        };
        assert_eq!(bytes(&sized(None), 300 << 20).expect("a size"), 768 << 20);
        assert_eq!(bytes(&sized(Some("2G")), 300 << 20).expect("a size"), 2 << 30);
        let small = bytes(&sized(Some("200M")), 300 << 20).expect_err("too small");
        assert!(small.to_string().contains("300 MiB"), "{small}");
    }

    /// The script beside programs that note what they are told, in a folder in place of the machine's own.
    struct Played(tempfile::TempDir);

    impl Played {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let at = |name: &str| dir.path().join(name);
            let put = |name: &str, text: &str| {
                use std::os::unix::fs::PermissionsExt;
                std::fs::write(at(name), text).expect("a file");
                std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o755)).expect("a mode");
            };
            let here = dir.path().display().to_string();
            let script = include_str!("scripts/slot.sh").replace("@BOOT@", &here);
            let script = script.replace("/data/rauc", &here).replace("sleep 5", "sleep 0");
            let script = script.replace("/proc/", &format!("{here}/"));
            put("slot", &script);
            put("cmdline", "quiet rauc.slot=B ro\n");
            let note = format!(
                "#!/bin/sh\nm=; [ -e {here}/trial ] && m=' (trial)'\necho \"${{0##*/}} $*$m\" >> {here}/told\n"
            );
            for program in ["rauc", "sync"] {
                put(program, &note);
            }
            put("grub-editenv", &format!("{note}[ $2 = set ] || echo CONFIRMED=A\n"));
            // The agent is up where a file says so.
            put("systemctl", &format!("{note}[ $1 = reboot ] || [ -e {here}/up ]\n"));
            // Busy at the first question.
            put(
                "busctl",
                &format!(
                    "{note}[ -e {here}/busy ] && rm {here}/busy && echo 's \"installing\"' || echo 's \"idle\"'\n"
                ),
            );
            Self(dir)
        }

        /// What RAUC and the loader's settings were told.
        fn told(&self, words: &[&str]) -> String {
            let at = |name: &str| self.0.path().join(name);
            let _ = std::fs::remove_file(at("told"));
            let path = format!("{}:{}", self.0.path().display(), std::env::var("PATH").expect("a path"));
            let ran = std::process::Command::new("sh")
                .arg(at("slot"))
                .args(words)
                .env("PATH", path)
                .output();
            let ran = ran.expect("a shell");
            assert!(ran.status.success(), "{ran:?}");
            let told = std::fs::read_to_string(at("told")).expect("it told something");
            let here = format!("{}/", self.0.path().display());
            let lines = told.lines().filter(|l| {
                !["sync", "busctl", "systemctl --quiet"]
                    .iter()
                    .any(|word| l.starts_with(word))
            });
            lines.map(|l| l.replace(&here, "") + "\n").collect()
        }

        fn on_trial(&self) -> bool {
            self.0.path().join("trial").exists()
        }

        fn put(&self, name: &str, text: &str) {
            std::fs::write(self.0.path().join(name), text).expect("a file");
        }
    }

    #[test]
    fn a_bundle_is_on_trial_before_rauc_writes_and_until_its_system_is_kept() {
        let slots = Played::new();
        assert_eq!(slots.told(&["install", "/x", "60"]), "rauc install /x (trial)\n");
        assert!(slots.on_trial());
        let kept = "rauc status mark-good (trial)\ngrub-editenv EFI/debian/grubenv set CONFIRMED=B (trial)\n";
        assert_eq!(slots.told(&["keep"]), kept);
        assert!(!slots.on_trial());
    }

    #[test]
    fn a_system_that_is_left_stays_on_trial_until_the_other_one_is_called_good_again() {
        let slots = Played::new();
        slots.told(&["install", "/x"]);
        let left = "rauc status mark-active other (trial)\nrauc status mark-bad booted (trial)\n";
        assert_eq!(slots.told(&["leave"]), left);
        assert!(slots.on_trial());
        // An installation that nobody waits for is waited for.
        slots.put("busy", "");
        let stayed = "rauc status mark-bad other (trial)\nrauc status mark-active booted (trial)\n\
                      rauc status mark-good (trial)\ngrub-editenv EFI/debian/grubenv set CONFIRMED=B (trial)\n";
        assert_eq!(slots.told(&["stay"]), stayed);
        assert!(!slots.on_trial() && !slots.0.path().join("busy").exists());
    }

    #[test]
    fn a_new_system_whose_agent_is_up_and_never_says_what_becomes_of_it_is_left_when_its_time_is_over() {
        let slots = Played::new();
        let list = "grub-editenv EFI/debian/grubenv list";
        slots.told(&["install", "/x", "3900"]);
        slots.put("up", "");
        slots.put("uptime", "3900.01 7000.00\n");
        let left = format!("{list} (trial)\n{list} (trial)\nsystemctl reboot (trial)\n");
        assert_eq!(slots.told(&["late"]), left);
        // Whoever made the file by hand and gave no time takes as long as it takes.
        slots.put("trial", "");
        assert_eq!(slots.told(&["late"]), format!("{list} (trial)\n"));
        // No agent at all: at once.
        std::fs::remove_file(slots.0.path().join("up")).expect("a file");
        let left = format!("{list} (trial)\nsystemctl reboot (trial)\n");
        assert_eq!(slots.told(&["late"]), left);
    }

    #[test]
    fn a_new_system_is_waited_for_until_it_is_kept() {
        let slots = Played::new();
        slots.told(&["install", "/x", "3900"]);
        slots.put("up", "");
        slots.put("uptime", "600.00 7000.00\n");
        // Kept while it is waited for.
        let keep = "#!/bin/sh\nrm -f \"${0%/*}/trial\"\n";
        slots.put("sleep", keep);
        use std::os::unix::fs::PermissionsExt;
        let sleep = slots.0.path().join("sleep");
        std::fs::set_permissions(sleep, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let waited = "grub-editenv EFI/debian/grubenv list (trial)\n";
        assert_eq!(slots.told(&["late"]), waited);
        assert!(!slots.on_trial());
    }
}
