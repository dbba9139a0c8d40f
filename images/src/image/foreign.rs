//! The base root for another CPU, without running a single program of that CPU.
//!
//! Packages are made of files and of scripts that configure them. The files come from the other CPU's packages. What the
//! scripts leave (users, links, enabled units, certificates, alternatives) does not depend on the CPU: it is taken from a
//! twin, the base of the same packages for this machine, configured by mmdebstrap in the ordinary way. dpkg's database is
//! written from the packages themselves, so that apt goes on from there on the device.
//!
//! What is left out: scripts that make CPU-dependent caches (ld.so.cache, gconv), which are not needed to run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::base::{Base, Source};
use super::layer::{Content, Item, Kind, Layer};
use super::{ImageError, tools};
use crate::formats::control::Stanza;
use crate::formats::hash::md5;

/// What a twin's scripts leave that must not be taken over: by CPU, by dpkg's own accounting, or as a mere cache.
const NOT_TAKEN: [&str; 14] = [
    "boot",
    "dev",
    "etc/ld.so.cache",
    "lib32",
    "lib64",
    "libo32",
    "libx32",
    "proc",
    "run",
    "sys",
    "usr/lib/modules",
    "var/lib/dpkg/available",
    "var/lib/dpkg/info",
    "var/lib/dpkg/status",
];

/// Debian's name of this machine's CPU.
pub(super) fn native() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "armhf",
        other => other,
    }
}

fn triplet(architecture: &str) -> &'static str {
    match architecture {
        "amd64" => "x86_64-linux-gnu",
        "arm64" => "aarch64-linux-gnu",
        _ => "arm-linux-gnueabihf",
    }
}

/// A base to be made.
pub(super) struct Foreign<'a> {
    pub(super) architecture: &'a str,
    /// The kernel and firmware, which the twin lacks: their files alone.
    pub(super) unpacked: &'a [&'a str],
    pub(super) sources: &'a [Source],
    pub(super) twin: &'a Base,
    pub(super) epoch: u32,
}

impl Foreign<'_> {
    /// Makes `new/tree` and `new/root.tar`.
    pub(super) fn make(&self, new: &Path) -> Result<(), ImageError> {
        let tree = new.join("tree");
        let twin = self.twin.layer()?;
        let mut layer = Layer::default();
        for (path, item) in twin.items() {
            // `bin` and its like are links into `usr` before anything lies behind them.
            if !path.contains('/') && matches!(item.kind, Kind::Link(_)) && !NOT_TAKEN.contains(&path) {
                layer.put(path, item.clone());
            }
        }
        let apt = new.join("apt");
        let mut stanzas = BTreeMap::new();
        for deb in self.download(&apt)? {
            let package = unpack(&deb, &mut layer, &tree, &new.join("control"))?;
            stanzas.insert(package.0, package.1);
        }
        let status: Vec<String> = stanzas.into_values().collect();
        layer.file("var/lib/dpkg/status", 0o644, status.join("\n"));
        layer.file("var/lib/dpkg/info/format", 0o644, "1\n");
        layer.file("var/lib/dpkg/available", 0o644, "");
        self.configured(&twin, &mut layer)?;
        write_tree(&layer, &tree)?;
        modules(&mut layer, &tree)?;
        archive(&layer, &new.join("root.tar"), self.epoch)?;
        for folder in [apt, new.join("control")] {
            fs::remove_dir_all(&folder).map_err(ImageError::io(&folder))?;
        }
        Ok(())
    }

    /// The packages of the twin, the kernel and firmware with what they need, fetched and verified by apt in a folder of its own.
    fn download(&self, apt: &Path) -> Result<Vec<PathBuf>, ImageError> {
        for folder in ["lists/partial", "archives/partial", "log", "preferences.d"] {
            let at = apt.join(folder);
            fs::create_dir_all(&at).map_err(ImageError::io(&at))?;
        }
        let lines: Vec<String> = self.sources.iter().map(Source::line).collect();
        let root = apt.display();
        let architecture = self.architecture;
        let settings = format!(
            "APT::Architecture \"{architecture}\";\nAPT::Architectures {{ \"{architecture}\"; }};\n\
             Dir::State \"{root}\";\nDir::State::lists \"{root}/lists\";\nDir::State::status \"{root}/status\";\n\
             Dir::Cache \"{root}\";\nDir::Cache::archives \"{root}/archives\";\nDir::Log \"{root}/log\";\n\
             Dir::Etc::sourcelist \"{root}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"{root}/preferences.d\";\n\
             Acquire::Languages \"none\";\nAPT::Install-Recommends \"false\";\nAPT::Sandbox::User \"\";\n\
             Debug::NoLocking \"true\";\n"
        );
        let texts = [
            ("apt.conf", settings),
            ("sources.list", lines.join("\n") + "\n"),
            ("status", String::new()),
        ];
        for (name, text) in texts {
            let at = apt.join(name);
            fs::write(&at, text).map_err(ImageError::io(&at))?;
        }
        let run = |words: &[&str]| {
            let mut command = tools::command("apt-get");
            command
                .env("APT_CONFIG", apt.join("apt.conf"))
                .args(["-q", "-y"])
                .args(words);
            tools::run(
                &mut command,
                None,
                "is the mirror reached from here, and does it have this CPU's packages?",
            )
        };
        run(&["update"])?;
        let mut words = vec!["--download-only", "install"];
        words.extend(self.unpacked);
        words.extend(self.twin.packages.iter().map(|p| p.name.as_str()));
        run(&words)?;
        let archives = apt.join("archives");
        let mut debs: Vec<PathBuf> = fs::read_dir(&archives)
            .map_err(ImageError::io(&archives))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "deb"))
            .collect();
        debs.sort();
        Ok(debs)
    }

    /// Takes over what the twin's scripts left, and the owners they gave.
    fn configured(&self, twin: &Layer, layer: &mut Layer) -> Result<(), ImageError> {
        let owned = owned(twin)?;
        let (from, to) = (triplet(native()), triplet(self.architecture));
        let (suffix, other) = (format!(":{}", native()), format!(":{}", self.architecture));
        for (path, item) in twin.items() {
            let here = path.replace(from, to);
            if let Some(known) = layer.get(&here).cloned()
                && !matches!(known.kind, Kind::Link(_))
            {
                let (mode, uid, gid) = (item.mode, item.uid, item.gid);
                layer.set(
                    &here,
                    Item {
                        mode,
                        uid,
                        gid,
                        ..known
                    },
                );
            }
            let left_out = NOT_TAKEN
                .iter()
                .any(|n| path == *n || path.starts_with(&format!("{n}/")));
            if left_out || owned.contains(path) || path.contains(from) || layer.get(path).is_some() {
                continue;
            }
            let mut item = item.clone();
            match &mut item.kind {
                Kind::Link(target) => *target = target.replace(from, to),
                Kind::File(_) if path.starts_with("var/lib/dpkg/") => {
                    let text = twin.text(path)?.replace(&suffix, &other).replace(from, to);
                    item.kind = Kind::File(Content::Bytes(text.into_bytes()));
                }
                _ => {}
            }
            layer.put(path, item);
        }
        Ok(())
    }
}

