//! `jos agent enrol`: a token in, a device that its hub knows out.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jos_link::{Action, Document, Known, Loop, News, Pace, Reply, Taken, Token, Took};
use jos_schemas::text::Name;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::common;
use crate::cli::{Done, Failure, Ui};
use crate::enrol::{self, Applicant};
use crate::identity::{self, Extra, Identity};
use crate::installed;
use crate::lock::Lock;
use crate::place::{Place, run_dir};
use crate::run::line::Line;
use crate::run::settings::{Given, Settings};

/// How long the hub is tried.
const PATIENCE: Duration = Duration::from_secs(60);

/// Make this device known to its hub, with a token from `jos-hub token new`
///
/// Makes the device's two keys, which never leave it, checks that what answers is the hub of the token, and keeps the
/// certificate that it gives. An agent that runs begins to call at once.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos agent enrol jos1-…                     the token as the hub's admin handed it over\n  \
    jos agent enrol --token-file token         from a file that only you read; removed once it was used\n  \
    jos agent enrol --name kiosk jos1-…        where there are several agents\n\n\
    A token on the command line can be seen by others on this machine while the command runs; use --token-file there.\n\
    Exit codes: 0 enrolled, 1 the hub does not answer or refuses, 2 bad use.")]
pub(crate) struct Args {
    /// The token: one line that begins with jos1-
    #[arg(
        value_name = "TOKEN",
        required_unless_present = "token_file",
        conflicts_with = "token_file"
    )]
    token: Option<String>,
    /// File with the token, 0600
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The agent that calls the hub [default: the machine's own, or the only one]
    #[arg(long, value_name = "NAME", value_parser = common::name)]
    name: Option<Name>,
    /// Its settings [default: those of the installed agent]
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    config: Option<PathBuf>,
    /// Where its data lies [default: what its settings say]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    crate::logger::start();
    let (token, file) = token(args)?;
    let config = match &args.config {
        Some(config) => config.clone(),
        None => config(args)?,
    };
    let given = Given {
        config: Some(config),
        state_dir: args.state_dir.clone(),
        ..Given::default()
    };
    let settings = Settings::read(&given)?;
    let failed = |e: String| Failure::failed(e);
    let lock = identity::lock(&settings.state_dir).map_err(failed)?;
    let known = Identity::load(&settings.state_dir).map_err(failed)?;
    let again = known.is_some();
    let identity = match known {
        Some(mut identity) => {
            if identity.agents.contains(&settings.name) {
                let message = format!("{} is enrolled already, as {}", settings.name, identity.device);
                let help = format!(
                    "a device that shall be known anew needs new keys: stop its agents, remove {} and enrol again",
                    identity::folder(&settings.state_dir).display()
                );
                return Err(Failure::failed(message).help(help));
            }
            // One device, one identity: this agent calls with it too. The token stays good for another device.
            identity.agents.push(settings.name.clone());
            identity.save(&settings.state_dir).map_err(failed)?;
            identity
        }
        None => {
            let one = Applicant {
                state_dir: settings.state_dir.clone(),
                name: settings.name.clone(),
                token,
                ca: None,
            };
            let identity = enrol_with(one, &settings)?;
            file.iter().for_each(|file| enrol::used(file));
            identity
        }
    };
    drop(lock);
    let told = tell(&settings);
    let text = format!(
        "{}{} enrolled as {} of {}\n  hub          {}\n  certificate  until {}\n  next         {}\n",
        ui.paint("1", settings.name.as_str()),
        if again { " calls with the device that was" } else { "" },
        identity.device,
        identity.tenant,
        identity.addresses.join(", "),
        identity.not_after,
        if told {
            format!("jos agent status {}", settings.name)
        } else {
            "start the agent: it does not run".to_owned()
        },
    );
    let value = json!({
        "name": settings.name, "device": identity.device, "tenant": identity.tenant, "labels": identity.labels,
        "addresses": identity.addresses, "certificate_ends": identity.not_after, "running": told,
    });
    ui.result(&value, text);
    Ok(0)
}

fn token(args: &Args) -> Result<(Token, Option<PathBuf>), Failure> {
    let help = "`jos-hub token new` makes one";
    match (&args.token, &args.token_file) {
        (Some(text), _) => {
            let token = text.parse().map_err(|e| Failure::invalid(e).help(help))?;
            Ok((token, None))
        }
        (None, Some(file)) => match identity::token_in(file).map_err(|e| Failure::invalid(e).help(help))? {
            Some(token) => Ok((token, Some(file.clone()))),
            None => Err(Failure::invalid(format!("{}: there is no token in it", file.display())).help(help)),
        },
        (None, None) => Err(Failure::invalid("there is no token").help(help)),
    }
}

