//! The `.pkg` of the shipped kiosk: read whole by two tools that are not ours, its bill of materials, its PackageInfo and
//! its payload held against each other by readers written from the formats alone, its universal program byte by byte.
//!
//! No Mac has run any of it: that macOS accepts the package, and that launchd starts the job, is not proven here.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use jos_tests::baked::{Vendor, only};
use jos_tests::command::{run, sh};
use jos_tests::readers::{bom, cpio, macho};
use serde_json::Value;

const IDENTIFIER: &str = "dev.josfox.mac-kiosk";

/// The kiosk's package, unpacked by bsdtar.
struct Kiosk {
    vendor: Vendor,
    pkg: PathBuf,
}

impl Kiosk {
    fn at(&self, name: &str) -> PathBuf {
        self.vendor.at("pkg").join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.at(name)).unwrap_or_else(|error| panic!("cannot read {name}: {error}"))
    }

    /// The members of `base.pkg/NAME`, unpacked by gzip.
    fn members(&self, name: &str) -> Vec<cpio::Member> {
        let unzipped = self.vendor.at(name).with_extension("cpio");
        let script = format!(
            "gzip -dc '{}' >'{}'",
            self.at("base.pkg").join(name).display(),
            unzipped.display()
        );
        sh("sh", &["-euc", &script]).ok();
        cpio::read(&fs::read(unzipped).expect("unpacked"))
    }

    fn payload(&self) -> Vec<cpio::Member> {
        self.members("Payload")
    }

    fn program(&self) -> Vec<u8> {
        let all = self.payload();
        let found = all.into_iter().find(|member| member.path == "./usr/local/bin/jos");
        found.expect("the program is in the payload").bytes
    }
}

fn kiosk() -> Kiosk {
    let vendor = Vendor::new();
    let pkg = only(&vendor.bake("mac-kiosk", &["macos/universal"], "out"), ".pkg");
    let to = vendor.at("pkg");
    fs::create_dir(&to).expect("a folder");
    run(Command::new("bsdtar").arg("-xf").arg(&pkg).arg("-C").arg(&to)).ok();
    Kiosk { vendor, pkg }
}

/// Every file below a folder with its bytes.
fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below it").display().to_string();
                all.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    all
}

#[test]
fn bsdtar_and_7z_read_the_whole_pkg_and_find_the_same() {
    let kiosk = kiosk();
    let by_bsdtar = tree(&kiosk.vendor.at("pkg"));
    for part in [
        "Distribution",
        "base.pkg/PackageInfo",
        "base.pkg/Bom",
        "base.pkg/Payload",
        "base.pkg/Scripts",
    ] {
        assert!(by_bsdtar.contains_key(part), "{part}: {:?}", by_bsdtar.keys());
    }
    let to = kiosk.vendor.at("by-7z");
    let into = format!("-o{}", to.display());
    // As xar, or 7z would open the payload itself in its place.
    run(Command::new("7z").args(["x", "-y", "-txar", &into]).arg(&kiosk.pkg)).ok();
    let mut by_7z = tree(&to);
    // 7z gives the table of contents as a file too.
    by_7z.retain(|name, _| name != "[TOC].xml");
    assert_eq!(by_7z.keys().collect::<Vec<_>>(), by_bsdtar.keys().collect::<Vec<_>>());
    assert!(by_7z == by_bsdtar, "7z and bsdtar read different bytes");
    run(Command::new("7z").args(["t", "-txar"]).arg(&kiosk.pkg))
        .ok()
        .says("Everything is Ok");
}

