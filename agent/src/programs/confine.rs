//! What a program gives up before its first instruction.
//!
//! It keeps three streams, memory up to a limit, the interpreters and libraries of the system, and the files that its
//! document names. It has no other file, no network, no second process, no signal for others, no new rights, and an end.

use std::path::PathBuf;

/// Bytes of address space: room for an interpreter.
#[cfg(target_os = "linux")]
const MEMORY: u64 = 512 << 20;
/// Seconds of a CPU.
const CPU: u64 = 20;

/// Confines this process for good. The error says what does not hold.
pub(super) fn confine(files: &[PathBuf]) -> Result<(), String> {
    limits()?;
    kernel(files)
}

fn limits() -> Result<(), String> {
    use nix::sys::resource::{Resource, setrlimit};
    let set = |resource, limit| setrlimit(resource, limit, limit).map_err(|e| format!("limits: {e}"));
    set(Resource::RLIMIT_CORE, 0)?;
    set(Resource::RLIMIT_FSIZE, 0)?;
    set(Resource::RLIMIT_NOFILE, 64)?;
    set(Resource::RLIMIT_CPU, CPU as _)?;
    #[cfg(target_os = "linux")]
    set(Resource::RLIMIT_AS, MEMORY as _)?;
    Ok(())
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn kernel(files: &[PathBuf]) -> Result<(), String> {
    let _ = nix::sys::prctl::set_dumpable(false);
    nix::sys::prctl::set_no_new_privs().map_err(|e| format!("no_new_privs: {e}"))?;
    // Landlock opens files and seccomp forbids to confine further: this order.
    landlock(files)?;
    seccomp()
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn kernel(_: &[PathBuf]) -> Result<(), String> {
    let (system, cpu) = (std::env::consts::OS, std::env::consts::ARCH);
    Err(format!("no filter for {system} on {cpu}"))
}

/// What any interpreter needs: itself and its libraries. Nothing below is anybody's secret.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
const SYSTEM: [&str; 9] = [
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/share",
    "/bin",
    "/lib",
    "/lib64",
];

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn landlock(files: &[PathBuf]) -> Result<(), String> {
    use landlock::{
        ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
        Scope,
    };
    // The newest rights that we name; the crate takes those that the kernel knows.
    let abi = ABI::V6;
    let restrict = || {
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?;
        let whole = AccessFs::Execute | AccessFs::ReadFile | AccessFs::ReadDir;
        let one = AccessFs::Execute | AccessFs::ReadFile;
        let folders = SYSTEM.iter().map(|path| (PathBuf::from(path), whole));
        let single = ["/etc/ld.so.cache", "/dev/urandom", "/dev/zero"];
        let single = single.iter().map(PathBuf::from).chain(files.iter().cloned());
        for (path, rights) in folders.chain(single.map(|path| (path, one))) {
            if let Ok(fd) = PathFd::new(&path) {
                rules = rules.add_rule(PathBeneath::new(fd, rights))?;
            }
        }
        if let Ok(fd) = PathFd::new("/dev/null") {
            rules = rules.add_rule(PathBeneath::new(fd, AccessFs::ReadFile | AccessFs::WriteFile))?;
        }
        rules.restrict_self()
    };
    match restrict() {
        Ok(status) if status.ruleset == RulesetStatus::NotEnforced => Err("the kernel has no Landlock".into()),
        Ok(_) => Ok(()),
        Err(e) => Err(format!("landlock: {e}")),
    }
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn seccomp() -> Result<(), String> {
    use std::collections::BTreeMap;

    use nix::libc;
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
        apply_filter,
    };

    let free = [
        // streams and files
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_pread64,
        libc::SYS_close,
        libc::SYS_openat,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_statfs,
        libc::SYS_fstatfs,
        libc::SYS_lseek,
        libc::SYS_getdents64,
        libc::SYS_readlinkat,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_getcwd,
        libc::SYS_fcntl,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_pipe2,
        libc::SYS_ppoll,
        libc::SYS_pselect6,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_eventfd2,
        libc::SYS_fadvise64,
        libc::SYS_umask,
        // memory, threads
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        libc::SYS_futex,
        libc::SYS_set_robust_list,
        libc::SYS_set_tid_address,
        libc::SYS_rseq,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        // time, itself, the end
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_getppid,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_getgroups,
        libc::SYS_getpgid,
        libc::SYS_getrusage,
        libc::SYS_times,
        libc::SYS_uname,
        libc::SYS_sysinfo,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_execve,
        libc::SYS_exit,
        libc::SYS_exit_group,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_arch_prctl,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_stat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lstat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_access,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_readlink,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_dup2,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_pipe,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_getpgrp,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_time,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = free.iter().map(|call| (*call, Vec::new())).collect();
    let when = |argument: u8, how: SeccompCmpOp, value: u64| {
        let is = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value);
        is.and_then(|is| SeccompRule::new(vec![is])).map_err(|e| e.to_string())
    };
    // A thread is no process: it ends with this one. `clone3`, whose flags no filter can see, is not there (ENOSYS), and C
    // libraries then take `clone`.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![when(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
    // Signals for itself alone: who executes a program keeps the number.
    let own = u64::from(std::process::id());
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(call, vec![when(0, SeccompCmpOp::Eq, own)?]);
    }
    // Its own limits, to look at.
    let nothing = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0);
    let own_limits = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)
        .and_then(|itself| SeccompRule::new(vec![itself, nothing?]));
    rules.insert(libc::SYS_prlimit64, vec![own_limits.map_err(|e| e.to_string())?]);
    // What C libraries ask of a stream: whether it is a terminal, how much is in it, that it closes.
    let asked = [
        libc::TCGETS,
        libc::FIONREAD,
        libc::FIOCLEX,
        libc::FIONCLEX,
        libc::TIOCGWINSZ,
    ];
    #[allow(clippy::unnecessary_cast, reason = "c_ulong with glibc, c_int with musl")]
    let asked: Result<Vec<_>, _> = asked
        .iter()
        .map(|what| when(1, SeccompCmpOp::Eq, *what as u64))
        .collect();
    rules.insert(libc::SYS_ioctl, asked?);
    // All else is "not there": sockets, processes, mounts, keys, other processes' memory, writing names.
    let refuse = SeccompAction::Errno(libc::ENOSYS as u32);
    let arch = std::env::consts::ARCH.try_into().map_err(|e| format!("{e:?}"))?;
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch).map_err(|e| e.to_string())?;
    let program: BpfProgram = filter
        .try_into()
        .map_err(|e: seccompiler::BackendError| e.to_string())?;
    apply_filter(&program).map_err(|e| format!("seccomp: {e}"))
}
