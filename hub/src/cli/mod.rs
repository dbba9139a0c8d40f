//! The command line: one file a group of commands, one printer at the edge, one way to every operation.
//!
//! Exit codes: 0 done, 1 failed or refused, 2 bad use or invalid input.

mod api_tokens;
mod backup;
mod ca;
mod devices;
mod door;
mod init;
mod logs;
mod questions;
mod rollouts;
mod serve;
mod simulate;
mod states;
mod tokens;
mod ui;
mod users;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use serde_json::{Value, json};

use door::{Sent, Where};
use ui::{Done, Failure, Ui, moment, table, text};

/// The hub: devices enrol here, fetch the signed states that are meant for them, and report what became of them.
#[derive(Parser)]
#[command(name = "jos-hub", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Start here:
  jos-hub init --data /var/lib/jos-hub --address https://hub.example:8443
  jos-hub user add ana --role admin --data /var/lib/jos-hub
  jos-hub serve --data /var/lib/jos-hub
  jos trust add trust.json --role freshness=/var/lib/jos-hub/freshness.key.pub --key root.key
  jos-hub trust push --data /var/lib/jos-hub trust.json trust.v2.json
  jos-hub token new --data /var/lib/jos-hub --label site=mx-3
  jos-hub push --data /var/lib/jos-hub state.json
  jos-hub api-token new --user ana --role admin --data /var/lib/jos-hub > ana.token

Every command but init, serve, backup and restore works from anywhere too:
  jos-hub device list --url https://hub.example:8444 --token-file ana.token

Exit codes: 0 done, 1 failed or refused, 2 bad use or invalid input.
Every command takes --json; errors are then one JSON object on standard error.")]
struct Cli {
    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    place: Where,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a hub: its authority, keys, database and first API token
    Init(init::Args),
    /// Serve devices and admins until told to end
    Serve(serve::Args),
    /// Enrolment tokens
    #[command(subcommand)]
    Token(tokens::Command),
    /// The fleet
    #[command(subcommand)]
    Device(devices::Command),
    /// Tenants: devices of one never meet states of another
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Trust documents: which keys a tenant's devices believe
    #[command(subcommand)]
    Trust(states::TrustCommand),
    /// Hand over signed states, and the blobs they name
    Push(states::PushArgs),
    /// The states that the hub keeps
    #[command(subcommand)]
    State(states::StateCommand),
    /// How new versions reach the fleet
    #[command(subcommand)]
    Rollout(rollouts::Command),
    /// The hub's certificate authority, and the one that takes its place
    #[command(subcommand)]
    Ca(ca::Command),
    /// The hub's own other keys, and those that take their place
    #[command(subcommand)]
    Key(ca::KeyCommand),
    /// Who may sign in to the dashboard
    #[command(subcommand)]
    User(users::Command),
    /// API tokens: what people's programs show in place of a password
    #[command(subcommand)]
    ApiToken(api_tokens::Command),
    /// List what a person should look at
    Alarms(logs::AlarmArgs),
    /// Show who did what, and whether the log is whole
    Audit(logs::AuditArgs),
    /// Print everything but secrets and blobs' content, as JSON
    #[command(after_help = "\
Examples:
  jos-hub export --data /var/lib/jos-hub > hub.json
  jos-hub export --url https://hub.example:8444 --token-file ana.token | jq -c '.devices[] | {id, labels}'

One object of lists, a row to a line, written while it is read: tenants, users, api_tokens, tokens, trust, hub_cas, states,
blobs, rollouts, devices (with agents, heads, reports and history), alarms, questions, audit. It is no backup: it has no key.")]
    Export,
    /// Put load on a hub: devices that are not there, over the real wire
    Simulate(simulate::Args),
    /// Copy the whole hub while it runs; the copy holds its secrets
    Backup(backup::BackupArgs),
    /// Make a hub from a backup
    Restore(backup::RestoreArgs),
    /// Print shell completions
    #[command(after_help = "Example: jos-hub completions bash > ~/.local/share/bash-completion/completions/jos-hub")]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example: jos-hub man | man -l -")]
    Man,
}

