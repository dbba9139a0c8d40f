//! A Debian on an emulated machine with a disk of its own, amd64 or arm64: for what a shared kernel cannot prove, such as
//! a power cut, which here is SIGKILL for the emulator: what the guest had not yet given to its disk is lost.
//!
//! The guest's serial console carries a root shell that the tests drive, one script at a time. It has no network.
//! Emulation is TCG, so a boot takes some ten seconds and needs no right at all; making the cached base needs root.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::command::{LIMIT, Ran, run};
use crate::nspawn::leftovers;
use crate::{cache, wait};

mod base;
mod initrd;

const BOOT: Duration = Duration::from_secs(300);

/// The processor of the emulated machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cpu {
    /// A PC.
    Amd64,
    /// QEMU's `virt` board with a Cortex-A57.
    Arm64,
}

impl Cpu {
    /// Debian's name for it.
    pub fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    fn console(self) -> &'static str {
        match self {
            Self::Amd64 => "ttyS0",
            Self::Arm64 => "ttyAMA0",
        }
    }

    fn emulator(self) -> Command {
        let (program, machine) = match self {
            Self::Amd64 => ("qemu-system-x86_64", ["-machine", "q35", "-cpu", "max"]),
            Self::Arm64 => ("qemu-system-aarch64", ["-machine", "virt", "-cpu", "cortex-a57"]),
        };
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]).args(machine);
        command
    }
}

/// A machine with a disk; dropping it cuts its power and removes the disk.
#[derive(Debug)]
pub struct Machine {
    cpu: Cpu,
    dir: tempfile::TempDir,
    base: PathBuf,
    running: Option<Running>,
    scripts: u32,
}

#[derive(Debug)]
struct Running {
    emulator: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    /// What was read and not yet looked at.
    pending: String,
}

impl Machine {
    /// A machine that is off, with a fresh disk.
    pub fn new(cpu: Cpu) -> Self {
        let base = base::base(cpu);
        let machines = cache::dir().join("machines");
        fs::create_dir_all(&machines).unwrap_or_else(|error| panic!("cannot make {}: {error}", machines.display()));
        leftovers::sweep(&machines);
        let dir = tempfile::Builder::new()
            .prefix(&format!("qemu-{}-", std::process::id()))
            .tempdir_in(&machines)
            .unwrap_or_else(|error| panic!("cannot make a folder in {}: {error}", machines.display()));
        run(Command::new("cp")
            .args(["--sparse=always", "--reflink=auto"])
            .arg(base.join("disk.ext4"))
            .arg(dir.path().join("disk.ext4")))
        .ok();
        Self {
            cpu,
            dir,
            base,
            running: None,
            scripts: 0,
        }
    }

    /// A machine that has booted.
    pub fn boot(cpu: Cpu) -> Self {
        let mut machine = Self::new(cpu);
        machine.power_on();
        machine
    }

    /// Writes a file of this machine to the guest's disk, which must be off; the folder must exist there.
    pub fn put(&self, from: &Path, to: &str) {
        assert!(
            self.running.is_none(),
            "the guest's disk can be written only while it is off"
        );
        self.debugfs(&["-w", "-R", &format!("rm {to}")]);
        let wrote = self.debugfs(&["-w", "-R", &format!("write {} {to}", from.display())]);
        assert!(
            !self.debugfs(&["-R", &format!("stat {to}")]).stdout.is_empty(),
            "{to} was not written:\n{wrote}"
        );
    }

    fn debugfs(&self, words: &[&str]) -> Ran {
        run(Command::new("debugfs").args(words).arg(self.disk()))
    }

    /// The guest's disk, an ext4 file system.
    pub fn disk(&self) -> PathBuf {
        self.dir.path().join("disk.ext4")
    }

    /// What the guest said on its console since it was made.
    pub fn console(&self) -> String {
        fs::read(self.log())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("console.log")
    }

