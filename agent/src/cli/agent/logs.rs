//! `jos agent logs`: the log where the init system keeps it.

use jos_schemas::text::Name;

use super::common;
use crate::cli::{Done, Failure, Ui};
use crate::place::Place;

/// Show the end of an agent's log
///
/// Its last 200 lines, read where the init system keeps it: systemd's journal, else ~/.jos/logs/NAME.log; on OpenWrt all
/// that logread still holds.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos agent logs kiosk\n  \
    jos agent logs kiosk --follow          goes on until Ctrl-C")]
pub(crate) struct Args {
    /// The agent's name
    #[arg(value_parser = common::name)]
    name: Name,
    /// Go on as new lines come, until interrupted
    #[arg(short, long)]
    follow: bool,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    let place = Place::new(None);
    let agent = common::find(&place, &args.name)?;
    let mut command = agent.log_command(&place, args.follow);
    let shown = command.get_program().to_string_lossy().into_owned();
    let failed = |e: std::io::Error| Failure::failed(format!("{shown}: {e}"));
    if ui.json {
        if args.follow {
            return Err(
                Failure::invalid("--follow has no end that JSON could close").help("leave --json or --follow out")
            );
        }
        let output = command.output().map_err(failed)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = text.lines().collect();
        ui.result(&serde_json::json!({ "name": args.name, "lines": lines }), "");
        return Ok(u8::from(!output.status.success()));
    }
    let status = command.status().map_err(failed)?;
    Ok(u8::from(!status.success()))
}
