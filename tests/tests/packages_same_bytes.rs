//! Equal inputs give equal bytes, wherever and however they are baked, and one changed value changes only what holds it.
//! With programs made before, so that it takes seconds for every profile and every target; scripts/soak compiles too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jos_tests::command::{run, run_within, sh};
use jos_tests::programs::{jos, jos_image, workspace};

const TRIPLES: [&str; 7] = [
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "arm-unknown-linux-musleabihf",
    "mipsel-unknown-linux-musl",
    "mips-unknown-linux-musl",
    "aarch64-apple-darwin",
    "x86_64-apple-darwin",
];
const SHIPPED: [&str; 5] = [
    "ai-box",
    "captive-portal",
    "mac-kiosk",
    "print-server",
    "sensor-gateway",
];

type Files = BTreeMap<String, Vec<u8>>;

/// A place to bake in: a copy of the profiles, programs, an empty cache and a home, all its own.
struct Place {
    dir: PathBuf,
}

impl Place {
    /// In the folder `name` below `scratch`, with the vendor's key.
    fn new(scratch: &Path, name: &str) -> Self {
        let dir = scratch.join(name);
        fs::create_dir_all(dir.join("home")).expect("a folder");
        let profiles = workspace().join("profiles");
        run(Command::new("cp").arg("-r").arg(&profiles).arg(dir.join("profiles"))).ok();
        for triple in TRIPLES {
            let folder = dir.join("programs").join(triple);
            fs::create_dir_all(&folder).expect("a folder");
            for name in ["jos", "jos-runtime"] {
                fs::write(folder.join(name), program(triple)).expect("a file");
            }
        }
        Self { dir }
    }

    /// Bakes every shipped profile for all its targets, under `environment`.
    fn bake(&self, scratch: &Path, more: &[&str], environment: &[(&str, &str)]) -> Files {
        let mut command = jos_image();
        command.current_dir(&self.dir).arg("build").args(SHIPPED);
        command.args([
            "--profiles",
            "profiles",
            "--builder",
            "prebuilt=programs",
            "--out",
            "out",
        ]);
        command.arg("--key").arg(scratch.join("admin.key"));
        command.arg("--trust").arg(scratch.join("trust.json"));
        command.args(more);
        command
            .env("HOME", self.dir.join("home"))
            .env("JOS_CACHE", self.dir.join("cache"));
        command.envs(environment.iter().copied());
        run(&mut command).ok();
        tree(&self.dir.join("out"))
    }
}

/// A scratch folder with a vendor's key and trust root.
fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().expect("a folder");
    let key = scratch.path().join("admin.key");
    run(jos().args(["key", "new", "--out"]).arg(&key)).ok();
    run(jos()
        .args(["trust", "init", "--key"])
        .arg(&key)
        .arg("--out")
        .arg(scratch.path().join("trust.json")))
    .ok();
    scratch
}

/// The headers of a program for `triple`, then some bytes: all that packaging looks at.
fn program(triple: &str) -> Vec<u8> {
    let cpu = triple.split('-').next().expect("a CPU");
    let mut bytes = Vec::new();
    if triple.contains("apple") {
        let arm = cpu == "aarch64";
        let end = 32 + 24 + 16;
        let header = [
            0xfeed_facf_u32,
            if arm { 0x0100_000c } else { 0x0100_0007 },
            if arm { 0 } else { 3 },
            2,
            2,
            40,
            0,
            0,
        ];
        let version = [0x32, 24, 1, 0x000b_0000, 0x000b_0000, 0];
        let signature = [0x1d, 16, end, 16];
        for word in header.iter().chain(&version).chain(&signature) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&[0xfa, 0xde, 0x0c, 0xc0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0]);
        return bytes;
    }
    let (machine, bits, little): (u16, u8, bool) = match cpu {
        "x86_64" => (62, 64, true),
        "aarch64" => (183, 64, true),
        "arm" => (40, 32, true),
        "mipsel" => (8, 32, true),
        "mips" => (8, 32, false),
        other => panic!("no program for {other}"),
    };
    bytes.extend_from_slice(&[0x7f, b'E', b'L', b'F', bits / 32, if little { 1 } else { 2 }, 1]);
    bytes.resize(if bits == 64 { 64 } else { 52 }, 0);
    let half = |number: u16| {
        if little {
            number.to_le_bytes()
        } else {
            number.to_be_bytes()
        }
    };
    bytes[16..18].copy_from_slice(&half(2));
    bytes[18..20].copy_from_slice(&half(machine));
    bytes.extend(triple.bytes().cycle().take(300_000));
    bytes
}

