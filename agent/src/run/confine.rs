//! What the network half gives up before it reads a byte.
//!
//! Each mechanism is named with whether it is active, so that `status` can show it and `require_confinement` can refuse.
//! Linux has all of them (seccomp on the CPUs that the filter compiler knows, Landlock where the kernel has it); elsewhere
//! the mechanisms that are missing say so.

use std::os::fd::BorrowedFd;
#[cfg(target_os = "linux")]
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One mechanism.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mechanism {
    /// `user`, `no_new_privs`, `seccomp`, `landlock`, `limits`.
    pub(crate) name: String,
    /// Whether it holds.
    pub(crate) active: bool,
    /// How far, or why not.
    pub(crate) detail: String,
}

/// What a policy with `require_confinement` asks for.
const REQUIRED: [&str; 4] = ["user", "no_new_privs", "seccomp", "landlock"];

/// Which of the required mechanisms do not hold, with why.
pub(crate) fn missing(all: &[Mechanism]) -> Vec<String> {
    let lacks = |name: &&str| match all.iter().find(|m| m.name == *name) {
        Some(found) if found.active => None,
        Some(found) => Some(format!("{name} ({})", found.detail)),
        None => Some(format!("{name} (not told)")),
    };
    REQUIRED.iter().filter_map(lacks).collect()
}

fn mechanism(name: &str, outcome: Result<String, String>) -> Mechanism {
    let active = outcome.is_ok();
    Mechanism {
        name: name.to_owned(),
        active,
        detail: outcome.unwrap_or_else(|why| why),
    }
}

/// What a network half may still reach.
pub(crate) enum Reach<'f> {
    /// The files of one folder, and no network.
    Folder(BorrowedFd<'f>),
    /// These TCP ports, and what it takes to look a name up.
    Ports(Vec<u16>),
}

/// Confines this process for good.
pub(crate) fn confine(reach: &Reach<'_>, plane_is_root: bool) -> Vec<Mechanism> {
    // Landlock opens nothing and seccomp forbids to confine further: this order.
    vec![
        mechanism("user", user(plane_is_root)),
        mechanism("no_new_privs", no_new_privs()),
        mechanism("limits", limits()),
        mechanism("landlock", landlock(reach)),
        mechanism("seccomp", seccomp(reach)),
    ]
}

fn user(plane_is_root: bool) -> Result<String, String> {
    let uid = nix::unistd::Uid::effective();
    if uid.is_root() {
        return Err("runs as root: there is neither a user \"jos\" nor \"nobody\"".into());
    }
    if !plane_is_root {
        return Err("the agent itself is not root, so both halves run as the same user".into());
    }
    Ok(format!("uid {uid}"))
}

#[cfg(target_os = "linux")]
fn no_new_privs() -> Result<String, String> {
    // Also no memory of this process for others of the same user ("nobody" is shared).
    let _ = nix::sys::prctl::set_dumpable(false);
    nix::sys::prctl::set_no_new_privs().map_err(|e| e.to_string())?;
    Ok("set".into())
}

#[cfg(not(target_os = "linux"))]
fn no_new_privs() -> Result<String, String> {
    Err("this system has no such thing".into())
}

fn limits() -> Result<String, String> {
    use nix::sys::resource::{Resource, setrlimit};
    let set = |resource, limit| setrlimit(resource, limit, limit).map_err(|e| e.to_string());
    set(Resource::RLIMIT_CORE, 0)?;
    set(Resource::RLIMIT_NOFILE, 16)?;
    #[cfg(target_os = "linux")]
    set(Resource::RLIMIT_NPROC, 0)?;
    Ok("no core, no child, 16 descriptors".into())
}

#[cfg(target_os = "linux")]
fn landlock(reach: &Reach<'_>) -> Result<String, String> {
    use landlock::{
        ABI, Access, AccessFs, AccessNet, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
        RulesetStatus, Scope,
    };
    // The newest rights that we name; the crate takes those that the kernel knows.
    let abi = ABI::V6;
    let restrict = || {
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?;
        match reach {
            Reach::Folder(folder) => rules = rules.add_rule(PathBeneath::new(folder, AccessFs::ReadFile))?,
            Reach::Ports(ports) => {
                for port in ports {
                    rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
                }
                for path in NAMES {
                    let right = if Path::new(path).is_dir() {
                        AccessFs::ReadFile | AccessFs::ReadDir
                    } else {
                        AccessFs::ReadFile.into()
                    };
                    if let Ok(fd) = PathFd::new(path) {
                        rules = rules.add_rule(PathBeneath::new(fd, right))?;
                    }
                }
            }
        }
        rules.restrict_self()
    };
    let (whole, part) = match reach {
        Reach::Folder(_) => ("reads one folder, no network", "reads one folder"),
        Reach::Ports(_) => (
            "reads what names are looked up by, connects to the hub's ports",
            "reads what names are looked up by",
        ),
    };
    match restrict() {
        Ok(status) => match status.ruleset {
            RulesetStatus::FullyEnforced => Ok(whole.into()),
            RulesetStatus::PartiallyEnforced => Ok(format!("{part}; the kernel is too old for the rest")),
            RulesetStatus::NotEnforced => Err("the kernel has no Landlock".into()),
        },
        Err(error) => Err(error.to_string()),
    }
}

