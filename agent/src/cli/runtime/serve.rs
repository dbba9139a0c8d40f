//! `jos serve`: the node itself.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use jos_node::contract::Device;
use jos_node::declared;
use jos_node::place::DataDir;
use jos_node::serve::{Served, Settings, serve};

use super::data::{Place, failure, outside};
use super::joined::Joined;
use crate::cli::{Done, Failure};
use crate::signals::{self, Signals};

/// Run the node: take jobs from inbox/, put results into outbox/, until it is told to stop
///
/// It sleeps until a file comes; nothing ticks. Agents and tools are picked up as their files come, change and go. Any number
/// of nodes may share the directory: each job is run once, and again only if the node that ran it died.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos serve\n  \
    jos serve --data-dir /srv/hive --workers 16\n  \
    jos serve --drain                           works off what is there, then ends\n\n\
    JOS_QUEUE_URL=postgres://USER@HOST/DB takes jobs from there: for nodes that share no directory (built with it).\n\
    Exit codes: 0 stopped or drained, 1 the ledger or the directory is damaged or the database refuses, 2 bad use.\n\
    JOS_LOG=debug|info|warn|error|off says how much is logged.")]
pub(crate) struct Args {
    /// Jobs at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    /// Seconds without a sign of life after which another node is held to be dead
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    lease: u16,
    /// End when nothing is left to do
    #[arg(long)]
    drain: bool,
    /// Run by a device's daemon: standard input is the stream to its plane
    #[arg(long, hide = true)]
    joined: bool,
    /// The stream's first line says what the daemon's agent.toml declares for this node
    #[arg(long, hide = true, requires = "joined")]
    declared: bool,
}

pub(crate) fn run(args: &Args, place: &Place) -> Done {
    crate::logger::start();
    let (data, _) = DataDir::create(place.root()).map_err(failure)?;
    let signals = Signals::install(false).map_err(|e| Failure::failed(format!("signals: {e}")))?;
    let settings = Settings {
        workers: usize::from(args.workers),
        lease: Duration::from_secs(u64::from(args.lease)),
        drain: args.drain,
    };
    let queue = place.queue(&data)?;
    log::info!(
        "{}: serving {}, {} jobs at a time",
        data.root().display(),
        queue.place(),
        settings.workers
    );
    let stopping = || {
        signals.drain();
        signals::stop_requested()
    };
    let joined = match args.joined {
        true => Some(Joined::start(data.root()).map_err(Failure::failed)?),
        false => None,
    };
    let mut clashes = Vec::new();
    if let Some(joined) = joined.as_ref().filter(|_| args.declared) {
        let declared = joined.declared().map_err(Failure::failed)?;
        let fitted = declared::fit(&data, &queue, &declared).map_err(failure)?;
        for line in fitted.told() {
            log::info!("{line}");
        }
        for clash in &fitted.clashes {
            log::warn!("{}: {}", clash.file, clash.reason);
        }
        clashes = fitted.clashes;
    }
    let device = joined.map(|joined| Arc::new(joined) as Arc<dyn Device>);
    match serve(
        &data,
        queue.clone(),
        place.agents_of(&queue, device, clashes)?,
        &outside(),
        &settings,
        signals.as_fd(),
        &stopping,
    )
    .map_err(failure)?
    {
        Served::Quiet => log::info!("stopped"),
        Served::Left(jobs) => log::info!("stopped; {jobs} jobs are taken up again at the next start"),
    }
    Ok(0)
}
