//! Images, made by `jos-image` as an ordinary user and booted on an emulated machine: by its firmware, from the image's
//! own loader, kernel and initial RAM disk. The machine's network reaches this one's 127.0.0.1 as 10.0.2.2.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cache;
use crate::command::{Ran, run, run_within, sh};
use crate::fleet::Process;
use crate::programs::{jos_image_path, jos_path, workspace};
use crate::qemu::Cpu;
use crate::wait;

pub mod kiosk;
mod pi;

/// An emulated processor is some twenty times slower, and there may be two of them.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// As the machine's own network calls this one.
pub const HOST: &str = "10.0.2.2";
/// `nobody` of Debian: may write nowhere but where a test lets it.
const NOBODY: u32 = 65534;

/// Has `jos-image` make the images of `profile` for one target, without any right: as `nobody` where the test is root.
/// Gives the folder they are in, below `into`.
///
/// # Panics
/// If it does not.
pub fn make(profile: &Path, cpu: Cpu, words: &[&str], into: &Path) -> PathBuf {
    let programs = device_program(profile, cpu, words, into);
    let (mut command, out) = unprivileged(into, &kept());
    command.arg("build").arg(profile).args(words);
    command.args(["--target", &format!("debian/{}", cpu.debian())]);
    command.arg("--builder").arg(format!("prebuilt={}", programs.display()));
    command.arg("--out").arg(&out);
    run_within(&mut command, Duration::from_secs(1800), &[]).ok();
    out.join(profile.file_stem().expect("a profile has a name"))
}

/// A `jos-image` without any right, as `nobody` where the test is root, which finds `jos` beside itself and reads what is below
/// `into`; and the folder that it may write to.
///
/// # Panics
/// If there is no room.
pub fn unprivileged(into: &Path, cache: &Path) -> (Command, PathBuf) {
    // A folder that nobody reaches is none of its.
    let tools = into.join("tools");
    fs::create_dir_all(&tools).expect("a scratch folder");
    for program in [jos_image_path(), jos_path()] {
        let to = tools.join(program.file_name().expect("a program has a name"));
        if !to.exists() {
            fs::copy(program, to).expect("a program can be copied");
        }
    }
    fs::create_dir_all(cache).expect("the cache's folder");
    let out = into.join("out");
    fs::create_dir_all(&out).expect("a scratch folder");
    let mut command;
    if nix::unistd::geteuid().is_root() {
        for path in [cache, &out] {
            sh("chown", &[&NOBODY.to_string(), &path.display().to_string()]).ok();
        }
        // A key stays its owner's alone.
        let readable = ["(", "!", "-name", "*.key", ")", "-exec", "chmod", "a+rX", "{}", "+"];
        sh("find", &[&[into.to_str().expect("text")], &readable[..]].concat()).ok();
        command = Command::new("setpriv");
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--no-new-privs"]);
        command.arg(tools.join("jos-image"));
    } else {
        command = Command::new(tools.join("jos-image"));
    }
    command.current_dir(&out).env_clear();
    command
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", &out)
        .env("LC_ALL", "C.UTF-8")
        .env("JOS_CACHE", cache);
    (command, out)
}

/// Where base roots are kept: what `nobody` writes cannot lie in root's own cache.
pub fn kept() -> PathBuf {
    let root = nix::unistd::geteuid().is_root();
    if root {
        "/var/tmp/jos-images-of-nobody".into()
    } else {
        cache::dir()
    }
}

/// The device's program as the other tests have it, in a folder for `--builder prebuilt`.
fn device_program(profile: &Path, cpu: Cpu, words: &[&str], into: &Path) -> PathBuf {
    if let Some(dir) = std::env::var_os("JOS_DEVICE_PROGRAMS") {
        return dir.into();
    }
    let text = fs::read_to_string(profile).expect("the profile");
    let plain = profile.with_file_name("packages-only.toml");
    let text = text.split("[outputs]").next().expect("a first part");
    fs::write(&plain, text).expect("a scratch folder");
    let mut command = crate::programs::jos_image();
    command
        .arg("build")
        .arg(&plain)
        .args(words)
        .arg("--source")
        .arg(workspace());
    command.args(["--target", &format!("debian/{}", cpu.debian())]);
    command.arg("--out").arg(into.join("packages"));
    run_within(&mut command, Duration::from_secs(1800), &[]).ok();
    let deb = crate::baked::only(&into.join("packages/packages-only"), ".deb");
    let unpacked = into.join("unpacked");
    sh(
        "dpkg-deb",
        &["-x", &deb.display().to_string(), &unpacked.display().to_string()],
    )
    .ok();
    let triple = match cpu {
        Cpu::Amd64 => "x86_64-unknown-linux-musl",
        Cpu::Arm64 => "aarch64-unknown-linux-musl",
    };
    let folder = into.join("programs").join(triple);
    fs::create_dir_all(&folder).expect("a scratch folder");
    fs::copy(unpacked.join("usr/bin/jos"), folder.join("jos")).expect("a program can be copied");
    into.join("programs")
}

