//! What an emulated machine stands on, made once for each processor: kernel, initial RAM disk and disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Cpu, initrd};
use crate::cache;
use crate::command::{run_within, sh};
use crate::nspawn::SUITE;

const DISK_BYTES: &str = "2G";

/// Kernel, initial RAM disk and root of a guest, made once.
pub(super) fn base(cpu: Cpu) -> PathBuf {
    cache::once(&format!("qemu-{SUITE}-{}-2", cpu.debian()), |into| {
        assert!(
            nix::unistd::geteuid().is_root(),
            "making the emulated machine's disk needs root: run the tests as root once"
        );
        let root = into.join("root");
        let _foreign = (cpu == Cpu::Arm64).then(ForeignPrograms::allow);
        let include = format!(
            "--include=systemd,systemd-sysv,dbus,procps,busybox-static,linux-image-cloud-{}",
            cpu.debian()
        );
        let architecture = format!("--architectures={}", cpu.debian());
        // Without its documentation and translations the disk is a third smaller.
        let lean = [
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
        ];
        run_within(
            Command::new("mmdebstrap")
                .args(["--variant=minbase", "--skip=check/qemu", &include, &architecture])
                .args(lean)
                .arg(SUITE)
                .arg(&root)
                // The kernel's package would make one with hundreds of modules, by a shell script under emulation.
                .env("INITRD", "No"),
            Duration::from_secs(1800),
            &[],
        )
        .ok();
        prepare(cpu, &root);
        initrd::build(&root, &into.join("initrd.img"));
        let boot = root.join("boot");
        let kernel = fs::read_dir(&boot)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", boot.display()))
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"))
            .unwrap_or_else(|| panic!("the kernel's package left no vmlinuz-* in {}", boot.display()));
        fs::rename(kernel.path(), into.join("vmlinuz"))
            .unwrap_or_else(|error| panic!("cannot move {}: {error}", kernel.path().display()));
        let disk = into.join("disk.ext4");
        let (root, disk) = (root.display().to_string(), disk.display().to_string());
        sh("mke2fs", &["-q", "-t", "ext4", "-d", &root, &disk, DISK_BYTES]).ok();
        sh("rm", &["-rf", &root]).ok();
    })
}

/// A root shell on the serial console, and nothing that would work by itself in the middle of a test.
fn prepare(cpu: Cpu, root: &Path) {
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    };
    write("etc/hostname", "device\n");
    write("etc/fstab", "/dev/vda / ext4 defaults 0 1\n");
    let shell = format!(
        "[Unit]\nAfter=systemd-user-sessions.service\n\
         [Service]\nExecStart=/bin/sh -c 'stty -echo -onlcr; echo JOS-CONSOLE-READY; exec /bin/sh /dev/{0}'\n\
         Environment=HOME=/root LC_ALL=C.UTF-8 SYSTEMD_PAGER= PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         WorkingDirectory=/\nStandardInput=tty-force\nStandardOutput=tty\nStandardError=tty\nTTYPath=/dev/{0}\nTTYReset=yes\n\
         Restart=always\nRestartSec=0\n[Install]\nWantedBy=multi-user.target\n",
        cpu.console()
    );
    write("etc/systemd/system/jos-console.service", &shell);
    let units = root.join("etc/systemd/system");
    let wants = units.join("multi-user.target.wants");
    fs::create_dir_all(&wants).unwrap_or_else(|error| panic!("cannot make {}: {error}", wants.display()));
    let link = |target: &str, at: PathBuf| {
        drop(fs::remove_file(&at));
        std::os::unix::fs::symlink(target, &at).unwrap_or_else(|error| panic!("cannot make {}: {error}", at.display()));
    };
    link(
        "/etc/systemd/system/jos-console.service",
        wants.join("jos-console.service"),
    );
    let getty = format!("serial-getty@{}.service", cpu.console());
    let masked = [
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        "e2scrub_all.timer",
        "fstrim.timer",
        "dpkg-db-backup.timer",
        "getty@tty1.service",
        &getty,
    ];
    for unit in masked {
        link("/dev/null", units.join(unit));
    }
}

/// While it lives, this kernel runs arm64 programs through qemu-user, so that packages can be configured in a foreign root.
/// It is registered only if nobody has, and taken back afterwards: the tests of foreign programs name their emulator.
struct ForeignPrograms {
    registered: bool,
    mounted: bool,
}

const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

impl ForeignPrograms {
    fn allow() -> Self {
        let table = Path::new(BINFMT);
        let mounted = !table.join("register").exists();
        if mounted {
            sh("mount", &["-t", "binfmt_misc", "none", BINFMT]).ok();
        }
        if table.join("qemu-aarch64").exists() {
            return Self {
                registered: false,
                mounted,
            };
        }
        // The ELF header of an aarch64 program and the bits that count; F: the interpreter is opened now, so that it is
        // found inside the foreign root too.
        let magic = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00";
        let mask = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";
        let line = format!(":qemu-aarch64:M::{magic}:{mask}:/usr/bin/qemu-aarch64-static:F");
        fs::write(table.join("register"), line)
            .unwrap_or_else(|error| panic!("cannot register qemu-aarch64-static: {error}"));
        Self {
            registered: true,
            mounted,
        }
    }
}

impl Drop for ForeignPrograms {
    fn drop(&mut self) {
        let table = Path::new(BINFMT);
        if self.registered {
            drop(fs::write(table.join("qemu-aarch64"), "-1"));
        }
        if self.mounted {
            drop(Command::new("umount").arg(BINFMT).status());
        }
    }
}
