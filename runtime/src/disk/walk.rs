//! From a path to the directory that holds its last component, without ever following a link.
//!
//! Owns the only place where more than one component of a path is given to the kernel. Two ways to the same answer:
//!
//! - **`openat2`** (Linux 5.6): one call with `RESOLVE_NO_SYMLINKS` and `RESOLVE_BENEATH`. The kernel resolves the whole
//!   path, refuses any link in it, and refuses to leave the root even while somebody renames directories meanwhile.
//! - **step by step** (older Linux, macOS): `openat(parent, component, O_DIRECTORY|O_NOFOLLOW)` for each component. Each
//!   step starts from a descriptor that was opened the same way, so what is used is what was checked, and a component
//!   that is swapped for a link is refused at its own step. A directory that is moved elsewhere between two steps is
//!   followed to where it went, by its descriptor and not by a name: it is still the directory that was checked.
//!   macOS has no `openat2`; its `O_NOFOLLOW_ANY` would be one call as well and gives nothing that this does not.
//!
//! Where something is to be kept off ([`super::own`]), a directory that was not met before is walked to step by step, so that
//! each one on the way is looked at; after that one call does, and a look at where it led.
//!
//! A kernel without the call, or a sandbox that forbids it, is noticed at the first use and not asked again. Whatever
//! `openat2` refuses is walked step by step once more: only to say which component was at fault.

use std::cell::Cell;
use std::io::ErrorKind;
use std::ops::Deref;

use super::own::{Meets, Own};
use super::sys::{self, Dir, Whole};
use super::{Disk, DiskError};

/// How directories are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By one `openat2`, as long as the kernel knows it.
    Whole,
    /// Component by component.
    Steps,
}

impl Way {
    /// The better one, until it turns out not to be there.
    pub(super) const fn first() -> Cell<Self> {
        Cell::new(if sys::WHOLE { Self::Whole } else { Self::Steps })
    }
}

