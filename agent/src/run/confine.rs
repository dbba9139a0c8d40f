//! What the network half gives up before it reads a byte.
//!
//! Each mechanism is named with whether it is active, so that `status` can show it and `require_confinement` can refuse.
//! Linux has all of them (seccomp on the CPUs that the filter compiler knows, Landlock where the kernel has it); elsewhere
//! the mechanisms that are missing say so.

use std::os::fd::BorrowedFd;

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

/// Confines this process for good. `folder` is the only thing that it will read.
pub(crate) fn confine(folder: BorrowedFd<'_>, plane_is_root: bool) -> Vec<Mechanism> {
    // Landlock opens nothing and seccomp forbids to confine further: this order.
    vec![
        mechanism("user", user(plane_is_root)),
        mechanism("no_new_privs", no_new_privs()),
        mechanism("limits", limits()),
        mechanism("landlock", landlock(folder)),
        mechanism("seccomp", seccomp()),
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
fn landlock(folder: BorrowedFd<'_>) -> Result<String, String> {
    use landlock::{
        ABI, Access, AccessFs, AccessNet, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
    };
    // The newest rights that we name; the crate takes those that the kernel knows.
    let abi = ABI::V6;
    let restrict = || {
        Ruleset::default()
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?
            .add_rule(PathBeneath::new(folder, AccessFs::ReadFile))?
            .restrict_self()
    };
    match restrict() {
        Ok(status) => match status.ruleset {
            RulesetStatus::FullyEnforced => Ok("reads one folder, no network".into()),
            RulesetStatus::PartiallyEnforced => Ok("reads one folder; the kernel is too old for the rest".into()),
            RulesetStatus::NotEnforced => Err("the kernel has no Landlock".into()),
        },
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(not(target_os = "linux"))]
fn landlock(_: BorrowedFd<'_>) -> Result<String, String> {
    Err("this system has no Landlock".into())
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn seccomp() -> Result<String, String> {
    use std::collections::BTreeMap;

    use nix::libc;
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

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
    let rules: BTreeMap<i64, Vec<_>> = calls.iter().map(|call| (*call, Vec::new())).collect();
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
fn seccomp() -> Result<String, String> {
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
