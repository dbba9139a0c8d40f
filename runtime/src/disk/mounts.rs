//! What is mounted, as the kernel lists it (proc_pid_mountinfo(5)), and which names that gives to one and the same place.
//!
//! Owns the question "by what other paths is this reached": a file system that is mounted in two places, or a part of one
//! (a bind mount), and an overlay, whose upper and lower folders may lie in sight. Where no such list is kept (macOS) it
//! knows of nothing; [`super::own`] sees there what it can.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Disk;
use super::own::literal;
use super::sys;
use crate::globs;

/// Most places that one path is followed to: more layers than an overlay may have (500, by the kernel).
const MOST: usize = 1024;
/// Longest path that the kernel takes.
const LONGEST: usize = 4096;

impl Disk {
    /// The paths below the root on which something is mounted; empty where the kernel keeps no such list. A bind mount has
    /// the device number of what it shows, so a number tells too little.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let points = self.mounted().all.into_iter().map(|mount| mount.at);
        points.filter(|at| !at.is_empty()).collect()
    }

    /// What is mounted, as seen from the root.
    pub(crate) fn mounted(&self) -> Mounts {
        // There a volume is mounted by a reparse point, which no walk follows.
        if cfg!(windows) {
            return Mounts::default();
        }
        // A thread may have mounts of its own.
        let table = std::fs::read_to_string("/proc/thread-self/mountinfo");
        let table = table.or_else(|_| std::fs::read_to_string("/proc/self/mountinfo"));
        if let (true, Err(e)) = (cfg!(target_os = "linux"), &table) {
            log::warn!("/proc/self/mountinfo: {e}; what is mounted under two names is known by its inodes alone");
        }
        let table = table.unwrap_or_default();
        let Some(root) = std::fs::canonicalize(self.root()).ok().and_then(|root| plain(&root)) else {
            return Mounts::default();
        };
        let real = |dir: &str| std::fs::canonicalize(dir).ok().and_then(|dir| plain(&dir));
        Mounts::read(&table, &root, &real)
    }
}

/// What is mounted. Paths end without a slash, so the root is empty.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    all: Vec<Mount>,
}

#[derive(Clone, Debug)]
struct Mount {
    id: u32,
    /// The mount that it is mounted on.
    on: u32,
    /// Where.
    at: String,
    /// What: this directory or file of this file system.
    what: Place,
    /// Folders that an overlay shows as one.
    layers: Vec<Place>,
    /// Where an overlay prepares what it writes.
    work: Option<Place>,
}

/// A path within a file system, however that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    device: String,
    path: String,
}

impl Place {
    fn below(&self, rest: &str) -> Self {
        Self {
            device: self.device.clone(),
            path: format!("{}{rest}", self.path),
        }
    }
}

impl Mounts {
    /// From the kernel's table, as seen from `root`; `real` says where a directory that an overlay names really lies, if
    /// it is there.
    fn read(table: &str, root: &str, real: &dyn Fn(&str) -> Option<String>) -> Self {
        let lines: Vec<Line<'_>> = table.lines().filter_map(Line::of).collect();
        let mut all: Vec<Mount> = lines.iter().map(Line::mount).collect();
        for (at, line) in lines.iter().enumerate() {
            // The words are those of whoever mounted it, and mean what lay there before this overlay did.
            let place = |dir: String| {
                let dir = real(&dir)?;
                let holder = holder(&all, &dir, Some(&line.at))?;
                Some(holder.what.below(below(&holder.at, &dir)?))
            };
            let layers = line.layers(&["lowerdir", "lowerdir+", "datadir+", "upperdir"]);
            let layers = layers.into_iter().filter_map(place).collect();
            let work = line.layers(&["workdir"]).into_iter().find_map(place);
            (all[at].layers, all[at].work) = (layers, work);
        }
        let top = holder(&all, root, None).map(|top| Mount {
            at: String::new(),
            what: top.what.below(below(&top.at, root).unwrap_or_default()),
            ..top.clone()
        });
        let inside = |mount: Mount| {
            let at = below(root, &mount.at)?.to_owned();
            Some(Mount { at, ..mount })
        };
        let id = top.as_ref().map(|top| top.id);
        let others = all.into_iter().filter(|m| Some(m.id) != id).filter_map(inside);
        Self {
            all: top.into_iter().chain(others).collect(),
        }
    }

