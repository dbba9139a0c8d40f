//! `jos-hub user`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::door::{Sent, Where, escaped};
use super::rows;
use super::ui::{Done, Failure, Ui, moment, table, text};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a user of the dashboard, and print the password that was made
    #[command(after_help = "\
Examples:
  jos-hub user add ana --role admin --data /var/lib/jos-hub                      in every tenant
  jos-hub user add bo --role operator --tenant acme --data /var/lib/jos-hub
  pass show jos/ana | jos-hub user add ana --role admin --password-file - --data /var/lib/jos-hub

viewer looks; operator also makes tokens, labels, quarantines and releases; admin also revokes and retires, and in every
tenant manages users. The password is shown once; its user changes it under their own name in the dashboard.")]
    Add {
        /// The name that they sign in with: a-z, 0-9 and ._@-
        name: String,
        /// What they may do
        #[arg(long, value_name = "ROLE", value_parser = ["viewer", "operator", "admin"])]
        role: String,
        /// The tenant that the role is for; every one when absent
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// File whose first line is the password, `-` for standard input; one is made when absent
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Set a user's password, and end every session of theirs
    #[command(after_help = "Example: jos-hub user passwd ana --data /var/lib/jos-hub")]
    Passwd {
        /// Their name
        name: String,
        /// File whose first line is the password, `-` for standard input; one is made when absent
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Set what a user may do in a tenant, or in every one
    #[command(after_help = "\
Examples:
  jos-hub user role ana viewer --data /var/lib/jos-hub                           in every tenant
  jos-hub user role ana none --tenant acme --data /var/lib/jos-hub")]
    Role {
        /// Their name
        name: String,
        /// What they may do there
        #[arg(value_parser = ["viewer", "operator", "admin", "none"])]
        role: String,
        /// The tenant that it is for; every one when absent
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
    },
    /// List users
    #[command(after_help = "Example: jos-hub user list --data /var/lib/jos-hub")]
    List,
    /// Remove a user, and end every session of theirs
    #[command(after_help = "Example: jos-hub user remove bo --data /var/lib/jos-hub")]
    Remove {
        /// Their name
        name: String,
    },
}

pub(super) fn run(command: &Command, place: &Where, ui: &Ui) -> Done {
    let door = place.open()?;
    match command {
        Command::Add {
            name,
            role,
            tenant,
            password_file,
        } => {
            let asked = json!({ "name": name, "role": role, "tenant": tenant, "password": password(password_file.as_deref())? });
            let added = door.json("POST", "/api/v1/users", Sent::Json(asked))?;
            told(ui, &added, &format!("{name} may sign in"));
        }
        Command::Passwd { name, password_file } => {
            let path = format!("/api/v1/users/{}/password", escaped(name));
            let asked = json!({ "password": password(password_file.as_deref())? });
            let set = door.json("POST", &path, Sent::Json(asked))?;
            told(
                ui,
                &set,
                &format!("{name} has a new password, and was signed out everywhere"),
            );
        }
        Command::Role { name, role, tenant } => {
            let path = format!("/api/v1/users/{}/role", escaped(name));
            let role = (role != "none").then_some(role);
            let user = door.json("PUT", &path, Sent::Json(json!({ "tenant": tenant, "role": role })))?;
            ui.result(&user, format!("{name}: {}", text(&user, "roles")));
        }
        Command::List => {
            let list = door.json("GET", "/api/v1/users", Sent::Nothing)?;
            let row = |user: &Value| {
                vec![
                    text(user, "name"),
                    text(user, "roles"),
                    moment(user, "created"),
                    text(user, "created_by"),
                    moment(user, "signed_in"),
                ]
            };
            ui.result(
                &list,
                table(&["name", "roles", "since", "added by", "signed in"], &rows(&list, row)),
            );
        }
        Command::Remove { name } => {
            door.bytes("DELETE", &format!("/api/v1/users/{}", escaped(name)), Sent::Nothing)?;
            ui.result(&json!({ "removed": name }), format!("{name} is removed"));
        }
    }
    Ok(())
}

/// The password alone to standard output, so that a script may take it; what was done beside it.
fn told(ui: &Ui, done: &Value, words: &str) {
    if done["password"].is_null() {
        ui.result(done, words);
        return;
    }
    ui.result(done, text(done, "password"));
    if !ui.json {
        ui.note(format!("{words}; this is the password, and it is not shown again"));
    }
}

fn password(file: Option<&Path>) -> Result<Option<String>, Failure> {
    const LONGEST: u64 = 4096;
    let Some(path) = file else { return Ok(None) };
    let mut held = Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        std::io::stdin().take(LONGEST).read_to_string(&mut held)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut held))
    };
    read.map_err(|error| Failure::failed(error).of_file(path))?;
    Ok(Some(held.lines().next().unwrap_or_default().to_owned()))
}
