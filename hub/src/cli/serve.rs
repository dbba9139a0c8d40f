//! `jos-hub serve`.

use std::net::SocketAddr;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

use super::door::{Where, failed_to_open};
use super::ui::{Done, Failure, Ui};
use crate::clock::Clock;
use crate::hub::Hub;
use crate::serve::{self, Limits};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  jos-hub serve --data /var/lib/jos-hub
  JOS_HUB_DATABASE_URL=postgres://hub@db.example/fleet jos-hub serve --data hub    any number of hubs, one database
  jos-hub serve --data hub --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --json    prints the ports it took

Devices need to reach --listen. Admins, their browsers and Prometheus reach --admin-listen, which is loopback unless you
say otherwise.
Both speak TLS 1.3 with the hub's own CA. SIGTERM and SIGINT end it in order: what was acknowledged is on disk.")]
pub(super) struct Args {
    /// Where devices reach the hub
    #[arg(long, value_name = "ADDR", default_value = "[::]:8443")]
    listen: SocketAddr,
    /// Where admins and monitoring reach it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8444")]
    admin_listen: SocketAddr,
    /// How much to log, to standard error
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = ["error", "warn", "info", "debug"])]
    log: String,
    /// How to log
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    log_format: String,
}

pub(super) fn run(args: &Args, place: &Where, ui: &Ui) -> Done {
    let place = place.place("serve")?;
    logging(args);
    let limits = Limits {
        connections: connections(),
        ..Limits::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let hub = Hub::open(&place, Clock::default())
            .await
            .map_err(|error| failed_to_open(&error))?;
        // Before the listeners are there: whoever reads the addresses may end the hub at once.
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
        let server = serve::start(hub, args.listen, args.admin_listen, limits)
            .await
            .map_err(Failure::failed)?;
        let (devices, admins) = (server.devices.to_string(), server.admins.to_string());
        if ui.json {
            // One line, so that a script reads it while the hub goes on.
            ui.bytes(format!("{}\n", json!({ "devices": devices, "admins": admins })).as_bytes());
        } else {
            ui.result(
                &json!(null),
                format!("devices:   https://{devices}\nadmins:    https://{admins}\ndashboard: https://{admins}/"),
            );
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending");
        server.stop().await;
        Ok(())
    })
}

fn logging(args: &Args) {
    let level: LevelFilter = args.log.parse().unwrap_or(LevelFilter::INFO);
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    if args.log_format == "json" {
        log.json().flatten_event(true).init();
    } else {
        log.init();
    }
}

/// As many connections as this process may have open files, some left for the database.
fn connections() -> usize {
    const OWN: u64 = 128;
    let most = Limits::default().connections;
    let files = open_files().unwrap_or(512 + OWN);
    usize::try_from(files.saturating_sub(OWN))
        .unwrap_or(most)
        .clamp(16, most)
}

/// Raises the number of files that this process may open as far as it may, and gives it.
pub(super) fn open_files() -> Option<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    Some(if raised { hard } else { soft })
}
