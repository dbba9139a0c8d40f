//! Files, directories, links, and what is to be gone.

use std::rc::Rc;

use jos_schemas::documents::desired_state::{AbsentStep, Content, DirectoryStep, FileStep, LinkStep};
use jos_schemas::text::{Mode, Owner, ServiceName};
use jos_trust::sha256;
use zeroize::Zeroizing;

use super::{Build, Part, Planned, attrs_shape, bare, default_owner};
use crate::diff;
use crate::disk::{Attrs, Kind, Meta};
use crate::plan::{Action, After, Shape};

/// Larger files are not read to be compared: a state's own content is at most 1 MiB.
const READ_LIMIT: u64 = 16 * 1024 * 1024;
/// Larger texts get no diff.
const DIFF_LIMIT: usize = 64 * 1024;

impl Build<'_> {
    pub(super) fn attrs(&mut self, mode: Option<&Mode>, default: u32, owner: Option<&Owner>) -> Result<Attrs, String> {
        let mode = mode.map_or(default, Mode::bits);
        let own = default_owner();
        let (uid, gid) = match owner {
            None => own,
            Some(owner) => self.owner_ids(owner)?,
        };
        if own.0 != 0 && uid != own.0 {
            return Err(format!("only root can give a file to uid {uid}; this is uid {}", own.0));
        }
        let name = owner.map_or("", Owner::as_str);
        self.plan.ids.insert(name.to_owned(), format!("{uid}:{gid}"));
        Ok(Attrs { mode, uid, gid })
    }

    pub(super) fn file(&mut self, part: &Part<'_>, label: &str, step: &FileStep) -> Result<(), String> {
        if let Some(source) = &step.source {
            return self.blob(part, label, step, source);
        }
        let path = step.path.as_str();
        self.parents(part, label, path)?;
        let (bytes, secret) = match &step.content {
            Some(Content::Text(text)) => (Zeroizing::new(text.as_bytes().to_vec()), None),
            Some(Content::Secret(s)) => (
                self.sight.secrets.get(&s.secret).map_err(|e| e.to_string())?,
                Some(&s.secret),
            ),
            None => return Err("neither `content` nor `source`".into()),
        };
        let bytes = Rc::new(bytes);
        let attrs = self.attrs(
            step.mode.as_ref(),
            if secret.is_some() { 0o600 } else { 0o644 },
            step.owner.as_ref(),
        )?;
        let (kind, seen) = self.look(path).map_err(|e| e.to_string())?;
        let mut change = bare(label, part.source, Action::Create, path);
        let mut same_bytes = false;
        let hidden = secret.is_some() || self.once_secret.contains(path) || attrs.mode & 0o004 == 0;
        let mut old_text = None;
        if let Some(kind) = kind {
            change.action = Action::Update;
            let disk = self.sight.disk;
            if let Some(meta) = &seen {
                let mut shape = Shape::of(meta);
                if kind == Kind::File && meta.size <= READ_LIMIT {
                    let old = Zeroizing::new(disk.read(path, READ_LIMIT).map_err(|e| e.to_string())?.0);
                    same_bytes = *old == **bytes;
                    let hidden = hidden || meta.mode & 0o004 == 0;
                    self.identify(&mut shape, &old, hidden);
                    if !hidden && !same_bytes {
                        old_text = text(&old).map(str::to_owned);
                    }
                } else if kind == Kind::Link {
                    shape.target = disk.read_link(path).ok();
                }
                differences(&mut change.details, meta, attrs);
                if kind == Kind::File && same_bytes && change.details.is_empty() {
                    self.texts.insert(path.to_owned(), bytes);
                    return Ok(());
                }
                disk.check_changeable(path, meta).map_err(|e| e.to_string())?;
                change.before = Some(shape);
            }
            match kind {
                Kind::Dir => return Err(format!("{path}: a directory stands there, expected a file or nothing")),
                Kind::Link => change.details.insert(0, "replaces a link".into()),
                _ if !same_bytes => change.details.insert(0, "content".into()),
                _ => {}
            }
        }
        if !hidden
            && kind != Some(Kind::Link)
            && let (Some(new), true) = (text(&bytes), kind.is_none() || old_text.is_some())
        {
            change.diff = diff::unified(old_text.as_deref().unwrap_or_default(), new);
        }
        let mut shape = attrs_shape("file", attrs).expect("attributes have a shape");
        shape.size = Some(bytes.len() as u64);
        self.identify(&mut shape, &bytes, hidden);
        if let Some(name) = secret {
            (shape.size, shape.secret) = (None, Some(name.clone()));
            change.details.push(format!("secret {name}"));
        } else if hidden {
            change
                .details
                .push("content not shown: not everybody may read it".into());
        }
        self.planned.insert(path.to_owned(), Planned::Other(Kind::File));
        self.texts.insert(path.to_owned(), Rc::clone(&bytes));
        let same_bytes = same_bytes && seen.is_some_and(|m| m.kind == Kind::File);
        self.path_task(
            part,
            change,
            &step.notify,
            path,
            seen,
            After::File {
                bytes,
                attrs,
                same_bytes,
            },
            Some(shape),
        );
        Ok(())
    }

    /// Hash for what everybody may read, MAC for the rest.
    pub(super) fn identify(&self, shape: &mut Shape, bytes: &[u8], hidden: bool) {
        if hidden {
            shape.mac = Some(self.sight.secrets.mac(bytes));
        } else {
            shape.sha256 = Some(sha256(bytes).to_string());
        }
    }

    pub(super) fn directory(&mut self, part: &Part<'_>, label: &str, step: &DirectoryStep) -> Result<(), String> {
        let path = step.path.as_str();
        self.parents(part, label, path)?;
        let attrs = self.attrs(step.mode.as_ref(), 0o755, step.owner.as_ref())?;
        let (kind, seen) = self.look(path).map_err(|e| e.to_string())?;
        let mut change = bare(label, part.source, Action::Create, path);
        match (kind, &seen) {
            (None, _) => {
                self.planned.insert(path.to_owned(), Planned::NewDir);
            }
            (Some(Kind::Dir), Some(meta)) => {
                differences(&mut change.details, meta, attrs);
                if change.details.is_empty() {
                    return Ok(());
                }
                (change.action, change.before) = (Action::Update, Some(Shape::of(meta)));
            }
            // Made above for another step: only its attributes may differ.
            (Some(Kind::Dir), None) => change.action = Action::Update,
            (Some(Kind::Link), _) => {
                let target = self.sight.disk.read_link(path).unwrap_or_default();
                return Err(format!(
                    "{path}: a link to {target} stands there, expected a directory; links are never followed"
                ));
            }
            (Some(_), _) => {
                return Err(format!(
                    "{path}: something else stands there, expected a directory or nothing"
                ));
            }
        }
        self.path_task(
            part,
            change,
            &step.notify,
            path,
            seen,
            After::Dir { attrs },
            attrs_shape("directory", attrs),
        );
        Ok(())
    }

    pub(super) fn link(&mut self, part: &Part<'_>, label: &str, step: &LinkStep) -> Result<(), String> {
        self.one_link(part, label, step.path.as_str(), &step.target, &step.notify)
    }

    pub(super) fn one_link(
        &mut self,
        part: &Part<'_>,
        label: &str,
        path: &str,
        target: &str,
        notify: &[ServiceName],
    ) -> Result<(), String> {
        self.parents(part, label, path)?;
        let (kind, seen) = self.look(path).map_err(|e| e.to_string())?;
        let mut change = bare(label, part.source, Action::Create, path);
        change.details.push(format!("→ {target}"));
        if let (Some(kind), Some(meta)) = (kind, &seen) {
            let mut shape = Shape::of(meta);
            if kind == Kind::Link {
                let old = self.sight.disk.read_link(path).map_err(|e| e.to_string())?;
                if old == target {
                    return Ok(());
                }
                change.details = vec![format!("→ {target} (was {old})")];
                shape.target = Some(old);
            }
            self.sight
                .disk
                .check_changeable(path, meta)
                .map_err(|e| e.to_string())?;
            (change.action, change.before) = (Action::Update, Some(shape));
        }
        if kind == Some(Kind::Dir) {
            return Err(format!(
                "{path}: a directory stands there, expected a link, a file or nothing"
            ));
        }
        self.planned.insert(path.to_owned(), Planned::Other(Kind::Link));
        let owner = default_owner();
        let shape = Shape {
            kind: "link".into(),
            mode: None,
            owner: format!("{}:{}", owner.0, owner.1),
            size: None,
            sha256: None,
            mac: None,
            secret: None,
            target: Some(target.to_owned()),
        };
        let after = After::Link {
            target: target.to_owned(),
            owner,
        };
        self.path_task(part, change, notify, path, seen, after, Some(shape));
        Ok(())
    }

    pub(super) fn absent(&mut self, part: &Part<'_>, label: &str, step: &AbsentStep) -> Result<(), String> {
        // Removed and made again at every look, such a pair would never come to rest.
        let below = format!("{}/", step.path);
        if let Some(listed) = self
            .listed
            .range(below.clone()..)
            .next()
            .filter(|p| p.starts_with(&below))
        {
            return Err(format!("another step wants {listed}, which lies below it"));
        }
        self.remove(part, label, step.path.as_str(), step.recursive, &step.notify)
    }

    pub(super) fn remove(
        &mut self,
        part: &Part<'_>,
        label: &str,
        path: &str,
        recursive: bool,
        notify: &[ServiceName],
    ) -> Result<(), String> {
        let (kind, seen) = self.look(path).map_err(|e| e.to_string())?;
        let Some(kind) = kind else { return Ok(()) };
        let mut change = bare(label, part.source, Action::Remove, path);
        change.before = seen.as_ref().map(Shape::of);
        let mut after = After::Gone;
        if let Some(meta) = &seen {
            self.sight
                .disk
                .check_changeable(path, meta)
                .map_err(|e| e.to_string())?;
        }
        if kind == Kind::Dir {
            let names = self.sight.disk.list(path).map_err(|e| e.to_string())?;
            let still = |name: &std::ffi::OsString| {
                let below = format!("{path}/{}", name.to_string_lossy());
                self.planned.get(&below) != Some(&Planned::Gone)
            };
            let left = names.iter().filter(|n| still(n)).count();
            if left > 0 && !recursive {
                return Err(format!(
                    "{path}: the directory is not empty ({left} entries); remove them too, or set `recursive`"
                ));
            }
            if left > 0 {
                change.details.push(format!("with {left} entries"));
                after = After::TreeGone;
            }
        }
        self.planned.insert(path.to_owned(), Planned::Gone);
        self.path_task(part, change, notify, path, seen, after, None);
        Ok(())
    }
}

pub(super) fn differences(details: &mut Vec<String>, meta: &Meta, attrs: Attrs) {
    if meta.kind == Kind::Link {
        return;
    }
    if meta.mode != attrs.mode {
        details.push(format!("mode {:04o} → {:04o}", meta.mode, attrs.mode));
    }
    if (meta.uid, meta.gid) != (attrs.uid, attrs.gid) {
        details.push(format!("owner {}:{} → {}:{}", meta.uid, meta.gid, attrs.uid, attrs.gid));
    }
}

/// Bytes as a text worth a diff.
fn text(bytes: &[u8]) -> Option<&str> {
    if bytes.len() > DIFF_LIMIT || bytes.contains(&0) {
        None
    } else {
        std::str::from_utf8(bytes).ok()
    }
}
