//! Update bundles: the root file system of an image, signed for RAUC of the devices that run an earlier one.
//!
//! Owns: the bundle, made by rauc(1) itself in its format `verity`, and the throwaway pair of `--dev-key`. A bundle is the
//! one output that is never twice the same: RAUC gives each a random salt and its signature the time. What is in it is the
//! same to the byte, and the manifest names it by its hash.

use std::path::{Path, PathBuf};

use super::{Ids, ImageError, slots, tools};
use crate::bake::Appliance;
use crate::bake::rauc::{Files, Signer};

use super::board::Board;

/// An update bundle, or what is known of one that is there already.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Its file name.
    pub name: String,
    /// Where it lies, where it was made now.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub sha256: String,
    /// SHA-256 of the root file system in it.
    pub root: String,
}

/// With what bundles of `app` are signed; the pair of `--dev-key` is made where it is not kept yet.
pub(super) fn files(app: &Appliance, cache: &Path) -> Result<Files, ImageError> {
    match &app.rauc {
        Some(Signer::Named(files) | Signer::Published { files: Some(files), .. }) => Ok(files.clone()),
        Some(Signer::Throwaway | Signer::Published { files: None, .. }) => throwaway(cache),
        None => Err(ImageError::Unfit("nobody is named who signs bundles".into())),
    }
}

/// A pair that this machine makes once, so that what it builds tomorrow updates what it builds today.
fn throwaway(cache: &Path) -> Result<Files, ImageError> {
    let dir = cache.join("rauc-dev");
    if !dir.is_dir() {
        let new = cache.join(format!("rauc-dev-{}", std::process::id()));
        std::fs::create_dir_all(&new).map_err(ImageError::io(&new))?;
        let mut command = tools::command("openssl");
        command
            .args([
                "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-days", "3650", "-sha256",
            ])
            .args(["-subj", "/CN=throwaway key of jos-image build --dev-key"])
            .arg("-keyout")
            .arg(new.join("key.pem"))
            .arg("-out")
            .arg(new.join("cert.pem"));
        tools::run(&mut command, None, "")?;
        // Where another build was faster, its pair is the pair.
        if std::fs::rename(&new, &dir).is_err() {
            std::fs::remove_dir_all(&new).map_err(ImageError::io(&new))?;
        }
    }
    let cert = dir.join("cert.pem");
    let bytes = std::fs::read(&cert).map_err(ImageError::io(&cert))?;
    Ok(Files {
        keyring: bytes.clone(),
        cert: bytes,
        key: dir.join("key.pem"),
    })
}

/// Makes the bundle of the root file system `fs`, or recalls the one that was published.
pub(super) fn make(
    app: &Appliance,
    board: &Board,
    ids: &Ids<'_>,
    fs: &Path,
    files: &Files,
    scratch: &Path,
) -> Result<Bundle, ImageError> {
    let (_, root) = tools::size_and_sum(fs)?;
    let name = format!("{}_{}_{}.raucb", app.name, app.full_version(), board.name);
    let path = scratch.join(&name);
    if let Some(Signer::Published { bundles, .. }) = &app.rauc {
        let (size, sha256) = bundles.get(&name).cloned().unwrap_or_default();
        return Ok(Bundle {
            name,
            path,
            size,
            sha256,
            root,
        });
    }
    let what = What {
        compatible: &slots::compatible(app, board),
        version: &app.full_version(),
        description: app.product(),
        build: &ids.root(),
        epoch: app.epoch,
    };
    what.write(&path, fs, files, scratch)?;
    let (size, sha256) = tools::size_and_sum(&path)?;
    Ok(Bundle {
        name,
        path,
        size,
        sha256,
        root,
    })
}

/// What a bundle says of itself.
struct What<'a> {
    compatible: &'a str,
    version: &'a str,
    description: &'a str,
    build: &'a str,
    epoch: u32,
}

