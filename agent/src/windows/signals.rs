//! Being told to stop, on Windows: by the service control manager, or by Ctrl-C in a console.
//!
//! A stop is quick by design, as elsewhere: an apply that is under way is neither finished nor taken back now. Its running
//! command is killed and the program leaves, as in a crash, which the plane survives at any write.
#![allow(unsafe_code)]

use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use windows_sys::Win32::System::Console::SetConsoleCtrlHandler;

static STOP: Mutex<bool> = Mutex::new(false);
static WAKE: Condvar = Condvar::new();
/// What is to be told before the program leaves.
static BEFORE: OnceLock<fn()> = OnceLock::new();

/// Asks to stop.
pub(crate) fn stop() {
    *STOP.lock().unwrap_or_else(PoisonError::into_inner) = true;
    WAKE.notify_all();
}

/// Whether a stop was asked for.
pub(crate) fn stop_requested() -> bool {
    *STOP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets time pass; ends early when a stop is asked for.
pub(crate) fn wait(how_long: Duration) {
    let end = Instant::now() + how_long;
    let mut stop = STOP.lock().unwrap_or_else(PoisonError::into_inner);
    while !*stop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        (stop, _) = WAKE.wait_timeout(stop, left).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Has `tell` called before the program leaves in the middle of something.
pub(crate) fn before_leaving(tell: fn()) {
    let _ = BEFORE.set(tell);
}

/// Ends the program when a stop was asked for. Called where the plane waits: for a command, between two tries.
pub(crate) fn leave_if_stopping() {
    if stop_requested() {
        log::info!("stopped; what was under way is taken back at the next start");
        if let Some(tell) = BEFORE.get() {
            tell();
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the plane cannot be unwound from here; the journal is made for ending at any point"
        )]
        std::process::exit(0);
    }
}

/// Has Ctrl-C, and the end of the console, ask to stop.
pub(crate) fn heed_console() {
    // SAFETY: the handler lives as long as the program; it runs in a thread of its own.
    unsafe { SetConsoleCtrlHandler(Some(on_console), 1) };
}

unsafe extern "system" fn on_console(_: u32) -> i32 {
    stop();
    1
}
