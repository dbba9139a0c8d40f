//! The grant that an install writes: a policy that allows what this artifact or state asks for, and nothing else.
//!
//! Owns deriving and showing it. A person at the shell grants; nothing here decides.

use std::fmt::Write as _;

use jos_schemas::documents::artifact::Artifact;
use jos_schemas::documents::desired_state::{DesiredState, HealthCheck, Step};
use jos_schemas::documents::policy::{CommandGrant, FileGrant, Grant, Policy, Source, UciGrant, WideFileGrant};
use jos_schemas::text::{AbsPath, ServiceName};

use crate::cli::Failure;
use crate::subject::{Act, Loaded, Subject};

/// What an artifact asks for that nothing here can give: shown, not granted.
pub(crate) type NotGranted = Vec<String>;

/// The policy that allows exactly what `subject` does.
pub(crate) fn derive(subject: &Subject) -> Result<(Policy, NotGranted), Failure> {
    let mut grant = Grant::default();
    let mut asked = Vec::new();
    let source = match subject {
        Subject::Artifact(loaded) => {
            for one in loaded.all() {
                of_artifact(one, &mut grant, &mut asked)?;
            }
            Source::Artifact
        }
        Subject::State(state) => {
            of_state(state, &mut grant);
            Source::Local
        }
    };
    tidy(&mut grant);
    let mut policy = Policy::default();
    policy.grants.insert(source, grant);
    Ok((policy, asked))
}

fn of_artifact(loaded: &Loaded, grant: &mut Grant, asked: &mut NotGranted) -> Result<(), Failure> {
    grant.programs.push(loaded.sha256.clone());
    for step in &loaded.steps {
        match &step.act {
            Act::Shell(command) => {
                avoided(&loaded.artifact, command, &step.name)?;
                grant.shell.push(CommandGrant::Exact(command.clone()));
            }
            Act::File { path, mode, .. } => {
                file(grant, path, mode.as_ref().is_some_and(|m| m.bits() & 0o7000 != 0));
            }
            Act::Service { name, .. } => grant.services.push(name.clone()),
            Act::Artifact(_) => {}
        }
    }
    for permission in loaded.artifact.security.iter().flat_map(|s| &s.permissions) {
        let given = if let Some(glob) = permission.strip_prefix("fs:write:") {
            AbsPath::new(glob).map(|g| grant.files.push(FileGrant::Glob(g))).is_ok()
        } else if let Some(service) = permission.strip_prefix("service:") {
            ServiceName::new(service).map(|s| grant.services.push(s)).is_ok()
        } else {
            // Commands are listed one by one, by their exact bytes; this permission adds none.
            permission == "shell"
        };
        if !given {
            asked.push(permission.clone());
        }
    }
    Ok(())
}

/// Refuses a command that holds a text its own artifact says to avoid.
pub(crate) fn avoided(artifact: &Artifact, command: &str, step: &str) -> Result<(), Failure> {
    let avoid = artifact.guardrails.iter().flat_map(|g| &g.avoid);
    match avoid
        .into_iter()
        .find(|text| !text.is_empty() && command.contains(text.as_str()))
    {
        Some(text) => Err(Failure::invalid(format!(
            "{}: step {step:?} holds {text:?}, which guardrails.avoid forbids: {command:?}",
            artifact.id_jos
        ))),
        None => Ok(()),
    }
}

fn of_state(state: &DesiredState, grant: &mut Grant) {
    let mut commands: Vec<&str> = Vec::new();
    for step in &state.spec.apply {
        match step {
            Step::File(s) => {
                file(grant, &s.path, s.mode.as_ref().is_some_and(|m| m.bits() & 0o7000 != 0));
                grant.services.extend(s.notify.iter().cloned());
            }
            Step::Directory(s) => {
                file(grant, &s.path, s.mode.as_ref().is_some_and(|m| m.bits() & 0o7000 != 0));
                if s.purge
                    && let Ok(below) = AbsPath::new(format!("{}/**", s.path))
                {
                    grant.files.push(FileGrant::Glob(below));
                }
                grant.services.extend(s.notify.iter().cloned());
            }
            Step::Link(s) => {
                file(grant, &s.path, false);
                grant.services.extend(s.notify.iter().cloned());
            }
            Step::Absent(s) => {
                file(grant, &s.path, false);
                if s.recursive
                    && let Ok(below) = AbsPath::new(format!("{}/**", s.path))
                {
                    grant.files.push(FileGrant::Glob(below));
                }
                grant.services.extend(s.notify.iter().cloned());
            }
            Step::Service(s) => grant.services.push(s.name.clone()),
            Step::Package(s) => grant.packages.push(s.name.clone()),
            Step::Uci(s) => {
                grant.uci.extend(jos_runtime::gate::uci_grant(s));
                grant.services.extend(s.notify.iter().cloned());
            }
            Step::User(s) => grant.users.push(s.name.to_string()),
            Step::Group(s) => grant.users.push(s.name.to_string()),
            Step::Sysctl(s) => grant.sysctl.push(s.key.clone()),
            Step::Image(s) => grant.images.push(s.compatible.clone()),
            Step::Cron(s) => commands.push(&s.command),
            Step::Shell(s) => {
                commands.push(&s.command);
                commands.extend(s.unless.as_deref());
                commands.extend(s.undo.as_deref());
            }
        }
    }
    if let Some(HealthCheck::Command(check)) = &state.spec.health_check {
        commands.push(&check.command);
    }
    commands.extend(state.spec.confirm.iter().filter_map(|c| c.command.as_deref()));
    grant
        .shell
        .extend(commands.into_iter().map(|c| CommandGrant::Exact(c.to_owned())));
}

