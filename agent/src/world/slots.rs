//! Two root file systems, on images that were built with `update = "rauc"`: RAUC writes bundles, a script of the image tells
//! RAUC and the loader which system is good.
//!
//! Owns how both are asked and what their answers mean. Whether a system is kept was decided by the plane.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jos_runtime::world::{Image, Invocation, Processes, Ran, Slots};
use serde::Deserialize;

use super::outside;
use super::processes::System;

/// What the image says of itself, and its script.
const FOLDER: &str = "/usr/lib/jos-image";
/// For what only looks; a bundle's signature is checked, its content is not read.
const SHORT: Duration = Duration::from_secs(120);
/// For what changes something: a whole system on slow flash, or waiting until that ends which nobody waits for any more.
const LONG: Duration = Duration::from_secs(3600);

/// Whether this machine has two systems.
pub(crate) fn there() -> bool {
    let folder = Path::new(FOLDER);
    cfg!(target_os = "linux") && ["image.json", "slot"].iter().all(|name| folder.join(name).is_file())
}

/// The two systems of this machine, where it has two.
pub(super) fn detect() -> Option<Box<dyn Slots>> {
    let may = nix::unistd::geteuid().is_root();
    (may && there()).then(|| Box::new(Rauc { folder: FOLDER.into() }) as Box<dyn Slots>)
}

struct Rauc {
    folder: PathBuf,
}

/// What RAUC says of a bundle, as far as we ask.
#[derive(Deserialize)]
struct Info {
    compatible: String,
    version: String,
}

fn invocation(argv: &[&str], timeout: Duration) -> Invocation {
    Invocation {
        argv: argv.iter().map(|s| (*s).to_owned()).collect(),
        env: [("LC_ALL", "C"), ("HOME", "/root")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        timeout,
    }
}

/// Anything but exit code 0 is an error, in the tool's own last words.
fn good(argv: &[&str], ran: &Ran) -> Result<String, String> {
    let text = String::from_utf8_lossy(&ran.output).into_owned();
    if ran.ok() {
        return Ok(text);
    }
    let said = text.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("nothing").trim();
    Err(format!(
        "`{}` ended with {}; it said: {said}",
        argv.join(" "),
        ran.ending()
    ))
}

fn read_info(text: &str) -> Result<Image, String> {
    // It warns on the same stream; what it was asked for is one line.
    let line = text.lines().find(|line| line.starts_with('{'));
    let info: Info = serde_json::from_str(line.unwrap_or_default()).map_err(|e| format!("rauc info: {e}"))?;
    let Info { compatible, version } = info;
    Ok(Image { compatible, version })
}

/// Outside of the agent's sandbox, which may write neither slot nor the loader's settings, and where nobody has seen RAUC read
/// a bundle.
fn run(argv: &[&str], timeout: Duration) -> Result<Ran, String> {
    let invocation = invocation(argv, timeout);
    if outside::needed() {
        outside::run(&invocation)
    } else {
        System.run(&invocation)
    }
}

impl Rauc {
    fn script(&self, words: &[&str]) -> Result<Ran, String> {
        let script = self.folder.join("slot").display().to_string();
        let mut argv = vec![script.as_str()];
        argv.extend(words);
        run(&argv, LONG)
    }

    fn tell(&self, word: &str) -> Result<(), String> {
        let ran = self.script(&[word])?;
        good(&["slot", word], &ran).map(drop)
    }
}

impl Slots for Rauc {
    fn running(&self) -> Result<Image, String> {
        let file = self.folder.join("image.json");
        let failed = |e: String| format!("{}: {e}", file.display());
        let bytes = std::fs::read(&file).map_err(|e| failed(e.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|e| failed(e.to_string()))
    }

    fn inspect(&self, bundle: &Path) -> Result<Image, String> {
        let bundle = bundle.to_str().ok_or("the bundle's path is not UTF-8")?;
        let argv = ["rauc", "info", "--output-format=json", bundle];
        read_info(&good(&argv, &run(&argv, SHORT)?)?)
    }

    fn install(&self, bundle: &Path, within: Duration) -> Result<Ran, String> {
        let bundle = bundle.to_str().ok_or("the bundle's path is not UTF-8")?;
        self.script(&["install", bundle, &within.as_secs().to_string()])
    }

    fn keep(&self) -> Result<(), String> {
        self.tell("keep")
    }

    fn stay(&self) -> Result<(), String> {
        self.tell("stay")
    }

    fn leave(&self) -> Result<(), String> {
        self.tell("leave")
    }

    fn reboot(&self) -> Result<(), String> {
        let argv = ["systemctl", "--no-block", "reboot"];
        good(&argv, &System.run(&invocation(&argv, SHORT))?).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image whose script notes what it is told, and fails at `leave`.
    fn played() -> (tempfile::TempDir, Rauc) {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("image.json", r#"{"compatible":"kiosk-amd64-uefi","version":"1.0.1-1"}"#);
        write(
            "slot",
            "#!/bin/sh\necho \"$@\" >> \"${0%/*}/told\"\necho because\n[ \"$1\" != leave ]\n",
        );
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(dir.path().join("slot"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let rauc = Rauc {
            folder: dir.path().into(),
        };
        (dir, rauc)
    }

    #[test]
    fn an_image_says_which_it_is_and_its_script_is_told_what_became_of_it() {
        let (dir, rauc) = played();
        let running = rauc.running().unwrap();
        assert_eq!(
            (running.compatible.as_str(), running.version.as_str()),
            ("kiosk-amd64-uefi", "1.0.1-1")
        );
        assert!(rauc.install(Path::new("/data/x"), SHORT).unwrap().ok());
        rauc.keep().unwrap();
        rauc.stay().unwrap();
        let why = rauc.leave().unwrap_err();
        assert!(
            why.contains("`slot leave` ended with exit code 1; it said: because"),
            "{why}"
        );
        let told = std::fs::read_to_string(dir.path().join("told")).unwrap();
        assert_eq!(told, "install /data/x 120\nkeep\nstay\nleave\n");
    }

    #[test]
    fn what_rauc_says_of_a_bundle_is_found_between_its_warnings() {
        // As rauc 1.8 says it, with its messages on the other stream.
        let said = "\n(rauc:6974): rauc-WARNING **: 23:58:16.977: Certificate 1 (/CN=x) will expire in less than a month!\n\
            rauc-Message: 23:58:16.993: Verified inline signature by 'CN = x'\n\
            {\"compatible\":\"kiosk-amd64-uefi\",\"version\":\"1.0.2-1\",\"description\":null,\"build\":null,\"hooks\":[],\"images\":[\
            {\"root\":{\"variant\":null,\"filename\":\"root.ext4\",\"checksum\":\"cc54\",\"size\":300000,\"hooks\":[],\"adaptive\":[]}}]}\n";
        let image = read_info(said).unwrap();
        assert_eq!(
            (image.compatible.as_str(), image.version.as_str()),
            ("kiosk-amd64-uefi", "1.0.2-1")
        );
        assert!(read_info("signature verification failed\n").is_err());
    }
}
