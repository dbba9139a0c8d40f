//! `jos agent floors`: the versions that this device does not go back behind, and an operator's word where they were lost.

use std::fmt::Write as _;
use std::path::PathBuf;

use jos_runtime::{Plane, Word};
use jos_schemas::layout::Layout;
use jos_trust::{Floors, Stream};
use serde_json::{Value, json};

use crate::cli::{Done, Failure, Ui};
use crate::run::settings::{Given, Settings};
use crate::world::Real;

const HERE: Layout = Layout::HERE;

/// Show the versions that this device does not go back behind, or say them anew where they were lost
///
/// A device that has lost its floors cannot tell a new state from an old one. It keeps what it has and waits: for its hub,
/// which signs how far the device had come, or for you. With --from you say that states below that version are old; the
/// floor rises to it and never falls by it, and the ledger keeps that it was your word.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos agent floors                                     of the agent of /etc/jos/agent.toml\n  \
    jos agent floors --config ~/.jos/agents/kiosk/agent.toml\n  \
    jos agent floors --from 42                           states below version 42 are old\n\n\
    Exit codes: 0 the floors are known, 1 they were lost, 2 bad use or invalid input.")]
pub(crate) struct Args {
    /// Settings
    #[arg(long, value_name = "FILE", default_value = HERE.config)]
    config: PathBuf,
    /// Where its data lies [default: what agent.toml names, else /var/lib/jos]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// States below this version are old
    #[arg(long, value_name = "VERSION")]
    from: Option<u64>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    let given = Given {
        config: Some(args.config.clone()),
        state_dir: args.state_dir.clone(),
        ..Given::default()
    };
    let settings = Settings::read(&given)?;
    let real = Real::new();
    let plane = Plane::open(settings.setup(), real.world()).map_err(Failure::failed)?;
    if let Some(version) = args.from {
        say(&plane, &settings, version)?;
    }
    // Only looks: the agent itself sets aside what it cannot read.
    let lost = plane.lost_floors().map_err(Failure::failed)?;
    let floors = plane.floors().map_err(Failure::failed)?;
    let (value, text) = shown(&settings, &floors, lost.as_deref());
    ui.result(&value, text);
    Ok(u8::from(lost.is_some()))
}

fn say(plane: &Plane<'_>, settings: &Settings, version: u64) -> Result<(), Failure> {
    let tenant = || settings.counting_tenant();
    plane.notice_lost_floors(&tenant).map_err(Failure::failed)?;
    // A trust root that is taken into use sets the floors that it names: that comes before your word, not after it.
    if let Some(root) = settings.baked_root() {
        plane.trust_root(root, settings.tenant()).map_err(Failure::failed)?;
    }
    let tenant = tenant();
    let word = Word::Operator {
        tenant: tenant.as_ref(),
        version,
    };
    let regained = plane.regain_floor(word).map_err(Failure::failed)?;
    if regained.floor > version {
        let message = format!("the floor stays at {}: it is known, and never lowered", regained.floor);
        return Err(
            Failure::failed(message).help("only a trust document lowers it: jos trust rotate --floor NAME=VERSION")
        );
    }
    Ok(())
}

fn shown(settings: &Settings, floors: &Floors, lost: Option<&str>) -> (Value, String) {
    let (mut values, mut text) = (Vec::new(), String::new());
    for (counter, floor) in floors.counters().filter(|(c, _)| c.name == settings.name) {
        let in_force = floor.in_force.as_ref().map(|kept| kept.version);
        let failed: Vec<u64> = floor.failed.iter().map(|edition| edition.version).collect();
        let stream = if counter.stream == Stream::Baseline {
            "baseline"
        } else {
            "state"
        };
        let kept = in_force.map_or("nothing".to_owned(), |version| format!("version {version}"));
        let _ = writeln!(
            text,
            "{stream:<9} versions below {} are old; {kept} in force",
            floor.version
        );
        values.push(json!({
            "tenant": counter.tenant, "stream": stream, "floor": floor.version, "in_force": in_force, "failed": failed,
        }));
    }
    if values.is_empty() {
        text.push_str("no version was tried yet\n");
    }
    if let Some(why) = lost {
        let _ = writeln!(
            text,
            "lost: {why}\nno state is tried before the hub says how far this device had come, or you do: jos agent floors --from VERSION"
        );
    }
    (json!({ "name": settings.name, "floors": values, "lost": lost }), text)
}
