//! The command line: one file a command, one printer at the edge.
//!
//! Owns: the tree of commands, the exit codes (0 done, 1 failed, 2 bad use or invalid input) and how results and errors
//! reach a person or a script. Standard output carries the result, standard error the diagnostics.

mod build;
mod diff;
mod explain;
mod images;
mod inspect;
mod keys;
mod list;
mod new;
mod openwrt;
mod programs;
mod repo;
mod seed;
mod ui;
mod validate;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use ui::{Done, Failure, Ui};

/// Turns a profile into packages that install: a .deb, an .ipk or a .pkg with the agent, your brand and a signed state.
#[derive(Parser)]
#[command(name = "jos-image", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Start here:
  jos-image new my-gateway --from base/openwrt     writes my-gateway.toml and its baseline
  jos-image validate my-gateway.toml               says what is wrong, with file, line and column
  jos-image build my-gateway.toml --dev-key        compiles and packages, signed by a throwaway key
  jos-image inspect dist/my-gateway/*.ipk          takes a package apart

Exit codes: 0 done, 1 failed, 2 bad use or invalid input.
Every command takes --json; errors are then one JSON object on standard error.")]
struct Cli {
    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a new profile and its baseline, ready to build
    New(new::Args),
    /// Compile, sign and package profiles
    Build(build::Args),
    /// Check profiles and all they name, without building
    Validate(validate::Args),
    /// Show a profile with all it extends, and where each value was written
    Explain(explain::Args),
    /// Give each device of a table its own name, token and wireless network
    Seed(seed::Args),
    /// Make what a router is flashed with: an overlay, or an image
    Openwrt(openwrt::Args),
    /// List profiles, bases and targets
    List(list::Args),
    /// Show what a .deb, .ipk, .apk or .pkg holds
    Inspect(inspect::Args),
    /// Compile the programs of devices into a folder, for `build --builder prebuilt=DIR`
    Programs(programs::Args),
    /// Say what differs between two packages, or between two images
    Diff(diff::Args),
    /// Check what `build` wrote: signatures, sums, statements; and whether it can be built again to the byte
    Verify(verify::Args),
    /// Make, sign and check a repository that devices install from
    Repo(repo::Args),
    /// Print shell completions
    #[command(
        after_help = "Example: jos-image completions bash > ~/.local/share/bash-completion/completions/jos-image"
    )]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example: jos-image man | man -l -")]
    Man,
}

/// Parses the command line, runs the command, prints what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::new(cli.json);
    let done = match cli.command {
        Command::New(args) => new::run(&args, &ui),
        Command::Build(args) => build::run(&args, &ui),
        Command::Validate(args) => validate::run(&args, &ui),
        Command::Explain(args) => explain::run(&args, &ui),
        Command::Seed(args) => seed::run(&args, &ui),
        Command::Openwrt(args) => openwrt::run(&args, &ui),
        Command::List(args) => list::run(&args, &ui),
        Command::Inspect(args) => inspect::run(&args, &ui),
        Command::Programs(args) => programs::run(&args, &ui),
        Command::Diff(args) => diff::run(&args, &ui),
        Command::Verify(args) => verify::run(&args, &ui),
        Command::Repo(args) => repo::run(&args, &ui),
        Command::Completions { shell } => completions(shell),
        Command::Man => manual(),
    };
    ui.finish(done)
}

fn completions(shell: clap_complete::Shell) -> Done {
    clap_complete::generate(shell, &mut Cli::command(), "jos-image", &mut std::io::stdout());
    Ok(0)
}

fn manual() -> Done {
    let page = clap_mangen::Man::new(Cli::command());
    page.render(&mut std::io::stdout()).map_err(Failure::failed)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
