//! `jos-hub push`, `jos-hub state` and `jos-hub trust`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use jos_ui::words::counted;
use serde_json::{Value, json};

use super::door::{Door, Sent, Where, escaped};
use super::ui::{Done, Failure, Ui, moment, table, text};
use super::{query, rollouts, rows};

/// What `push` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  jos-hub push state.json --data /var/lib/jos-hub
  jos-hub push --blob model.bin state.json --url https://hub.example:8444 --token-file admin.token
  jos-hub push --rollout plan.toml --revert-with back.json state.json --data /var/lib/jos-hub

The hub takes only what verifies against the tenant's trust document; it signs nothing itself. `jos sign` signs.")]
pub(super) struct PushArgs {
    /// Signed states, JSON
    #[arg(required_unless_present = "blobs", value_name = "SIGNED")]
    files: Vec<PathBuf>,
    /// A file that a state names by its SHA-256
    #[arg(long = "blob", value_name = "FILE")]
    blobs: Vec<PathBuf>,
    /// Bring the one state to its audience by this plan (`jos schema rollout`), JSON or TOML
    #[arg(long, value_name = "PLAN", requires = "files")]
    rollout: Option<PathBuf>,
    /// The signed state that the hub offers instead after a halt, as the plan's `revert_with` says
    #[arg(long, value_name = "SIGNED", requires = "rollout")]
    revert_with: Option<PathBuf>,
    /// The tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
}

#[derive(Subcommand)]
pub(super) enum TrustCommand {
    /// Hand over trust documents: the tenant's first one, or the next ones in order
    #[command(after_help = "Example: jos-hub trust push trust.json trust.v2.json --data /var/lib/jos-hub")]
    Push {
        /// Signed trust documents, JSON, in order
        #[arg(required = true, value_name = "TRUST")]
        files: Vec<PathBuf>,
        /// The tenant
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
    },
    /// List the versions that the hub has
    #[command(after_help = "Example: jos-hub trust list --tenant acme --data /var/lib/jos-hub")]
    List {
        /// The tenant
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
    },
}