#[test]
fn the_bill_of_materials_package_info_and_payload_agree_by_an_independent_reading() {
    let kiosk = kiosk();
    let payload = kiosk.payload();
    let bill = bom::read(&kiosk.read("base.pkg/Bom"));
    let paths: Vec<&String> = payload.iter().map(|member| &member.path).collect();
    let mut sorted = paths.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), paths.len(), "no path is there twice");
    assert_eq!(
        bill.keys().collect::<Vec<_>>(),
        sorted,
        "the bill lists what the payload holds"
    );
    let scratch = kiosk.vendor.at("member");
    let mut kib = 0;
    for member in &payload {
        let listed = &bill[&member.path];
        let path = &member.path;
        assert_eq!(
            (listed.mode, listed.uid, listed.gid),
            (member.mode, member.uid, member.gid),
            "{path}"
        );
        assert_eq!(listed.mtime, member.mtime, "{path}");
        assert_eq!(
            (member.uid, member.gid),
            (0, 0),
            "{path}: root and wheel, or launchd refuses the job"
        );
        assert!(
            !path.split('/').any(|part| part == "..") && (path == "." || path.starts_with("./")),
            "{path}"
        );
        assert_eq!(
            member.mode & 0o7022,
            0,
            "{path}: nobody but root writes it, and it gives nobody rights"
        );
        match member.mode >> 12 {
            0o10 => {
                assert_eq!(listed.size as usize, member.bytes.len(), "{path}");
                fs::write(&scratch, &member.bytes).expect("a scratch file");
                let sum = sh("cksum", &[&scratch.display().to_string()]).ok();
                assert_eq!(
                    sum.text().split(' ').next(),
                    Some(listed.checksum.to_string().as_str()),
                    "{path}"
                );
                kib += member.bytes.len().div_ceil(1024);
            }
            0o12 => assert_eq!(listed.link.as_bytes(), member.bytes, "{path}"),
            _ => {}
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            assert!(
                bill.get(above).is_some_and(|dir| dir.mode >> 12 == 0o4),
                "{path} has no folder above it"
            );
        }
    }
    let secrets = &bill["./Library/Application Support/jos/secrets"];
    assert_eq!(secrets.mode & 0o777, 0o700, "secrets are for root alone");

    let info = String::from_utf8(kiosk.read("base.pkg/PackageInfo")).expect("text");
    let distribution = String::from_utf8(kiosk.read("Distribution")).expect("text");
    for (name, text) in [("PackageInfo", &info), ("Distribution", &distribution)] {
        assert_eq!(attribute(text, "installKBytes"), kib.to_string(), "{name}");
        assert!(text.contains(IDENTIFIER), "{name}");
    }
    assert_eq!(attribute(&info, "numberOfFiles"), payload.len().to_string());
    assert_eq!(attribute(&info, "identifier"), IDENTIFIER);
    assert_eq!(attribute(&info, "install-location"), "/");
    assert_eq!(
        attribute(&info, "version"),
        "1.0.0.1",
        "numbers alone: what the installer compares"
    );
    assert_eq!(attribute(&distribution, "min"), "11.0");
    assert_eq!(attribute(&distribution, "hostArchitectures"), "arm64,x86_64");
    let scripts = kiosk.members("Scripts");
    for script in scripts.iter().filter(|member| member.mode >> 12 == 0o10) {
        let name = script.path.trim_start_matches("./");
        assert!(
            info.contains(&format!("file=\"./{name}\"")),
            "{name} is not in PackageInfo"
        );
        assert_eq!(script.mode & 0o777, 0o755, "{name}");
    }
}

/// The value of the first attribute of this name in an XML text.
fn attribute(xml: &str, name: &str) -> String {
    let (_, after) = xml
        .match_indices(&format!(" {name}=\""))
        .map(|(at, found)| xml.split_at(at + found.len()))
        // The XML declaration has a version of its own.
        .find(|(before, _)| !before.rsplit('<').next().expect("a tag").starts_with('?'))
        .unwrap_or_else(|| panic!("no {name} in\n{xml}"));
    after.split('"').next().expect("a value").to_owned()
}

