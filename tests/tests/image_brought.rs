//! Images on a disk that a vendor brings: what is put in, what stays to the byte, and what is refused. The disk is made by other
//! tools than ours, and the image is read by them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jos_tests::baked::only;
use jos_tests::command::{Ran, run, run_within, sh};
use jos_tests::image;
use jos_tests::vendor_disk::{self, AMD64, ARM64, ROOT, ask, debugfs, get, on_boot, put};

const PROFILE: &str = r#"extends = "base/debian"

[brand]
vendor = "Acme Kiosks"
product = "Kiosk"
support_url = "https://kiosks.example/help"

[package]
name = "kiosk"
version = "1.0.0"
maintainer = "Acme Kiosks <help@kiosks.example>"

[target]
targets = ["debian/amd64"]

[state]
baseline = "baseline.toml"

[policy.grants.baseline]
files = ["/etc/kiosk", "/etc/kiosk/*", "/etc/hosts"]

[outputs]
packages = false

[image]
boards = ["amd64-uefi"]
base = "@BASE@"
hostname = "kiosk-1"

[[image.users]]
name = "ada"
"#;

const BASELINE: &str = r#"kind = "jos.agent.desired_state"

[meta]
name = "kiosk"
version = 1

[[spec.apply]]
type = "directory"
path = "/etc/kiosk"

[[spec.apply]]
type = "file"
path = "/etc/kiosk/page"
content = "welcome\n"
mode = "0640"

[[spec.apply]]
type = "file"
path = "/etc/hosts"
content = "127.0.0.1 localhost kiosk\n"
mode = "0644"
"#;

/// A vendor's folder: the disk, and a profile that pins what `base` says.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(change: &dyn Fn(&Path)) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let bench = Self { dir };
        vendor_disk::make(bench.path(), change);
        fs::write(bench.path().join("baseline.toml"), BASELINE).expect("a scratch file");
        let programs = bench.path().join("programs/x86_64-unknown-linux-musl");
        fs::create_dir_all(&programs).expect("a scratch folder");
        fs::write(programs.join("jos"), vendor_disk::program(AMD64)).expect("a scratch file");
        bench
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn disk(&self) -> PathBuf {
        self.path().join("vendor.img")
    }

    /// Writes the profile that pins `file` as it is now; `partition` is as `#2`.
    fn pin(&self, file: &str, partition: &str) {
        let sum = sh("sha256sum", &[self.path().join(file).to_str().expect("text")]).ok();
        let sum = sum.text().split(' ').next().expect("a sum").to_owned();
        let base = format!("{file}{partition}@sha256:{sum}");
        fs::write(self.path().join("kiosk.toml"), PROFILE.replace("@BASE@", &base)).expect("a scratch file");
    }

    fn bake(&self, cache: &str, more: &[&str]) -> Ran {
        let (mut command, _) = image::unprivileged(self.path(), &self.path().join(cache));
        let programs = format!("prebuilt={}", self.path().join("programs").display());
        command.arg("build").arg(self.path().join("kiosk.toml")).args(more);
        command.args(["--dev-key", "--builder", &programs, "--out", "."]);
        run_within(&mut command, Duration::from_secs(300), &[])
    }

    fn image(&self) -> PathBuf {
        only(&self.path().join("out/kiosk"), ".img")
    }

    /// What a bake of the disk as it is now is refused with.
    #[track_caller]
    fn refused(&self, expected: &[&str]) {
        self.pin("vendor.img", "");
        let ran = self.bake("cache", &[]).exits(2);
        for words in expected {
            assert!(ran.stderr.contains(words), "expected {words:?}:\n{ran}");
        }
        assert!(!self.path().join("out/kiosk").exists(), "something was written");
    }
}

fn stat(disk: &Path, path: &str) -> String {
    ask(disk, &format!("stat {path}"))
}

fn file(disk: &Path, path: &str) -> String {
    ask(disk, &format!("cat {path}"))
}

fn table(disk: &Path) -> String {
    let dump = run(Command::new("sfdisk").arg("--dump").arg(disk)).ok().stdout;
    dump.replace(disk.to_str().expect("text"), "DISK")
}

