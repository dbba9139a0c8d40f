//! Signals of the long-running commands, by a self-pipe: portable, one `poll` for everything.
//!
//! Owns the handlers and four atomics. SIGTERM and SIGINT ask to stop, SIGHUP asks to look again. A stop is quick by design:
//! an apply that is under way is neither finished nor taken back now. Its running command's process group is killed and the
//! program leaves ([`leave_if_stopping`]), as in a crash, which the plane survives at any write: the journal takes back at
//! the next start what was half done, and the version is not held to have failed. Should the program be anywhere else for
//! longer than [`GRACE`], the timer's handler does the same.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Milliseconds from the signal to the end, at most.
pub(crate) const GRACE: i32 = 700;

static STOP: AtomicBool = AtomicBool::new(false);
static RELOAD: AtomicBool = AtomicBool::new(false);
/// Process group of the command that runs now; 0: none.
static CHILD: AtomicI32 = AtomicI32::new(0);
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// Whether a stop was asked for.
pub(crate) fn stop_requested() -> bool {
    STOP.load(Ordering::SeqCst)
}

/// Whether a reload was asked for since the last call.
pub(crate) fn take_reload() -> bool {
    RELOAD.swap(false, Ordering::SeqCst)
}

/// A command runs in this process group (the child's own id); a stop that comes too late kills it.
pub(crate) fn child_started(group: i32) {
    CHILD.store(group, Ordering::SeqCst);
}

/// The command ended and was waited for.
pub(crate) fn child_ended() {
    CHILD.store(0, Ordering::SeqCst);
}

/// Ends the program when a stop was asked for. Called where the plane waits: for a command, between two tries.
pub(crate) fn leave_if_stopping() {
    if stop_requested() {
        log::info!("stopped; what was under way is taken back at the next start");
        #[expect(
            clippy::disallowed_methods,
            reason = "the plane cannot be unwound from here; the journal is made for ending at any point"
        )]
        std::process::exit(0);
    }
}

/// The reading end of the self-pipe: readable after a signal.
pub(crate) struct Signals {
    read: OwnedFd,
    _write: OwnedFd,
}

impl Signals {
    /// Installs the handlers; once in a process. With `children`, a child's end is readable too.
    pub(crate) fn install(children: bool) -> io::Result<Self> {
        let (read, write) = nix::unistd::pipe()?;
        for fd in [&read, &write] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        WAKE.store(write.as_raw_fd(), Ordering::SeqCst);
        let action = |handler| SigAction::new(SigHandler::Handler(handler), SaFlags::empty(), SigSet::empty());
        let child = children.then_some((Signal::SIGCHLD, on_child as extern "C" fn(libc::c_int)));
        for (signal, handler) in child.into_iter().chain([
            (Signal::SIGTERM, on_stop as extern "C" fn(libc::c_int)),
            (Signal::SIGINT, on_stop),
            (Signal::SIGHUP, on_reload),
            (Signal::SIGALRM, on_deadline),
        ]) {
            // SAFETY: the handlers touch atomics and call write, setitimer, kill and _exit only, all safe in a handler.
            unsafe { sigaction(signal, &action(handler)) }?;
        }
        Ok(Self { read, _write: write })
    }

    /// Empties the pipe.
    pub(crate) fn drain(&self) {
        let mut bytes = [0; 64];
        while matches!(nix::unistd::read(&self.read, &mut bytes), Ok(n) if n > 0) {}
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

fn wake() {
    let before = Errno::last_raw();
    // SAFETY: write(2) is async-signal-safe; the descriptor lives as long as the process. A full pipe is readable already.
    unsafe { libc::write(WAKE.load(Ordering::SeqCst), [0u8].as_ptr().cast(), 1) };
    Errno::set_raw(before);
}

extern "C" fn on_stop(_: libc::c_int) {
    STOP.store(true, Ordering::SeqCst);
    // SAFETY: an all-zero itimerval is valid; setitimer is a plain system call on every system we build for.
    unsafe {
        let mut deadline: libc::itimerval = std::mem::zeroed();
        deadline.it_value.tv_usec = (GRACE * 1000) as _;
        libc::setitimer(libc::ITIMER_REAL, &deadline, std::ptr::null_mut());
    }
    wake();
}

extern "C" fn on_reload(_: libc::c_int) {
    RELOAD.store(true, Ordering::SeqCst);
    wake();
}

extern "C" fn on_child(_: libc::c_int) {
    wake();
}

extern "C" fn on_deadline(_: libc::c_int) {
    if !STOP.load(Ordering::SeqCst) {
        return;
    }
    let group = CHILD.load(Ordering::SeqCst);
    // SAFETY: kill(2) and _exit(2) are async-signal-safe.
    unsafe {
        if group > 1 {
            libc::kill(-group, libc::SIGKILL);
        }
        libc::_exit(0);
    }
}
