//! Figures that no hub has acknowledged: batches, oldest first, until one has.
//!
//! Owns `NAME/figures/` in the data directory. Where a hub answers nothing is written: a batch is in memory for as long as a
//! heartbeat takes. Where none does, ten samples, or those of ten minutes, are one write and one fsync, for the sake of the
//! flash; a crash or a power cut costs those that were not written yet, and none that were. It is bounded: past the limit
//! the oldest batch goes, and is counted.
//!
//! ```text
//!  figures/
//!    0000000007-1f0c…e2.log   one batch: lines of  HHHHHHHH {"time": …, "telemetry": {…}}
//!    lost                     how many samples had to go, ever
//! ```
//! `HHHHHHHH` begins the SHA-256 of the rest of its line: a line that was torn or has rotted is passed over, and never in
//! the way of the others. The name has the batch's number, by which batches are in order, and its id, by which a hub knows
//! it again: it may have taken a batch whose acknowledgement was lost. So nothing is added to a batch that was sent, or
//! that an earlier run of this program has left: it may have been.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jos_schemas::documents::hub::{Figures as Told, Sample};
use jos_schemas::own;
use jos_trust::sha256;

use crate::files;

/// Samples of one batch, at most.
const MOST: usize = 64;
/// Bytes of one batch, at most: it has to fit into a heartbeat.
const BYTES: usize = 48 << 10;
/// Bytes of all batches, at most.
const ALL: usize = 1 << 20;
/// So many samples are worth a write …
const TOGETHER: usize = 10;
/// … or what has waited for so many milliseconds.
const PATIENCE: u64 = 600_000;
/// While the disk takes nothing, it is tried again after this.
const AGAIN: u64 = 60_000;
const LOST: &str = "lost";

/// The figures of one agent.
#[derive(Debug)]
pub(super) struct Figures {
    folder: PathBuf,
    batches: VecDeque<Batch>,
    number: u64,
    lost: u64,
    /// When what is not written yet has waited long enough.
    due: Option<u64>,
    /// The disk took nothing the last time: said once.
    troubled: bool,
}

#[derive(Debug)]
struct Batch {
    number: u64,
    id: String,
    /// It has a file.
    on_disk: bool,
    /// Bytes in it.
    written: usize,
    /// Lines that are not.
    held: Vec<String>,
    samples: usize,
    /// Nothing is added any more.
    sealed: bool,
}

impl Batch {
    fn name(&self) -> String {
        format!("{:010}-{}.log", self.number, self.id)
    }

    fn bytes(&self) -> usize {
        self.written + self.held.iter().map(String::len).sum::<usize>()
    }
}