/// The settings of the agent that is meant.
fn config(args: &Args) -> Result<PathBuf, Failure> {
    let place = Place::new(None);
    let agent = match &args.name {
        Some(name) => common::find(&place, name)?,
        None => {
            let mut all = installed::all(&place);
            let baked = all.iter().position(installed::Agent::baked);
            match (baked, all.len()) {
                (Some(at), _) => all.swap_remove(at),
                (None, 1) => all.remove(0),
                (None, 0) => {
                    return Err(Failure::failed("no agent is installed here")
                        .help("install one first, or name its settings with --config"));
                }
                (None, _) => {
                    let names: Vec<String> = all.iter().map(|a| a.name.to_string()).collect();
                    return Err(Failure::invalid("there are several agents")
                        .help(format!("name one with --name: {}", names.join(", "))));
                }
            }
        }
    };
    Ok(agent.folder.join("agent.toml"))
}

/// Drives the loop until the hub knows this device.
fn enrol_with(mut one: Applicant, settings: &Settings) -> Result<Identity, Failure> {
    let extra = Extra {
        url: settings.hub.clone(),
        proxy: settings.proxy(),
        floor: crate::world::built().unix(),
    };
    let failed = |e: String| Failure::failed(e);
    let line = Line::default();
    let strict = settings.policy.require_confinement;
    let user = settings.config.network_user.as_deref();
    let setup = one.setup(&extra).map_err(failed)?;
    let known = Known {
        name: one.name.to_string(),
        device: None,
        trust: 0,
        hub_ca: 0,
        addresses: u8::try_from(setup.addresses.len()).unwrap_or(u8::MAX),
    };
    line.lead(Some(setup), user, strict);
    let begun = Instant::now();
    let now = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut turn = Loop::new(
        Pace::every(60),
        known,
        Some(one.token.clone()),
        u64::from(std::process::id()),
        0,
    );
    loop {
        let took = match turn.next(now()) {
            Action::Rest { until } => {
                let why = turn.trouble().unwrap_or("it does not answer").to_owned();
                if begun.elapsed() > PATIENCE {
                    let help = "check the network and the address in the token; the token is still good";
                    return Err(Failure::failed(format!("the hub is not reached: {why}")).help(help));
                }
                log::warn!("{why}; tried again");
                let pause = Duration::from_millis(until.saturating_sub(now()));
                jos_runtime::world::Clock::pause(&crate::world::SystemClock, pause.min(Duration::from_secs(5)));
                continue;
            }
            Action::Ask(request) => {
                let reply = line.ask(&request, PATIENCE);
                if matches!(reply, Reply::Failed { .. }) {
                    line.end();
                }
                Took::Reply(reply)
            }
            Action::Write(Document::Enrolment { token }) => Took::Written(Some(one.enrolment(token).map_err(failed)?)),
            Action::Write(_) => Took::Written(None),
            Action::Take(News::Ca(bytes)) => {
                one.take_ca(&bytes).map_err(failed)?;
                line.lead(Some(one.setup(&extra).map_err(failed)?), user, strict);
                Took::Taken(Taken::Done)
            }
            Action::Take(News::Enrolled(enrolled)) => return one.take(*enrolled).map_err(failed),
            Action::Take(News::Barred { code, message }) => {
                let help = match code.as_str() {
                    jos_link::wire::code::KNOWN_KEY => {
                        "this device was enrolled before and has lost what the hub told it: remove its identity folder and enrol again"
                    }
                    _ => "ask the hub's admin for a new token: `jos-hub token new`",
                };
                return Err(Failure::failed(format!("the hub refuses: {message}")).help(help));
            }
            Action::Take(_) => Took::Taken(Taken::Refused),
        };
        turn.took(now(), took);
    }
}

/// An agent that runs begins to call at once.
fn tell(settings: &Settings) -> bool {
    let run_dir = run_dir(&settings.state_dir, settings.name.as_str());
    let Some(pid) = Lock::look(&run_dir.join("lock"))
        .pid()
        .and_then(|p| i32::try_from(p).ok())
    else {
        return false;
    };
    kill(Pid::from_raw(pid), Signal::SIGHUP).is_ok()
}
