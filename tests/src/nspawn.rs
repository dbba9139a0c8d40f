//! A Debian whose PID 1 is systemd, in about a second: `systemd-nspawn` on an overlay over a cached minimal root. It
//! shares this machine's kernel, so it proves services, packages and reboots, never power cuts: those are [`crate::qemu`]'s.
//!
//! Each machine has an overlay, a cgroup and a machine name of its own, so several run beside each other. Without
//! [`Builder::network`] it has a loopback interface and nothing else. Commands enter the namespaces of its PID 1 by
//! `nsenter`: no login, no bus and no machined is needed.
//!
//! Needs root. What a killed test leaves behind (a mount, a folder, a cgroup) the next one to boot a machine removes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::command::{LIMIT, Ran, run, run_within};
use crate::{cache, wait};

pub(crate) mod leftovers;

/// The release of every test machine.
pub const SUITE: &str = "bookworm";

/// nspawn exits so when the guest reboots and nspawn was told to stay in our cgroup.
const GUEST_REBOOTED: i32 = 133;
/// Three seconds on a quiet machine; where another test writes images, a boot waits for the disk.
const BOOT: Duration = Duration::from_secs(240);
const GONE: Duration = Duration::from_secs(30);
/// Where cgroups may be: version 2 alone, or beside version 1 as systemd lays them.
const HIERARCHIES: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A machine to be.
#[derive(Debug, Default)]
pub struct Builder {
    network: bool,
}

impl Builder {
    /// Shares this machine's network, so that the guest reaches what this machine reaches.
    pub fn network(mut self) -> Self {
        self.network = true;
        self
    }

    /// Boots and waits until every unit has started.
    pub fn boot(self) -> Machine {
        Machine::boot_with(&self)
    }
}

/// A running machine; dropping it ends it and removes its files.
#[derive(Debug)]
pub struct Machine {
    name: String,
    dir: PathBuf,
    network: bool,
    nspawn: Option<Child>,
    leader: u32,
    boots: u32,
}

impl Machine {
    /// A machine without a network.
    pub fn boot() -> Self {
        Self::builder().boot()
    }