#[derive(Subcommand)]
pub(super) enum StateCommand {
    /// List every version of every state
    #[command(after_help = "Example: jos-hub state list --tenant acme --data /var/lib/jos-hub")]
    List {
        /// Of one tenant; of all when absent
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
    },
    /// Print one version as it was signed
    #[command(after_help = "Example: jos-hub state show portal 42 --data /var/lib/jos-hub > state.json")]
    Show {
        /// The state's name
        name: String,
        /// Its version
        #[arg(value_name = "VERSION")]
        number: u64,
        /// The tenant
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
    },
    /// Offer a version no longer; devices that have it keep it
    #[command(after_help = "Example: jos-hub state retire portal 42 --reason 'wrong site' --data /var/lib/jos-hub")]
    Retire {
        /// The state's name
        name: String,
        /// Its version
        #[arg(value_name = "VERSION")]
        number: u64,
        /// The tenant
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// One line, for the audit log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

pub(super) fn push(args: &PushArgs, place: &Where, ui: &Ui) -> Done {
    let door = place.open()?;
    let of = query(&[("tenant", args.tenant.as_deref())]);
    let (mut results, mut lines) = (Vec::new(), Vec::new());
    for path in &args.blobs {
        let blob = door.json("POST", &format!("/api/v1/blobs{of}"), Sent::File(path))?;
        lines.push(format!(
            "{}: blob {}, {} bytes",
            path.display(),
            text(&blob, "sha256"),
            blob["size"]
        ));
        results.push(blob);
    }
    if let Some(plan) = &args.rollout {
        let [state] = &*args.files else {
            let found = args.files.len();
            return Err(Failure::invalid(format!(
                "found {found} states, expected one: a plan is about one version"
            )));
        };
        let made = rollouts::push(&door, ui, &of, (plan, state, args.revert_with.as_deref()))?;
        let rollout = &made["rollout"];
        lines.push(format!(
            "{}: {} version {} by the rollout {}, which is {}, meant for {}",
            state.display(),
            text(rollout, "name"),
            rollout["version"],
            text(rollout, "id"),
            text(rollout, "status"),
            counted(made["devices"].as_u64().unwrap_or(0), "device")
        ));
        results.push(made);
        ui.result(&Value::from(results), lines.join("\n"));
        return Ok(());
    }
    documents(
        &door,
        ui,
        &format!("/api/v1/states{of}"),
        &args.files,
        &mut results,
        &mut lines,
    )?;
    ui.result(&Value::from(results), lines.join("\n"));
    Ok(())
}

pub(super) fn trust(command: &TrustCommand, place: &Where, ui: &Ui) -> Done {
    let door = place.open()?;
    match command {
        TrustCommand::Push { files, tenant } => {
            let (mut results, mut lines) = (Vec::new(), Vec::new());
            let path = format!("/api/v1/trust{}", query(&[("tenant", tenant.as_deref())]));
            documents(&door, ui, &path, files, &mut results, &mut lines)?;
            ui.result(&Value::from(results), lines.join("\n"));
        }
        TrustCommand::List { tenant } => {
            let path = format!("/api/v1/trust{}", query(&[("tenant", tenant.as_deref())]));
            let list = door.json("GET", &path, Sent::Nothing)?;
            let row = |one: &Value| vec![text(one, "version"), moment(one, "added"), text(one, "content")];
            ui.result(&list, table(&["version", "handed over", "content"], &rows(&list, row)));
        }
    }
    Ok(())
}

/// Hands over documents one after the other; the first that is refused ends it.
fn documents(
    door: &Door,
    ui: &Ui,
    path: &str,
    files: &[PathBuf],
    results: &mut Vec<Value>,
    lines: &mut Vec<String>,
) -> Done {
    for file in files {
        let pushed = door.json("POST", path, Sent::Bytes(read(file)?));
        let pushed = pushed.map_err(|failure| failure.of_file(file))?;
        let devices = pushed["devices"]
            .as_u64()
            .map(|n| format!(", meant for {}", counted(n, "device")))
            .unwrap_or_default();
        let (name, standing) = (text(&pushed, "name"), text(&pushed, "standing"));
        lines.push(format!(
            "{}: {name} version {} is {standing}{devices}",
            file.display(),
            pushed["version"]
        ));
        for note in pushed["notes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            ui.note(format!("{}: {note}", file.display()));
        }
        results.push(pushed);
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

pub(super) fn state(command: &StateCommand, place: &Where, ui: &Ui) -> Done {
    let door = place.open()?;
    match command {
        StateCommand::List { tenant } => {
            let path = format!("/api/v1/states{}", query(&[("tenant", tenant.as_deref())]));
            let list = door.json("GET", &path, Sent::Nothing)?;
            let row = |one: &Value| {
                let standing = if one["retired"].is_null() {
                    "offered".to_owned()
                } else {
                    text(one, "retired_why")
                };
                vec![
                    text(one, "tenant"),
                    text(one, "name"),
                    text(one, "version"),
                    moment(one, "pushed"),
                    moment(one, "expires"),
                    standing,
                ]
            };
            let head = ["tenant", "name", "version", "pushed", "until", "standing"];
            ui.result(&list, table(&head, &rows(&list, row)));
        }
        StateCommand::Show { name, number, tenant } => {
            let of = query(&[("tenant", tenant.as_deref())]);
            ui.bytes(&door.bytes(
                "GET",
                &format!("/api/v1/states/{}/{number}{of}", escaped(name)),
                Sent::Nothing,
            )?);
        }
        StateCommand::Retire {
            name,
            number,
            tenant,
            reason,
        } => {
            let of = query(&[("tenant", tenant.as_deref())]);
            let path = format!("/api/v1/states/{}/{number}/retire{of}", escaped(name));
            door.bytes("POST", &path, Sent::Json(json!({ "reason": reason })))?;
            let done = json!({ "name": name, "version": number, "retired": true });
            ui.result(&done, format!("version {number} of {name} is offered no longer"));
        }
    }
    Ok(())
}
