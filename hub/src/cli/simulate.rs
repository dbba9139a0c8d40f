//! `jos-hub simulate`.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jos_link::Token;
use jos_schemas::text::Name;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::ui::{Done, Failure, Ui, table};
use crate::simulate::{self, Asked};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  jos-hub token new --uses 1000 --json --data hub | jq -r .line > token
  jos-hub simulate --devices 1000 --enrol-file token --name portal
  jos-hub simulate --devices 1000 --enrol-file token --name portal --fail 5% --for 600

Each device has keys of its own, enrols, and stays in the hub's registry: use a hub, or a tenant, that is for tests. What a
state asks for is not done; the outcome is drawn by lot. Ctrl-C ends it and prints the figures.")]
pub(super) struct Args {
    /// How many devices
    #[arg(long, value_name = "N", default_value = "100")]
    devices: usize,
    /// Where the hub is; as the token says when absent
    #[arg(long, value_name = "URL")]
    hub: Option<String>,
    /// File with an enrolment token that has as many uses
    #[arg(long, value_name = "FILE", required_unless_present = "token")]
    enrol_file: Option<PathBuf>,
    /// The token itself, where others on this machine see it
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// The agent's name: which states the devices take
    #[arg(long, value_name = "NAME", default_value = "simulated")]
    name: String,
    /// Seconds over which the devices come up
    #[arg(long, value_name = "S", default_value = "10")]
    ramp: u64,
    /// Seconds that they are there for after that
    #[arg(long = "for", value_name = "S", default_value = "60")]
    stay: u64,
    /// Seconds between two heartbeats of a device
    #[arg(long, value_name = "S", default_value = "60", value_parser = clap::value_parser!(u64).range(1..))]
    interval: u64,
    /// Milliseconds that an apply takes
    #[arg(long, value_name = "MS", default_value = "500")]
    apply: u64,
    /// Share of the applies that fail
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = percent)]
    fail: u32,
    /// Share of the devices that say nothing more once they got a version
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = percent)]
    silent: u32,
    /// The lots are drawn from this
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// An address to call from; may be given again
    #[arg(long, value_name = "ADDR")]
    from: Vec<IpAddr>,
}

/// `5%` or `0.1%` in millionths.
fn percent(text: &str) -> Result<u32, String> {
    let number: f64 = text
        .trim_end_matches('%')
        .parse()
        .map_err(|_| format!("found {text:?}, expected a share as 5%"))?;
    if (0.0..=100.0).contains(&number) {
        Ok((number * 10_000.0).round() as u32)
    } else {
        Err(format!("found {text:?}, expected 0% to 100%"))
    }
}

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    let line = match (&args.token, &args.enrol_file) {
        (Some(line), _) => line.clone(),
        (None, Some(path)) => {
            fs::read_to_string(path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?
        }
        (None, None) => return Err(Failure::invalid("an enrolment token is missing")),
    };
    let token: Token = line.parse().map_err(Failure::invalid)?;
    if let Some(hub) = args.hub.as_deref().filter(|hub| !jos_link::token::is_address(hub)) {
        return Err(Failure::invalid(format!(
            "--hub: found {hub:?}, expected \"https://HOST:PORT\""
        )));
    }
    let asked = Asked {
        devices: args.devices,
        hub: args.hub.clone(),
        token,
        name: Name::new(&*args.name).map_err(|broken| Failure::invalid(format!("--name: {broken}")))?,
        ramp: Duration::from_secs(args.ramp),
        stay: Duration::from_secs(args.stay),
        interval: Duration::from_secs(args.interval),
        apply: Duration::from_millis(args.apply),
        fail: args.fail,
        silent: args.silent,
        seed: args.seed,
        from: args.from.clone(),
    };
    let files = super::serve::open_files().unwrap_or(1024);
    if files < args.devices as u64 + 100 {
        return Err(Failure::failed(format!(
            "this process may open {files} files, and {} devices keep a connection each",
            args.devices
        ))
        .help("raise the limit (`ulimit -n`), or simulate fewer"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let ui_of_progress = *ui;
    let figures = runtime.block_on(async {
        let (end, ending) = tokio::sync::watch::channel(false);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
        tokio::spawn(async move {
            interrupt.recv().await;
            end.send_replace(true);
        });
        let progress = move |figures: &simulate::figures::Figures| {
            ui_of_progress.note(format!(
                "{} connected, {} heartbeats (p99 {:.1} ms), {} reports",
                figures.connected.load(Ordering::Relaxed),
                figures.heartbeat.count(),
                figures.heartbeat.quantile(0.99),
                figures.report.count()
            ));
        };
        simulate::run(asked, ending, progress).await.map_err(Failure::failed)
    })?;
    let value = figures.value();
    ui.result(&value, described(&value));
    Ok(())
}

fn described(value: &Value) -> String {
    let shown = |value: &Value| {
        value
            .as_f64()
            .map_or_else(|| "-".to_owned(), |number| format!("{number:.1}"))
    };
    let times = value["times"].as_object().into_iter().flatten();
    let rows: Vec<Vec<String>> = times
        .map(|(name, of)| {
            let mut row = vec![name.clone(), of["count"].to_string()];
            row.extend(["per_second", "p50_ms", "p99_ms", "max_ms"].map(|member| shown(&of[member])));
            row
        })
        .collect();
    let mut out = format!(
        "{} devices connected after {} s, {} long polls without news\n\n{}",
        value["connected"],
        shown(&value["seconds"]),
        value["polls"],
        table(&["what", "count", "a second", "p50 ms", "p99 ms", "most ms"], &rows)
    );
    let told = value["told"].as_array().into_iter().flatten();
    let told: Vec<Vec<String>> = told
        .map(|of| {
            vec![
                of["version"].to_string(),
                of["devices"].to_string(),
                shown(&of["first_to_last_ms"]),
            ]
        })
        .collect();
    out.push_str(&format!(
        "\n\n{}",
        table(&["version", "devices told", "first to last ms"], &told)
    ));
    let errors = value["errors"].as_object().into_iter().flatten();
    let errors: Vec<Vec<String>> = errors
        .map(|(what, count)| vec![what.clone(), count.to_string()])
        .collect();
    out.push_str(&format!("\n\n{}", table(&["error", "times"], &errors)));
    out
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn a_share_is_read_with_and_without_its_sign() {
        assert_eq!(
            (percent("5%"), percent("0.1"), percent("100%")),
            (Ok(50_000), Ok(1000), Ok(1_000_000))
        );
        assert!(percent("101%").is_err() && percent("half").is_err() && percent("-1%").is_err());
    }
}
