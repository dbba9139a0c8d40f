//! `jos policy …`: what a policy lets a state do, asked beforehand and anywhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jos_runtime::gate::{Gate, Review};
use jos_runtime::world::Probe;
use jos_schemas::documents::agent_config::AgentConfig;
use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::policy::{Policy, Source};
use jos_schemas::layout::Layout;
use jos_schemas::read;
use jos_schemas::text::Name;
use jos_schemas::unit;
use serde_json::json;

use crate::cli::signing::Doc;
use crate::cli::{Done, Failure, Ui};

/// What a policy grants
#[derive(Subcommand)]
pub(crate) enum PolicyCommand {
    Check(CheckArgs),
}

/// Say for every step of a state whether a policy grants it, and the line that it would take
///
/// Holds the state against the policy as `jos agent apply` would, by the same gate, on any machine: it looks at no file
/// system, checks no signature and changes nothing. With --policy it judges as on a device with two systems, so that a step
/// `image` is a matter of what is granted; without, by what this machine has. What --source hub sends may ask that hub to
/// confirm. The lines that are missing are printed as TOML, ready to be taken
/// over by whoever owns the policy, who is the only one to say whether they should be.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    jos policy check state.toml                                    by this machine's policy\n  \
    jos policy check state.toml --policy policy.toml --source hub  as if the hub had sent it\n  \
    jos policy check steps.toml --source agent:tuner               as if that agent had proposed its steps\n\n\
    Exit codes: 0 every step is granted, 1 at least one is refused, 2 bad use or invalid input.")]
pub(crate) struct CheckArgs {
    /// The desired state, JSON or TOML; it need not be signed
    #[arg(value_name = "STATE")]
    state: PathBuf,
    /// What was granted [default: agent.toml's, else /etc/jos/policy.toml]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Under whose grants
    ///
    /// `local` is a file that somebody at the machine hands over, `baseline` the state that came with the package; `agent:NAME`
    /// holds the steps against what that agent of the runtime was granted.
    #[arg(long, value_name = "local|baseline|hub|agent:NAME", default_value = "local", value_parser = origin)]
    source: Origin,
}

/// How steps can reach a device.
#[derive(Clone)]
struct Origin {
    source: Source,
    /// Which agent of the runtime.
    agent: Option<Name>,
}

fn origin(text: &str) -> Result<Origin, String> {
    let of = |source| Ok(Origin { source, agent: None });
    match text {
        "local" => of(Source::Local),
        "baseline" => of(Source::Baseline),
        "hub" => of(Source::Hub),
        other => match other.strip_prefix("agent:").map(Name::new) {
            Some(Ok(agent)) => Ok(Origin {
                source: Source::Agent,
                agent: Some(agent),
            }),
            Some(Err(e)) => Err(e.to_string()),
            None => Err("expected local, baseline, hub or agent:NAME".into()),
        },
    }
}

pub(super) fn run(command: &PolicyCommand, ui: &Ui) -> Done {
    match command {
        PolicyCommand::Check(args) => check(args, ui),
    }
}

fn check(args: &CheckArgs, ui: &Ui) -> Done {
    let state: DesiredState = document(&args.state, None)?;
    let here = Path::new(Layout::HERE.config);
    let config: Option<AgentConfig> = match here.exists() {
        true => Some(document(here, Some("put it right, or move it away"))?),
        false => None,
    };
    let own_policy = config
        .as_ref()
        .and_then(|c| c.policy.as_ref())
        .map(|p| PathBuf::from(p.as_str()));
    let policy_path = args
        .policy
        .clone()
        .or(own_policy)
        .unwrap_or_else(|| Layout::HERE.policy.into());
    let help = "name the policy with --policy FILE";
    let policy: Policy = document(&policy_path, Some(help))?;
    let Origin { source, agent } = args.source.clone();
    let node = config.as_ref().and_then(crate::run::settings::node);
    let service = config
        .and_then(|c| c.service)
        .map_or_else(|| "jos-agent".into(), String::from);
    let own_services = unit::own_services(service);
    // A policy that is named is somebody else's: of that device is only known what the policy speaks of.
    let slots = args.policy.is_some() || crate::world::two_systems();
    let gate = Gate::new(&policy, &[], &own_services, crate::world::Tcp.schemes())
        .with_slots(slots)
        .with_hub(source == Source::Hub)
        .with_node(node.as_deref())
        .of_agent(agent.as_ref());
    let reviews = gate.review(source, &state);
    let refused = reviews.iter().filter(|r| !r.granted).count();
    let missing = missing(&reviews);
    let value = json!({
        "state": args.state, "policy": policy_path, "source": source, "agent": agent, "granted": refused == 0,
        "steps": reviews, "needed": missing, "protected": gate.protected().collect::<Vec<_>>(),
    });
    ui.result(&value, text(&reviews, &missing, &policy_path, &gate, ui));
    Ok(u8::from(refused > 0))
}