/// What is emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Board {
    /// A PC, booted by its firmware.
    Amd64Uefi,
    /// QEMU's `virt` board, booted by its firmware.
    Arm64Uefi,
    /// A Raspberry Pi's card in QEMU's `virt` board, which has disks and a network that QEMU's Pi lacks. There is no emulation of
    /// the Pi's own loader: kernel, initial RAM disk and command line are read from the boot partition, as it would.
    PiOnVirt,
}

impl Board {
    /// Its processor.
    #[must_use]
    pub fn cpu(self) -> Cpu {
        match self {
            Self::Amd64Uefi => Cpu::Amd64,
            _ => Cpu::Arm64,
        }
    }

    /// As `[image] boards` names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64Uefi => "amd64-uefi",
            Self::Arm64Uefi => "arm64-uefi",
            Self::PiOnVirt => "raspberry-pi",
        }
    }
}

/// A machine with an image as its disk; dropping it cuts its power.
#[derive(Debug)]
pub struct Flashed {
    board: Board,
    dir: tempfile::TempDir,
    running: Option<Child>,
    boots: u32,
    counts: bool,
}

impl Flashed {
    /// One that is off: the image on a disk of 4 GiB, larger than itself, as a card would be.
    ///
    /// # Panics
    /// If there is no room.
    pub fn new(board: Board, image: &Path) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("jos-flashed-")
            .tempdir()
            .expect("a folder");
        let disk = dir.path().join("disk.img");
        run(Command::new("cp").args(["--sparse=always"]).arg(image).arg(&disk)).ok();
        let file = File::options().write(true).open(&disk).expect("the disk");
        file.set_len(4 << 30).expect("a larger disk");
        Self {
            board,
            dir,
            running: None,
            boots: 0,
            counts: false,
        }
    }

    /// The same with a clock of its own: its processor has one core, and an instruction takes a nanosecond of its time whatever it
    /// takes here. Where it waits, time passes as it does here.
    pub fn counting(board: Board, image: &Path) -> Self {
        let mut machine = Self::new(board, image);
        machine.counts = true;
        machine
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Turns it on.
    ///
    /// # Panics
    /// If the emulator does not start.
    pub fn power_on(&mut self) {
        assert!(self.running.is_none(), "it is running");
        self.boots += 1;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        let disk = self.at("disk.img");
        match self.board {
            Board::Amd64Uefi => {
                let firmware = "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE.fd";
                command.args([
                    "qemu-system-x86_64",
                    "-machine",
                    "q35",
                    "-cpu",
                    "max",
                    "-drive",
                    firmware,
                ]);
            }
            Board::Arm64Uefi | Board::PiOnVirt => {
                command.args(["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a57"]);
            }
        }
        match self.board {
            Board::Arm64Uefi => {
                command.args(["-bios", "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"]);
            }
            Board::PiOnVirt => pi::boot(&mut command, &disk, self.dir.path()),
            Board::Amd64Uefi => {}
        }
        let (threads, cores) = if self.counts {
            command.args(["-icount", "shift=0"]);
            ("single", "1")
        } else {
            ("multi", "2")
        };
        let how = format!("tcg,thread={threads}");
        command.args(["-accel", &how, "-nographic", "-nodefaults", "-no-reboot"]);
        let console = self.at(&format!("console-{}", self.boots));
        command.args(["-serial", &format!("file:{}", console.display())]);
        let drive = format!("file={},format=raw,if=none,id=disk", disk.display());
        command.args(["-smp", cores, "-m", "1024", "-drive", &drive]);
        command.args(["-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"]);
        let card = "virtio-net-pci,netdev=net,romfile=";
        command.args(["-netdev", "user,id=net", "-device", card]);
        let errors = File::create(self.at("emulator")).expect("a scratch file");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn();
        self.running = Some(child.unwrap_or_else(|error| panic!("cannot start the emulator: {error}")));
    }

    /// What it said on its console since it was turned on.
    pub fn console(&self) -> String {
        let bytes = fs::read(self.at(&format!("console-{}", self.boots))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it says so on its console.
    pub fn until_it_says(&self, what: &str) {
        wait::until(&format!("the machine says {what:?}"), PATIENCE, || {
            if self.console().contains(what) {
                Ok(())
            } else {
                Err(self.diagnosis())
            }
        });
    }

    /// Waits until it has gone down by itself; a reboot is one, too, for whoever turns it on again.
    ///
    /// # Panics
    /// If it does not.
    pub fn until_it_goes_down(&mut self) {
        let mut running = self.running.take().expect("it is on");
        wait::until("the machine goes down", PATIENCE, || match running.try_wait() {
            Ok(Some(_)) => Ok(()),
            _ => Err(self.diagnosis()),
        });
    }

    /// Takes the power away, now: nothing in it is told.
    ///
    /// # Panics
    /// If it is off.
    pub fn power_cut(&mut self) {
        let mut running = self.running.take().expect("it is on");
        running.kill().expect("the emulator can be killed");
        drop(running.wait());
    }

    /// The root file system as it lies on the disk, which must be off, in a file of its own, with its journal replayed.
    ///
    /// # Panics
    /// If it is damaged.
    pub fn root(&self) -> PathBuf {
        self.part(2)
    }

    /// The file system of a partition, as [`Self::root`].
    ///
    /// # Panics
    /// If it is damaged.
    pub fn part(&self, number: u32) -> PathBuf {
        assert!(self.running.is_none(), "it is on");
        let root = self.at(&format!("part-{number}"));
        partition(&self.at("disk.img"), number, &root);
        let checked = run(Command::new("e2fsck").arg("-fp").arg(&root));
        assert!(matches!(checked.code, Some(0 | 1)), "{checked}");
        root
    }

    /// A partition, byte for byte, of a machine that is off, in a file of its own.
    pub fn bytes(&self, number: u32) -> PathBuf {
        assert!(self.running.is_none(), "it is on");
        let to = self.at(&format!("bytes-{number}"));
        partition(&self.at("disk.img"), number, &to);
        to
    }

    /// The lines of its console that tell most.
    pub fn diagnosis(&self) -> String {
        let console = self.console();
        let lines: Vec<&str> = console.lines().filter(|l| !l.trim().is_empty()).collect();
        let emulator = fs::read_to_string(self.at("emulator")).unwrap_or_default();
        format!(
            "--- emulator\n{emulator}\n--- console\n{}",
            lines[lines.len().saturating_sub(60)..].join("\n")
        )
    }
}

impl Drop for Flashed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.diagnosis());
        }
        if self.running.is_some() {
            self.power_cut();
        }
    }
}

