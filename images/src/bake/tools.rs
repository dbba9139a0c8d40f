//! Packages of programs that a vendor made: no agent, no state, nothing signed but the lists beside them.
//!
//! Owns: reading what a tool installs for each target, holding its programs against the target's CPU, and the `.deb` with
//! the scripts that its units, users and folders need.
//! Never: compiles; a tool's programs lie below `--built DIR` or beside the profile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jos_schemas::documents::profile::{Tool, ToolFile};
use jos_schemas::text::Utc;

use super::appliance::{Appliance, Input};
use super::{BakeError, debian, secrets};
use crate::builders::{self, Crate, elf};
use crate::formats::control::Description;
use crate::formats::hash::sha256;
use crate::formats::tree::disk::{self, DiskOptions};
use crate::formats::{DebControl, DebPackage, Entry, EntryKind, FormatError, Scripts, Tree, gzip};
use crate::profile::{Problems, Resolved, paths};
use crate::targets::Target;

/// A tool with what it installs, by target.
#[derive(Clone, Debug)]
pub struct ToolPackage {
    /// As the profile describes it.
    pub tool: Tool,
    /// Its files for each target.
    pub trees: BTreeMap<&'static str, Tree>,
    /// Its programs for each target.
    pub programs: BTreeMap<&'static str, Vec<ToolProgram>>,
}

/// A program of a tool, as the bill of materials lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolProgram {
    /// Where it is installed.
    pub path: String,
    /// SHA-256 of it.
    pub sha256: String,
    /// What it is made of, as `NAME.crates.json` beside it says; none where there is no such file.
    pub crates: Vec<Crate>,
}

impl ToolPackage {
    /// The file name of its package begins so.
    #[must_use]
    pub fn stem(&self) -> String {
        format!("{}_", self.tool.name)
    }
}

/// What may lie in one folder of a tool.
const LIMITS: DiskOptions = DiskOptions {
    special_modes: false,
    max_bytes: 512 << 20,
    max_entries: 10_000,
};
/// Folders whose programs run on the machine; elsewhere a program may be one for another machine.
const RUN_HERE: [&str; 3] = ["usr/bin/", "usr/sbin/", "usr/libexec/"];