fn file(grant: &mut Grant, path: &AbsPath, setuid: bool) {
    let code = jos_runtime::is_code_path(path.as_str());
    // A name with glob characters would grant more than itself: each stands for one character.
    let glob = path.as_str().replace('*', "?");
    let Ok(glob) = AbsPath::new(glob) else { return };
    grant.files.push(if code || setuid {
        FileGrant::Wide(WideFileGrant {
            path: glob,
            code,
            setuid,
        })
    } else {
        FileGrant::Glob(glob)
    });
}

fn tidy(grant: &mut Grant) {
    fn once<T: PartialEq>(list: &mut Vec<T>) {
        let mut kept: Vec<T> = Vec::with_capacity(list.len());
        for item in list.drain(..) {
            if !kept.contains(&item) {
                kept.push(item);
            }
        }
        *list = kept;
    }
    once(&mut grant.files);
    once(&mut grant.services);
    once(&mut grant.packages);
    once(&mut grant.uci);
    once(&mut grant.users);
    once(&mut grant.sysctl);
    once(&mut grant.images);
    once(&mut grant.shell);
    once(&mut grant.programs);
}

/// The grants as a person reads them before saying yes.
pub(crate) fn show(policy: &Policy, not_granted: &[String]) -> String {
    let mut out = String::new();
    let agents = policy.agents.iter().map(|(name, grant)| (Some(name), grant));
    for (agent, grant) in policy.grants.values().map(|grant| (None, grant)).chain(agents) {
        if let Some(agent) = agent {
            let _ = writeln!(out, "  to the agent {agent} of its node:");
        }
        for file in &grant.files {
            let more = match file {
                FileGrant::Glob(_) => "",
                FileGrant::Wide(wide) => match (wide.code, wide.setuid) {
                    (true, true) => "   (becomes code; setuid bits)",
                    (true, false) => "   (becomes code)",
                    (false, true) => "   (setuid bits)",
                    (false, false) => "",
                },
            };
            let _ = writeln!(out, "  write    {}{more}", file.path());
        }
        let mut list = |word: &str, items: &mut dyn Iterator<Item = String>| {
            for item in items {
                let _ = writeln!(out, "  {word:<8} {item}");
            }
        };
        list("service", &mut grant.services.iter().map(ToString::to_string));
        list("package", &mut grant.packages.iter().cloned());
        list(
            "image",
            &mut grant.images.iter().map(|i| format!("{i}   (the whole system)")),
        );
        list(
            "uci",
            &mut grant.uci.iter().map(|g| match g {
                UciGrant::Wide(wide) if wide.code => format!("{}   (may be executed)", wide.path),
                other => other.path().to_owned(),
            }),
        );
        list("account", &mut grant.users.iter().cloned());
        list("sysctl", &mut grant.sysctl.iter().cloned());
        list(
            "run",
            &mut grant.shell.iter().map(|c| match c {
                // Debug formatting keeps a command on one line and shows what a terminal would hide.
                CommandGrant::Exact(text) => format!("{text:?}"),
                CommandGrant::Template(template) => format!("{:?}", template.argv),
            }),
        );
        list(
            "artifact",
            &mut grant.programs.iter().map(|sha| format!("sha256 {sha}")),
        );
    }
    if out.is_empty() {
        out.push_str("  nothing\n");
    }
    for asked in not_granted {
        let _ = writeln!(
            out,
            "  asked for {asked:?}: no such permission in this build, not granted"
        );
    }
    out
}