/// Table, key, values: what the policy lacks.
type Missing = BTreeMap<String, BTreeMap<String, Vec<String>>>;

fn missing(reviews: &[Review]) -> Missing {
    let mut missing = Missing::new();
    for line in reviews
        .iter()
        .flat_map(|r| &r.refused)
        .filter_map(|r| r.needed.as_ref())
    {
        let values = missing
            .entry(line.table.clone())
            .or_default()
            .entry(line.key.clone())
            .or_default();
        if !values.contains(&line.value) {
            values.push(line.value.clone());
        }
    }
    missing
}

fn text(reviews: &[Review], missing: &Missing, policy: &Path, gate: &Gate<'_>, ui: &Ui) -> String {
    let mut out = String::new();
    for review in reviews {
        let word = match (review.refused.is_empty(), review.unsupported.is_empty()) {
            (false, _) => ui.paint("31", "refused"),
            (true, false) => ui.paint("33", "unsupported"),
            (true, true) => ui.paint("32", "granted"),
        };
        let _ = writeln!(out, "{word:<12}{}", review.step);
        for refusal in review.refused.iter().chain(&review.unsupported) {
            let part = refusal
                .step
                .strip_prefix(&review.step)
                .unwrap_or_default()
                .trim_start_matches(": ");
            let part = if part.is_empty() {
                String::new()
            } else {
                format!("{part}: ")
            };
            let _ = writeln!(out, "            {part}{}", refusal.why);
            if let Some(line) = &refusal.needed {
                let _ = writeln!(
                    out,
                    "            under [{}]: {} = [{}]",
                    line.table, line.key, line.value
                );
            }
        }
    }
    let count = |of: fn(&&Review) -> bool| reviews.iter().filter(of).count();
    let refused = count(|r| !r.granted);
    let unsupported = count(|r| r.granted && !r.unsupported.is_empty());
    let _ = write!(
        out,
        "{}: {} granted, {refused} refused",
        policy.display(),
        reviews.len() - refused - unsupported
    );
    out += &if unsupported > 0 {
        format!(", {unsupported} that this program cannot do\n")
    } else {
        "\n".into()
    };
    let protected: Vec<&str> = gate.protected().collect();
    let _ = writeln!(out, "protected whatever is granted: {}", protected.join(", "));
    if !missing.is_empty() {
        let _ = writeln!(out, "\n# to grant the rest, {} would need:", policy.display());
        for (table, keys) in missing {
            let _ = writeln!(out, "[{table}]");
            for (key, values) in keys {
                let _ = writeln!(out, "{key} = [{}]", values.join(", "));
            }
        }
    }
    out
}

fn document<T: serde::de::DeserializeOwned>(path: &Path, help: Option<&str>) -> Result<T, Failure> {
    let doc = Doc::read(path).map_err(|f| match help {
        Some(help) => f.help(help),
        None => f,
    })?;
    let parsed = read::document::<T>(&doc.name, &doc.bytes, doc.format);
    parsed
        .map(|p| p.value)
        .map_err(|report| Failure::invalid(&report).details(report))
}