/// Reads the tools of a profile. Without `built` (where nothing is made of them) what lies there is not looked at.
pub(super) fn read(
    resolved: &Resolved,
    targets: &[&'static Target],
    built: Option<&Path>,
    inputs: &mut Vec<Input>,
    problems: &mut Problems<'_>,
) -> Vec<ToolPackage> {
    let mut all = Vec::new();
    for (i, tool) in resolved.profile.tools.iter().enumerate() {
        let (mut trees, mut all_programs) = (BTreeMap::new(), BTreeMap::new());
        for target in targets {
            let (mut tree, mut programs) = (Tree::new(), Vec::new());
            for (j, file) in tool.files.iter().enumerate() {
                let pointer = format!("/tools/{i}/files/{j}");
                let mut reader = Reader {
                    resolved,
                    target,
                    built,
                    inputs,
                    programs: &mut programs,
                    problems,
                };
                reader.file(file, &pointer, &mut tree);
            }
            trees.insert(target.name, tree);
            all_programs.insert(target.name, programs);
        }
        all.push(ToolPackage {
            tool: tool.clone(),
            trees,
            programs: all_programs,
        });
    }
    all
}

struct Reader<'a, 'p> {
    resolved: &'a Resolved,
    target: &'static Target,
    built: Option<&'a Path>,
    inputs: &'a mut Vec<Input>,
    programs: &'a mut Vec<ToolProgram>,
    problems: &'a mut Problems<'p>,
}

impl Reader<'_, '_> {
    fn file(&mut self, file: &ToolFile, pointer: &str, tree: &mut Tree) {
        let Some((pointer, path, name)) = self.place(file, pointer) else {
            return;
        };
        let below = file.path.as_str().trim_start_matches('/').to_owned();
        let read = if path.is_dir() {
            disk::read(&path, &LIMITS).and_then(|folder| {
                let mut own = Tree::new();
                own.graft(&below, folder)?;
                Ok(own)
            })
        } else {
            std::fs::read(&path)
                .map_err(|e| FormatError::io(&path, e))
                .and_then(|bytes| {
                    let mut own = Tree::new();
                    let entry = Entry::file(below, file.mode.as_ref().map_or(0o644, |m| m.bits()), bytes);
                    own.insert(if file.conffile { entry.as_conffile() } else { entry })?;
                    Ok(own)
                })
        };
        let help = "a package holds files, directories and links below its root, each once";
        match read {
            Ok(own) => {
                for entry in own.entries() {
                    self.look_at(entry, &pointer, (&name, &path));
                    if let Err(e) = add(tree, entry) {
                        self.problems.at(&self.resolved.node, &pointer, e.to_string(), help);
                    }
                }
            }
            Err(e) => self.problems.at(&self.resolved.node, &pointer, e.to_string(), help),
        }
    }

    /// Where the file lies, and as what it is listed.
    fn place(&mut self, file: &ToolFile, pointer: &str) -> Option<(String, PathBuf, String)> {
        if let Some(source) = &file.source {
            let pointer = format!("{pointer}/source");
            let found = paths::find(&self.resolved.files, &self.resolved.node, &pointer, self.problems)?;
            return Some((pointer, found, source.clone()));
        }
        let pointer = format!("{pointer}/built");
        let named = file.built.as_ref()?.replace("{arch}", self.target.architecture);
        let path = self.built?.join(&named);
        let climbs = Path::new(&named)
            .components()
            .any(|part| !matches!(part, std::path::Component::Normal(_)));
        if climbs || !path.exists() {
            let message = format!("{} is not there", path.display());
            let help = "`--built DIR` names the folder with what was compiled; paths in it do not climb";
            self.problems.at(&self.resolved.node, &pointer, message, help);
            return None;
        }
        Some((pointer, path, named))
    }

    /// Notes an entry as an input, and refuses a secret or a program for another CPU.
    fn look_at(&mut self, entry: &Entry, pointer: &str, (name, path): (&str, &Path)) {
        let EntryKind::File(bytes) = &entry.kind else { return };
        self.inputs.push(Input {
            role: "file",
            name: format!("{name} → /{}", entry.path),
            sha256: sha256(bytes),
        });
        let node = &self.resolved.node;
        if std::str::from_utf8(bytes).is_ok()
            && let Some(found) = secrets::find(bytes)
        {
            let message = format!("/{} line {}: found {}", entry.path, found.line, found.what);
            self.problems.at(node, pointer, message, secrets::HELP);
        }
        if runs_here(entry) && elf::read(bytes).is_some() {
            // Of a tool any C library will do; the package then depends on it.
            let triple = self.target.programs[0].name.replace("musl", "gnu");
            if let Err(e) = builders::check(Path::new(&format!("/{}", entry.path)), bytes, &triple) {
                let help = "`{arch}` in `built` stands for the target's architecture: give each its own program";
                self.problems.at(node, pointer, e.to_string(), help);
            }
            let crates = crates_of(path).unwrap_or_else(|why| {
                let help = "expected a list as scripts/lib/crates.py writes it";
                self.problems.at(node, pointer, why, help);
                Vec::new()
            });
            self.programs.push(ToolProgram {
                path: format!("/{}", entry.path),
                sha256: sha256(bytes),
                crates,
            });
        }
    }
}

/// What lies beside a program about its crates.
fn crates_of(program: &Path) -> Result<Vec<Crate>, String> {
    let mut path = program.as_os_str().to_owned();
    path.push(".crates.json");
    let path = PathBuf::from(path);
    match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read
            .map_err(|e| e.to_string())
            .and_then(|text| serde_json::from_slice(&text).map_err(|e| e.to_string()))
            .map_err(|e| format!("{}: {e}", path.display())),
    }
}

/// Puts an entry into a tree; a folder may be there already.
fn add(tree: &mut Tree, entry: &Entry) -> Result<(), FormatError> {
    if entry.is_dir() && tree.get(&entry.path).is_some_and(Entry::is_dir) {
        return Ok(());
    }
    tree.insert(entry.clone())
}

fn runs_here(entry: &Entry) -> bool {
    RUN_HERE.iter().any(|folder| entry.path.starts_with(folder))
}

/// The packages of every tool for one target.
pub(super) fn packages(app: &Appliance, target: &'static Target) -> Result<Vec<(String, Vec<u8>)>, BakeError> {
    let format = |source| BakeError::Format {
        target: target.name.to_owned(),
        source,
    };
    let mut all = Vec::new();
    for package in &app.tools {
        let made = one(app, package, target).map_err(format)?;
        all.push((made.file_name(), made.to_bytes().map_err(format)?));
    }
    Ok(all)
}