impl Figures {
    /// As they were left.
    pub(super) fn open(state_dir: &Path, name: &str) -> Self {
        let folder = state_dir.join(name).join("figures");
        let mut batches: Vec<Batch> = std::fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                let (number, id) = name.to_str()?.strip_suffix(".log")?.split_once('-')?;
                Some(Batch {
                    number: number.parse().ok()?,
                    id: id.to_owned(),
                    on_disk: true,
                    written: usize::try_from(entry.metadata().ok()?.len()).ok()?,
                    held: Vec::new(),
                    samples: 0,
                    sealed: true,
                })
            })
            .collect();
        batches.sort_by_key(|batch| batch.number);
        let lost = files::read(&folder.join(LOST), 64).ok();
        let lost = lost.and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse().ok());
        Self {
            number: batches.last().map_or(0, |last| last.number),
            folder,
            batches: batches.into(),
            lost: lost.unwrap_or(0),
            due: None,
            troubled: false,
        }
    }

    /// Keeps a sample. `now` is any monotonic count of milliseconds.
    pub(super) fn add(&mut self, now: u64, sample: &Sample) {
        let Ok(line) = line(sample) else { return };
        let fits = |batch: &Batch| !batch.sealed && batch.samples < MOST && batch.bytes() + line.len() <= BYTES;
        if !self.batches.back().is_some_and(fits) {
            // By its id a hub tells it from any other: without one it cannot be sent.
            let Ok(id) = files::unlike_any_other() else { return };
            self.number += 1;
            self.batches.push_back(Batch {
                number: self.number,
                id,
                on_disk: false,
                written: 0,
                held: Vec::new(),
                samples: 0,
                sealed: false,
            });
        }
        if let Some(batch) = self.batches.back_mut() {
            batch.held.push(line);
            batch.samples += 1;
        }
        self.due.get_or_insert(now + PATIENCE);
        self.bound();
    }

    /// When [`Figures::write`] is worth calling.
    pub(super) fn due(&self) -> u64 {
        self.due.unwrap_or(u64::MAX)
    }

    /// Writes what is not on disk, where there is enough of it or it has waited for long.
    pub(super) fn write(&mut self, now: u64) {
        let held: usize = self.batches.iter().map(|batch| batch.held.len()).sum();
        if held == 0 {
            self.due = None;
        } else if now >= self.due() || (held >= TOGETHER && !self.troubled) {
            self.due = None;
            if let Err(why) = self.write_all() {
                if !std::mem::replace(&mut self.troubled, true) {
                    log::warn!("figures are not kept on disk: {why}; tried again each minute");
                }
                self.due = Some(now + AGAIN);
            } else {
                self.troubled = false;
            }
        }
    }

    /// Writes all of it: the program ends.
    pub(super) fn settle(&mut self) {
        if let Err(why) = self.write_all() {
            log::warn!("figures are not kept on disk: {why}");
        }
    }

    /// The oldest batch, as it is sent until it is [`Figures::done`].
    pub(super) fn next(&mut self) -> Option<Told> {
        while let Some(batch) = self.batches.front_mut() {
            batch.sealed = true;
            let path = self.folder.join(batch.name());
            let mut text = String::new();
            if batch.on_disk {
                match files::read(&path, BYTES) {
                    Ok(bytes) => text = String::from_utf8_lossy(&bytes).into_owned(),
                    Err(error) => log::error!("figures are lost: {error}"),
                }
            }
            batch.held.iter().for_each(|line| text += line);
            let samples = samples(&text);
            if !samples.is_empty() {
                return Some(Told {
                    batch: batch.id.clone(),
                    lost: self.lost,
                    samples,
                });
            }
            self.drop_oldest();
        }
        None
    }

    /// A hub has it.
    pub(super) fn done(&mut self, batch: &str) {
        if self.batches.front().is_some_and(|oldest| oldest.id == batch) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        if batch.on_disk {
            let path = self.folder.join(batch.name());
            if let Err(error) = std::fs::remove_file(&path) {
                log::error!("{}: {error}", path.display());
            }
        }
        Some(batch)
    }

    /// Past the limit the oldest go.
    fn bound(&mut self) {
        let before = self.lost;
        while self.batches.len() > 1 && self.batches.iter().map(Batch::bytes).sum::<usize>() > ALL {
            let path = self.batches.front().map(|batch| self.folder.join(batch.name()));
            let on_disk = path.and_then(|path| files::read(&path, BYTES).ok()).unwrap_or_default();
            let Some(batch) = self.drop_oldest() else { return };
            self.lost += (samples(&String::from_utf8_lossy(&on_disk)).len() + batch.held.len()) as u64;
        }
        if self.lost != before {
            log::warn!(
                "more figures wait for the hub than there is room for; {} had to go so far",
                self.lost
            );
            let _ = files::replace(&self.folder.join(LOST), self.lost.to_string().as_bytes(), 0o600, true);
        }
    }

    fn write_all(&mut self) -> std::io::Result<()> {
        let folder = &self.folder;
        for batch in self.batches.iter_mut().filter(|batch| !batch.held.is_empty()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let mut options = File::options();
            options.append(true).create(true).mode(0o600);
            let file = options
                .custom_flags(nix::libc::O_NOFOLLOW)
                .open(folder.join(batch.name()))?;
            let new = !std::mem::replace(&mut batch.on_disk, true);
            let bytes = batch.held.concat();
            let appended = (&file).write_all(bytes.as_bytes()).and_then(|()| file.sync_data());
            if let Err(error) = appended {
                // A part of a line would make its neighbour unreadable as well.
                let _ = file.set_len(batch.written as u64);
                return Err(error);
            }
            if new {
                File::open(folder)?.sync_all()?;
            }
            batch.written += bytes.len();
            batch.held.clear();
        }
        Ok(())
    }
}

fn line(sample: &Sample) -> Result<String, serde_json::Error> {
    let json = String::from_utf8(own::write(sample)?).unwrap_or_default();
    Ok(format!("{} {json}\n", sum(&json)))
}

fn sum(json: &str) -> String {
    sha256(json.as_bytes()).to_string()[..8].to_owned()
}

/// The samples of a batch; what does not read is passed over.
fn samples(text: &str) -> Vec<Sample> {
    let sample = |line: &str| {
        let (sum_of_it, json) = line.split_once(' ')?;
        (sum(json) == sum_of_it).then(|| own::read(json.as_bytes()).ok())?
    };
    text.lines().filter_map(sample).collect()
}

#[cfg(test)]
mod tests;