/// Every file below a folder with its mode's execute bits and its bytes.
fn tree(root: &Path) -> Files {
    let mut all = Files::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", dir.display()))
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below it").display().to_string();
                all.insert(name, fs::read(&path).unwrap_or_default());
            }
        }
    }
    all
}

fn different(before: &Files, after: &Files) -> BTreeSet<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .cloned()
        .collect()
}

/// The parts of a package, taken apart by the tools of its own system: control files below `control/`.
fn parts(package: &Path, bytes: &[u8]) -> Files {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let file = dir.path().join(package.file_name().expect("a name"));
    fs::write(&file, bytes).expect("a scratch file");
    let name = file.display().to_string();
    let root = at("root");
    fs::create_dir_all(format!("{root}/control")).expect("a folder");
    match package.extension().and_then(|ending| ending.to_str()) {
        Some("deb") => {
            sh("dpkg-deb", &["-x", &name, &root]).ok();
            sh("dpkg-deb", &["-e", &name, &format!("{root}/control")]).ok();
        }
        Some("ipk") => {
            sh("tar", &["-xzf", &name, "-C", dir.path().to_str().expect("text")]).ok();
            sh("tar", &["-xzf", &at("data.tar.gz"), "-C", &root]).ok();
            sh(
                "tar",
                &["-xzf", &at("control.tar.gz"), "-C", &format!("{root}/control")],
            )
            .ok();
        }
        other => panic!("{} is a {other:?}", package.display()),
    }
    tree(Path::new(&root))
}

