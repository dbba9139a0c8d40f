//! `jos-hub alarms`, `jos-hub audit` and `jos-hub export`.

use serde_json::Value;

use super::door::{Sent, Where};
use super::ui::{Done, Failure, Ui, moment, table, text};
use super::{query, rows};

#[derive(clap::Args)]
#[command(after_help = "\
Example: jos-hub alarms --data /var/lib/jos-hub

`jos-hub device release ID` clears the alarms of a device, once you know what it was.")]
pub(super) struct AlarmArgs {
    /// Of one tenant; of all when absent
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// The cleared ones too
    #[arg(long)]
    all: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Example: jos-hub audit --limit 20 --data /var/lib/jos-hub")]
pub(super) struct AuditArgs {
    /// Of one tenant; of all when absent
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Entries, the newest first
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

pub(super) fn alarms(args: &AlarmArgs, place: &Where, ui: &Ui) -> Done {
    let door = place.open()?;
    let all = args.all.then_some("true");
    let list = door.json(
        "GET",
        &format!(
            "/api/v1/alarms{}",
            query(&[("tenant", args.tenant.as_deref()), ("all", all)])
        ),
        Sent::Nothing,
    )?;
    let row = |alarm: &Value| {
        vec![
            moment(alarm, "latest"),
            text(alarm, "kind"),
            text(alarm, "device"),
            text(alarm, "name"),
            text(alarm, "times"),
            text(alarm, "detail"),
        ]
    };
    ui.result(
        &list,
        table(
            &["latest", "kind", "device", "agent", "times", "found"],
            &rows(&list, row),
        ),
    );
    Ok(())
}

pub(super) fn audit(args: &AuditArgs, place: &Where, ui: &Ui) -> Done {
    let door = place.open()?;
    let limit = args.limit.to_string();
    let of = query(&[("tenant", args.tenant.as_deref()), ("limit", Some(&limit))]);
    let log = door.json("GET", &format!("/api/v1/audit{of}"), Sent::Nothing)?;
    let row = |entry: &Value| {
        let detail = if entry["detail"].is_null() {
            "-".to_owned()
        } else {
            entry["detail"].to_string()
        };
        vec![
            text(entry, "number"),
            moment(entry, "time"),
            text(entry, "actor"),
            text(entry, "action"),
            text(entry, "subject"),
            detail,
        ]
    };
    ui.result(
        &log,
        table(
            &["#", "time", "who", "what", "with what", "more"],
            &rows(&log["entries"], row),
        ),
    );
    match log["broken"].as_u64() {
        None => Ok(()),
        Some(number) => Err(Failure::failed(format!(
            "the log was changed at entry {number}: it does not follow the one before"
        ))
        .help("compare it with a backup or an export")),
    }
}

pub(super) fn export(place: &Where) -> Done {
    place.open()?.pour("/api/v1/export", &mut std::io::stdout().lock())
}
