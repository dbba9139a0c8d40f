//! `jos-hub api-token`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::door::{Sent, Where, escaped};
use super::rows;
use super::ui::{Done, Failure, Ui, moment, table, text};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make an API token of a user: one line, for --token-file
    #[command(after_help = "\
Examples:
  umask 077; jos-hub api-token new --user ben --role operator --data /var/lib/jos-hub > ben.token
  jos-hub api-token new --user ci --role operator --tenant acme --days 30 --comment 'nightly push' --json --data hub

The line is shown once. It may do what its role says and never more than its user may at that time; what it does is theirs
in the audit log, and nobody approves a rollout of their own by it. A script gets a user of its own, with `jos-hub user add`.
It ends with its time, by `jos-hub api-token revoke`, and with its user.")]
    New {
        /// Whose it will be, as `user list` shows them
        #[arg(long, value_name = "NAME")]
        user: String,
        /// What it may do at most
        #[arg(long, value_name = "ROLE", value_parser = ["viewer", "operator", "admin"])]
        role: String,
        /// The tenant that it is for; every one that its user has a role in when absent
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// Days until it ends
        #[arg(long, value_name = "N", default_value_t = 90)]
        days: u32,
        /// For people: where it lies, what it is for
        #[arg(long, value_name = "TEXT", default_value = "")]
        comment: String,
    },
    /// List API tokens, without their secrets
    #[command(after_help = "Example: jos-hub api-token list --data /var/lib/jos-hub")]
    List,
    /// Revoke an API token: the next request that shows it is refused
    #[command(after_help = "\
Examples:
  jos-hub api-token revoke a-0123456789abcdef --data /var/lib/jos-hub
  jos-hub api-token revoke admin --data /var/lib/jos-hub             the one that init made")]
    Revoke {
        /// Its id, as `api-token list` shows it
        id: String,
    },
}

pub(super) fn run(command: &Command, place: &Where, ui: &Ui) -> Done {
    let door = place.open()?;
    match command {
        Command::New {
            user,
            role,
            tenant,
            days,
            comment,
        } => {
            let seconds = days
                .checked_mul(86_400)
                .ok_or_else(|| Failure::invalid("--days: expected 3650 at most"))?;
            let asked =
                json!({ "user": user, "role": role, "tenant": tenant, "valid_for": seconds, "comment": comment });
            let made = door.json("POST", "/api/v1/api-tokens", Sent::Json(asked))?;
            ui.result(&made, text(&made, "line"));
            if !ui.json {
                let token = &made["token"];
                ui.note(format!(
                    "{}: {role} for {user} {}, until {}; keep the line like a password",
                    text(token, "id"),
                    place_of(token),
                    moment(token, "expires")
                ));
            }
        }
        Command::List => {
            let list = door.json("GET", "/api/v1/api-tokens", Sent::Nothing)?;
            let row = |token: &Value| {
                let standing = if token["revoked"].is_null() { "-" } else { "revoked" };
                vec![
                    text(token, "id"),
                    text(token, "user"),
                    text(token, "role"),
                    place_of(token),
                    moment(token, "expires"),
                    standing.to_owned(),
                    text(token, "created_by"),
                    text(token, "comment"),
                ]
            };
            let head = ["id", "user", "role", "where", "until", "standing", "made by", "comment"];
            ui.result(&list, table(&head, &rows(&list, row)));
        }
        Command::Revoke { id } => {
            door.bytes("DELETE", &format!("/api/v1/api-tokens/{}", escaped(id)), Sent::Nothing)?;
            ui.result(&json!({ "revoked": id }), format!("{id} is revoked"));
        }
    }
    Ok(())
}

fn place_of(token: &Value) -> String {
    match text(token, "tenant").as_str() {
        "*" => "in every tenant".to_owned(),
        tenant => format!("in {tenant}"),
    }
}
