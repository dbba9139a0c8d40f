//! What an install writes, and how a failure takes it back.

use std::os::unix::fs::DirBuilderExt;

use jos_schemas::own;
use jos_schemas::text::Utc;

use super::prepare::Ready;
use super::service;
use crate::cli::Failure;
use crate::files::{self, Folder};
use crate::identity;
use crate::installed::Record;
use crate::place::Place;
use crate::services::{Content, Service};

/// Takes back, in reverse, what an unfinished install did.
#[derive(Default)]
struct Undo(Vec<(String, Back)>);

/// Takes one thing back, or says why it cannot.
type Back = Box<dyn FnOnce() -> Result<(), String>>;

impl Undo {
    fn push(&mut self, what: impl Into<String>, how: impl FnOnce() -> Result<(), String> + 'static) {
        self.0.push((what.into(), Box::new(how)));
    }
    /// It is done: nothing is taken back.
    fn keep(mut self) {
        self.0.clear();
    }
    /// Takes everything back; says what could not be.
    fn back(mut self, failure: Failure) -> Failure {
        let mut left = Vec::new();
        for (what, how) in self.0.drain(..).rev() {
            if let Err(error) = how() {
                left.push(format!("{what}: {error}"));
            }
        }
        if left.is_empty() {
            return failure;
        }
        failure.and(format!("could not be taken back: {}", left.join("; ")))
    }
}

pub(super) fn write(place: &Place, ready: &Ready) -> Result<(), Failure> {
    let mut undo = Undo::default();
    match steps(place, ready, &mut undo) {
        Ok(()) => {
            undo.keep();
            Ok(())
        }
        Err(failure) => Err(undo.back(failure)),
    }
}

fn steps(place: &Place, ready: &Ready, undo: &mut Undo) -> Result<(), Failure> {
    let failed = |e: files::FileError| Failure::failed(e);
    let home = Folder::open(&place.at(&ready.owner.home))
        .map_err(|e| Failure::failed(e).help(format!("the home folder of {:?} must exist", ready.owner.name)))?;
    // Folders on the way go again when they were made here and nothing else is in them.
    let mut agents = home;
    for part in [".jos", "agents"] {
        let path = agents.path().join(part);
        let there = path.symlink_metadata().is_ok();
        let next = agents.enter_or_make(part, 0o755, &ready.owner).map_err(failed)?;
        if !there {
            undo.push(path.display().to_string(), move || {
                let _ = std::fs::remove_dir(path);
                Ok(())
            });
        }
        agents = next;
    }
    // 0711: the network half reads the artifact by name through a descriptor, and sees nothing else.
    let staged = format!(".{}.new", ready.name);
    if let Ok(left) = agents.enter(&staged) {
        // From an install that was killed.
        clear(&agents, &left, &staged).map_err(failed)?;
    }
    let folder = agents.make(&staged, 0o711, &ready.owner).map_err(failed)?;
    {
        let (agents, name, staged) = (agents.path().to_owned(), ready.name.to_string(), staged.clone());
        undo.push(agents.join(&name).display().to_string(), move || {
            let agents = Folder::open(&agents).map_err(|e| e.to_string())?;
            for name in [&name, &staged] {
                if let Ok(folder) = agents.enter(name) {
                    clear(&agents, &folder, name).map_err(|e| e.to_string())?;
                }
            }
            Ok(())
        });
    }
    for (name, bytes, mode) in &ready.files {
        folder.write_new(name, bytes, *mode, &ready.owner).map_err(failed)?;
    }
    folder
        .write_new("agent.toml", ready.config.as_bytes(), 0o644, &ready.owner)
        .map_err(failed)?;
    let record = Record {
        init: ready.init,
        scope: ready.scope,
        service: ready.service.clone(),
        user: ready.owner.name.clone(),
        granted: Utc::from_unix(jos_runtime::world::Clock::now(&crate::world::SystemClock)).to_string(),
    };
    let record = own::write_pretty(&record).map_err(Failure::failed)?;
    folder
        .write_new("service.json", record.as_bytes(), 0o644, &ready.owner)
        .map_err(failed)?;
    agents.rename(&staged, ready.name.as_str()).map_err(failed)?;
    data_folder(place, ready, undo)?;
    token(place, ready, undo)?;

    let service = service(place, ready);
    let content = Content {
        program: &ready.program,
        folder: &ready.folder.to_string_lossy(),
        artifact: ready.artifact,
        state_dir: &ready.state_dir.to_string_lossy(),
        policy: &ready.policy,
        description: &ready.description,
    };
    for file in ready.init.files(&service, &content).map_err(Failure::failed)? {
        let path = place.at(&file.path);
        if path.symlink_metadata().is_ok() {
            let message = format!(
                "{} is there already, and no agent is installed under this name",
                path.display()
            );
            return Err(Failure::failed(message).help("remove it if nobody needs it, or choose another --name"));
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| Failure::failed(format!("{}: {e}", parent.display())))?;
        }
        files::replace(&path, file.text.as_bytes(), file.mode, true).map_err(failed)?;
        undo.push(path.display().to_string(), move || {
            std::fs::remove_file(&path).map_err(|e| e.to_string())
        });
    }
    // Pushed after the files and so taken back before them: the init system stops what it still knows.
    {
        let (place, name, owner) = (place.clone(), ready.name.clone(), ready.owner.clone());
        let (init, scope, folder) = (ready.init, ready.scope, ready.folder.clone());
        let (state_dir, service) = (ready.state_dir.clone(), ready.service.clone());
        undo.push("the service", move || {
            let (place, name, owner) = (&place, &name, &owner);
            let service = Service {
                place,
                name,
                service: &service,
                scope,
                owner,
                folder: &folder,
                state_dir: &state_dir,
            };
            init.disable(&service).map_err(|e| e.to_string())
        });
    }
    ready.init.enable(&service).map_err(|e| {
        let help = format!(
            "nothing of it is left; try it in the foreground: jos agent run {}",
            ready.artifact
        );
        Failure::failed(format!("the service did not start: {e}")).help(help)
    })
}

