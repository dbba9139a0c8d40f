//! What a reader of history gives up before it reads a byte: it starts nothing and speaks to nobody, and the kernel holds it
//! to that.
//!
//! Unlike the network half (`run/confine.rs`) it may open files, and write those of a fresh folder. Any other call ends the
//! process on the spot: a replay that would run a command or open a socket is no replay. Linux on the CPUs that the filter
//! compiler knows; elsewhere the answer says that nothing holds it but its own code.

/// Confines this process for good. Says what holds, or why nothing does.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn seal() -> Result<String, String> {
    use std::collections::BTreeMap;

    use nix::libc;
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

    let calls = [
        // files
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_close,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_fstatfs,
        libc::SYS_statfs,
        libc::SYS_lseek,
        libc::SYS_getdents64,
        libc::SYS_readlinkat,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_getcwd,
        libc::SYS_fcntl,
        libc::SYS_flock,
        libc::SYS_fgetxattr,
        libc::SYS_flistxattr,
        libc::SYS_ioctl,
        // the fresh folder
        libc::SYS_mkdirat,
        libc::SYS_symlinkat,
        libc::SYS_renameat,
        libc::SYS_renameat2,
        libc::SYS_unlinkat,
        libc::SYS_linkat,
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        libc::SYS_fchown,
        libc::SYS_fchownat,
        libc::SYS_fsetxattr,
        libc::SYS_fremovexattr,
        libc::SYS_ftruncate,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_utimensat,
        libc::SYS_copy_file_range,
        libc::SYS_sendfile,
        // memory, time, the end
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_geteuid,
        libc::SYS_getegid,
        libc::SYS_getuid,
        libc::SYS_getgid,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_prlimit64,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_sigaltstack,
        libc::SYS_tgkill,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_stat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lstat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_readlink,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_access,
    ];
    let rules: BTreeMap<i64, Vec<_>> = calls.iter().map(|call| (*call, Vec::new())).collect();
    let count = rules.len();
    let arch = std::env::consts::ARCH.try_into().map_err(|e| format!("{e:?}"))?;
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch);
    let program: BpfProgram = filter
        .and_then(TryInto::try_into)
        .map_err(|e: seccompiler::BackendError| e.to_string())?;
    nix::sys::prctl::set_no_new_privs().map_err(|e| e.to_string())?;
    apply_filter(&program).map_err(|e| e.to_string())?;
    Ok(format!("seccomp: {count} system calls allowed, any other ends it"))
}

/// The same where there is no such filter.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(crate) fn seal() -> Result<String, String> {
    Err(format!(
        "no filter for {} on {}: only its own code keeps it from running and connecting",
        std::env::consts::OS,
        std::env::consts::ARCH
    ))
}

#[cfg(all(test, target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus};

    use nix::libc::SIGSYS;

    const DEED: &str = "JOS_TEST_SEALED_DEED";

    /// This very test, run again as a child that seals itself and then does what the variable says.
    fn child(deed: &str) -> ExitStatus {
        let name = "seal::tests::whoever_is_sealed_dies_of_the_forbidden_and_of_nothing_else";
        let mut command = Command::new(std::env::current_exe().expect("the test program"));
        command
            .args([name, "--exact", "--test-threads=1", "--nocapture"])
            .env(DEED, deed);
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        command.status().expect("the test program runs again")
    }

    fn sealed(deed: &str) {
        super::seal().expect("the filter is taken");
        match deed {
            "read" => drop(std::fs::read("/proc/self/status")),
            "socket" => drop(std::net::TcpStream::connect("127.0.0.1:9")),
            "datagram" => drop(std::net::UdpSocket::bind("127.0.0.1:0")),
            "local" => drop(std::os::unix::net::UnixStream::pair()),
            "command" => drop(Command::new("/bin/true").status()),
            "thread" => drop(std::thread::Builder::new().spawn(|| ())),
            _ => {}
        }
        // Past the harness, whose threads would be forbidden too.
        // SAFETY: _exit ends the process; nothing runs after it.
        #[allow(unsafe_code, reason = "the one way past exit handlers")]
        unsafe {
            nix::libc::_exit(0)
        }
    }

    #[test]
    fn whoever_is_sealed_dies_of_the_forbidden_and_of_nothing_else() {
        if let Ok(deed) = std::env::var(DEED) {
            sealed(&deed);
        }
        for allowed in ["nothing", "read"] {
            assert_eq!(child(allowed).code(), Some(0), "{allowed}");
        }
        for forbidden in ["socket", "datagram", "local", "command", "thread"] {
            assert_eq!(child(forbidden).signal(), Some(SIGSYS), "{forbidden}");
        }
    }
}