/// Owner and mode of a path as debugfs shows them.
#[track_caller]
fn owned(disk: &Path, path: &str, mode: &str, (uid, gid): (u32, u32)) {
    let said = stat(disk, path);
    let words: Vec<&str> = said.split_whitespace().collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name);
        at.and_then(|at| words.get(at + 1)).copied().unwrap_or_default()
    };
    let found = (after("Mode:"), after("User:"), after("Group:"));
    let expected = (mode, uid.to_string(), gid.to_string());
    assert_eq!(
        found,
        (expected.0, expected.1.as_str(), expected.2.as_str()),
        "{path}: {said}"
    );
}

#[test]
fn a_vendors_disk_takes_an_appliance_in_and_keeps_all_else_as_it_was() {
    let bench = Bench::new(&|_| {});
    let before = bench.disk();
    let plain = fs::read(&before).expect("the disk");
    run(Command::new("xz").args(["-0", "--keep"]).arg(&before)).ok();
    bench.pin("vendor.img.xz", "");
    bench.bake("cache", &[]).ok();
    let after = bench.image();
    assert_eq!(
        fs::read(&before).expect("the disk"),
        plain,
        "the vendor's own file was written to"
    );

    // What is put in: our package, the state's effects, users, names, what a first boot does.
    run(Command::new("e2fsck").arg("-fn").arg(vendor_disk::root(&after))).ok();
    owned(&after, "/usr/bin/jos", "0755", (0, 0));
    owned(&after, "/etc/jos/secrets", "0700", (0, 0));
    owned(&after, "/etc/kiosk/page", "0640", (0, 0));
    owned(&after, "/home/ada", "0700", (1001, 1001));
    owned(&after, "/usr/lib/jos-image/first-boot", "0755", (0, 0));
    assert_eq!(file(&after, "/etc/kiosk/page"), "welcome\n");
    assert_eq!(
        file(&after, "/etc/hosts"),
        "127.0.0.1 localhost kiosk\n",
        "a file of the base that the state changes"
    );
    assert_eq!(file(&after, "/etc/hostname"), "kiosk-1\n");
    let passwd = file(&after, "/etc/passwd");
    assert!(
        passwd.starts_with("root:x:0:0::/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\njos:x:100:"),
        "{passwd}"
    );
    owned(&after, "/etc/shadow", "0644", (0, 42));
    let wants = "/etc/systemd/system/multi-user.target.wants/kiosk.service";
    assert!(stat(&after, wants).contains("Type: symlink"), "{}", stat(&after, wants));
    let boot = file(&after, "/usr/lib/jos-image/first-boot");
    assert!(boot.contains("\nboot=/boot/firmware\n"), "the base's own mount: {boot}");
    let admin = bench.path().join("admindir");
    fs::create_dir_all(admin.join("info")).expect("a scratch folder");
    fs::write(admin.join("status"), file(&after, "/var/lib/dpkg/status")).expect("a scratch file");
    let query = format!("--admindir={}", admin.display());
    let known = sh(
        "dpkg-query",
        &[&query, "-W", "-f", "${Package} ${Version} ${db:Status-Abbrev}\n"],
    )
    .ok();
    assert_eq!(known.stdout, "adduser 3.134 ii \ndpkg 1.21.22 ii \nkiosk 1.0.0-1 ii \n");

    // What two devices must not share is gone.
    assert_eq!(file(&after, "/etc/machine-id"), "");
    assert!(!stat(&after, "/etc/ssh/ssh_host_ed25519_key").contains("Mode:"));

    // What stays: the table, the boot partition, and files to their inode, with all that no list of ours knows of.
    assert_eq!(table(&after), table(&before));
    assert_eq!(get(&after, (0, 1 << 20)), plain[..1 << 20]);
    assert_eq!(on_boot(&after, "VENDOR.TXT").ok().stdout, "of the vendor\n");
    for path in [
        "/home/pi",
        "/home/pi/notes",
        "/usr/bin/perl5.36.0",
        "/usr/bin/ping",
        "/dev/tty9",
        "/etc/fstab",
        "/bin",
    ] {
        assert_eq!(stat(&after, path), stat(&before, path), "{path}");
    }
    owned(&after, "/home/pi/notes", "0644", (1000, 100_000));
    assert!(
        stat(&after, "/usr/bin/perl").contains("Links: 2"),
        "a second name was lost"
    );
    assert!(ask(&after, "ea_list /usr/bin/ping").contains("security.capability"));
    let uuid = |disk: &Path| {
        ask(disk, "show_super_stats -h")
            .lines()
            .find(|l| l.contains("UUID"))
            .map(str::to_owned)
    };
    assert_eq!(uuid(&after), uuid(&before));

    // It is told what it was made of, and takes seeds.
    let manifest = fs::read_to_string(after.with_file_name("manifest.json")).expect("the manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let inputs = manifest["inputs"].as_array().expect("inputs");
    let base = inputs
        .iter()
        .find(|input| input["role"] == "image-base")
        .expect("the base");
    assert_eq!(manifest["images"][0]["base"], base["sha256"]);
    let bill = fs::read_to_string(after.with_file_name("sbom.cdx.json")).expect("the bill of materials");
    assert!(
        bill.contains("\"adduser\""),
        "the base's packages are not in the bill of materials"
    );
    fs::write(bench.path().join("devices.csv"), "name,hostname\nlobby,kiosk-2\n").expect("a scratch file");
    let (mut seed, _) = image::unprivileged(bench.path(), &bench.path().join("cache"));
    seed.arg("seed")
        .arg(&after)
        .arg("--devices")
        .arg(bench.path().join("devices.csv"));
    run(seed.args(["--out", "cards"])).ok();
    let seeded = on_boot(&bench.path().join("out/cards/lobby.img"), "jos-seed.txt").ok();
    assert!(seeded.stdout.ends_with("\nhostname=kiosk-2\n"), "{seeded}");

    // Taken apart anew, and found in another way: the same bytes.
    let first = fs::read(&after).expect("the image");
    let lent = bench.path().join("lent");
    fs::create_dir(&lent).expect("a scratch folder");
    fs::rename(bench.path().join("vendor.img.xz"), lent.join("vendor.img.xz")).expect("a scratch file");
    fs::remove_dir_all(bench.path().join("cache/images")).expect("a scratch folder");
    bench.bake("cache", &["--bases", lent.to_str().expect("text")]).ok();
    assert!(
        fs::read(bench.image()).expect("the image") == first,
        "equal inputs gave other bytes"
    );
}

#[test]
fn a_disk_with_two_systems_is_asked_for_which_and_a_label_or_a_number_says_it() {
    let bench = Bench::new(&|_| {});
    let disk = bench.disk();
    // The same root a second time, on a partition after the first.
    let root = get(&disk, ROOT);
    let end = ROOT.0 + ROOT.1;
    fs::File::options()
        .write(true)
        .open(&disk)
        .and_then(|f| f.set_len(end + ROOT.1 + (2 << 20)))
        .expect("a larger disk");
    put(&disk, end, &root);
    let table = "label: gpt\nstart=2048, size=34816, type=U, name=boot\nstart=36864, size=81920, type=L, name=slot-a\n\
                 start=118784, size=81920, type=L, name=slot-b\n";
    run_within(
        Command::new("sfdisk").arg("-q").arg(&disk),
        jos_tests::command::LIMIT,
        table.as_bytes(),
    )
    .ok();
    bench.refused(&[
        "vendor.img has 2 systems, on the partitions 2 and 3",
        "base = \"vendor.img#2@sha256:…\"",
    ]);
    bench.pin("vendor.img", "#slot-b");
    bench.bake("cache", &[]).ok();
    let made = bench.image();
    assert_eq!(get(&made, ROOT), root, "the other slot was written to");
    let second = format!("{}?offset={end}", made.display());
    let said = run(Command::new("debugfs").args(["-R", "cat /etc/kiosk/page"]).arg(second));
    assert_eq!(said.stdout, "welcome\n");
}

#[test]
fn a_file_that_is_another_or_no_disk_is_refused_before_anything_is_compiled() {
    let bench = Bench::new(&|_| {});
    bench.pin("vendor.img", "");
    put(&bench.disk(), ROOT.0 + 5000, b"x");
    let ran = bench.bake("cache", &[]).exits(2);
    let place = "kiosk.toml:27:8";
    for words in [
        place,
        "vendor.img: its SHA-256 is ",
        "expected ",
        "base = \"vendor.img@sha256:",
    ] {
        assert!(ran.stderr.contains(words), "expected {words:?}:\n{ran}");
    }
    fs::write(bench.path().join("kiosk.toml"), PROFILE.replace("@BASE@", "vendor.img")).expect("a scratch file");
    bench.bake("cache", &[]).exits(2).says("sha256sum vendor.img");
    let absent = format!("gone.img@sha256:{}", "0".repeat(64));
    fs::write(bench.path().join("kiosk.toml"), PROFILE.replace("@BASE@", &absent)).expect("a scratch file");
    bench.bake("cache", &[]).exits(2).says("\"gone.img\" cannot be read");
    let text = PROFILE.replace("hostname", "size = \"2G\"\nkernel = \"linux-image-amd64\"\nhostname");
    fs::write(bench.path().join("kiosk.toml"), text.replace("@BASE@", &absent)).expect("a scratch file");
    let ran = bench.bake("cache", &[]).exits(2);
    assert!(
        ran.stderr.contains("`size` is for images made of Debian's packages"),
        "{ran}"
    );
    assert!(
        ran.stderr.contains("`kernel` is for images made of Debian's packages"),
        "{ran}"
    );

    run(Command::new("gzip").args(["-1", "--keep"]).arg(bench.disk())).ok();
    fs::rename(bench.path().join("vendor.img.gz"), bench.disk()).expect("a scratch file");
    bench.refused(&[
        "vendor.img is compressed by gzip: expected a raw disk, or one compressed by xz",
        "gunzip it",
    ]);
    fs::write(bench.disk(), vec![0; 1 << 20]).expect("a scratch file");
    let refusal = ["vendor.img: no partition table: expected a disk with an MBR or a GPT"];
    bench.pin("vendor.img", "");
    bench.bake("cache", &[]).exits(1).says(refusal[0]);
}

#[test]
fn a_root_that_nothing_can_be_put_into_is_refused_with_what_was_found() {
    let bench = Bench::new(&|_| {});
    let disk = bench.disk();
    let root = get(&disk, ROOT);
    let at = |change: &dyn Fn(&Path)| {
        put(&disk, ROOT.0, &root);
        change(&disk);
    };
    at(&|disk| {
        put(disk, ROOT.0, b"hsqs");
        put(disk, ROOT.0 + 1024, &[0; 1024]);
    });
    bench.refused(&[
        "holds no ext4, but these partitions: 1 \"boot\": FAT, 2 \"rootfs\": squashfs",
        "ext4 root",
    ]);
    at(&|disk| debugfs(Path::new(&vendor_disk::root(disk)), "ssv state 0\n"));
    bench.refused(&[
        "partition 2: its file system was not unmounted cleanly",
        "pin the new hash",
    ]);
    at(&|disk| debugfs(Path::new(&vendor_disk::root(disk)), "clri /home/pi\n"));
    bench.refused(&["partition 2: its file system is damaged"]);
    at(&|disk| debugfs(Path::new(&vendor_disk::root(disk)), "rm /usr/lib/systemd/systemd\n"));
    bench.refused(&["has no /usr/lib/systemd/systemd: expected a root of Debian with systemd"]);
    at(&|disk| debugfs(Path::new(&vendor_disk::root(disk)), "rm /var/lib/dpkg/status\n"));
    bench.refused(&["has no /var/lib/dpkg/status"]);
}

#[test]
fn a_root_of_another_cpu_one_that_is_full_and_one_that_lacks_a_package_are_refused() {
    let bench = Bench::new(&|tree| {
        fs::write(tree.join("usr/lib/systemd/systemd"), vendor_disk::program(ARM64)).expect("a file");
    });
    bench.refused(&[
        "its systemd is an ELF program for AArch64",
        "expected one for debian/amd64",
    ]);
    vendor_disk::make(bench.path(), &|tree| {
        fs::write(tree.join("home/pi/film"), vec![7; 27 << 20]).expect("a file");
    });
    bench.refused(&[
        "partition 2: its file system has ",
        " files free: the appliance needs ",
        "make the base larger",
    ]);
    let with = |package: &'static str| {
        move |tree: &Path| {
            let status = tree.join("var/lib/dpkg/status");
            let text = fs::read_to_string(&status).expect("a text");
            fs::write(status, text.replace("Package: adduser", &format!("Package: {package}"))).expect("a file");
        }
    };
    vendor_disk::make(bench.path(), &with("jos-agent"));
    bench.refused(&["vendor.img has the package jos-agent, which kiosk cannot stand beside"]);
    vendor_disk::make(bench.path(), &with("other"));
    bench.refused(&[
        "vendor.img lacks adduser: expected in it what kiosk depends on",
        "pin its new hash",
    ]);
}
