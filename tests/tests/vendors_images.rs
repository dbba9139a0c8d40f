//! The profiles of `examples/vendors` with all that they are for: packages, disks, bundles, overlays, as `docs/gallery.md` lists
//! them. Made by an ordinary user, and read by tools that are not ours: sfdisk, e2fsck, debugfs, dpkg, rauc, tar, bsdtar.
//!
//! What boots is booted by `machine_image.rs`; here it is whole. Each takes a base of Debian and some GB for a while.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jos_tests::command::{Ran, run, run_within, sh};
use jos_tests::image;
use jos_tests::programs::{jos_image, workspace};
use serde_json::Value;

/// What is beside the outputs.
const ALWAYS: [&str; 6] = [
    "SHA256SUMS",
    "SHA256SUMS.pub",
    "SHA256SUMS.sig",
    "manifest.json",
    "provenance.intoto.jsonl",
    "sbom.cdx.json",
];

/// A vendor's profile, built whole.
struct Built {
    dir: tempfile::TempDir,
    outputs: PathBuf,
}

impl Built {
    /// Everything that `examples/vendors/NAME.toml` is for.
    fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("jos-vendor-")
            .tempdir_in("/var/tmp")
            .expect("a folder");
        let at = |name: &str| dir.path().join(name).display().to_string();
        for folder in ["profiles", "examples/vendors"] {
            let to = at(folder.rsplit('/').next().expect("a name"));
            sh("cp", &["-r", &workspace().join(folder).display().to_string(), &to]).ok();
        }
        let profile = at(&format!("vendors/{name}.toml"));
        let programs = programs(&profile, &at("profiles"), &at("programs"));
        let (mut command, out) = image::unprivileged(dir.path(), &image::kept());
        command.args(["build", &profile, "--profiles", &at("profiles"), "--dev-key"]);
        command.args(["--builder", &format!("prebuilt={programs}"), "--out"]);
        run_within(command.arg(&out), Duration::from_secs(3000), &[]).ok();
        let outputs = out.join(name);
        Self { dir, outputs }
    }

    /// The outputs that end so.
    fn all(&self, ending: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.outputs).expect("the outputs").flatten();
        let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        all.retain(|path| path.to_string_lossy().ends_with(ending));
        all.sort();
        all
    }

    /// The one output that ends so.
    fn one(&self, ending: &str) -> PathBuf {
        let all = self.all(ending);
        assert_eq!(all.len(), 1, "{ending}: {all:?}");
        all[0].clone()
    }

    /// The gallery's section on this profile lists exactly what came out.
    fn is_what_the_gallery_lists(&self, name: &str) {
        let gallery = fs::read_to_string(workspace().join("docs/gallery.md")).expect("the gallery");
        let section = gallery.split(&format!("`examples/vendors/{name}.toml`")).nth(1);
        let section = section.and_then(|s| s.split("\n## ").next()).expect("its section");
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let cells = rows.filter_map(|line| line.split('|').nth(1));
        let listed: BTreeSet<String> = cells
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .map(str::to_owned)
            .collect();
        let made: BTreeSet<String> = self
            .all("")
            .iter()
            .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
            .filter(|name| !ALWAYS.contains(&name.as_str()))
            .collect();
        assert_eq!(made, listed);
        let mut sums = Command::new("sha256sum");
        sums.args(["-c", "--strict", "--quiet", "SHA256SUMS"]);
        run_within(sums.current_dir(&self.outputs), Duration::from_secs(600), &[]).ok();
    }
}

/// Programs of devices for a profile: those of `$JOS_DEVICE_PROGRAMS`, or what the pipeline compiles or has.
fn programs(profile: &str, profiles: &str, into: &str) -> String {
    if let Some(dir) = std::env::var_os("JOS_DEVICE_PROGRAMS") {
        sh("cp", &["-rL", dir.to_str().expect("text"), into]).ok();
        return into.to_owned();
    }
    let told = run(jos_image().args(["explain", profile, "--profiles", profiles, "--json"])).ok();
    let told = told.json();
    let targets = told["profile"]["target"]["targets"].as_array().expect("targets").iter();
    let mut command = jos_image();
    command.arg("programs").arg(into).arg("--source").arg(workspace());
    for target in targets {
        command.args(["--target", target.as_str().expect("text")]);
    }
    run_within(&mut command, Duration::from_secs(3000), &[]).ok();
    into.to_owned()
}

/// A partition: its number, where it begins, and how long it is, in bytes.
struct Part {
    number: u32,
    start: u64,
}

/// What sfdisk reads of a disk: the label of its table, and its partitions.
fn table(disk: &Path) -> (String, Vec<Part>) {
    let told = run(Command::new("sfdisk").arg("--json").arg(disk)).ok().json();
    let table = &told["partitiontable"];
    assert_eq!(table["sectorsize"], 512, "{table}");
    let parts = table["partitions"].as_array().expect("partitions").iter().zip(1..);
    let sectors = |value: &Value| value.as_u64().expect("a number");
    let parts = parts.map(|(part, number)| Part {
        number,
        start: 512 * sectors(&part["start"]),
    });
    (table["label"].as_str().expect("text").to_owned(), parts.collect())
}

