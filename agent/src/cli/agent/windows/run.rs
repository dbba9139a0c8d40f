//! `jos agent run` on Windows: in the foreground, or as the service.

use std::path::PathBuf;

use jos_schemas::documents::agent_config::AgentConfig;
use jos_schemas::layout::Layout;

use super::applying::{Ready, Target, failed};
use crate::cli::{Done, Failure, Ui};
use crate::daemon::{self, Daemon, Kept};
use crate::installed;
use crate::place::Place;

/// Run the agent in the foreground: what the service does
///
/// Takes back what a crash left half done, then looks at the state and at the world every interval, and puts right what is
/// not as the state says. Settings are read again at every look. Ctrl-C ends it; its log goes to standard error.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos agent run\n  \
    jos agent run state.json --policy policy.toml --trust trust.json --state-dir data --once\n\n\
    JOS_LOG says how much is logged: off, error, warn, info (default) or debug.\n\
    Exit codes: 0 ended as told, 1 refused or failed, 2 bad use or invalid input.")]
pub(crate) struct Args {
    /// The desired state [default: what agent.toml names]
    #[arg(value_name = "STATE")]
    state: Option<PathBuf>,
    /// What it may do [default: what agent.toml names, else C:\ProgramData\jos\policy.toml]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Whose signatures count [default: what agent.toml names, else C:\ProgramData\jos\share\trust.json]
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Where its data lies [default: what agent.toml names, else C:\ProgramData\jos\state]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Seconds between two looks at the world, 1 to 86400 [default: what agent.toml says, else 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    interval: Option<u32>,
    /// One look, then end; exit code 1 when something is not as it should be
    #[arg(long)]
    once: bool,
    /// Speak to the service control manager, which started this
    #[arg(long, hide = true, conflicts_with_all = ["state", "once"])]
    service: bool,
}

pub(crate) fn run(args: &Args, _: &Ui) -> Done {
    let source = Source {
        state: args.state.clone(),
        policy: args.policy.clone(),
        trust: args.trust.clone(),
        state_dir: args.state_dir.clone(),
        interval: args.interval,
    };
    if args.service {
        return crate::service::become_it(Box::new(source));
    }
    crate::logger::start();
    crate::signals::heed_console();
    let mut daemon = Daemon::new(Box::new(source))?;
    if args.once { daemon.once() } else { daemon.serve(&|| {}) }
}

/// Where what is kept comes from: the command line, else agent.toml, read anew at each look.
struct Source {
    state: Option<PathBuf>,
    policy: Option<PathBuf>,
    trust: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    interval: Option<u32>,
}

impl daemon::Source for Source {
    fn read(&self) -> Result<Box<dyn Kept>, Failure> {
        let place = Place::new(None);
        let config = installed::read(&place)
            .map_err(Failure::invalid)?
            .map(|agent| agent.config);
        if let Some(config) = &config {
            supported(config)?;
        }
        let configured = config.as_ref().and_then(|c| c.state.as_ref().or(c.artifact.as_ref()));
        let state = match (&self.state, configured) {
            (Some(state), _) => state.clone(),
            (None, Some(path)) => place.at(path.as_str()),
            (None, None) => {
                let message = format!("{}: it names no state", place.at(Layout::HERE.config).display());
                return Err(Failure::invalid(message).help("set `state`, or name one: jos agent run state.json"));
            }
        };
        let baked = state.starts_with(place.at(Layout::HERE.share));
        let target = Target::of(
            state,
            self.policy.clone(),
            self.trust.clone(),
            self.state_dir.clone(),
            baked,
        );
        let ready = target.ready()?;
        let interval = self.interval.or(config.and_then(|c| c.interval));
        Ok(Box::new(Look { ready, interval }))
    }
}

struct Look {
    ready: Ready,
    interval: Option<u32>,
}

impl Kept for Look {
    fn name(&self) -> &str {
        self.ready.name().as_str()
    }
    fn state_dir(&self) -> PathBuf {
        self.ready.state_dir().to_owned()
    }
    fn interval(&self) -> u32 {
        self.interval.unwrap_or(60)
    }
    fn bytes(&self) -> &[u8] {
        self.ready.bytes()
    }
    fn plane(&self) -> Result<jos_runtime::Plane<'_>, Failure> {
        self.ready.plane()
    }
    fn judge(&self, plane: &jos_runtime::Plane<'_>) -> Result<jos_runtime::Outcome, Failure> {
        let state = self.ready.verified(plane, true)?;
        let seconds = plane.patience_with(&state).map_err(failed)?;
        if seconds > 0 {
            let message = format!(
                "version {} could not be kept; tried again in {seconds} s",
                state.version()
            );
            return Err(Failure::failed(message));
        }
        plane.apply(&state).map_err(failed)
    }
}

/// What agent.toml asks for and this program cannot do here, by name.
pub(super) fn supported(config: &AgentConfig) -> Result<(), Failure> {
    let file = Place::new(None).at(Layout::HERE.config);
    let not = |what: &str, help: &str| {
        Err(Failure::failed(format!("{}: {what} is not on Windows yet", file.display())).help(help))
    };
    if config.hub.is_some() {
        return not(
            "[hub]",
            "take it out: the agent keeps the state of a local file; a hub is called from Linux and macOS so far",
        );
    }
    if config.runtime.is_some() {
        return not("[runtime]", "take it out: agents run on Linux and macOS so far");
    }
    let artifact = config.artifact.as_ref().filter(|a| a.as_str().ends_with(".jos"));
    if artifact.is_some() {
        return not(
            "a .jos artifact",
            "name a signed desired state: state = \"/ProgramData/jos/share/state.json\"",
        );
    }
    Ok(())
}