impl What<'_> {
    /// Writes the bundle of `fs`.
    fn write(&self, to: &Path, fs: &Path, files: &Files, scratch: &Path) -> Result<(), ImageError> {
        let dir = scratch.join("bundle");
        std::fs::create_dir_all(&dir).map_err(ImageError::io(&dir))?;
        let image = dir.join("root.ext4");
        std::fs::hard_link(fs, &image).map_err(ImageError::io(&image))?;
        let manifest = format!(
            "[update]\ncompatible={}\nversion={}\ndescription={}\nbuild={}\n\n\
             [bundle]\nformat=verity\n\n[image.root]\nfilename=root.ext4\n",
            self.compatible,
            self.version,
            line(self.description),
            self.build,
        );
        let put = |name: &str, bytes: &[u8]| {
            let at = scratch.join(name);
            std::fs::write(&at, bytes).map_err(ImageError::io(&at)).map(|()| at)
        };
        put("bundle/manifest.raucm", manifest.as_bytes())?;
        let (cert, keyring) = (put("cert.pem", &files.cert)?, put("keyring.pem", &files.keyring)?);
        let mut command = tools::command("rauc");
        command
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
            .arg("bundle")
            .arg("--cert")
            .arg(&cert)
            .arg("--key")
            .arg(&files.key)
            .arg("--keyring")
            .arg(&keyring)
            .arg("--mksquashfs-args=-comp zstd -Xcompression-level 9")
            .args([&dir, &to.to_owned()]);
        tools::run(
            &mut command,
            None,
            "`cert` and `key` of [image.rauc] must belong together, and `keyring` lead to `cert`",
        )?;
        for gone in [cert, keyring] {
            std::fs::remove_file(&gone).map_err(ImageError::io(&gone))?;
        }
        std::fs::remove_dir_all(&dir).map_err(ImageError::io(&dir))
    }
}

/// A value of GLib's key files: backslashes are doubled there, and a line ends it.
fn line(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.trim().replace('\\', "\\\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What rauc(1) says of a bundle, or why it says nothing.
    fn info(bundle: &Path, keyring: &Path) -> Result<serde_json::Value, String> {
        let mut command = tools::command("rauc");
        command.arg("info").arg("--output-format=json").arg("--keyring");
        let said = tools::run(command.arg(keyring).arg(bundle), None, "").map_err(|e| e.to_string())?;
        Ok(serde_json::from_slice(&said).expect("JSON"))
    }

    #[test]
    fn a_bundle_is_read_by_rauc_with_its_signers_certificate_and_with_no_other() {
        let dir = tempfile::tempdir().expect("a folder");
        let (fs, to) = (dir.path().join("fs"), dir.path().join("one.raucb"));
        // What packs to nothing is no file system, says RAUC.
        let mixed = |n: u32| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes();
        std::fs::write(&fs, (0..1 << 18).flat_map(mixed).collect::<Vec<u8>>()).expect("a file");
        let files = throwaway(&dir.path().join("here")).expect("a pair");
        let again = throwaway(&dir.path().join("here")).expect("a pair");
        assert_eq!(files.cert, again.cert, "a machine has one throwaway pair");
        let mode = std::fs::metadata(&files.key).expect("a key").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o077, 0);
        let what = What {
            compatible: "kiosk-amd64-uefi",
            version: "1.0.1-1",
            description: "A \\ kiosk\n",
            build: "b",
            epoch: 1_795_219_200,
        };
        what.write(&to, &fs, &files, dir.path()).expect("a bundle");
        let own = dir.path().join("here/rauc-dev/cert.pem");
        let said = info(&to, &own).expect("it is believed");
        assert_eq!(said["compatible"], "kiosk-amd64-uefi");
        assert_eq!(said["version"], "1.0.1-1");
        assert_eq!(said["description"], "A \\ kiosk");
        let (size, sum) = tools::size_and_sum(&fs).expect("a file");
        assert_eq!(said["images"][0]["root"]["checksum"], sum.as_str(), "{said}");
        assert_eq!(said["images"][0]["root"]["size"], size, "{said}");
        // Nothing but the bundle and what was there before is left.
        assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 3);

        throwaway(&dir.path().join("elsewhere")).expect("a pair");
        let refused = info(&to, &dir.path().join("elsewhere/rauc-dev/cert.pem")).expect_err("another signer");
        assert!(refused.contains("signature verification failed"), "{refused}");
    }
}