#[test]
fn the_launchd_job_lints_and_says_what_the_payload_holds() {
    let kiosk = kiosk();
    let payload = kiosk.payload();
    let plists: Vec<&cpio::Member> = payload
        .iter()
        .filter(|member| member.path.ends_with(".plist"))
        .collect();
    assert_eq!(plists.len(), 2, "the agent's job and the browser's");
    for plist in plists {
        let path = kiosk.vendor.at("job.plist");
        fs::write(&path, &plist.bytes).expect("a scratch file");
        // plistutil exits 0 whatever it reads: what it makes of it must be a property list again.
        let binary = kiosk.vendor.at("job.bplist");
        drop(fs::remove_file(&binary));
        run(Command::new("plistutil").arg("-i").arg(&path).arg("-o").arg(&binary)).ok();
        assert!(
            fs::read(&binary).is_ok_and(|bytes| bytes.starts_with(b"bplist00")),
            "{} is no property list:\n{}",
            plist.path,
            String::from_utf8_lossy(&plist.bytes)
        );
        let read = "import json, plistlib, sys; json.dump(plistlib.load(open(sys.argv[1], 'rb')), sys.stdout)";
        let job: Value = run(Command::new("python3").args(["-c", read]).arg(&path)).ok().json();
        let label = job["Label"].as_str().expect("a label");
        assert!(
            plist.path.ends_with(&format!("/{label}.plist")),
            "{} has the label {label}",
            plist.path
        );
        let words = job["ProgramArguments"].as_array().expect("words");
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        let mut ours = 0;
        for path in words
            .iter()
            .filter(|word| word.starts_with("/usr/local/") || word.starts_with("/Library/"))
        {
            // postinstall puts the settings where the payload brings their first values.
            let brought = path.replace("/jos/agent.toml", "/jos/share/defaults/agent.toml");
            let found = payload.iter().find(|member| member.path == format!(".{brought}"));
            let member = found.unwrap_or_else(|| panic!("{path} is not in the payload"));
            ours += 1;
            if path.starts_with("/usr/local/") {
                assert_eq!(member.mode & 0o111, 0o111, "{path}");
            }
        }
        assert!(ours > 0, "{label} runs nothing of the package: {words:?}");
        assert_eq!(plist.mode & 0o777, 0o644, "launchd takes no job that others may write");
        if label == IDENTIFIER {
            assert_eq!(
                (&job["RunAtLoad"], &job["KeepAlive"]),
                (&Value::Bool(true), &Value::Bool(true))
            );
            assert!(words.iter().any(|word| word.ends_with("/baseline.json")), "{words:?}");
        }
    }
}

#[test]
fn the_universal_program_has_both_slices_for_macos_11_and_a_valid_ad_hoc_signature_on_arm64() {
    let kiosk = kiosk();
    let program = kiosk.program();
    let slices = macho::slices(&program);
    let mut cpus: Vec<usize> = slices.iter().map(|(cpu, _)| *cpu).collect();
    cpus.sort_unstable();
    assert_eq!(cpus, [macho::X86_64, macho::ARM64]);
    for (cpu, slice) in slices {
        let commands = macho::commands(slice, cpu);
        assert_eq!(macho::minimum(&commands), (11, 0));
        for library in macho::libraries(&commands) {
            assert!(library.starts_with("/usr/lib/"), "{library} is not part of every macOS");
        }
        let signature = macho::signature(slice, &commands);
        if cpu == macho::X86_64 && signature.is_none() {
            // Intel's kernel asks for none.
            continue;
        }
        let signature = signature.expect("Apple silicon starts nothing without one");
        assert!(signature.ad_hoc, "nobody has signed it, and it says so");
        holds(&kiosk.vendor.at(&format!("pages-{cpu:x}")), slice, &signature);
    }
}

/// Each page's hash by sha256sum, against the directory's.
fn holds(scratch: &Path, slice: &[u8], signature: &macho::CodeDirectory) {
    let covered = &slice[..signature.limit];
    assert_eq!(signature.pages.len(), covered.len().div_ceil(signature.page));
    fs::create_dir(scratch).expect("a folder");
    fs::set_permissions(scratch, fs::Permissions::from_mode(0o700)).expect("a folder");
    for (number, page) in covered.chunks(signature.page).enumerate() {
        fs::write(scratch.join(format!("{number:06}")), page).expect("a scratch file");
    }
    let sums = run(Command::new("sh").args(["-euc", "sha256sum *"]).current_dir(scratch)).ok();
    let sums: Vec<&str> = sums.stdout.lines().filter_map(|line| line.split(' ').next()).collect();
    let listed: Vec<String> = signature
        .pages
        .iter()
        .map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    assert_eq!(sums, listed, "the pages are those that were signed");
}