#[test]
fn two_builds_of_every_shipped_profile_in_two_places_give_equal_bytes() {
    let scratch = scratch();
    let first = Place::new(scratch.path(), "first");
    let second = Place::new(scratch.path(), "second/and deeper");
    // The copies are made at other moments, with other modes and in another order.
    for entry in fs::read_dir(second.dir.join("profiles"))
        .expect("a folder")
        .flatten()
        .filter(|entry| entry.path().is_file())
    {
        fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    run(Command::new("find")
        .arg(second.dir.join("profiles"))
        .args(["-exec", "touch", "-d", "2001-02-03", "{}", "+"]))
    .ok();
    let a = first.bake(
        scratch.path(),
        &[],
        &[("TZ", "UTC0"), ("LC_ALL", "C.UTF-8"), ("USER", "one")],
    );
    let b = second.bake(
        scratch.path(),
        &["--jobs", "1"],
        &[
            ("TZ", "Pacific/Auckland"),
            ("LC_ALL", "C"),
            ("USER", "two"),
            ("HOSTNAME", "other"),
        ],
    );
    for profile in SHIPPED {
        let count = a.keys().filter(|name| name.starts_with(&format!("{profile}/"))).count();
        // At least one package, manifest, sums, signature and public key.
        assert!(count >= 5, "{profile}: {count} files");
    }
    assert_eq!(different(&a, &b), BTreeSet::new());
    let again = first.bake(scratch.path(), &[], &[]);
    assert_eq!(
        different(&a, &again),
        BTreeSet::new(),
        "and so does a build in place of the last"
    );
}

#[test]
fn a_changed_greeting_changes_only_what_holds_it() {
    let scratch = scratch();
    let place = Place::new(scratch.path(), "place");
    let before = place.bake(scratch.path(), &[], &[]);
    let profile = place.dir.join("profiles/sensor-gateway.toml");
    let text = fs::read_to_string(&profile).expect("the profile");
    let (old, new) = ("sensors publish below sensors/", "SENSORS PUBLISH BELOW sensors/");
    assert!(text.contains(old), "the greeting has changed: {text}");
    fs::write(&profile, text.replace(old, new)).expect("written");
    let after = place.bake(scratch.path(), &[], &[]);

    let changed = different(&before, &after);
    let expected: BTreeSet<String> = before
        .keys()
        .filter(|name| name.starts_with("sensor-gateway/") && !name.ends_with("/SHA256SUMS.pub"))
        .cloned()
        .collect();
    assert_eq!(
        changed, expected,
        "the packages of this profile, what lists them, and nothing else"
    );
    let mut packages = 0;
    for name in changed
        .iter()
        .filter(|name| name.ends_with(".deb") || name.ends_with(".ipk"))
    {
        let [was, is] = [&before, &after].map(|files| parts(Path::new(name), &files[name]));
        let expected: &[&str] = if name.ends_with(".deb") {
            &["control/md5sums", "usr/lib/motd.d/50-sensor-gateway"]
        } else {
            &["usr/share/jos/motd"]
        };
        assert_eq!(different(&was, &is).into_iter().collect::<Vec<_>>(), expected, "{name}");
        packages += 1;
    }
    assert_eq!(packages, 10, "eight for OpenWrt and two for Raspberry Pi OS");
}

#[test]
fn another_time_stamp_changes_no_file_inside_a_package_but_those_that_tell_the_time() {
    let scratch = scratch();
    let place = Place::new(scratch.path(), "place");
    let before = place.bake(scratch.path(), &[], &[("SOURCE_DATE_EPOCH", "1700000000")]);
    let after = place.bake(scratch.path(), &[], &[("SOURCE_DATE_EPOCH", "1700086400")]);
    for name in before
        .keys()
        .filter(|name| name.ends_with(".deb") || name.ends_with(".ipk"))
    {
        assert_ne!(before[name], after[name], "{name} has the time in its archive");
        let [was, is] = [&before, &after].map(|files| parts(Path::new(name), &files[name]));
        let package = name.split('/').next().expect("a folder");
        let changed = different(&was, &is);
        let expected: BTreeSet<String> = if name.ends_with(".deb") {
            [
                "control/md5sums".to_owned(),
                format!("usr/share/doc/{package}/changelog.Debian.gz"),
            ]
            .into()
        } else {
            ["control/control".to_owned()].into()
        };
        assert_eq!(changed, expected, "{name}");
    }
}

#[test]
#[ignore = "soak: compiles the same program twice, from nothing"]
fn two_builds_of_one_profile_with_separate_empty_compile_caches_give_equal_bytes() {
    let scratch = scratch();
    let zig = std::env::var_os("JOS_ZIG_VENV").map_or_else(|| jos_tests::cache::dir().join("zig"), PathBuf::from);
    let mut built = Vec::new();
    for name in ["first", "second/deeper"] {
        let dir = scratch.path().join(name);
        let source = dir.join("source");
        fs::create_dir_all(&source).expect("a folder");
        let script = format!(
            "git -C '{}' ls-files -z --cached --others --exclude-standard | tar -C '{0}' --null -T - -c | tar -x -C '{}'",
            workspace().display(),
            source.display()
        );
        sh("sh", &["-euc", &script]).ok();
        let mut command = jos_image();
        command
            .current_dir(&dir)
            .args(["build", "captive-portal", "--target", "openwrt/mipsel_24kc"]);
        command.args([
            "--builder",
            "zigbuild",
            "--source",
            "source",
            "--profiles",
            "source/profiles",
            "--out",
            "out",
        ]);
        command.arg("--key").arg(scratch.path().join("admin.key"));
        command.arg("--trust").arg(scratch.path().join("trust.json"));
        command.env("JOS_CACHE", dir.join("cache")).env("JOS_ZIG_VENV", &zig);
        run_within(&mut command, Duration::from_secs(1800), &[]).ok();
        built.push(tree(&dir.join("out")));
    }
    assert!(built[0].len() >= 5, "{:?}", built[0].keys());
    assert_eq!(different(&built[0], &built[1]), BTreeSet::new());
}
