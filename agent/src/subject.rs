//! What an agent runs: a `.jos` artifact or a desired state, told apart by `kind`, read strictly.
//!
//! Owns reading and the walk through composed artifacts. Grants nothing, verifies no signature.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use jos_schemas::documents::artifact::{Artifact, Definition};
use jos_schemas::documents::desired_state::{self, DesiredState, ServiceAction};
use jos_schemas::own;
use jos_schemas::read::{self, Format};
use jos_schemas::text::{AbsPath, Mode, ServiceName, Sha256Hex};

use crate::cli::Failure;
use crate::files;

/// 1 MiB, as for every document.
pub(crate) const LIMIT: usize = 1 << 20;

/// Artifacts within artifacts, at most.
const DEPTH: usize = 8;

/// What an agent runs.
pub(crate) enum Subject {
    /// An artifact: its flow is run. It has no signature; a grant is bound to its hash.
    Artifact(Box<Loaded>),
    /// A desired state: kept converged. The parsed value is unverified and serves display and grants only.
    State(Box<DesiredState>),
}

/// An artifact with those it is composed of.
pub(crate) struct Loaded {
    /// Itself.
    pub(crate) artifact: Artifact,
    /// SHA-256 of the bytes as read.
    pub(crate) sha256: Sha256Hex,
    /// Where it was read.
    pub(crate) path: PathBuf,
    /// The steps of `flows.main` in order.
    pub(crate) steps: Vec<LoadedStep>,
}

/// One step of the main flow.
pub(crate) struct LoadedStep {
    /// The definition's name.
    pub(crate) name: String,
    /// What it does.
    pub(crate) act: Act,
}

/// What a step does on this system.
pub(crate) enum Act {
    /// A command.
    Shell(String),
    /// A file.
    File {
        path: AbsPath,
        content: String,
        mode: Option<Mode>,
    },
    /// A service.
    Service { name: ServiceName, action: ServiceAction },
    /// Another artifact's main flow.
    Artifact(Box<Loaded>),
}

/// The file with its bytes and what they say.
pub(crate) struct Read {
    /// What was read.
    pub(crate) subject: Subject,
    /// The bytes themselves.
    pub(crate) bytes: Vec<u8>,
    /// How they are written.
    pub(crate) format: Format,
}

/// Reads `path`, and what it is composed of.
pub(crate) fn read(path: &Path) -> Result<Read, Failure> {
    let bytes =
        files::read(path, LIMIT).map_err(|e| Failure::invalid(e).help("give the path of a .jos or state file"))?;
    let format = Format::of_path(path);
    let name = path.display().to_string();
    let node = read::parse(&name, &bytes, format).map_err(Failure::invalid)?;
    let subject = match node.get("kind").and_then(|k| k.as_str()) {
        Some(desired_state::KIND) => {
            let parsed = read::document::<DesiredState>(&name, &bytes, format).map_err(Failure::invalid)?;
            Subject::State(Box::new(parsed.value))
        }
        Some(other) if node.get("id_jos").is_none() => {
            let message = format!("{name}: kind {other:?} is nothing that an agent runs");
            return Err(Failure::invalid(message).help("an agent runs .jos artifacts and desired states"));
        }
        _ => Subject::Artifact(Box::new(load(path, &bytes, &mut Vec::new())?)),
    };
    Ok(Read { subject, bytes, format })
}

/// Refuses a state in which an example's `"..."` still stands: nobody could say what it would do.
pub(crate) fn filled_in(file: &str, state: &DesiredState) -> Result<(), Failure> {
    let open = state.placeholders();
    if open.is_empty() {
        return Ok(());
    }
    let message = format!("{file}: \"...\" is still to be filled in at {}", open.join(", "));
    Err(Failure::invalid(message)
        .help(format!(
            "write there what is meant, raise meta.version and sign it again; `jos validate {file}` shows what is left"
        ))
        .details(serde_json::json!({ "file": file, "placeholders": open })))
}

fn load(path: &Path, bytes: &[u8], above: &mut Vec<PathBuf>) -> Result<Loaded, Failure> {
    let name = path.display().to_string();
    if above.iter().any(|p| p == path) {
        let chain: Vec<String> = above.iter().map(|p| p.display().to_string()).collect();
        return Err(Failure::invalid(format!(
            "{name}: the artifacts call each other in a circle: {} → {name}",
            chain.join(" → ")
        )));
    }
    if above.len() >= DEPTH {
        return Err(Failure::invalid(format!(
            "{name}: artifacts within artifacts, deeper than {DEPTH}"
        )));
    }
    let artifact = read::document::<Artifact>(&name, bytes, Format::of_path(path))
        .map_err(Failure::invalid)?
        .value;
    above.push(path.to_owned());
    let steps = steps(&artifact, path, above)?;
    above.pop();
    Ok(Loaded {
        artifact,
        sha256: jos_trust::sha256(bytes).to_hex(),
        path: path.to_owned(),
        steps,
    })
}

fn steps(artifact: &Artifact, path: &Path, above: &mut Vec<PathBuf>) -> Result<Vec<LoadedStep>, Failure> {
    let file = path.display();
    let Some(orchestration) = &artifact.orchestration else {
        return Ok(Vec::new());
    };
    let Some(main) = orchestration.flows.get("main") else {
        if orchestration.flows.is_empty() {
            return Ok(Vec::new());
        }
        let message = format!("{file}: /orchestration/flows: no flow \"main\"; an agent runs that one");
        return Err(Failure::invalid(message));
    };
    let mut all = Vec::with_capacity(main.steps.len());
    for (index, step) in main.steps.iter().enumerate() {
        let name = step.strip_prefix("definitions.").unwrap_or(step);
        let Some(definition) = orchestration.definitions.get(name) else {
            let known: Vec<&str> = orchestration.definitions.keys().map(String::as_str).collect();
            let message = format!("{file}: /orchestration/flows/main/steps/{index}: no definition {name:?}");
            return Err(Failure::invalid(message).help(format!("there are: {}", known.join(", "))));
        };
        let at = format!("{file}: /orchestration/definitions/{name}");
        all.push(LoadedStep {
            name: name.to_owned(),
            act: act(definition, &at, path, above)?,
        });
    }
    Ok(all)
}