/// The enrolment token goes where the agent's sandbox lets it be removed again.
fn token(place: &Place, ready: &Ready, undo: &mut Undo) -> Result<(), Failure> {
    let Some(token) = &ready.token else { return Ok(()) };
    let folder = place.at(&ready.state_dir);
    if !folder.is_dir() {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|e| Failure::failed(format!("{}: {e}", folder.display())))?;
    }
    let path = place.at(identity::token_path(&ready.state_dir, &ready.name));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = Folder::open(&folder).map_err(Failure::failed)?;
    folder.remove(&name).map_err(Failure::failed)?;
    folder
        .write_new(&name, format!("{token}\n").as_bytes(), 0o600, &ready.owner)
        .map_err(Failure::failed)?;
    undo.push(path.display().to_string(), move || match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.to_string()),
        _ => Ok(()),
    });
    Ok(())
}

/// Data of an agent that is not root's lies in its home; the service manager's sandbox needs the folder to exist.
fn data_folder(place: &Place, ready: &Ready, undo: &mut Undo) -> Result<(), Failure> {
    if ready.owner.uid == 0 && !place.is_live() {
        return Ok(());
    }
    let path = place.at(&ready.state_dir);
    if path.is_dir() {
        return Ok(());
    }
    let (parent, name) = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => (parent.to_owned(), name.to_owned()),
        _ => return Err(Failure::invalid("--state-dir: not a folder's path")),
    };
    let parent =
        Folder::open(&parent).map_err(|e| Failure::failed(e).help("make the folder above --state-dir first"))?;
    parent.make(&name, 0o700, &ready.owner).map_err(Failure::failed)?;
    undo.push(path.display().to_string(), move || {
        // What a first start put there is data already; it goes with the failed install.
        std::fs::remove_dir_all(&path).map_err(|e| e.to_string())
    });
    Ok(())
}

/// Removes an agent's folder: plain files only.
pub(crate) fn clear(agents: &Folder, folder: &Folder, name: &str) -> Result<(), files::FileError> {
    if let Ok(entries) = std::fs::read_dir(folder.path()) {
        for entry in entries.flatten() {
            folder.remove(&entry.file_name().to_string_lossy())?;
        }
    }
    agents.remove_folder(name)
}
