//! `jos completions` and `jos man`: made from the command tree itself.

use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use serde_json::json;

use crate::cli::{Done, Failure, Ui};

/// Print a shell's completion script
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos completions bash > ~/.local/share/bash-completion/completions/jos\n  \
    jos completions zsh  > ~/.zfunc/_jos                  with ~/.zfunc in fpath\n  \
    jos completions fish > ~/.config/fish/completions/jos.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// Write the manual pages, one a command
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos man ~/.local/share/man/man1        then: man jos-agent-install")]
pub(crate) struct ManArgs {
    /// The folder that the pages go to; made when it is not there
    dir: PathBuf,
}

/// Prints the script.
pub(crate) fn completions(args: &CompletionsArgs, tree: &clap::Command, ui: &Ui) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible(tree), "jos", &mut script);
    let script = String::from_utf8(script).map_err(Failure::failed)?;
    ui.result(&json!({ "shell": args.shell.to_string(), "script": script }), &script);
    Ok(0)
}

/// The tree without what jos runs for itself, which the scripts would offer.
fn visible(command: &clap::Command) -> clap::Command {
    // Names live as long as the program, which ends after this command.
    let name: &'static str = command.get_name().to_owned().leak();
    let mut seen = clap::Command::new(name)
        .disable_help_flag(command.is_disable_help_flag_set())
        .disable_version_flag(command.is_disable_version_flag_set())
        .args(command.get_arguments())
        .groups(command.get_groups())
        .subcommands(command.get_subcommands().filter(|c| !c.is_hide_set()).map(visible));
    if let Some(about) = command.get_about() {
        seen = seen.about(about.clone());
    }
    if command.get_version().is_some() {
        seen = seen.version(env!("CARGO_PKG_VERSION")).propagate_version(true);
    }
    seen
}

/// Writes one page a command.
pub(crate) fn man(args: &ManArgs, tree: clap::Command, ui: &Ui) -> Done {
    let failed = |e: std::io::Error| Failure::failed(format!("{}: {e}", args.dir.display()));
    std::fs::create_dir_all(&args.dir).map_err(failed)?;
    let mut tree = tree.disable_help_subcommand(true);
    tree.build();
    let mut pages = Vec::new();
    write_pages(&tree, &args.dir, &mut pages).map_err(failed)?;
    pages.sort();
    let text = format!("{} pages in {}", pages.len(), args.dir.display());
    ui.result(&json!({ "dir": args.dir, "pages": pages }), text);
    Ok(0)
}

fn write_pages(command: &clap::Command, dir: &Path, pages: &mut Vec<String>) -> std::io::Result<()> {
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        write_pages(below, dir, pages)?;
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let man = clap_mangen::Man::new(command.clone().after_help(Resettable::Reset))
        .source(concat!("jos ", env!("CARGO_PKG_VERSION")))
        .manual("jos");
    let mut page = Vec::new();
    man.render(&mut page)?;
    page.extend_from_slice(notes(&after).as_bytes());
    let name = man.get_filename();
    std::fs::write(dir.join(&name), page)?;
    pages.push(name);
    Ok(())
}

/// What stands below a command's help, as a section of its page that keeps its lines: they are made to be copied.
fn notes(text: &str) -> String {
    let (heading, body) = match text.strip_prefix("Examples:\n") {
        Some(examples) => ("EXAMPLES", examples),
        None => ("NOTES", text),
    };
    if body.is_empty() {
        return String::new();
    }
    let mut out = format!(".SH {heading}\n.nf\n");
    for line in body.lines() {
        // A line that begins with a dot or a quote would be a request; these signs would be printed as others.
        out.push_str("\\&");
        for sign in line.chars() {
            match sign {
                '\\' => out.push_str("\\e"),
                '-' => out.push_str("\\-"),
                '\'' => out.push_str("\\(aq"),
                '`' => out.push_str("\\(ga"),
                '~' => out.push_str("\\(ti"),
                '^' => out.push_str("\\(ha"),
                other => out.push(other),
            }
        }
        out.push('\n');
    }
    out.push_str(".fi\n");
    out
}