/// Every path that a package of the twin has.
fn owned(twin: &Layer) -> Result<BTreeSet<String>, ImageError> {
    let mut all = BTreeSet::new();
    for (path, _) in twin.items() {
        if path.starts_with("var/lib/dpkg/info/") && path.ends_with(".list") {
            all.extend(twin.text(path)?.lines().map(|line| twin.resolved(line)));
        }
    }
    Ok(all)
}

/// Unpacks one package; gives its name and its stanza for dpkg's `status`.
fn unpack(deb: &Path, layer: &mut Layer, tree: &Path, control: &Path) -> Result<(String, String), ImageError> {
    let bytes = tools::run(tools::command("dpkg-deb").arg("--fsys-tarfile").arg(deb), None, "")?;
    drop(fs::remove_dir_all(control));
    tools::run(tools::command("dpkg-deb").arg("-e").arg(deb).arg(control), None, "")?;
    let io = || ImageError::io(deb.to_owned());
    let mut list = String::new();
    let mut sums = BTreeMap::new();
    let mut archive = tar::Archive::new(bytes.as_slice());
    for entry in archive.entries().map_err(io())? {
        let mut entry = entry.map_err(io())?;
        let path = entry.path().map_err(io())?.to_string_lossy().into_owned();
        let path = path.trim_start_matches("./").trim_matches('/').to_owned();
        list.push_str(&if path.is_empty() {
            "/.\n".to_owned()
        } else {
            format!("/{path}\n")
        });
        let documentation = (path.starts_with("usr/share/doc/") && !path.ends_with("/copyright"))
            || path.starts_with("usr/share/man/")
            || path.starts_with("usr/share/locale/");
        let kind = entry.header().entry_type();
        if path.is_empty() || (documentation && kind != tar::EntryType::Directory) {
            continue;
        }
        let at = tree.join(layer.resolved(&path));
        let link = entry
            .link_name()
            .map_err(io())?
            .map(|l| l.to_string_lossy().into_owned());
        let kind = match kind {
            tar::EntryType::Directory => Kind::Dir,
            tar::EntryType::Symlink => Kind::Link(link.unwrap_or_default()),
            tar::EntryType::Link => {
                let other = layer.resolved(link.unwrap_or_default().trim_start_matches("./"));
                write(
                    &at,
                    &fs::read(tree.join(&other)).map_err(ImageError::io(tree.join(&other)))?,
                )?;
                Kind::File(Content::Disk(at))
            }
            tar::EntryType::Regular => {
                let mut content = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut content).map_err(io())?;
                if path.starts_with("etc/") {
                    sums.insert(format!("/{path}"), md5(&content));
                }
                write(&at, &content)?;
                Kind::File(Content::Disk(at))
            }
            _ => continue,
        };
        let header = entry.header();
        let number = |n: u64| u32::try_from(n).unwrap_or_default();
        let item = Item {
            mode: header.mode().map_err(io())? & 0o7777,
            uid: number(header.uid().map_err(io())?),
            gid: number(header.gid().map_err(io())?),
            kind,
        };
        layer.put(&path, item);
    }
    register(control, layer, list, &sums)
}

