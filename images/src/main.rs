//! `jos-image`: from a profile to packages that install.

fn main() -> std::process::ExitCode {
    jos_images::cli::main()
}
