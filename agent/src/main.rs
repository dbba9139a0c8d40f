//! `jos`: the device program. Parses the command line and calls; everything else is elsewhere.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