fn write(at: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    if let Some(folder) = at.parent() {
        fs::create_dir_all(folder).map_err(ImageError::io(folder))?;
    }
    drop(fs::remove_file(at));
    fs::write(at, bytes).map_err(ImageError::io(at))
}

/// dpkg's own files of a package, and its stanza.
fn register(
    control: &Path,
    layer: &mut Layer,
    list: String,
    sums: &BTreeMap<String, String>,
) -> Result<(String, String), ImageError> {
    let at = control.join("control");
    let text = fs::read_to_string(&at).map_err(ImageError::io(&at))?;
    let odd = |e: crate::formats::FormatError| ImageError::Unfit(e.to_string());
    let stanza = Stanza::parse("a package's control", &text).map_err(odd)?;
    let field = |name: &str| stanza.get(name).unwrap_or_default().to_owned();
    let package = field("Package");
    let name = if field("Multi-Arch") == "same" {
        format!("{package}:{}", field("Architecture"))
    } else {
        package.clone()
    };
    layer.file(&format!("var/lib/dpkg/info/{name}.list"), 0o644, list);
    let mut conffiles = String::new();
    for entry in fs::read_dir(control).map_err(ImageError::io(control))?.flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let bytes = fs::read(entry.path()).map_err(ImageError::io(entry.path()))?;
        if file == "conffiles" {
            for path in String::from_utf8_lossy(&bytes).lines() {
                if let Some(sum) = sums.get(path) {
                    conffiles.push_str(&format!(" {path} {sum}\n"));
                }
            }
        }
        if file != "control" {
            let script = ["preinst", "postinst", "prerm", "postrm", "config"].contains(&file.as_str());
            let mode = if script { 0o755 } else { 0o644 };
            layer.file(&format!("var/lib/dpkg/info/{name}.{file}"), mode, bytes);
        }
    }
    let rest = text.trim_end().replacen('\n', "\nStatus: install ok installed\n", 1);
    let conffiles = if conffiles.is_empty() {
        conffiles
    } else {
        format!("Conffiles:\n{conffiles}")
    };
    Ok((name, format!("{rest}\n{conffiles}")))
}

/// What is not in the folder yet: what came from the twin, and what we wrote.
fn write_tree(layer: &Layer, tree: &Path) -> Result<(), ImageError> {
    for (path, item) in layer.items() {
        let at = tree.join(path);
        match &item.kind {
            Kind::Dir => fs::create_dir_all(&at).map_err(ImageError::io(&at))?,
            Kind::Link(target) => {
                drop(fs::remove_file(&at));
                symlink(target, &at).map_err(ImageError::io(&at))?;
            }
            Kind::File(Content::Disk(from)) if *from == at => {}
            Kind::File(_) => write(&at, &layer.read(path)?)?,
        }
    }
    Ok(())
}

/// The kernel's list of modules, by this machine's depmod(8): it reads foreign modules as well.
fn modules(layer: &mut Layer, tree: &Path) -> Result<(), ImageError> {
    let all = tree.join("usr/lib/modules");
    for release in fs::read_dir(&all).map_err(ImageError::io(&all))?.flatten() {
        let name = release.file_name();
        tools::run(
            tools::command("depmod").arg("-b").arg(tree).arg(&name),
            None,
            "apt install kmod",
        )?;
        let folder = release.path();
        for entry in fs::read_dir(&folder).map_err(ImageError::io(&folder))?.flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            let path = format!("usr/lib/modules/{}/{file}", name.to_string_lossy());
            if file.starts_with("modules.") && layer.get(&path).is_none() {
                let bytes = fs::read(entry.path()).map_err(ImageError::io(entry.path()))?;
                layer.file(&path, 0o644, bytes);
            }
        }
    }
    Ok(())
}

fn archive(layer: &Layer, to: &Path, epoch: u32) -> Result<(), ImageError> {
    let io = || ImageError::io(to.to_owned());
    let file = fs::File::create(to).map_err(io())?;
    let mut builder = tar::Builder::new(std::io::BufWriter::new(file));
    for (path, item) in layer.items() {
        let mut header = tar::Header::new_gnu();
        header.set_mode(item.mode);
        header.set_uid(u64::from(item.uid));
        header.set_gid(u64::from(item.gid));
        header.set_mtime(u64::from(epoch));
        header.set_size(0);
        let name = format!("./{path}");
        match &item.kind {
            Kind::Dir => {
                header.set_entry_type(tar::EntryType::Directory);
                builder.append_data(&mut header, name, std::io::empty()).map_err(io())?;
            }
            Kind::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                builder.append_link(&mut header, name, target).map_err(io())?;
            }
            Kind::File(_) => {
                let bytes = layer.read(path)?;
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, name, bytes.as_slice()).map_err(io())?;
            }
        }
    }
    builder.finish().map_err(io())
}
