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
