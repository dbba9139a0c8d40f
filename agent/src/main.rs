//! `jos`: the device program. Parses the command line and calls; everything else is elsewhere.
//!
//! The agent of a Unix machine is two processes and as many agents as are installed; that of Windows is one service. What
//! differs in whole stands in `windows/` under the same name and the same signatures, so that no file knows of both.

#![allow(
    clippy::result_large_err,
    reason = "a failure is made once, printed and the program ends"
)]

#[cfg(all(target_arch = "mips", target_env = "musl"))]
mod backtrace;
mod cli;
#[cfg(feature = "console")]
mod console;
#[cfg(windows)]
#[path = "windows/daemon.rs"]
mod daemon;
#[cfg(unix)]
mod enrol;
#[cfg(unix)]
mod environment;
#[cfg_attr(windows, path = "windows/files.rs")]
mod files;
mod grant;
#[cfg(unix)]
mod identity;
#[cfg_attr(windows, path = "windows/installed.rs")]
mod installed;
#[cfg_attr(windows, path = "windows/lock.rs")]
mod lock;
#[cfg_attr(windows, path = "windows/logger.rs")]
mod logger;
#[cfg(feature = "runtime")]
mod models;
#[cfg_attr(windows, path = "windows/place.rs")]
mod place;
#[cfg(feature = "runtime")]
mod programs;
mod protected;
mod root;
#[cfg_attr(windows, path = "windows/run.rs")]
mod run;
mod seal;
#[cfg(windows)]
#[path = "windows/service.rs"]
mod service;
#[cfg(unix)]
mod services;
#[cfg_attr(windows, path = "windows/signals.rs")]
mod signals;
#[cfg_attr(
    windows,
    expect(dead_code, reason = "no artifact runs there; an install reads what it asks for")
)]
mod subject;
mod whole;
#[cfg_attr(windows, path = "windows/world/mod.rs")]
mod world;

#[cfg(all(windows, feature = "runtime"))]
compile_error!("no node runs on Windows yet: build with --no-default-features --features desk");

fn main() -> std::process::ExitCode {
    #[cfg(feature = "runtime")]
    if programs::is_meant() {
        return programs::become_it();
    }
    cli::main()
}
