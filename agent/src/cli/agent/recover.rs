//! `jos agent recover`: what a crash left half done is finished or taken back, and nothing else happens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jos_runtime::{Plane, PlaneError, Setup};
use jos_schemas::documents::agent_config::AgentConfig;
use jos_schemas::documents::policy::Policy;
use jos_schemas::layout::Layout;
use jos_schemas::read::{self, Format};
use serde_json::json;

use crate::cli::{Done, Failure, Ui};
use crate::run::settings::{Given, Settings};
use crate::world::{Real, built};

const HERE: Layout = Layout::HERE;

/// Finish or take back what a crash left half done
///
/// The agent does this by itself as its first act, and so does every `apply`. At boot the files alone can go back earlier,
/// before the network and the services that read them come up: with --files nothing is told to any service, no command
/// runs and neither policy nor trust is read. What remains is done when the agent starts.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos agent recover                                        the agent of /etc/jos/agent.toml\n  \
    jos agent recover --files --config /etc/jos/agent.toml   early at boot\n\n\
    Exit codes: 0 nothing is left to do, 1 something could not be put back, 2 bad use or invalid input.")]
pub(crate) struct Args {
    /// Settings
    #[arg(long, value_name = "FILE", default_value = HERE.config)]
    config: PathBuf,
    /// Where its data lies [default: what agent.toml names, else /var/lib/jos]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Only the files, for a moment at which no service runs
    #[arg(long)]
    files: bool,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    let setup = if args.files { bare(args)? } else { whole(args)? };
    // Where there is no data there is nothing to recover, and none is made.
    if !setup.state_dir.join(setup.name.as_str()).is_dir() {
        ui.result(&json!({ "recovered": false }), "nothing to recover\n");
        return Ok(0);
    }
    let real = Real::new();
    let plane = Plane::open(setup, real.world()).map_err(Failure::failed)?;
    if args.files {
        let left = plane.recover_files().map_err(Failure::failed)?;
        let text = match &left {
            None => "nothing to recover\n".to_owned(),
            Some(left) if left.is_empty() => "the files of an interrupted change are back\n".to_owned(),
            Some(left) => left.iter().map(|l| format!("left: {l}\n")).collect(),
        };
        ui.result(&json!({ "recovered": left.is_some(), "left": left }), text);
        return Ok(u8::from(left.is_some_and(|l| !l.is_empty())));
    }
    let recovered = match plane.recover() {
        // The agent's own package: somebody else brings that to its end.
        Err(PlaneError::Upgrading { .. }) => plane.follow_upgrade(),
        other => other,
    };
    match recovered.map_err(Failure::failed)? {
        None => {
            ui.result(&json!({ "recovered": false }), "nothing to recover\n");
            Ok(0)
        }
        Some(outcome) => {
            ui.result(&outcome, outcome.text(&|sgr, text| ui.paint(sgr, text)));
            Ok(u8::from(!outcome.left.is_empty()))
        }
    }
}

fn whole(args: &Args) -> Result<Setup, Failure> {
    let given = Given {
        config: Some(args.config.clone()),
        state_dir: args.state_dir.clone(),
        ..Given::default()
    };
    Ok(Settings::read(&given)?.setup())
}

/// As little as it takes to find the journal: an unreadable policy must not keep the old files from coming back.
fn bare(args: &Args) -> Result<Setup, Failure> {
    let shown = args.config.display().to_string();
    let bytes = crate::files::read(&args.config, crate::subject::LIMIT).map_err(Failure::invalid)?;
    let config = read::document::<AgentConfig>(&shown, &bytes, Format::of_path(&args.config));
    let config = config
        .map_err(|report| Failure::invalid(&report).details(report))?
        .value;
    let of = |set: Option<&str>, default: &str| PathBuf::from(set.unwrap_or(default));
    Ok(Setup {
        name: config.name.clone(),
        root: Path::new("/").to_owned(),
        state_dir: args
            .state_dir
            .clone()
            .unwrap_or_else(|| of(config.state_dir.as_ref().map(|p| p.as_str()), HERE.state)),
        secrets: of(config.secrets.as_ref().map(|p| p.as_str()), HERE.secrets),
        policy: Policy::default(),
        protected: Vec::new(),
        own_services: Vec::new(),
        built: built(),
        wait: Duration::ZERO,
        node: None,
    })
}
