//! `jos-hub`: the fleet's hub. Parses the command line and calls; everything else is in the library.

fn main() -> std::process::ExitCode {
    jos_hub::cli::main()
}