    /// Every other name, in glob patterns like `pattern` itself, of what it covers or a part of that.
    pub(crate) fn others(&self, pattern: &str) -> BTreeSet<String> {
        let mut places: Vec<Place> = Vec::new();
        let add = |places: &mut Vec<Place>, place: Place| {
            if place.path.len() < LONGEST && places.len() < MOST && !places.contains(&place) {
                places.push(place);
            }
        };
        let literal = literal(pattern);
        let held_by = holder(&self.all, literal, None).map(|m| m.id);
        for mount in &self.all {
            match fit(pattern, &mount.at) {
                Fit::Within(rest) if Some(mount.id) == held_by || mount.at.len() > literal.len() => {
                    add(&mut places, mount.what.below(rest));
                }
                Fit::Above => add(&mut places, mount.what.clone()),
                Fit::Within(_) | Fit::Apart => {}
            }
        }
        let mut next = 0;
        while let Some(here) = places.get(next).cloned() {
            next += 1;
            for overlay in self.all.iter().filter(|m| !m.layers.is_empty()) {
                if overlay.what.device == here.device {
                    let under = overlay.layers.iter().map(|layer| layer.below(&here.path));
                    for place in under.chain(overlay.work.clone()) {
                        add(&mut places, place);
                    }
                }
                let top = Place {
                    device: overlay.what.device.clone(),
                    path: String::new(),
                };
                for layer in overlay.layers.iter().filter(|l| l.device == here.device) {
                    match fit(&here.path, &layer.path) {
                        Fit::Within(rest) => add(&mut places, top.below(rest)),
                        Fit::Above => add(&mut places, top.clone()),
                        Fit::Apart => {}
                    }
                }
            }
        }
        let mut names = BTreeSet::new();
        for place in &places {
            for mount in self.all.iter().filter(|m| m.what.device == place.device) {
                match fit(&place.path, &mount.what.path) {
                    Fit::Within(rest) => names.insert(format!("{}{rest}", mount.at)),
                    Fit::Above => names.insert(mount.at.clone()),
                    Fit::Apart => continue,
                };
            }
        }
        names.retain(|name| name != pattern && !name.is_empty());
        names
    }
}

/// How a pattern lies to a directory.
enum Fit<'p> {
    /// At it or below: what is left of the pattern.
    Within(&'p str),
    /// The directory lies below what the pattern covers.
    Above,
    Apart,
}

fn fit<'p>(pattern: &'p str, dir: &str) -> Fit<'p> {
    let mut rest = pattern;
    for name in dir.split('/').skip(1) {
        let Some(part) = rest.strip_prefix('/') else {
            return Fit::Above;
        };
        let end = part.find('/').unwrap_or(part.len());
        if part[..end].contains("**") {
            return Fit::Within(rest);
        }
        if !globs::matches(&part[..end], name) {
            return Fit::Apart;
        }
        rest = &part[end..];
    }
    Fit::Within(rest)
}

/// What is left of `path` below `dir`, where it lies there.
fn below<'p>(dir: &str, path: &'p str) -> Option<&'p str> {
    path.strip_prefix(dir).filter(|r| r.is_empty() || r.starts_with('/'))
}

/// The mount on which `path` lies: from the root on, by what is mounted on what, as the kernel goes; as if nothing were
/// mounted at `but`.
fn holder<'m>(all: &'m [Mount], path: &str, but: Option<&str>) -> Option<&'m Mount> {
    let over = |m: &&Mount| below(&m.at, path).is_some() && but != Some(m.at.as_str());
    let listed = |id: u32| all.iter().any(|m| m.id == id);
    let root = all.iter().find(|m| m.at.is_empty() && (m.on == m.id || !listed(m.on)));
    // Without one (a changed root that is no mount) the nearest point has to do.
    let Some(mut at) = root else {
        return all.iter().filter(over).max_by_key(|m| m.at.len());
    };
    for _ in all {
        let on_the_way = all.iter().filter(|m| m.on == at.id && m.id != at.id).filter(over);
        match on_the_way.min_by_key(|m| m.at.len()) {
            Some(next) => at = next,
            None => break,
        }
    }
    Some(at)
}

