//! `jos-hub rollout`, and `jos-hub push --rollout`.

use std::path::Path;

use clap::Subcommand;
use jos_schemas::documents::rollout::Rollout;
use jos_schemas::read::{self, Format};
use serde_json::{Value, json};

use super::door::{Door, Sent, Where, escaped};
use super::ui::{Done, Failure, Ui, moment, table, text};
use super::{query, rows};

/// What an act on a rollout takes.
#[derive(clap::Args)]
pub(super) struct Act {
    /// Its id, as `rollout list` shows it
    id: String,
    /// One line, for the audit log and for whoever looks
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// List rollouts, the newest first
    #[command(after_help = "Example: jos-hub rollout list --tenant acme --data /var/lib/jos-hub")]
    List {
        /// Of one tenant; of all when absent
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
    },
    /// Show a rollout: its phases in numbers, and who failed
    #[command(after_help = "Example: jos-hub rollout show r-0123456789abcdef --data /var/lib/jos-hub")]
    Show {
        /// Its id
        id: String,
    },
    /// Approve a rollout that somebody else made
    #[command(after_help = "\
Example: jos-hub rollout approve r-0123456789abcdef --url https://hub.example:8444 --token-file admin.token")]
    Approve(Act),
    /// Offer the version to no more devices for now
    #[command(after_help = "Example: jos-hub rollout pause r-0123456789abcdef --data /var/lib/jos-hub")]
    Pause(Act),
    /// Go on with a paused or halted one; failures so far are passed over
    #[command(
        after_help = "Example: jos-hub rollout resume r-0123456789abcdef --reason 'two old printers' --data /var/lib/jos-hub"
    )]
    Resume(Act),
    /// Offer the version to no more devices, for good; those that have it keep it
    #[command(
        after_help = "Example: jos-hub rollout abort r-0123456789abcdef --reason 'wrong driver' --data /var/lib/jos-hub"
    )]
    Abort(Act),
}

pub(super) fn run(command: &Command, place: &Where, ui: &Ui) -> Done {
    let door = place.open()?;
    match command {
        Command::List { tenant } => {
            let path = format!("/api/v1/rollouts{}", query(&[("tenant", tenant.as_deref())]));
            let list = door.json("GET", &path, Sent::Nothing)?;
            let head = ["id", "tenant", "name", "version", "standing", "phase", "since", "why"];
            ui.result(&list, table(&head, &rows(&list, row)));
            Ok(())
        }
        Command::Show { id } => show(&door, ui, id),
        Command::Approve(act) => told(&door, ui, act, "approve"),
        Command::Pause(act) => told(&door, ui, act, "pause"),
        Command::Resume(act) => told(&door, ui, act, "resume"),
        Command::Abort(act) => told(&door, ui, act, "abort"),
    }
}

/// Hands over a state with its plan.
pub(super) fn push(
    door: &Door,
    ui: &Ui,
    of: &str,
    (plan, state, revert): (&Path, &Path, Option<&Path>),
) -> Result<Value, Failure> {
    let bytes = std::fs::read(plan).map_err(|error| Failure::failed(format!("{}: {error}", plan.display())))?;
    let name = plan.display().to_string();
    let rollout = read::document::<Rollout>(&name, &bytes, Format::of_path(plan)).map_err(Failure::invalid)?;
    let mut asked = json!({ "rollout": rollout.value, "state": signed(state)? });
    if let Some(revert) = revert {
        asked["revert"] = signed(revert)?.into();
    }
    let made = door.json("POST", &format!("/api/v1/rollouts{of}"), Sent::Json(asked));
    let made = made.map_err(|failure| failure.of_file(state))?;
    for note in made["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        ui.note(format!("{}: {note}", state.display()));
    }
    Ok(made)
}

/// The very bytes that were signed.
fn signed(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

fn row(rollout: &Value) -> Vec<String> {
    vec![
        text(rollout, "id"),
        text(rollout, "tenant"),
        text(rollout, "name"),
        text(rollout, "version"),
        text(rollout, "status"),
        format!(
            "{} of {}",
            rollout["phase"].as_u64().unwrap_or(0) + 1,
            rollout["plan"]["phases"].as_array().map_or(0, Vec::len)
        ),
        moment(rollout, "created"),
        text(rollout, "why"),
    ]
}

fn show(door: &Door, ui: &Ui, id: &str) -> Done {
    let path = format!("/api/v1/rollouts/{}", escaped(id));
    let mut shown = door.json("GET", &path, Sent::Nothing)?;
    let failed = door.json("GET", &format!("{path}/devices?outcome=failed&limit=20"), Sent::Nothing)?;
    let rollout = &shown["rollout"];
    let mut out = format!(
        "{id}  {}\n  state      {} version {} in {}\n  made       {} by {}\n  approved   {}\n  phase      {} of {}, since {}\n  why        {}\n",
        text(rollout, "status"),
        text(rollout, "name"),
        text(rollout, "version"),
        text(rollout, "tenant"),
        moment(rollout, "created"),
        text(rollout, "created_by"),
        text(rollout, "approved_by"),
        rollout["phase"].as_u64().unwrap_or(0) + 1,
        rollout["plan"]["phases"].as_array().map_or(0, Vec::len),
        moment(rollout, "since"),
        text(rollout, "why"),
    );
    let phase = |tally: &Value| {
        let number = tally["phase"].as_u64().unwrap_or(0);
        let planned = usize::try_from(number).map(|at| rollout["planned"][at].to_string());
        let mut row = vec![(number + 1).to_string(), planned.unwrap_or_default()];
        row.extend(["let_in", "offered", "well", "failed", "silent"].map(|member| text(tally, member)));
        row
    };
    let head = ["phase", "planned", "let in", "offered", "well", "failed", "silent"];
    out.push_str(&format!("\n{}", table(&head, &rows(&shown["phases"], phase))));
    let device = |one: &Value| vec![text(one, "device"), moment(one, "settled"), text(one, "reason")];
    if failed.as_array().is_some_and(|failed| !failed.is_empty()) {
        out.push_str(&format!(
            "\n\n{}",
            table(&["failed", "when", "why"], &rows(&failed, device))
        ));
    }
    shown["failed"] = failed;
    ui.result(&shown, out);
    Ok(())
}

fn told(door: &Door, ui: &Ui, act: &Act, verb: &str) -> Done {
    let path = format!("/api/v1/rollouts/{}/{verb}", escaped(&act.id));
    let rollout = door.json("POST", &path, Sent::Json(json!({ "reason": act.reason })))?;
    ui.result(&rollout, format!("{} is {}", act.id, text(&rollout, "status")));
    Ok(())
}
