//! Files whose content is named by its hash: it may be large, so it is compared by size and hash and never held.

use jos_schemas::documents::desired_state::{BlobSource, FileStep};

use super::paths::differences;
use super::{Build, Part, Planned, attrs_shape, bare};
use crate::content::Needed;
use crate::disk::Kind;
use crate::plan::{Action, After, Shape};

impl Build<'_> {
    pub(super) fn blob(
        &mut self,
        part: &Part<'_>,
        label: &str,
        step: &FileStep,
        source: &BlobSource,
    ) -> Result<(), String> {
        let path = step.path.as_str();
        self.parents(part, label, path)?;
        let needed = Needed::of(source)?;
        let attrs = self.attrs(step.mode.as_ref(), 0o644, step.owner.as_ref())?;
        let (kind, seen) = self.look(path).map_err(|e| e.to_string())?;
        let (disk, mut change) = (self.sight.disk, bare(label, part.source, Action::Create, path));
        let mut same_bytes = false;
        if kind == Some(Kind::Dir) {
            return Err(format!("{path}: a directory stands there, expected a file or nothing"));
        }
        if let (Some(kind), Some(meta)) = (kind, &seen) {
            change.action = Action::Update;
            let mut shape = Shape::of(meta);
            match kind {
                Kind::File => {
                    let hidden = meta.mode & 0o004 == 0 || self.once_secret.contains(path);
                    // A hash tells something of a secret: what not everybody may read is compared and not shown.
                    let found = disk.hash(path).map_err(|e| e.to_string())?.0;
                    same_bytes = meta.size == needed.size && found == needed.sha256;
                    if !hidden {
                        shape.sha256 = Some(found.to_string());
                    }
                }
                Kind::Link => shape.target = disk.read_link(path).ok(),
                _ => {}
            }
            differences(&mut change.details, meta, attrs);
            if same_bytes && change.details.is_empty() {
                return Ok(());
            }
            disk.check_changeable(path, meta).map_err(|e| e.to_string())?;
            if kind == Kind::Link {
                change.details.insert(0, "replaces a link".into());
            } else if !same_bytes {
                change.details.insert(0, "content".into());
            }
            change.before = Some(shape);
        }
        if !same_bytes {
            let from = self.where_from(label, &needed);
            change.details.push(format!("{} bytes {from}", needed.size));
        }
        let mut shape = attrs_shape("file", attrs).expect("attributes have a shape");
        (shape.size, shape.sha256) = (Some(needed.size), Some(needed.sha256.to_string()));
        self.planned.insert(path.to_owned(), Planned::Other(Kind::File));
        let after = After::Blob {
            needed,
            attrs,
            same_bytes,
        };
        self.path_task(part, change, &step.notify, path, seen, after, Some(shape));
        Ok(())
    }

    /// Where the content would come from, in words. What no address of the state can give to this build is
    /// `unsupported`, so that a later one may take the same state.
    pub(super) fn where_from(&mut self, label: &str, needed: &Needed) -> String {
        if self.sight.content.has(needed) {
            return "at hand".into();
        }
        // Its last byte is enough to know.
        let last = needed.size.saturating_sub(1);
        if let Some(offered) = self.sight.fetch.offered(&needed.sha256.to_string(), last) {
            return format!("from {}", offered.place);
        }
        let schemes = self.sight.fetch.schemes();
        let usable = |url: &&String| schemes.iter().any(|s| url.split("://").next() == Some(s));
        match needed.urls.iter().find(usable) {
            Some(url) => format!("from {url}"),
            None if needed.urls.is_empty() => "that nobody offers yet".into(),
            None => {
                let first = needed.urls[0].split("://").next().unwrap_or_default();
                self.plan.unsupported.push(crate::gate::Refusal {
                    step: label.to_owned(),
                    why: format!("this build cannot fetch {first}:// addresses; offer the content with --blobs DIR"),
                    needed: None,
                });
                "that this build cannot fetch".into()
            }
        }
    }
}