fn one(app: &Appliance, package: &ToolPackage, target: &'static Target) -> Result<DebPackage, FormatError> {
    let tool = &package.tool;
    let name = tool.name.to_string();
    let mut tree = Tree::new();
    let (mut units, mut users, mut folders) = (Vec::new(), Vec::new(), Vec::new());
    let (mut glibc, mut is_static) = (None, false);
    for entry in package.trees.get(target.name).into_iter().flat_map(Tree::entries) {
        let EntryKind::File(bytes) = &entry.kind else {
            add(&mut tree, entry)?;
            continue;
        };
        match elf::read(bytes).filter(|_| runs_here(entry)) {
            Some(found) if found.dynamic => glibc = glibc.max(Some(found.glibc.unwrap_or((2, 31)))),
            Some(_) => is_static = true,
            None => {}
        }
        let file = |folder: &str, end: &str| {
            let name = entry.path.strip_prefix(folder)?;
            (name.ends_with(end) && plain(name)).then(|| name.to_owned())
        };
        if entry.path == format!("usr/share/lintian/overrides/{name}") {
            continue;
        }
        let text = String::from_utf8_lossy(bytes);
        units.extend(file("usr/lib/systemd/system/", "").filter(|_| text.lines().any(|l| l.trim() == "[Install]")));
        users.extend(file("usr/lib/sysusers.d/", ".conf"));
        folders.extend(file("usr/lib/tmpfiles.d/", ".conf"));
        if entry.path.starts_with("usr/share/man/") && !entry.path.ends_with(".gz") {
            let packed = gzip::compress("manual", bytes)?;
            tree.file(format!("{}.gz", entry.path), entry.mode, packed)?;
        } else {
            add(&mut tree, entry)?;
        }
    }
    let path = format!("usr/share/lintian/overrides/{name}");
    let brought = package.trees.get(target.name).and_then(|tree| tree.get(&path));
    let brought = brought.map_or_else(String::new, |entry| match &entry.kind {
        EntryKind::File(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        EntryKind::Dir | EntryKind::Symlink(_) => String::new(),
    });
    let mut overrides = format!(
        "# It does not go into Debian's archive, where a first upload closes a bug.\n\
         {name}: initial-upload-closes-no-bugs *\n"
    );
    if is_static {
        overrides.push_str(&format!(
            "# One static program serves every release of the system.\n{name}: statically-linked-binary [usr/*bin/*]\n"
        ));
    }
    tree.file(path, 0o644, overrides + &brought)?;
    let doc = format!("usr/share/doc/{name}");
    tree.file(format!("{doc}/copyright"), 0o644, copyright(app))?;
    let changes = gzip::compress("changelog", debian::changelog(app, &name).as_bytes())?;
    tree.file(format!("{doc}/changelog.Debian.gz"), 0o644, changes)?;
    let mut depends = Vec::new();
    depends.extend(glibc.map(|(major, minor)| format!("libc6 (>= {major}.{minor})")));
    if !users.is_empty() || !folders.is_empty() {
        depends.push("systemd".to_owned());
    }
    depends.extend(tool.depends.iter().cloned());
    Ok(DebPackage {
        control: DebControl {
            package: name,
            version: app.full_version(),
            architecture: target.architecture.to_owned(),
            maintainer: app.package.maintainer.clone().unwrap_or_default(),
            depends,
            recommends: tool.recommends.clone(),
            conflicts: tool.conflicts.clone(),
            homepage: app.brand.support_url.clone().unwrap_or_default(),
            description: Description {
                synopsis: tool.description.clone(),
                extended: tool.about.as_deref().map_or_else(
                    || format!("This package is a part of {} by {}.", app.product(), app.vendor()),
                    |about| about.trim().to_owned(),
                ),
            },
            ..DebControl::default()
        },
        scripts: scripts(&units, &users, &folders),
        tree,
        epoch: app.epoch,
        ..DebPackage::default()
    })
}

/// A name that needs no quoting in a shell, and no template.
fn plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b":._-".contains(&b))
}

/// Users come before folders, and both before the units that need them.
fn scripts(units: &[String], users: &[String], folders: &[String]) -> Scripts {
    if units.is_empty() && users.is_empty() && folders.is_empty() {
        return Scripts::default();
    }
    let fill = |text: &str| {
        let kept = text.lines().filter(|line| {
            let lists = [("@USERS@", users), ("@FOLDERS@", folders), ("@ENABLE@", units)];
            !lists.iter().any(|(mark, list)| line.contains(mark) && list.is_empty())
        });
        let text: String = kept.map(|line| format!("{line}\n")).collect();
        Some(
            text.replace("@ENABLE@\n", include_str!("scripts/tool-units.sh"))
                .replace("@USERS@", &users.join(" "))
                .replace("@FOLDERS@", &folders.join(" "))
                .replace("@UNITS@", &units.join(" ")),
        )
    };
    let of_units = |text: &str| if units.is_empty() { None } else { fill(text) };
    Scripts {
        preinst: None,
        postinst: fill(include_str!("scripts/tool-postinst.sh")),
        prerm: of_units(include_str!("scripts/tool-prerm.sh")),
        postrm: of_units(include_str!("scripts/tool-postrm.sh")),
    }
}

fn copyright(app: &Appliance) -> String {
    let license = app.package.license.as_deref().unwrap_or("MIT");
    let year = &Utc::from_unix(i64::from(app.epoch)).to_string()[..4];
    let text = match license {
        "MIT" => debian::mit(),
        other => format!(" Under {other}; {} gives the text.\n", app.vendor()),
    };
    format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n\
         Files: *\nCopyright: {year} {}\nLicense: {license}\n{text}",
        app.vendor()
    )
}