/// What the C library reads to look a name up; where it is glibc, that loads libraries at its first look-up.
#[cfg(target_os = "linux")]
const NAMES: [&str; 10] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
    "/lib",
    "/lib64",
    "/usr/lib",
];

#[cfg(not(target_os = "linux"))]
fn landlock(_: &Reach<'_>) -> Result<String, String> {
    Err("this system has no Landlock".into())
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn seccomp(reach: &Reach<'_>) -> Result<String, String> {
    use std::collections::BTreeMap;

    use nix::libc;
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
        apply_filter,
    };

    // Reading a file by a descriptor of its folder, two streams, memory, the end. No socket, no exec, no fork, no path.
    let calls = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_pread64,
        libc::SYS_recvfrom,
        libc::SYS_sendto,
        libc::SYS_close,
        libc::SYS_openat,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_lseek,
        libc::SYS_fcntl,
        libc::SYS_ppoll,
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_sigaltstack,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_tgkill,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open,
    ];
    // A connection to the hub, and names: no socket of this machine's own, no netlink, nothing that is listened on.
    let network = [
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_getsockopt,
        libc::SYS_setsockopt,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_sendmsg,
        libc::SYS_recvmsg,
        libc::SYS_sendmmsg,
        libc::SYS_recvmmsg,
        libc::SYS_shutdown,
        libc::SYS_ioctl,
        libc::SYS_mprotect,
        libc::SYS_uname,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_readlinkat,
        libc::SYS_getdents64,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_gettimeofday,
        libc::SYS_clock_nanosleep,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_access,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_readlink,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_stat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lstat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_time,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = calls.iter().map(|call| (*call, Vec::new())).collect();
    if matches!(reach, Reach::Ports(_)) {
        rules.extend(network.iter().map(|call| (*call, Vec::new())));
        let family = |family: i32| {
            let is = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, family as u64);
            is.and_then(|is| SeccompRule::new(vec![is])).map_err(|e| e.to_string())
        };
        rules.insert(libc::SYS_socket, vec![family(libc::AF_INET)?, family(libc::AF_INET6)?]);
    }
    let count = rules.len();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let arch = std::env::consts::ARCH.try_into().map_err(|e| format!("{e:?}"))?;
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch).map_err(|e| e.to_string())?;
    let program: BpfProgram = filter
        .try_into()
        .map_err(|e: seccompiler::BackendError| e.to_string())?;
    apply_filter(&program).map_err(|e| e.to_string())?;
    Ok(format!("{count} system calls allowed"))
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn seccomp(_: &Reach<'_>) -> Result<String, String> {
    Err(format!(
        "no filter for {} on {}",
        std::env::consts::OS,
        std::env::consts::ARCH
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_or_was_not_told_is_missing() {
        let good = |name: &str| mechanism(name, Ok("x".into()));
        let all = vec![
            good("user"),
            good("no_new_privs"),
            good("seccomp"),
            mechanism("landlock", Err("no kernel".into())),
        ];
        assert_eq!(missing(&all), ["landlock (no kernel)"]);
        assert_eq!(missing(&all[..2]).len(), 2);
    }
}

#[cfg(all(test, target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod held {
    //! What the kernel holds the half that speaks to the hub to, by its acts: each is done by a process that has confined
    //! itself as that half does.

    use std::io::ErrorKind;
    use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use nix::libc;

    use super::{Reach, confine};

    const DEED: &str = "JOS_TEST_CONFINED_DEED";
    const PORTS: &str = "JOS_TEST_CONFINED_PORTS";

    /// How it went, as the exit code of the child.
    const DONE: i32 = 0;
    const REFUSED: i32 = 10;
    const OTHERWISE: i32 = 11;
    /// It was done, and this kernel's Landlock is too old to forbid it.
    const NOT_HELD: i32 = 12;

    fn child(deed: &str, ports: &str) -> i32 {
        let name = "run::confine::held::the_half_that_speaks_to_the_hub_connects_to_it_and_does_nothing_else";
        let mut command = Command::new(std::env::current_exe().expect("the test program"));
        command
            .args([name, "--exact", "--test-threads=1", "--nocapture"])
            .envs([(DEED, deed), (PORTS, ports)]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let ended = command.status().expect("the test program runs again");
        ended.code().unwrap_or(-1)
    }

    fn went<T>(result: std::io::Result<T>) -> i32 {
        match result {
            // Somebody answered, if only that nobody listens there.
            Ok(_) => DONE,
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => DONE,
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::EACCES)) => REFUSED,
            Err(_) => OTHERWISE,
        }
    }

    fn dial(port: u16) -> std::io::Result<TcpStream> {
        TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), Duration::from_secs(5))
    }

    fn confined(deed: &str, hub: u16, other: u16) -> i32 {
        let held = confine(&Reach::Ports(vec![hub]), false);
        let active = |name: &str| held.iter().any(|m| m.name == name && m.active);
        if !active("seccomp") || !active("no_new_privs") || !active("limits") {
            return OTHERWISE;
        }
        let whole = |name: &str| {
            held.iter()
                .any(|m| m.name == name && m.active && !m.detail.contains("too old"))
        };
        let by_landlock = |code: i32| {
            if code == DONE && !whole("landlock") {
                NOT_HELD
            } else {
                code
            }
        };
        match deed {
            "connect to the hub" => went(dial(hub)),
            "read the names of hosts" => went(std::fs::read("/etc/hosts")),
            "connect elsewhere" => by_landlock(went(dial(other))),
            "read a file" => by_landlock(went(std::fs::read("/etc/passwd"))),
            "read who it is" => by_landlock(went(std::fs::read("/proc/self/environ"))),
            "write a file" => by_landlock(went(std::fs::write("/tmp/jos-confined", "x"))),
            "make a folder" => went(std::fs::create_dir("/tmp/jos-confined")),
            "remove a file" => went(std::fs::remove_file("/etc/hosts.confined")),
            "run a program" => went(Command::new("/bin/true").status()),
            "begin a thread" => went(std::thread::Builder::new().spawn(|| ())),
            "listen" => went(TcpListener::bind("127.0.0.1:0")),
            "speak to its own machine" => went(UnixStream::pair()),
            "speak to the init system" => went(UnixStream::connect("/run/systemd/notify")),
            "ask for a name" => went(UdpSocket::bind("0.0.0.0:0")),
            _ => bare(deed).map_or(OTHERWISE, |code| {
                went((code == 0).then_some(()).ok_or_else(std::io::Error::last_os_error))
            }),
        }
    }

    /// What is tried by the system calls themselves.
    #[allow(unsafe_code, reason = "the calls themselves are what is tried")]
    fn bare(deed: &str) -> Option<i64> {
        // SAFETY: plain system calls on nothing of this process' own.
        unsafe {
            Some(match deed {
                "signal its parent" => libc::kill(libc::getppid(), 0).into(),
                "look into its parent" => libc::ptrace(libc::PTRACE_ATTACH, libc::getppid(), 0, 0),
                "hear of links" => libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, 0).min(0).into(),
                "become somebody else" => libc::syscall(libc::SYS_setuid, 0),
                "mount" => libc::mount(c"x".as_ptr(), c"/mnt".as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null()).into(),
                _ => return None,
            })
        }
    }

    #[test]
    fn the_half_that_speaks_to_the_hub_connects_to_it_and_does_nothing_else() {
        if let (Ok(deed), Ok(ports)) = (std::env::var(DEED), std::env::var(PORTS)) {
            let (hub, other) = ports.split_once(' ').expect("two ports");
            let code = confined(&deed, hub.parse().expect("a port"), other.parse().expect("a port"));
            // Past the harness, whose threads and files would be forbidden too.
            // SAFETY: _exit ends the process; nothing runs after it.
            #[allow(unsafe_code, reason = "the one way past exit handlers")]
            unsafe {
                libc::_exit(code)
            }
        }
        let (hub, other) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
        let port = |listener: &std::io::Result<TcpListener>| {
            let listener = listener.as_ref().expect("a port");
            listener.local_addr().expect("an address").port()
        };
        let ports = format!("{} {}", port(&hub), port(&other));
        for allowed in ["connect to the hub", "read the names of hosts", "ask for a name"] {
            assert_eq!(child(allowed, &ports), DONE, "{allowed}");
        }
        for forbidden in [
            "connect elsewhere",
            "read a file",
            "read who it is",
            "write a file",
            "make a folder",
            "remove a file",
            "run a program",
            "begin a thread",
            "listen",
            "speak to its own machine",
            "speak to the init system",
            "signal its parent",
            "look into its parent",
            "hear of links",
            "become somebody else",
            "mount",
        ] {
            let code = child(forbidden, &ports);
            assert!(matches!(code, REFUSED | NOT_HELD), "{forbidden}: {code}");
            if code == NOT_HELD {
                eprintln!("the kernel's Landlock is too old to forbid: {forbidden}");
            }
        }
    }
}
