//! Floors that were lost, and the agents that wait until somebody whose word counts has said them anew.
//!
//! Owns `floors.lost` in the data directory: how they were lost, and which agents wait. The mark is durable before anything
//! is written in the place of what was lost, so that no crash turns a loss into a new beginning.

use jos_schemas::own;
use jos_schemas::text::Name;
use serde::{Deserialize, Serialize};

use super::{FILES, LIMIT, StoreError, lock, newest};
use crate::disk::Disk;

const MARK: &str = "floors.lost";

/// What the mark says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    why: String,
    agents: Vec<Name>,
}

/// How the floors of `name` were lost, where nobody has said them anew.
pub(crate) fn why(disk: &Disk, name: &Name) -> Result<Option<String>, StoreError> {
    Ok(read(disk)?
        .filter(|mark| mark.agents.contains(name))
        .map(|mark| mark.why))
}

/// Whether there is neither of the two files.
pub(crate) fn are_gone(disk: &Disk) -> Result<bool, StoreError> {
    for file in FILES {
        if disk.lstat(file)?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Floors that cannot be read get other names, and every agent of this device waits. Gives how they were lost.
pub(crate) fn set_aside(disk: &Disk) -> Result<Option<String>, StoreError> {
    let _lock = lock(disk)?;
    let why = match newest(disk) {
        Ok(_) => return Ok(None),
        Err(StoreError::Floors { file, what }) => format!("{file}: {what}"),
        Err(other) => return Err(other),
    };
    let agents = agents(disk)?;
    mark(disk, &why, &agents)?;
    for file in FILES {
        if disk.lstat(file)?.is_some() {
            let aside = format!("{file}.damaged");
            if disk.lstat(&aside)?.is_some() {
                disk.remove(&aside)?;
            }
            disk.rename(file, &aside)?;
        }
    }
    Ok(Some(why))
}

/// `name` waits from now on.
pub(crate) fn lose(disk: &Disk, name: &Name, why: &str) -> Result<(), StoreError> {
    let _lock = lock(disk)?;
    mark(disk, why, std::slice::from_ref(name))
}

/// `name` waits no longer.
pub(crate) fn found(disk: &Disk, name: &Name) -> Result<(), StoreError> {
    let _lock = lock(disk)?;
    let Some(mut mark) = read(disk)? else { return Ok(()) };
    mark.agents.retain(|waits| waits != name);
    if mark.agents.is_empty() {
        return Ok(disk.remove(MARK)?);
    }
    write(disk, &mark)
}

fn mark(disk: &Disk, why: &str, agents: &[Name]) -> Result<(), StoreError> {
    let mut mark = read(disk)?.unwrap_or_default();
    why.clone_into(&mut mark.why);
    for name in agents {
        if !mark.agents.contains(name) {
            mark.agents.push(name.clone());
        }
    }
    write(disk, &mark)
}

/// A mark that does not read stands for all agents: whatever it said, something was lost.
fn read(disk: &Disk) -> Result<Option<Mark>, StoreError> {
    match disk.read(MARK, LIMIT) {
        Ok((bytes, _)) => match own::read(&bytes) {
            Ok(mark) => Ok(Some(mark)),
            Err(what) => Ok(Some(Mark {
                why: format!("{}: {what}", disk.show(MARK)),
                agents: agents(disk)?,
            })),
        },
        Err(e) if e.is_missing() => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn write(disk: &Disk, mark: &Mark) -> Result<(), StoreError> {
    let bytes = own::write(mark).map_err(|e| StoreError::Lost {
        why: format!("{MARK}: {e}"),
    })?;
    Ok(disk.write_private(MARK, &bytes)?)
}

/// The agents that have data on this device.
fn agents(disk: &Disk) -> Result<Vec<Name>, StoreError> {
    let names = disk.list("")?;
    let names = names.iter().filter_map(|name| Name::new(name.to_str()?).ok());
    Ok(names.filter(|name| disk.is_dir(&format!("{name}/states"))).collect())
}