#[derive(Subcommand)]
enum TenantCommand {
    /// Make a tenant
    #[command(after_help = "Example: jos-hub tenant new acme --data /var/lib/jos-hub")]
    New {
        /// Its name: a-z, 0-9 and '-'
        name: String,
    },
    /// List tenants
    #[command(after_help = "Example: jos-hub tenant list --data /var/lib/jos-hub")]
    List,
}

/// Parses the command line, runs the command, prints what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui { json: cli.json };
    let place = &cli.place;
    let done = match cli.command {
        Command::Init(args) => init::run(&args, place, &ui),
        Command::Serve(args) => serve::run(&args, place, &ui),
        Command::Token(command) => tokens::run(&command, place, &ui),
        Command::Device(command) => devices::run(&command, place, &ui),
        Command::Tenant(command) => tenants(&command, place, &ui),
        Command::Trust(command) => states::trust(&command, place, &ui),
        Command::Push(args) => states::push(&args, place, &ui),
        Command::State(command) => states::state(&command, place, &ui),
        Command::Rollout(command) => rollouts::run(&command, place, &ui),
        Command::Ca(command) => ca::run(&command, place, &ui),
        Command::Key(command) => ca::keys(&command, place, &ui),
        Command::User(command) => users::run(&command, place, &ui),
        Command::ApiToken(command) => api_tokens::run(&command, place, &ui),
        Command::Alarms(args) => logs::alarms(&args, place, &ui),
        Command::Audit(args) => logs::audit(&args, place, &ui),
        Command::Export => logs::export(place),
        Command::Simulate(args) => simulate::run(&args, &ui),
        Command::Backup(args) => backup::backup(&args, place, &ui),
        Command::Restore(args) => backup::restore(&args, place, &ui),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "jos-hub", &mut std::io::stdout());
            Ok(())
        }
        Command::Man => manual(),
    };
    ui.finish(done)
}

fn manual() -> Done {
    let page = clap_mangen::Man::new(Cli::command());
    page.render(&mut std::io::stdout()).map_err(Failure::failed)
}

fn tenants(command: &TenantCommand, place: &Where, ui: &Ui) -> Done {
    let door = place.open()?;
    match command {
        TenantCommand::New { name } => {
            let made = door.json("POST", "/api/v1/tenants", Sent::Json(json!({ "name": name })))?;
            ui.result(
                &made,
                format!("the tenant {name} is there; hand over its trust document: jos-hub trust push --tenant {name}"),
            );
        }
        TenantCommand::List => {
            let list = door.json("GET", "/api/v1/tenants", Sent::Nothing)?;
            let rows = rows(&list, |tenant| vec![text(tenant, "name"), moment(tenant, "created")]);
            ui.result(&list, table(&["name", "since"], &rows));
        }
    }
    Ok(())
}

/// One row for each member of a list.
fn rows(list: &Value, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    list.as_array().into_iter().flatten().map(row).collect()
}

/// `?a=b&…` of those that are there.
fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let given = pairs
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", door::escaped((*value)?))));
    let joined = given.collect::<Vec<_>>().join("&");
    if joined.is_empty() {
        joined
    } else {
        format!("?{joined}")
    }
}

/// `KEY=VALUE`, as labels are written on a command line.
fn pairs(given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(Failure::invalid(format!(
            "found the label {text:?}, expected KEY=VALUE"
        ))),
    };
    given.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn without(command: &clap::Command, path: &str, found: &mut Vec<String>) {
            let path = format!("{path} {}", command.get_name());
            let group = command.get_subcommands().next().is_some();
            if !group && command.get_after_help().is_none() {
                found.push(path.clone());
            }
            for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
                without(child, &path, found);
            }
        }
        let mut found = Vec::new();
        without(&super::Cli::command(), "", &mut found);
        assert!(found.is_empty(), "{found:?}");
    }
}
