//! `jos`: the device program. Parses the command line and calls; everything else is elsewhere.

mod cli;
mod environment;
mod files;
mod grant;
mod installed;
mod lock;
mod logger;
mod place;
mod run;
mod services;
mod signals;
mod subject;
mod world;

fn main() -> std::process::ExitCode {
    cli::main()
}