/// A partition of a disk, as a file of its own.
fn partition(disk: &Path, number: u32, to: &Path) {
    let table = run(Command::new("partx")
        .args(["--show", "--noheadings", "--output", "START,SECTORS", "--nr"])
        .arg(number.to_string())
        .arg(disk))
    .ok();
    let numbers: Vec<u64> = table
        .text()
        .split_whitespace()
        .map(|n| n.parse().expect("a number"))
        .collect();
    run(Command::new("dd")
        .arg(format!("if={}", disk.display()))
        .arg(format!("of={}", to.display()))
        .args(["bs=1M", "conv=sparse", "status=none"])
        .arg(format!("skip={}", numbers[0] / 2048))
        .arg(format!("count={}", numbers[1].div_ceil(2048))))
    .ok();
}

/// The root file system of an image, in a file beside it.
pub fn root_of(image: &Path) -> PathBuf {
    let root = image.with_extension("root");
    partition(image, 2, &root);
    root
}

/// A folder on a web server that an emulated machine reaches; the address as the machine calls it.
///
/// # Panics
/// If it does not start.
pub fn served(folder: &Path) -> (Process, String) {
    let mut command = Command::new("python3");
    command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]);
    let mut child = command
        .arg(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3 starts");
    let mut said = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut said)
        .expect("it says where it listens");
    let port = said.split_whitespace().skip_while(|word| *word != "port").nth(1);
    let address = format!("http://{HOST}:{}", port.expect("a port"));
    (Process::of(child), address)
}

/// All that is on the boot partition of a Raspberry Pi's image, in a folder beside it.
///
/// # Panics
/// If that cannot be made.
pub fn boot_files(image: &Path) -> PathBuf {
    let into = image.with_extension("boot");
    fs::create_dir_all(&into).expect("a scratch folder");
    pi::fetch(image, "*", &into);
    into
}

/// Bytes that a file system spans, which may be less than its partition has.
///
/// # Panics
/// If it is none.
pub fn capacity(fs: &Path) -> u64 {
    let said = run(Command::new("dumpe2fs").arg("-h").arg(fs)).ok().stdout;
    let number = |key: &str| -> Option<u64> {
        let line = said.lines().find_map(|line| line.strip_prefix(key));
        line?.trim().parse().ok()
    };
    number("Block count:").expect("a count") * number("Block size:").expect("a size")
}

/// What debugfs says of a path; nothing where there is none.
pub fn stat(root: &Path, path: &str) -> String {
    run(Command::new("debugfs").args(["-R", &format!("stat {path}")]).arg(root)).stdout
}

/// A file in a root file system.
pub fn file(root: &Path, path: &str) -> Ran {
    run(Command::new("debugfs").args(["-R", &format!("cat {path}")]).arg(root))
}
