//! `jos-hub token`.

use clap::Subcommand;
use jos_ui::words::counted;
use serde_json::{Value, json};

use super::door::{Sent, Where, escaped};
use super::ui::{Done, Failure, Ui, moment, table, text};
use super::{pairs, query, rows};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a token: one line that a device enrols with
    #[command(after_help = "\
Examples:
  jos-hub token new --data /var/lib/jos-hub                          one device, within a day
  jos-hub token new --uses 200 --days 30 --label site=mx-3 --comment 'batch 7' --data /var/lib/jos-hub

The line is shown once. Whoever has it may enrol a device until it is used up, over or revoked: keep it like a password.")]
    New {
        /// The tenant that devices join by it
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// How many devices may use it
        #[arg(long, value_name = "N", default_value_t = 1)]
        uses: u32,
        /// Days until it ends
        #[arg(long, value_name = "N", default_value_t = 1)]
        days: u32,
        /// A label that devices get by it
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
        /// For people
        #[arg(long, value_name = "TEXT", default_value = "")]
        comment: String,
        /// Where devices find the hub, best first; the hub's own addresses when absent
        #[arg(long = "address", value_name = "URL")]
        addresses: Vec<String>,
    },
    /// List tokens, without their secrets
    #[command(after_help = "Example: jos-hub token list --data /var/lib/jos-hub")]
    List {
        /// Of one tenant; of all when absent
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
    },
    /// Revoke a token; what it let in stays
    #[command(after_help = "Example: jos-hub token revoke t-0123456789abcdef --data /var/lib/jos-hub")]
    Revoke {
        /// Its id, as `token list` shows it
        id: String,
    },
}

pub(super) fn run(command: &Command, place: &Where, ui: &Ui) -> Done {
    let door = place.open()?;
    match command {
        Command::New {
            tenant,
            uses,
            days,
            labels,
            comment,
            addresses,
        } => {
            let seconds = days
                .checked_mul(86_400)
                .ok_or_else(|| Failure::invalid("--days: expected 3650 at most"))?;
            let mut asked = json!({
                "uses": uses, "valid_for": seconds, "labels": pairs(labels)?, "comment": comment, "addresses": addresses,
            });
            if let Some(tenant) = tenant {
                asked["tenant"] = Value::from(tenant.as_str());
            }
            let made = door.json("POST", "/api/v1/tokens", Sent::Json(asked))?;
            ui.result(&made, text(&made, "line"));
            if !ui.json {
                let token = &made["token"];
                ui.note(format!(
                    "{}: {}, until {}",
                    text(token, "id"),
                    counted(u64::from(*uses), "use"),
                    moment(token, "expires")
                ));
            }
        }
        Command::List { tenant } => {
            let path = format!("/api/v1/tokens{}", query(&[("tenant", tenant.as_deref())]));
            let list = door.json("GET", &path, Sent::Nothing)?;
            let row = |token: &Value| {
                let standing = if token["revoked"].is_null() { "-" } else { "revoked" };
                vec![
                    text(token, "id"),
                    text(token, "tenant"),
                    format!("{}/{}", token["used"], token["uses"]),
                    moment(token, "expires"),
                    standing.to_owned(),
                    text(token, "labels"),
                    text(token, "comment"),
                ]
            };
            let head = ["id", "tenant", "used", "until", "standing", "labels", "comment"];
            ui.result(&list, table(&head, &rows(&list, row)));
        }
        Command::Revoke { id } => {
            door.bytes("DELETE", &format!("/api/v1/tokens/{}", escaped(id)), Sent::Nothing)?;
            ui.result(&json!({ "revoked": id }), format!("{id} is revoked"));
        }
    }
    Ok(())
}
