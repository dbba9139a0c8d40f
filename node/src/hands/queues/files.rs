//! Messages as files: `state/queues/NAME/SEQUENCE.json`, oldest first, under a lock that every node on the directory respects.
//! What a job takes stays beside the others as `SEQUENCE.taken-JOB` until the job has ended.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::contract::AgentError;
use crate::queue::Messages;

/// The queues of a data directory.
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(super) fn of(root: &Path) -> Self {
        Self {
            folder: root.join("state/queues"),
        }
    }

    /// Does something while nobody else touches the queue, with its folder and the names of its messages in their order.
    fn locked<T>(
        &self,
        queue: &str,
        deed: impl FnOnce(&Path, &[String]) -> Result<T, AgentError>,
    ) -> Result<T, AgentError> {
        let folder = self.folder.join(queue);
        fs::create_dir_all(&folder).map_err(failed(queue, "make"))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"));
        let lock = lock.and_then(|file| file.lock().map(|()| file));
        // Held until the end of the function.
        let _lock = lock.map_err(failed(queue, "lock"))?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed(queue, "list"))? {
            let entry = entry.map_err(failed(queue, "list"))?;
            if let Ok(name) = entry.file_name().into_string()
                && name.starts_with(|c: char| c.is_ascii_digit())
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        deed(&folder, &names)
    }
}

fn failed(queue: &str, doing: &'static str) -> impl Fn(io::Error) -> AgentError {
    let queue = queue.to_owned();
    move |error| AgentError::Failed(format!("cannot {doing} queue {queue}: {error}"))
}

impl Messages for Files {
    fn send(&self, queue: &str, message: &[u8], most: usize) -> Result<Result<(), usize>, AgentError> {
        self.locked(queue, |folder, names| {
            let waiting = names.iter().filter(|name| name.ends_with(".json")).count();
            if waiting >= most {
                return Ok(Err(waiting));
            }
            let last = names.last().and_then(|name| name.get(..20)).map_or(Ok(0), str::parse);
            let next = last.map(|last: u64| last + 1).unwrap_or(1);
            let temp = folder.join("new");
            let written = File::create(&temp).and_then(|mut file| {
                file.write_all(message)?;
                file.sync_all()?;
                fs::rename(&temp, folder.join(format!("{next:020}.json")))
            });
            written.map(Ok).map_err(failed(queue, "put the message into"))
        })
    }

    fn receive(&self, queue: &str, job: &str, given: usize) -> Result<Option<Vec<u8>>, AgentError> {
        let own = format!(".taken-{job}");
        self.locked(queue, |folder, names| {
            let read = |name: &str| fs::read(folder.join(name)).map_err(failed(queue, "read"));
            if let Some(before) = names.iter().filter(|name| name.ends_with(&own)).nth(given) {
                return read(before).map(Some);
            }
            let Some(oldest) = names.iter().find(|name| name.ends_with(".json")) else {
                return Ok(None);
            };
            let bytes = read(oldest)?;
            let taken = format!("{}{own}", oldest.trim_end_matches(".json"));
            let renamed = fs::rename(folder.join(oldest), folder.join(taken));
            renamed.map_err(failed(queue, "take the message from"))?;
            Ok(Some(bytes))
        })
    }

    fn settle(&self, queue: &str, job: &str) -> Result<(), AgentError> {
        let own = format!(".taken-{job}");
        self.locked(queue, |folder, names| {
            let mut mine = names.iter().filter(|name| name.ends_with(&own));
            let removed = mine.try_for_each(|name| fs::remove_file(folder.join(name)));
            removed.map_err(failed(queue, "drop what was taken from"))
        })
    }
}