    /// Boots, and waits until every unit has started.
    pub fn power_on(&mut self) {
        assert!(self.running.is_none(), "it is running");
        let kernel_line = format!(
            "console={} root=/dev/vda rw quiet loglevel=1 panic=-1 systemd.show_status=no",
            self.cpu.console()
        );
        let mut command = self.cpu.emulator();
        command.args([
            "-accel",
            "tcg,thread=multi",
            "-smp",
            "2",
            "-m",
            "768",
            "-nographic",
            "-nodefaults",
            "-no-reboot",
        ]);
        command.args(["-serial", "stdio", "-device", "virtio-rng-pci"]);
        // The guest's writes reach the image as it makes them; what it has not flushed from its own memory dies with it.
        command.args([
            "-drive",
            &format!("file={},format=raw,if=none,id=disk", self.disk().display()),
        ]);
        command.args(["-device", "virtio-blk-pci,drive=disk"]);
        command
            .arg("-kernel")
            .arg(self.base.join("vmlinuz"))
            .arg("-initrd")
            .arg(self.base.join("initrd.img"));
        command.args(["-append", &kernel_line]);
        let errors = File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("emulator.log"))
            .expect("a scratch file");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut emulator = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start the emulator: {error}"));
        let keyboard = emulator.stdin.take().expect("piped");
        let screen = watch(emulator.stdout.take().expect("piped"), &self.log());
        self.running = Some(Running {
            emulator,
            keyboard,
            screen,
            pending: String::new(),
        });
        let ready = self.read_until("JOS-CONSOLE-READY", BOOT);
        assert!(
            ready.is_ok(),
            "the guest did not boot within {BOOT:?}:\n{}",
            self.diagnosis()
        );
        let state = self.sh_within("systemctl is-system-running --wait", BOOT);
        assert!(
            matches!(state.text(), "running" | "degraded"),
            "the guest is {}:\n{}",
            state.text(),
            self.diagnosis()
        );
    }

    /// Runs a shell script as root in the guest. Both streams arrive as standard output.
    #[track_caller]
    pub fn sh(&mut self, script: &str) -> Ran {
        self.sh_within(script, LIMIT)
    }

    /// As [`Self::sh`] with a limit of its own.
    #[track_caller]
    pub fn sh_within(&mut self, script: &str, limit: Duration) -> Ran {
        let begin = Instant::now();
        self.scripts += 1;
        let token = format!("JOS-{}", self.scripts);
        // In two halves, so that an echo of the line is never taken for its result.
        let lines = format!(
            "sh -euc {} </dev/null 2>&1; printf '\\n%s-%s %s %s\\n' {token} END $? {token}\n",
            quoted(script)
        );
        assert!(
            lines.lines().all(|line| line.len() < 4000),
            "a line is longer than a terminal takes"
        );
        let running = self.running.as_mut().expect("the guest is running");
        let typed = format!("printf '%s-%s\\n' {token} BEGIN\n{lines}");
        running
            .keyboard
            .write_all(typed.as_bytes())
            .and_then(|()| running.keyboard.flush())
            .unwrap_or_else(|error| panic!("the guest's console is gone: {error}"));
        let answer = self.read_until(&format!("{token}-BEGIN\n"), limit).and_then(|_| {
            let out = self.read_until(&format!("\n{token}-END "), limit)?;
            Ok((out, self.read_until(&format!(" {token}\n"), limit)?))
        });
        let Ok((out, code)) = answer else {
            panic!("`{script}` did not end within {limit:?}:\n{}", self.diagnosis())
        };
        Ran {
            command: script.to_owned(),
            code: code.trim().parse().ok(),
            signal: None,
            stdout: out,
            stderr: String::new(),
            took: begin.elapsed(),
        }
    }

    /// The guest's boot, by the id its kernel gives.
    #[track_caller]
    pub fn boot_id(&mut self) -> String {
        self.sh("cat /proc/sys/kernel/random/boot_id").ok().text().to_owned()
    }

    /// Installs a package file, already on the guest's disk, with the guest's own apt.
    #[track_caller]
    pub fn apt_install(&mut self, path: &str) -> Ran {
        let script = format!(
            "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold {path}"
        );
        self.sh_within(&script, Duration::from_secs(600))
    }

    /// Takes the power away, now: nothing in the guest is told. The disk stays as it is.
    pub fn power_cut(&mut self) {
        let mut running = self.running.take().expect("the guest is running");
        running
            .emulator
            .kill()
            .unwrap_or_else(|error| panic!("cannot kill the emulator: {error}"));
        drop(running.emulator.wait());
    }

    /// Shuts the guest down the ordinary way.
    pub fn power_off(&mut self) {
        self.leave("poweroff");
    }

    /// Reboots the guest the ordinary way and waits until it is up again.
    pub fn reboot(&mut self) {
        self.leave("reboot");
        self.power_on();
    }

    fn leave(&mut self, how: &str) {
        drop(self.sh(&format!("systemctl --no-block {how}")));
        let running = self.running.as_mut().expect("the guest is running");
        // With -no-reboot the emulator ends on either.
        wait::until(&format!("the guest has gone down ({how})"), BOOT, || {
            match running.emulator.try_wait() {
                Ok(Some(_)) => Ok(()),
                _ => Err("still going down"),
            }
        });
        self.running = None;
    }

    /// Reads the console up to and with `mark`; returns what stood before it.
    fn read_until(&mut self, mark: &str, limit: Duration) -> Result<String, RecvTimeoutError> {
        let running = self.running.as_mut().expect("the guest is running");
        let deadline = Instant::now() + limit;
        loop {
            if let Some(at) = running.pending.find(mark) {
                let before = running.pending[..at].to_owned();
                running.pending.drain(..at + mark.len());
                return Ok(before);
            }
            let bytes = running
                .screen
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))?;
            running
                .pending
                .push_str(&String::from_utf8_lossy(&bytes).replace('\r', ""));
        }
    }

    fn diagnosis(&self) -> String {
        let emulator = fs::read_to_string(self.dir.path().join("emulator.log")).unwrap_or_default();
        let console = self.console();
        let lines: Vec<&str> = console.lines().collect();
        format!(
            "--- emulator\n{emulator}\n--- console\n{}",
            lines[lines.len().saturating_sub(60)..].join("\n")
        )
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.diagnosis());
        }
        if let Some(mut running) = self.running.take() {
            drop(running.emulator.kill());
            drop(running.emulator.wait());
        }
    }
}

/// Follows the console in a thread, which also writes the log; ends with the emulator.
fn watch(mut screen: impl Read + Send + 'static, log: &Path) -> Receiver<Vec<u8>> {
    let mut log = File::options()
        .create(true)
        .append(true)
        .open(log)
        .expect("a scratch file");
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count) = screen.read(&mut buffer) {
            if count == 0 {
                break;
            }
            drop(log.write_all(&buffer[..count]));
            if send.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receive
}

fn quoted(script: &str) -> String {
    format!("'{}'", script.replace('\'', "'\\''"))
}
