//! `jos console`: the node's pages, in a browser on this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use jos_node::models::Echo;
use serde_json::json;

use super::data::{Place, means, outside};
use crate::cli::{Done, Failure, Ui};
use crate::console::Server;
use crate::signals::{self, Signals};

/// Show a node in the browser: jobs, agents, replays, schedules, evaluations, live
///
/// The console is beside the node, not in it: it works where no node runs, and any number of them may be open. It listens to
/// this machine alone. The address that it prints has a token in it, new at each start; without it nobody gets in.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos console\n  \
    jos console --open                          opens the browser too\n  \
    jos console --port 0                        any port that is free\n  \
    ssh -L 7117:127.0.0.1:7117 HOST jos console --data-dir /srv/hive\n\n\
    Until Ctrl-C. Exit codes: 0 stopped, 1 it could not listen, 2 bad use.")]
pub(crate) struct Args {
    /// The port; 0 for one that is free
    #[arg(long, value_name = "N", default_value_t = 7117)]
    port: u16,
    /// Listen on this address of the machine instead of 127.0.0.1. It is plain HTTP: who can read the network reads the token
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<IpAddr>,
    /// Open the browser
    #[arg(long)]
    open: bool,
}

pub(crate) fn run(args: &Args, place: &Place, ui: &Ui) -> Done {
    crate::logger::start();
    let data = place.open()?;
    let queue = place.queue_of_files(&data, "the console")?;
    let signals = Signals::install(false).map_err(|e| Failure::failed(format!("signals: {e}")))?;
    let address = SocketAddr::new(args.listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), args.port);
    let means = means(std::sync::Arc::new(Echo));
    let server = Server::bind(address, data, queue, outside(), means).map_err(|e| {
        Failure::failed(format!("{address}: {e}"))
            .help("is a console open already? --port 0 takes any port that is free")
    })?;
    let url = server.url();
    if !address.ip().is_loopback() {
        log::warn!("{address} is open to others, and plain HTTP: only the token keeps them out");
    }
    ui.result(&json!({ "url": url }), format!("{url}\n"));
    if args.open && !opened(&url) {
        log::warn!("no browser could be started; open the address above");
    }
    let stopping = || {
        signals.drain();
        signals::stop_requested()
    };
    server
        .serve(signals.as_fd(), &stopping)
        .map_err(|e| Failure::failed(format!("{address}: {e}")))?;
    Ok(0)
}

/// Starts the browser of the desktop.
fn opened(url: &str) -> bool {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(program);
    command
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().is_ok()
}
