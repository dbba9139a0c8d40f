//! Commands of a workstation: making keys and trust, signing, checking documents, what editors and shells want, and the
//! programs beside `jos`. No device needs them, and one has no room for them: feature `desk`.

#[cfg_attr(windows, path = "../windows/beside.rs")]
mod beside;
mod key;
mod keys;
mod manual;
mod policy;
mod put;
mod schema;
mod sign;
mod trust;
mod validate;
mod verify;

use clap::{CommandFactory, Subcommand};

pub(super) use trust::TrustVerb;

use super::{Done, Ui};

/// What the desk adds to the commands of a device.
#[derive(Subcommand)]
pub(super) enum DeskCommand {
    Key(key::KeyCommand),
    Sign(sign::SignCommand),
    Verify(verify::VerifyCommand),
    /// Say what a policy grants, and which line of it is missing
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    Validate(validate::ValidateCommand),
    Schema(schema::SchemaCommand),
    /// Run the program jos-hub
    Hub(beside::Args),
    /// Run the program jos-image: bake packages and images
    Image(beside::Args),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
}

/// Calls the command; `Tree` is the whole command line.
pub(super) fn run<Tree: CommandFactory>(command: &DeskCommand, ui: &Ui) -> Done {
    match command {
        DeskCommand::Key(command) => key::run(command, ui),
        DeskCommand::Sign(command) => sign::run(command, ui),
        DeskCommand::Verify(command) => verify::run(command, ui),
        DeskCommand::Policy(command) => policy::run(command, ui),
        DeskCommand::Validate(command) => validate::run(command, ui),
        DeskCommand::Schema(command) => schema::run(command, ui),
        DeskCommand::Hub(args) => beside::run("jos-hub", args),
        DeskCommand::Image(args) => beside::run("jos-image", args),
        DeskCommand::Completions(args) => manual::completions(args, &Tree::command(), ui),
        DeskCommand::Man(args) => manual::man(args, Tree::command(), ui),
    }
}

/// Splits `LEFT=RIGHT` at the first `=`.
fn pair<'a>(text: &'a str, form: &str) -> Result<(&'a str, &'a str), String> {
    match text.split_once('=') {
        Some((left, right)) if !left.is_empty() && !right.is_empty() => Ok((left, right)),
        _ => Err(format!("found {text:?}, expected {form}")),
    }
}