fn act(definition: &Definition, at: &str, path: &Path, above: &mut Vec<PathBuf>) -> Result<Act, Failure> {
    let need = |field: &Option<String>, which: &str| {
        field
            .clone()
            .ok_or_else(|| Failure::invalid(format!("{at}: a {} definition needs {which:?}", definition.kind)))
    };
    let bad = |what: &str, e: jos_schemas::text::RuleBroken| Failure::invalid(format!("{at}/{what}: {e}"));
    match definition.kind.as_str() {
        "shell" => {
            let command = command(definition).ok_or_else(|| {
                Failure::invalid(format!("{at}: no command for this system"))
                    .help("add \"command\", or the variant for this system")
            })?;
            if command.is_empty() || command.contains('\0') {
                return Err(Failure::invalid(format!("{at}: the command is empty or holds a NUL")));
            }
            Ok(Act::Shell(command.to_owned()))
        }
        "file" => {
            let path = need(&definition.path, "path")?.parse().map_err(|e| bad("path", e))?;
            let mode = definition
                .mode
                .as_deref()
                .map(str::parse)
                .transpose()
                .map_err(|e| bad("mode", e))?;
            Ok(Act::File {
                path,
                content: need(&definition.content, "content")?,
                mode,
            })
        }
        "service" => {
            let name = need(&definition.name, "name")?.parse().map_err(|e| bad("name", e))?;
            let action = need(&definition.action, "action")?;
            let action = own::read_value(&serde_json::Value::String(action.clone())).map_err(|_| {
                let help = "one of start, stop, restart, reload, enable, disable";
                Failure::invalid(format!("{at}/action: found {action:?}")).help(help)
            })?;
            Ok(Act::Service { name, action })
        }
        "jos" => {
            let other = either(at, ("path", &definition.path), ("artifact", &definition.artifact))?;
            let other = PathBuf::from(other);
            // Only beside this one or below: an artifact brings what it is composed of.
            if !other
                .components()
                .all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
            {
                let message = format!("{at}: {:?} leaves the artifact's folder", other.display());
                return Err(Failure::invalid(message).help("give a relative path without .."));
            }
            let other = path.parent().unwrap_or(Path::new(".")).join(other);
            let bytes = files::read(&other, LIMIT).map_err(|e| Failure::invalid(format!("{at}: {e}")))?;
            Ok(Act::Artifact(Box::new(load(&other, &bytes, above)?)))
        }
        "prompt" => {
            let text = either(at, ("prompt", &definition.prompt), ("template", &definition.template))?;
            let start: String = text.lines().next().unwrap_or_default().chars().take(60).collect();
            let message =
                format!("{at}: type \"prompt\" is unsupported in this build: it has no model adapter to ask {start:?}");
            Err(Failure::invalid(message).help("remove the step, or run the artifact where a model is configured"))
        }
        other => {
            let message = format!("{at}: type {other:?} is unsupported");
            Err(Failure::invalid(message).help("an agent runs the types shell, file, service and jos"))
        }
    }
}

/// One value under our name or upstream's; both only where they say the same.
fn either<'d>(
    at: &str,
    (ours, own): (&str, &'d Option<String>),
    (theirs, upstream): (&str, &'d Option<String>),
) -> Result<&'d str, Failure> {
    match (own, upstream) {
        (Some(own), Some(upstream)) if own != upstream => {
            let message = format!("{at}: {ours:?} is {own:?} and {theirs:?} is {upstream:?}; they mean the same thing");
            Err(Failure::invalid(message).help("keep one of them"))
        }
        (Some(text), _) | (None, Some(text)) => Ok(text),
        (None, None) => Err(Failure::invalid(format!("{at}: found neither {ours:?} nor {theirs:?}"))
            .help(format!("{theirs:?} is upstream's name for {ours:?}; give one of them"))),
    }
}

/// The command for this system: its own variant, else that of every Unix, else the common one.
fn command(definition: &Definition) -> Option<&str> {
    let openwrt = cfg!(target_os = "linux") && Path::new("/etc/openwrt_release").exists();
    let variants = [
        (openwrt, &definition.command_openwrt),
        (cfg!(target_os = "linux"), &definition.command_linux),
        (cfg!(target_os = "macos"), &definition.command_darwin),
        (cfg!(unix), &definition.command_unix),
        (true, &definition.command),
    ];
    let mut here = variants.into_iter().filter(|(here, _)| *here);
    here.find_map(|(_, command)| command.as_deref())
}

impl Loaded {
    /// Itself and every artifact that it is composed of, once each.
    pub(crate) fn all(&self) -> Vec<&Loaded> {
        let mut seen = BTreeSet::new();
        let mut all = Vec::new();
        let mut open = vec![self];
        while let Some(next) = open.pop() {
            if seen.insert(next.sha256.clone()) {
                all.push(next);
            }
            open.extend(next.steps.iter().rev().filter_map(|s| match &s.act {
                Act::Artifact(other) => Some(&**other),
                _ => None,
            }));
        }
        all
    }
}