/// A line of the table.
struct Line<'l> {
    id: u32,
    on: u32,
    device: &'l str,
    what: String,
    at: String,
    kind: &'l str,
    options: &'l str,
}

impl<'l> Line<'l> {
    /// `36 35 98:0 /inside /point rw,noatime master:1 - ext4 /dev/x rw,errors=continue`
    fn of(line: &'l str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ');
        let (id, on) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let device = fields.next()?;
        let (what, at) = (plain(&unescaped(fields.next()?))?, plain(&unescaped(fields.next()?))?);
        let mut fields = system.split(' ');
        Some(Self {
            id,
            on,
            device,
            what,
            at,
            kind: fields.next()?,
            options: fields.nth(1).unwrap_or_default(),
        })
    }

    fn mount(&self) -> Mount {
        Mount {
            id: self.id,
            on: self.on,
            at: self.at.clone(),
            what: Place {
                device: self.device.to_owned(),
                path: self.what.clone(),
            },
            layers: Vec::new(),
            work: None,
        }
    }

    /// Directories that an overlay names under these options.
    fn layers(&self, names: &[&str]) -> Vec<String> {
        if !matches!(self.kind, "overlay" | "overlayfs") {
            return Vec::new();
        }
        let options = self.options.split(',').filter_map(|option| option.split_once('='));
        let lists = options.filter(|(name, _)| names.contains(name));
        let each = lists.flat_map(|(_, list)| list.split(':'));
        each.filter(|dir| !dir.is_empty())
            .filter_map(|dir| plain(&unescaped(dir)))
            .filter(|dir| dir.is_empty() || dir.starts_with('/'))
            .map(|dir| if dir.is_empty() { "/".into() } else { dir })
            .collect()
    }
}

/// As text without a slash at its end.
fn plain(path: &Path) -> Option<String> {
    path.to_str().map(|path| path.trim_end_matches('/').to_owned())
}