    /// For a machine with options.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn boot_with(options: &Builder) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "a machine with systemd as PID 1 needs root: run the tests as root, or with sudo"
        );
        let base = base_root();
        let machines = cache::dir().join("machines");
        fs::create_dir_all(&machines).unwrap_or_else(|error| panic!("cannot make {}: {error}", machines.display()));
        leftovers::sweep(&machines);
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("jos-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = machines.join(&name);
        for part in ["changes", "work", "root"] {
            fs::create_dir_all(dir.join(part)).unwrap_or_else(|error| panic!("cannot make {}: {error}", dir.display()));
        }
        let mut machine = Self {
            name,
            dir,
            network: options.network,
            nspawn: None,
            leader: 0,
            boots: 0,
        };
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            base.display(),
            machine.dir.join("changes").display(),
            machine.dir.join("work").display()
        );
        run(Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &layers])
            .arg(machine.root()))
        .ok();
        machine.start();
        machine
    }

    /// The guest's `/` as this machine sees it, running or not.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Where `path`, absolute in the guest, lies on this machine. Not for paths on the guest's tmpfs (`/run`, `/tmp`).
    pub fn host_path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// What the guest said on its console since it was made.
    pub fn console(&self) -> String {
        fs::read(self.dir.join("console.log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The process id of the guest's PID 1 as this machine counts.
    pub fn leader(&self) -> u32 {
        self.leader
    }

    fn start(&mut self) {
        self.boots += 1;
        let console = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("console.log"))
            .unwrap_or_else(|error| panic!("cannot open the console's log: {error}"));
        let mut words: Vec<String> = Vec::new();
        // Dies with the test, even by SIGKILL; its guest is then for the next machine to sweep.
        words.extend(["setpriv", "--pdeathsig", "KILL"].map(str::to_owned));
        words.extend(
            [
                "systemd-nspawn",
                "--quiet",
                "--boot",
                "--register=no",
                "--console=read-only",
            ]
            .map(str::to_owned),
        );
        words.extend([
            format!("--directory={}", self.root().display()),
            format!("--machine={}", self.name),
        ]);
        // Journals that outlive a reboot are read in the guest itself; nothing is linked into ours.
        words.extend(["--link-journal=no", "--resolv-conf=copy-host"].map(str::to_owned));
        if !self.network {
            words.push("--private-network".to_owned());
        }
        let groups = self.own_cgroups();
        if !groups.is_empty() {
            words.push("--keep-unit".to_owned());
        }
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "while [ \"$1\" != -- ]; do echo $$ >\"$1/cgroup.procs\" || exit 1; shift; done; shift; exec \"$@\"",
            "sh",
        ]);
        command.args(&groups).arg("--").args(&words);
        command
            .stdin(Stdio::null())
            .stdout(console.try_clone().expect("a file can be cloned"))
            .stderr(console);
        self.nspawn = Some(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("cannot start systemd-nspawn: {error}")),
        );
        self.find_leader();
        // Asked again and again: with --wait one answer that never came would be the end.
        wait::until(&format!("{} has booted", self.name), BOOT, || {
            let state = self.run(&["systemctl", "is-system-running"]);
            if matches!(state.text(), "running" | "degraded") {
                Ok(())
            } else {
                Err(format!("{state}\n{}", tail(&self.console())))
            }
        });
    }

    /// Cgroups of its own for a machine on a host whose PID 1 is not systemd: two guests in one cgroup would end each
    /// other's services. Where systemd rules the host, nspawn gets a scope by itself.
    fn own_cgroups(&self) -> Vec<PathBuf> {
        if Path::new("/run/systemd/system").exists() {
            return Vec::new();
        }
        HIERARCHIES
            .iter()
            .map(Path::new)
            .filter(|hierarchy| hierarchy.join("cgroup.procs").exists())
            .map(|hierarchy| {
                let group = hierarchy.join(&self.name);
                fs::create_dir_all(&group).unwrap_or_else(|error| panic!("cannot make {}: {error}", group.display()));
                group
            })
            .collect()
    }

    fn find_leader(&mut self) {
        let name = self.name.clone();
        let log = self.dir.join("console.log");
        let nspawn = self.nspawn.as_mut().expect("just started");
        let top = nspawn.id();
        self.leader = wait::until(&format!("{name} has a PID 1"), Duration::from_secs(30), || {
            if let Ok(Some(status)) = nspawn.try_wait() {
                panic!(
                    "systemd-nspawn ended with {status}:\n{}",
                    fs::read_to_string(&log).unwrap_or_default()
                );
            }
            children(top)
                .into_iter()
                .find(|child| is_init(*child))
                .ok_or("no child that is PID 1 in its namespace")
        });
        let note = self.dir.join("leader");
        fs::write(&note, self.leader.to_string())
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", note.display()));
    }

    /// Runs a command in the guest, as root.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Ran {
        self.run_within(words, LIMIT)
    }

    /// As [`Self::run`] with a limit of its own.
    #[track_caller]
    pub fn run_within(&self, words: &[&str], limit: Duration) -> Ran {
        run_within(self.enter().args(words), limit, &[])
    }

    /// Runs a shell script in the guest, as root, stopping at the first failure.
    #[track_caller]
    pub fn sh(&self, script: &str) -> Ran {
        self.run(&["sh", "-euc", script])
    }

    /// The start of a command in the guest, for those who add words, input or output of their own.
    pub fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &self.leader.to_string(),
            "--all",
            "--wd=/",
            "--",
            "env",
            "-i",
        ]);
        command.args([
            &format!("PATH={PATH}"),
            "HOME=/root",
            "LC_ALL=C.UTF-8",
            "DEBIAN_FRONTEND=noninteractive",
            "SYSTEMD_PAGER=",
        ]);
        command
    }

    /// Copies a file of this machine into the guest, keeping its mode, and makes the folders above it.
    pub fn put(&self, from: &Path, to: &str) {
        let to = self.host_path(to);
        let above = to.parent().expect("a file has a folder");
        fs::create_dir_all(above).unwrap_or_else(|error| panic!("cannot make {}: {error}", above.display()));
        fs::copy(from, &to)
            .unwrap_or_else(|error| panic!("cannot copy {} to {}: {error}", from.display(), to.display()));
    }

    /// Installs a package file with the guest's own apt. Without a network its dependencies must be in the base.
    #[track_caller]
    pub fn apt_install(&self, deb: &Path) -> Ran {
        let name = deb
            .file_name()
            .expect("a package file has a name")
            .to_string_lossy()
            .into_owned();
        let to = format!("/root/{name}");
        self.put(deb, &to);
        self.run_within(
            &[
                "apt-get",
                "install",
                "-y",
                "--no-install-recommends",
                "-o",
                "Dpkg::Options::=--force-confold",
                &to,
            ],
            Duration::from_secs(300),
        )
    }

    /// What `unit` wrote to the journal in this boot, oldest first.
    #[track_caller]
    pub fn journal(&self, unit: &str) -> String {
        self.run(&[
            "journalctl",
            "--boot",
            "--no-pager",
            "--output=short-monotonic",
            "--unit",
            unit,
        ])
        .ok()
        .stdout
    }

    /// `systemctl show --property NAME --value UNIT`.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.run(&["systemctl", "show", "--property", name, "--value", unit])
            .ok()
            .text()
            .to_owned()
    }

    /// The guest's boot, by the id its kernel gives.
    #[track_caller]
    pub fn boot_id(&self) -> String {
        self.run(&["cat", "/proc/sys/kernel/random/boot_id"])
            .ok()
            .text()
            .to_owned()
    }

    /// Reboots the guest the ordinary way and waits until it is up again.
    pub fn reboot(&mut self) {
        let before = self.leader;
        drop(self.run(&["systemctl", "reboot"]));
        let log = self.dir.join("console.log");
        let ended = {
            let nspawn = self.nspawn.as_mut().expect("running");
            let top = nspawn.id();
            wait::until("the guest has gone down", BOOT, || match nspawn.try_wait() {
                Ok(Some(status)) => Ok(Some(status)),
                _ if children(top).into_iter().any(|child| child != before && is_init(child)) => Ok(None),
                _ => Err("still going down"),
            })
        };
        match ended {
            Some(status) => {
                assert!(
                    status.code() == Some(GUEST_REBOOTED),
                    "systemd-nspawn ended with {status} on a reboot:\n{}",
                    tail(&fs::read_to_string(log).unwrap_or_default())
                );
                self.nspawn = None;
                self.start();
            }
            None => {
                self.find_leader();
                wait::until("the guest is up again", BOOT, || {
                    let state = self.run(&["systemctl", "is-system-running"]);
                    if matches!(state.text(), "running" | "degraded") {
                        Ok(())
                    } else {
                        Err(state.to_string())
                    }
                });
            }
        }
    }

    /// Shuts the guest down the ordinary way; its files stay, and [`Self::power_on`] boots it again.
    pub fn power_off(&mut self) {
        drop(self.run(&["systemctl", "poweroff"]));
        let mut nspawn = self.nspawn.take().expect("running");
        wait::until("the guest is off", BOOT, || match nspawn.try_wait() {
            Ok(Some(_)) => Ok(()),
            _ => Err("still going down"),
        });
        self.leader = 0;
    }

    /// Ends the guest where it stands, all its processes at once; its files stay, and [`Self::power_on`] boots it again.
    /// What it wrote and did not sync stays as well, since the kernel is this machine's: [`crate::qemu`] loses that too.
    pub fn power_cut(&mut self) {
        leftovers::kill_guest(self.leader, &self.name);
        // Its end waits for those of all others of the guest: none of them sees what happens from here on.
        let stat = format!("/proc/{}/stat", self.leader);
        wait::until("the guest is gone", GONE, || match fs::read_to_string(&stat) {
            Ok(text) if !text.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")) => Err(text),
            _ => Ok(()),
        });
        let mut nspawn = self.nspawn.take().expect("running");
        drop(nspawn.kill());
        drop(nspawn.wait());
        self.leader = 0;
    }

    /// Boots a guest that is off.
    pub fn power_on(&mut self) {
        assert!(self.nspawn.is_none(), "{} is running", self.name);
        self.start();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the console of {}, its end\n{}", self.name, tail(&self.console()));
        }
        if let Some(mut nspawn) = self.nspawn.take() {
            // The guest's PID 1 first: with it goes every process of the guest, and then nspawn by itself. The other way
            // round the guest would go on without it.
            leftovers::kill_guest(self.leader, &self.name);
            drop(nspawn.kill());
            drop(nspawn.wait());
        }
        leftovers::remove(&self.dir, &self.name);
    }
}

/// The cached root that every machine stands on.
fn base_root() -> PathBuf {
    cache::once("root-bookworm-amd64-1", |into| {
        let include = "--include=systemd,systemd-sysv,dbus,procps,iproute2,ca-certificates,curl";
        let root = into.join("root");
        run_within(
            Command::new("mmdebstrap")
                .args(["--variant=minbase", include, SUITE])
                .arg(&root),
            Duration::from_secs(900),
            &[],
        )
        .ok();
        // Timers that would do work in the middle of a test, and a login prompt that nobody uses.
        for unit in [
            "apt-daily.timer",
            "apt-daily-upgrade.timer",
            "e2scrub_all.timer",
            "fstrim.timer",
            "dpkg-db-backup.timer",
            "console-getty.service",
        ] {
            let link = root.join("etc/systemd/system").join(unit);
            std::os::unix::fs::symlink("/dev/null", &link)
                .unwrap_or_else(|error| panic!("cannot mask {unit}: {error}"));
        }
    })
    .join("root")
}

fn children(of: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether `pid` is PID 1 of a namespace below ours.
fn is_init(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .unwrap_or_default();
    let ids: Vec<&str> = ids.split_whitespace().collect();
    ids.len() > 1 && ids.last() == Some(&"1")
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