impl Disk {
    /// Opens the directory that holds `path`'s last component. `None` when a component is missing.
    pub(super) fn walk<'p>(&self, path: &'p str) -> Result<Option<(Handle<'_>, &'p str)>, DiskError> {
        let parts = components(path).map_err(|why| DiskError::BadPath {
            path: path.escape_debug().to_string(),
            why,
        })?;
        let (last, dirs) = parts.split_last().ok_or(DiskError::BadPath {
            path: path.into(),
            why: "it is empty",
        })?;
        let own = self.own.borrow().clone();
        if let Some(own) = own {
            return Ok(self.keeping_off(&own, path, &parts)?.map(|handle| (handle, *last)));
        }
        if dirs.is_empty() {
            return Ok(Some((Handle::Root(&self.root), last)));
        }
        if self.way.get() == Way::Whole
            && let Some(found) = self.whole(&path[..path.len() - last.len() - 1])
        {
            return Ok(found.map(|dir| (Handle::Opened(dir), *last)));
        }
        let found = self.steps(path, dirs, &mut |_, _| Ok(()))?;
        Ok(found.map(|handle| (handle, *last)))
    }

    /// The same, where no directory on the way and nothing at its end may be one of `own`.
    fn keeping_off(&self, own: &Own, path: &str, parts: &[&str]) -> Result<Option<Handle<'_>>, DiskError> {
        let (last, dirs) = parts.split_last().expect("a path has a component");
        let stopped = |own: &str| DiskError::Own {
            path: self.show(path),
            own: own.to_owned(),
        };
        let look = |at: &Dir| at.id().map_err(|e| self.err(path, "look at its directory", e));
        let end = |at: &Handle<'_>| match at.look(last) {
            Ok(stat) => match own.ahead(stat.id, &[]) {
                Meets::It(own) => Err(stopped(own)),
                Meets::Near | Meets::Nothing => Ok(()),
            },
            // What cannot be looked at is told by whoever uses it.
            Err(_) => Ok(()),
        };
        if self.way.get() == Way::Whole
            && !dirs.is_empty()
            && let Some(Some(dir)) = self.whole(&path[..path.len() - last.len() - 1])
        {
            let at = look(&dir)?;
            if own.is_clean(at) {
                if let Meets::It(own) = own.ahead(at, &[*last]) {
                    return Err(stopped(own));
                }
                let handle = Handle::Opened(dir);
                end(&handle)?;
                return Ok(Some(handle));
            }
        }
        let mut near = false;
        let mut reached = None;
        let mut meet = |at: &Dir, gone: usize| {
            let at = look(at)?;
            reached = Some(at);
            match own.ahead(at, &parts[gone..]) {
                Meets::It(own) => return Err(stopped(own)),
                Meets::Near => near = true,
                Meets::Nothing => {}
            }
            Ok(())
        };
        meet(&self.root, 0)?;
        let found = self.steps(path, dirs, &mut meet)?;
        if let Some(handle) = &found {
            end(handle)?;
            if let Some(at) = reached.filter(|_| !near) {
                own.found_clean(at);
            }
        }
        Ok(found)
    }

    /// The same, where a missing component is an error.
    pub(super) fn walk_to<'p>(&self, path: &'p str) -> Result<(Handle<'_>, &'p str), DiskError> {
        self.walk(path)?
            .ok_or_else(|| self.err(path, "find the directory above it", sys::error(ErrorKind::NotFound)))
    }

    /// By one call: the directory, or that it is missing. `None` where the other way has to decide.
    fn whole(&self, dir: &str) -> Option<Option<Dir>> {
        match self.root.whole(dir.strip_prefix('/').unwrap_or(dir)) {
            Whole::Found(dir) => Some(Some(dir)),
            Whole::Missing => Some(None),
            Whole::Unsure => None,
            Whole::Never => {
                self.way.set(Way::Steps);
                None
            }
        }
    }

    /// Component by component; `meet` is told each directory, and how many components lead to it.
    fn steps(
        &self,
        path: &str,
        dirs: &[&str],
        meet: &mut dyn FnMut(&Dir, usize) -> Result<(), DiskError>,
    ) -> Result<Option<Handle<'_>>, DiskError> {
        let mut at = Handle::Root(&self.root);
        for (i, part) in dirs.iter().enumerate() {
            match at.enter(part) {
                Ok(dir) => {
                    meet(&dir, i + 1)?;
                    at = Handle::Opened(dir);
                }
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
                Err(e) => {
                    let component = self.show(&dirs[..=i].join("/"));
                    if let Some(target) = at.link_words(part) {
                        return Err(DiskError::LinkInPath {
                            path: self.show(path),
                            component,
                            target,
                        });
                    }
                    if e.kind() == ErrorKind::NotADirectory {
                        return Err(DiskError::NotADirectory {
                            path: self.show(path),
                            component,
                        });
                    }
                    return Err(self.err(&dirs[..=i].join("/"), "open the directory", e));
                }
            }
        }
        Ok(Some(at))
    }
}

/// The directory a walk ended in.
pub(super) enum Handle<'a> {
    Root(&'a Dir),
    Opened(Dir),
}

impl Deref for Handle<'_> {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        match self {
            Handle::Root(dir) => dir,
            Handle::Opened(dir) => dir,
        }
    }
}

/// The components of a path, or why it is none. Percent signs are letters like any other: nothing is decoded.
fn components(path: &str) -> Result<Vec<&str>, &'static str> {
    let rest = path.strip_prefix('/').unwrap_or(path);
    if rest.is_empty() {
        return Err("it is empty");
    }
    let parts: Vec<&str> = rest.split('/').collect();
    for part in &parts {
        match *part {
            "" => return Err("it has an empty component"),
            "." | ".." => return Err("it has a component '.' or '..'"),
            p if p.contains('\0') => return Err("it contains a NUL byte"),
            p if p.len() > 255 => return Err("it has a component of more than 255 bytes"),
            p => {
                if let Some(why) = sys::odd_name(p) {
                    return Err(why);
                }
            }
        }
    }
    Ok(parts)
}
