//! Packages, baked by `jos-image` as a vendor bakes them: with a key and a trust root of the vendor's own.
//!
//! The device program comes out of `jos-image`'s own compile cache, so that only the first bake after a change of the
//! sources takes minutes. `$JOS_DEVICE_PROGRAMS` names a folder of programs made before (`TRIPLE/jos`), for work on the
//! tests themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::{Ran, run, run_within};
use crate::programs::{jos, jos_image, workspace};

/// A bake may have to compile for each of a target's processors, from nothing.
const LIMIT: Duration = Duration::from_secs(1500);

/// Somebody who signs and sells appliances.
#[derive(Debug)]
pub struct Vendor {
    dir: tempfile::TempDir,
}

impl Vendor {
    /// With a fresh key, and the trust root that its devices are born with.
    pub fn new() -> Self {
        let vendor = Self {
            dir: tempfile::tempdir().expect("a folder"),
        };
        let key = vendor.at("admin.key");
        run(jos().args(["key", "new", "--out"]).arg(&key)).ok();
        run(jos()
            .args(["trust", "init", "--key"])
            .arg(&key)
            .arg("--out")
            .arg(vendor.at("trust.json")))
        .ok();
        vendor
    }

    /// A path in the vendor's own folder.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Copies the appliance `tests/fixtures/NAME` into a folder of the vendor's, to be edited.
    pub fn appliance(&self, name: &str, into: &str) -> Appliance {
        let from = workspace().join("tests/fixtures").join(name);
        let to = self.at(into);
        fs::create_dir_all(&to).unwrap_or_else(|error| panic!("cannot make {}: {error}", to.display()));
        for entry in fs::read_dir(&from)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", from.display()))
            .flatten()
        {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a file can be copied");
        }
        Appliance {
            profile: to.join(format!("{name}.toml")),
        }
    }

    /// Bakes `profile`, a path or the name of one that we ship, for `targets`; all packages lie in the folder returned.
    #[track_caller]
    pub fn bake(&self, profile: &str, targets: &[&str], into: &str) -> PathBuf {
        self.try_bake(profile, targets, into, |command| command).ok();
        let name = Path::new(profile).file_stem().expect("a profile has a name").to_owned();
        self.at(into).join(name)
    }

    /// As [`Self::bake`], with words of the caller's own, and whatever it comes to.
    #[track_caller]
    pub fn try_bake(
        &self,
        profile: &str,
        targets: &[&str],
        into: &str,
        more: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Ran {
        let mut command = jos_image();
        command
            .current_dir(self.dir.path())
            .args(["build", profile, "--source"]);
        command.arg(workspace()).arg("--key").arg(self.at("admin.key"));
        command.arg("--trust").arg(self.at("trust.json"));
        command.arg("--out").arg(self.at(into));
        for target in targets {
            command.args(["--target", target]);
        }
        if let Some(programs) = std::env::var_os("JOS_DEVICE_PROGRAMS") {
            command
                .arg("--builder")
                .arg(format!("prebuilt={}", Path::new(&programs).display()));
        }
        run_within(more(&mut command), LIMIT, &[])
    }
}

impl Default for Vendor {
    fn default() -> Self {
        Self::new()
    }
}

/// An appliance in a folder of its own: the profile and what it names.
#[derive(Debug)]
pub struct Appliance {
    profile: PathBuf,
}

impl Appliance {
    /// The profile's path, for [`Vendor::bake`].
    pub fn profile(&self) -> &str {
        self.profile.to_str().expect("a scratch folder's name is text")
    }

    /// Replaces `from`, which must be there, in one of its files.
    #[track_caller]
    pub fn edit(&self, file: &str, from: &str, to: &str) -> &Self {
        let path = self.profile.with_file_name(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        assert!(text.contains(from), "{file} has no {from:?}");
        fs::write(&path, text.replace(from, to)).expect("a scratch folder");
        self
    }
}

/// The one file in `folder` that ends so.
#[track_caller]
pub fn only(folder: &Path, ending: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()))
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    assert!(found.len() == 1, "expected one *{ending}: {found:?}");
    found.remove(0)
}