/// Spaces, tabs, newlines and backslashes are written `\040` and so on.
fn unescaped(text: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, more)) = rest.split_first() {
        let code = more.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        match code.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &more[3..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    sys::path_of(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Mounts, unescaped};

    /// The names that `path` has besides, where every directory is there that an overlay names.
    fn others(table: &str, path: &str) -> Vec<String> {
        let mounts = Mounts::read(table, "", &|dir| Some(dir.trim_end_matches('/').to_owned()));
        mounts.others(path).into_iter().collect()
    }

    /// An image with a read-only root, as its initial RAM disk leaves it.
    const READ_ONLY_ROOT: &str = "\
30 1 0:26 / / rw,relatime - overlay root rw,lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work
31 30 8:3 /state /var/lib/jos rw,noatime - ext4 /dev/sda3 rw
32 30 0:27 / /etc/jos rw,relatime - overlay settings rw,lowerdir=/lower/etc/jos,upperdir=/data/settings,workdir=/data/settings.work
33 30 8:3 / /data rw,noatime - ext4 /dev/sda3 rw
";

    #[test]
    fn a_mount_point_with_spaces_is_read() {
        assert_eq!(unescaped(r"/mnt/a\040b\134c").to_str(), Some(r"/mnt/a b\c"));
        assert_eq!(unescaped(r"/mnt/\04").to_str(), Some(r"/mnt/\04"));
        let table = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:1 /var/lib/jos /mnt/a\\040b rw - ext4 /dev/sda1 rw\n";
        assert_eq!(others(table, "/var/lib/jos"), ["/mnt/a b"]);
    }

    #[test]
    fn a_read_only_root_shows_its_data_under_two_names() {
        assert_eq!(others(READ_ONLY_ROOT, "/var/lib/jos"), ["/data/state"]);
        assert_eq!(
            others(READ_ONLY_ROOT, "/var/lib/jos/portal/ledger"),
            ["/data/state/portal/ledger"]
        );
        assert_eq!(others(READ_ONLY_ROOT, "/data/state/x"), ["/var/lib/jos/x"]);
        let settings = others(READ_ONLY_ROOT, "/etc/jos");
        for name in ["/data/settings", "/data/settings.work"] {
            assert!(settings.iter().any(|n| n == name), "{settings:?}");
        }
        assert!(others(READ_ONLY_ROOT, "/data/www").is_empty());
    }

    #[test]
    fn an_overlay_whose_layers_are_gone_from_sight_has_no_second_name() {
        let gone = |dir: &str| (!dir.starts_with("/lower") && !dir.starts_with("/memory")).then(|| dir.to_owned());
        let mounts = Mounts::read(READ_ONLY_ROOT, "", &gone);
        let names: Vec<String> = mounts.others("/etc/jos").into_iter().collect();
        assert_eq!(names, ["/data/settings", "/data/settings.work"]);
        assert!(mounts.others("/usr/bin/jos").is_empty());
    }

    #[test]
    fn a_file_system_that_is_mounted_twice_and_parts_of_it_are_known() {
        let table = "\
1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 8:1 / /mnt/root rw - ext4 /dev/sda1 rw
3 1 8:1 /var/lib/jos/portal /srv/p rw - ext4 /dev/sda1 rw
4 1 8:2 /@home /home rw - btrfs /dev/sda2 rw
5 1 8:2 / /mnt/pool rw - btrfs /dev/sda2 rw
6 1 0:5 / /run rw - tmpfs tmpfs rw
";
        assert_eq!(others(table, "/var/lib/jos"), ["/mnt/root/var/lib/jos", "/srv/p"]);
        assert_eq!(others(table, "/home/*/.*"), ["/mnt/pool/@home/*/.*"]);
        assert_eq!(others(table, "/etc/rc.d/S??jos"), ["/mnt/root/etc/rc.d/S??jos"]);
        assert_eq!(others(table, "/var/**/key"), ["/mnt/root/var/**/key", "/srv/p/**/key"]);
        assert_eq!(others(table, "/home"), ["/mnt/pool/@home"]);
        // A file system that is mounted below, in the midst of what is covered.
        let below = format!("{table}7 1 8:3 / /var/lib/jos/blobs rw - ext4 d rw\n8 1 8:3 / /mnt/b rw - ext4 d rw\n");
        assert_eq!(
            others(&below, "/var/lib/jos"),
            ["/mnt/b", "/mnt/root/var/lib/jos", "/srv/p", "/var/lib/jos/blobs"]
        );
        assert!(others(table, "/run/jos").is_empty());
    }

    #[test]
    fn an_overlay_over_the_directory_that_is_its_own_lower_layer() {
        let table = "\
1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 8:1 / /mnt rw - ext4 /dev/sda1 rw
3 1 0:30 / /etc rw - overlay o rw,lowerdir=/etc,upperdir=/keep/etc,workdir=/keep/work
";
        let names = others(table, "/etc/jos");
        assert_eq!(
            names,
            [
                "/keep/etc/jos",
                "/keep/work",
                "/mnt/etc/jos",
                "/mnt/keep/etc/jos",
                "/mnt/keep/work"
            ]
        );
    }

    #[test]
    fn a_mount_within_itself_comes_to_an_end() {
        let table = "1 0 8:1 / / rw - ext4 d rw\n2 1 8:1 /a /a/b rw - ext4 d rw\n";
        assert_eq!(others(table, "/a/x"), ["/a/b/x"]);
        let both = "1 0 8:1 / / rw - ext4 d rw\n\
                    2 1 0:2 / /a rw - overlay o rw,lowerdir=/b/x\n3 1 0:3 / /b rw - overlay o rw,lowerdir=/a/x\n";
        assert!(others(both, "/a/y").len() < super::MOST);
    }

    #[test]
    fn names_are_those_below_the_root_that_is_looked_at() {
        let table = "\
1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 8:1 /tmp/r/keep /tmp/r/data rw - ext4 /dev/sda1 rw
3 1 8:1 /tmp/r /elsewhere rw - ext4 /dev/sda1 rw
";
        let mounts = Mounts::read(table, "/tmp/r", &|_| None);
        let names = |path| mounts.others(path).into_iter().collect::<Vec<String>>();
        assert_eq!(names("/keep/x"), ["/data/x"]);
        assert_eq!(names("/data"), ["/keep"]);
        assert!(names("/elsewhere").is_empty());
        // A root that is no mount of its own, in a table that does not say on what it lies.
        let lone = Mounts::read("7 3 8:1 /var/lib/jos /srv/p rw - ext4 d rw\n", "", &|_| None);
        assert!(lone.others("/var/lib/jos").is_empty());
    }
}
