//! A vendor's disk, small and made by other tools than ours: sfdisk, mke2fs, debugfs, mtools. Enough of a Debian that an
//! appliance is put into, and all that a careless tool would lose: owners, links, attributes, devices, times.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Ran, run, run_within};

/// Where the root begins, and how long it is.
pub const ROOT: (u64, u64) = (18 << 20, 40 << 20);
/// Where the boot partition begins, and how long it is.
const BOOT: (u64, u64) = (1 << 20, 17 << 20);

/// `e_machine` of amd64.
pub const AMD64: u16 = 62;
/// `e_machine` of arm64.
pub const ARM64: u16 = 183;

/// The smallest file that is a static program for a CPU of 64 bits, as far as headers say.
pub fn program(machine: u16) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    bytes.resize(64, 0);
    bytes[16] = 2;
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    bytes
}

/// A disk with a GPT, a boot partition and a root, in `dir`; `change` edits the root's files before it is made.
///
/// # Panics
/// If a tool fails.
pub fn make(dir: &Path, change: &dyn Fn(&Path)) -> PathBuf {
    let tree = dir.join("vendor-root");
    files(&tree);
    change(&tree);
    let root = dir.join("vendor-root.ext4");
    run(Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-L", "rootfs", "-d"])
        .arg(&tree)
        .arg(&root)
        .arg(format!("{}k", ROOT.1 >> 10)))
    .ok();
    // What an ordinary user cannot give a file.
    debugfs(
        &root,
        "sif /home/pi uid 1000\nsif /home/pi gid 1000\nsif /home/pi/notes uid 1000\nsif /home/pi/notes gid 100000\n\
         sif /etc/shadow gid 42\nea_set /usr/bin/ping security.capability cap\ncd /dev\nmknod tty9 c 4 9\n",
    );
    let boot = dir.join("vendor-boot.fat");
    File::create(&boot)
        .and_then(|f| f.set_len(BOOT.1))
        .expect("a scratch file");
    let note = dir.join("VENDOR.TXT");
    fs::write(&note, "of the vendor\n").expect("a scratch file");
    mtool("mformat", &boot, &["-v", "BOOT", "::"]);
    mtool("mcopy", &boot, &[note.to_str().expect("text"), "::VENDOR.TXT"]);
    let disk = dir.join("vendor.img");
    let file = File::create(&disk).expect("a scratch file");
    file.set_len(ROOT.0 + ROOT.1 + (2 << 20)).expect("a scratch file");
    let table = "label: gpt\nstart=2048, size=34816, type=U, name=boot\nstart=36864, size=81920, type=L, name=rootfs\n";
    run_within(
        Command::new("sfdisk").arg("-q").arg(&disk),
        crate::command::LIMIT,
        table.as_bytes(),
    )
    .ok();
    for (part, (at, _)) in [(&boot, BOOT), (&root, ROOT)] {
        put(&disk, at, &fs::read(part).expect("a partition"));
    }
    for left in [&root, &boot, &note] {
        fs::remove_file(left).expect("a scratch file");
    }
    fs::remove_dir_all(&tree).expect("a scratch folder");
    disk
}