/// e2fsck finds nothing to say of the file system there.
fn is_sound(disk: &Path, part: &Part) {
    let at = format!("{}?offset={}", disk.display(), part.start);
    let checked = run_within(Command::new("e2fsck").args(["-fn", &at]), Duration::from_secs(600), &[]);
    assert!(checked.succeeded(), "partition {}: {checked}", part.number);
}

/// A whole disk of Debian in which `package` of this version is installed: its table, its file systems, what dpkg makes of it.
fn is_a_debian_with(dir: &Path, disk: &Path, label: &str, parts: usize, package: (&str, &str)) -> PathBuf {
    let (found, all) = table(disk);
    assert_eq!((found.as_str(), all.len()), (label, parts));
    is_sound(disk, &all[1]);
    let root = dir.join("root");
    drop(fs::remove_dir_all(&root));
    fs::create_dir(&root).expect("a folder");
    let at = format!("{}?offset={}", disk.display(), all[1].start);
    let dump = format!("rdump / {}", root.display());
    run_within(
        Command::new("debugfs").args(["-R", &dump, &at]),
        Duration::from_secs(900),
        &[],
    )
    .ok();
    let dpkg = |words: &[&str]| -> Ran {
        let mut command = Command::new("dpkg");
        command.arg(format!("--root={}", root.display())).args(words);
        run_within(&mut command, Duration::from_secs(900), &[])
    };
    let (name, version) = package;
    dpkg(&["--status", name])
        .ok()
        .says("Status: install ok installed")
        .says(&format!("Version: {version}\n"));
    assert_eq!(dpkg(&["--audit"]).ok().stdout, "", "packages that are not whole");
    // Every file of every package is there as its package has it; what a base leaves out is documentation. Settings are the
    // image's to change.
    let left_out = ["/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/"];
    let verified = dpkg(&["--verify"]).stdout;
    let wrong: Vec<&str> = verified
        .lines()
        .filter(|line| !left_out.iter().any(|path| line.contains(path)))
        .filter(|line| line.split_whitespace().nth(1) != Some("c"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    root
}

/// A package for routers becomes an overlay that tar reads, with its services enabled.
fn becomes_an_overlay(built: &Built, package: &Path, service: &str) {
    let overlay = built.dir.path().join("overlay.tar.gz");
    let mut command = jos_image();
    command
        .args(["openwrt", "overlay"])
        .arg(package)
        .arg("--out")
        .arg(&overlay);
    run(&mut command).ok();
    let listed = run(Command::new("tar").arg("-tvzf").arg(&overlay)).ok();
    listed
        .says(" ./usr/bin/jos\n")
        .says(&format!("{service} -> ../init.d/"));
}

#[test]
#[ignore = "soak: makes a base of Debian"]
fn the_assistant_of_a_notary_is_a_pc() {
    let built = Built::new("notaria");
    built.is_what_the_gallery_lists("notaria");
    let disk = built.one("_amd64-uefi.img");
    let root = is_a_debian_with(built.dir.path(), &disk, "gpt", 2, ("ai-box", "1.0.3-1"));
    assert!(root.join("usr/lib/systemd/system/ai-box-model.service").is_file());
}

#[test]
#[ignore = "soak: makes a base of Debian"]
fn the_gateway_of_a_greenhouse_has_two_roots_and_a_bundle_and_is_a_router_too() {
    let built = Built::new("invernadero");
    built.is_what_the_gallery_lists("invernadero");
    let disk = built.one("_amd64-uefi.img");
    is_a_debian_with(built.dir.path(), &disk, "gpt", 4, ("sensor-gateway", "1.4.0-1"));
    let parts = table(&disk).1;
    is_sound(&disk, &parts[3]);
    let bundle = built.one(".raucb");
    let told = run(Command::new("rauc").args(["info", "--no-verify"]).arg(&bundle)).ok();
    told.says("sensor-gateway").says("1.4.0-1");
    for package in built.all(".ipk") {
        becomes_an_overlay(&built, &package, "S95sensor-gateway");
    }
}

#[test]
#[ignore = "soak: with the others of its kind"]
fn the_guest_network_of_a_hotel_becomes_overlays_of_its_access_points() {
    let built = Built::new("casa-azul");
    built.is_what_the_gallery_lists("casa-azul");
    assert_eq!(built.all(".ipk").len(), 2);
    for package in built.all(".ipk") {
        becomes_an_overlay(&built, &package, "S95casa-azul-wifi");
    }
}

#[test]
#[ignore = "soak: with the others of its kind"]
fn the_screen_of_a_museum_is_a_package_for_both_processors() {
    let built = Built::new("museo");
    built.is_what_the_gallery_lists("museo");
    let listed = run(Command::new("bsdtar").arg("-tf").arg(built.one(".pkg"))).ok();
    listed
        .says("base.pkg/Payload")
        .says("base.pkg/Bom")
        .says("Distribution");
}
