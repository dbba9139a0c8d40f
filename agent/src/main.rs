//! `jos`: the device program. Parses the command line and calls; everything else is elsewhere.

#![allow(
    clippy::result_large_err,
    reason = "a failure is made once, printed and the program ends"
)]

#[cfg(all(target_arch = "mips", target_env = "musl"))]
mod backtrace;
mod cli;
#[cfg(feature = "console")]
mod console;
mod enrol;
mod environment;
mod files;
mod grant;
mod identity;
mod installed;
mod lock;
mod logger;
#[cfg(feature = "runtime")]
mod models;
mod place;
#[cfg(feature = "runtime")]
mod programs;
mod protected;
mod run;
mod seal;
mod services;
mod signals;
mod subject;
mod world;

fn main() -> std::process::ExitCode {
    #[cfg(feature = "runtime")]
    if programs::is_meant() {
        return programs::become_it();
    }
    cli::main()
}