fn files(tree: &Path) {
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    for (path, text) in [
        (
            "etc/fstab",
            "PARTUUID=1-01 /boot/firmware vfat defaults 0 2\nPARTUUID=1-02 / ext4 defaults 0 1",
        ),
        ("etc/group", "root:x:0:\nsudo:x:27:pi\npi:x:1000:\n"),
        ("etc/gshadow", "root:*::\n"),
        ("etc/hostname", "vendor\n"),
        ("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 vendor\n"),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        // No line feed at its end, as some editors leave it.
        (
            "etc/passwd",
            "root:x:0:0::/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash",
        ),
        ("etc/shadow", "root:*:1::::::\npi:*:1::::::\n"),
        (
            "etc/ssh/ssh_host_ed25519_key",
            "a key that two devices must not share\n",
        ),
        ("home/pi/notes", "of the vendor\n"),
        ("usr/bin/perl", "perl\n"),
        ("usr/bin/ping", "ping\n"),
        (
            "var/lib/dpkg/status",
            "Package: adduser\nStatus: install ok installed\nArchitecture: all\nMaintainer: A <a@b>\nVersion: 3.134\nDescription: x\n\n\
             Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nMaintainer: A <a@b>\nVersion: 1.21.22\nDescription: x\n",
        ),
        ("var/lib/dpkg/info/dpkg.list", "/.\n"),
    ] {
        let at = tree.join(path);
        fs::create_dir_all(at.parent().expect("a folder")).expect("a scratch folder");
        fs::write(&at, text).expect("a scratch file");
        File::options()
            .write(true)
            .open(&at)
            .and_then(|f| f.set_modified(old))
            .expect("a time");
    }
    for folder in ["boot/firmware", "dev", "root", "usr/lib/systemd", "usr/sbin"] {
        fs::create_dir_all(tree.join(folder)).expect("a scratch folder");
    }
    fs::write(tree.join("usr/lib/systemd/systemd"), program(AMD64)).expect("a scratch file");
    fs::hard_link(tree.join("usr/bin/perl"), tree.join("usr/bin/perl5.36.0")).expect("a link");
    for top in ["bin", "lib", "sbin"] {
        symlink(format!("usr/{top}"), tree.join(top)).expect("a link");
    }
}

/// Writes bytes into a file at a place.
///
/// # Panics
/// If it cannot be written.
pub fn put(file: &Path, at: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(file).expect("a file");
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.write_all(bytes))
        .expect("written");
}

/// Bytes of a file from a place on.
///
/// # Panics
/// If it is shorter.
pub fn get(file: &Path, (at, size): (u64, u64)) -> Vec<u8> {
    let mut file = File::open(file).expect("a file");
    let mut bytes = vec![0; usize::try_from(size).expect("a size")];
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.read_exact(&mut bytes))
        .expect("read");
    bytes
}

/// Has debugfs write into a file system.
///
/// # Panics
/// If it complains.
pub fn debugfs(fs: &Path, commands: &str) {
    let mut command = Command::new("debugfs");
    let ran = run_within(
        command.args(["-w", "-f", "-"]).arg(fs),
        crate::command::LIMIT,
        commands.as_bytes(),
    )
    .ok();
    let complaints: Vec<&str> = ran.stderr.lines().filter(|l| !l.starts_with("debugfs ")).collect();
    assert!(complaints.is_empty(), "{ran}");
}

/// What debugfs says to a request about the root of a disk.
pub fn ask(disk: &Path, request: &str) -> String {
    run(Command::new("debugfs").args(["-R", request]).arg(root(disk))).stdout
}

/// The root of a disk, as e2fsprogs are told of it.
pub fn root(disk: &Path) -> String {
    format!("{}?offset={}", disk.display(), ROOT.0)
}

/// A file of the boot partition.
pub fn on_boot(disk: &Path, name: &str) -> Ran {
    let at = format!("{}@@{}", disk.display(), BOOT.0);
    run(Command::new("mtype")
        .env("MTOOLS_SKIP_CHECK", "1")
        .args(["-i", &at, &format!("::{name}")]))
}

/// Lays a file on the boot partition of a disk.
pub fn put_on_boot(disk: &Path, from: &Path, name: &str) {
    let at = format!("{}@@{}", disk.display(), BOOT.0);
    let mut copy = Command::new("mcopy");
    copy.env("MTOOLS_SKIP_CHECK", "1").args(["-i", &at]).arg(from);
    run(copy.arg(format!("::{name}"))).ok();
}

fn mtool(program: &str, fat: &Path, words: &[&str]) {
    run(Command::new(program)
        .env("MTOOLS_SKIP_CHECK", "1")
        .arg("-i")
        .arg(fat)
        .args(words))
    .ok();
}
