//! The images of a build: which of a profile's boards are wanted, and where the work lies.

use std::path::{Path, PathBuf};

use super::ui::{Failure, Ui};
use crate::bake::Appliance;
use crate::builders::{Program, toolchain};
use crate::image::{self, Board, ImageError, Made, Places};
use crate::targets;

/// The boards of a profile whose package is among those wanted.
pub(super) fn boards(app: &Appliance) -> Vec<&'static Board> {
    let named = app.image.iter().flat_map(|image| &image.boards);
    let boards = named.filter_map(|name| image::find(name));
    boards
        .filter(|b| app.targets.iter().any(|t| t.name == b.target))
        .collect()
}

/// Makes the image of each.
pub(super) fn all(app: &Appliance, used: &[Program], scratch: &Scratch, ui: &Ui) -> Result<Vec<Made>, Failure> {
    let boards = boards(app);
    let Some(settings) = app.image.as_ref().filter(|_| !boards.is_empty()) else {
        return Ok(Vec::new());
    };
    scratch.make()?;
    let places = Places {
        cache: toolchain::cache_dir().join("images"),
        scratch: scratch.0.clone(),
    };
    let mut made = Vec::new();
    for board in boards {
        let triples = targets::find(board.target).map(|t| t.programs).unwrap_or_default();
        let own = used.iter().filter(|p| {
            let cpu = |triple: &str| triple.split('-').next().map(str::to_owned);
            triples.iter().any(|t| cpu(t.name) == cpu(&p.triple))
        });
        let programs: Vec<Program> = own.cloned().collect();
        let say = |what: &str| ui.note(what);
        made.push(image::build(app, settings, board, &programs, &places, &say)?);
    }
    Ok(made)
}

/// A folder beside the result that goes away again.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(out: &Path, profile: &str) -> Self {
        Self(out.join(format!(".{profile}.images-{}", std::process::id())))
    }

    /// In the cache, for what is no part of a result.
    pub(super) fn at(cache: PathBuf) -> Self {
        Self(cache.join(format!("work-{}", std::process::id())))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn make(&self) -> Result<(), Failure> {
        drop(std::fs::remove_dir_all(&self.0));
        std::fs::create_dir_all(&self.0).map_err(|source| {
            Failure::from(ImageError::Io {
                path: self.0.clone(),
                source,
            })
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        let failure = match error {
            ImageError::Refused { .. } => Failure::invalid(&error),
            _ => Failure::failed(&error),
        };
        match error.help() {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}
