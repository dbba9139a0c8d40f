//! A package: what it says about itself, its files and its scripts.

use sha2::{Digest, Sha256};

use crate::block::{Blocks, DataBlock, Schema};
use crate::value::{self, Value};
use crate::{ApkError, Compression, Limits, PackageInfo, SigningKey};

/// File types in a target, as `stat` numbers them (inode(7)).
const REGULAR: u16 = 0o100_000;
const SYMLINK: u16 = 0o120_000;
/// Length of a package's unique id.
const ID: usize = 20;

/// Who owns a file, and what may be done with it. Names, not numbers: the device looks them up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// User.
    pub user: String,
    /// Group.
    pub group: String,
}

impl Owner {
    /// root's.
    #[must_use]
    pub fn root(mode: u32) -> Self {
        Self {
            mode,
            user: "root".into(),
            group: "root".into(),
        }
    }

    fn to_value(&self) -> Value {
        Value::object(vec![
            Value::Int(u64::from(self.mode)),
            Value::text(&self.user),
            Value::text(&self.group),
        ])
    }

    fn from_value(value: &Value) -> Result<Self, ApkError> {
        let mode = value.field(1).as_number().unwrap_or(0);
        let mode = u32::try_from(mode).ok().filter(|mode| *mode <= 0o7777);
        if !value.field(4).items().is_empty() {
            return Err(ApkError::Unsupported("extended attributes of a file in an apk".into()));
        }
        Ok(Self {
            mode: mode.ok_or_else(|| ApkError::damaged("mode", "is more than permission bits"))?,
            user: value.field(2).as_text("user")?,
            group: value.field(3).as_text("group")?,
        })
    }
}

/// What a file is.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// A regular file.
    File(Vec<u8>),
    /// A symbolic link and where it points.
    Symlink(String),
    /// Another name of a file of this package.
    Hardlink(String),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(bytes) => write!(f, "File({} bytes)", bytes.len()),
            Self::Symlink(target) => write!(f, "Symlink({target:?})"),
            Self::Hardlink(target) => write!(f, "Hardlink({target:?})"),
        }
    }
}

/// A file or link in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name there.
    pub name: String,
    /// Whose it is.
    pub owner: Owner,
    /// Seconds since 1970.
    pub mtime: u64,
    /// What it is.
    pub content: Content,
}

/// A directory and the files in it; the directories in it are entries of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dir {
    /// Path below the root, `usr/bin`; empty for the root itself, whose owner is not applied.
    pub path: String,
    /// Whose it is.
    pub owner: Owner,
    /// What lies in it.
    pub files: Vec<File>,
}

/// Programs of the package that apk runs, most often shell scripts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scripts {
    /// When a path of [`Package::triggers`] changed.
    pub trigger: String,
    /// Before the first installation.
    pub pre_install: String,
    /// After it.
    pub post_install: String,
    /// Before removal.
    pub pre_deinstall: String,
    /// After it.
    pub post_deinstall: String,
    /// Before another version is installed over this one.
    pub pre_upgrade: String,
    /// After it.
    pub post_upgrade: String,
}

impl Scripts {
    fn to_value(&self) -> Value {
        let Self {
            trigger,
            pre_install,
            post_install,
            pre_deinstall,
            post_deinstall,
            pre_upgrade,
            post_upgrade,
        } = self;
        let all = [
            trigger,
            pre_install,
            post_install,
            pre_deinstall,
            post_deinstall,
            pre_upgrade,
            post_upgrade,
        ];
        Value::object(all.map(|text| Value::text(text)).to_vec())
    }

    fn from_value(value: &Value) -> Result<Self, ApkError> {
        Ok(Self {
            trigger: value.field(1).as_text("trigger")?,
            pre_install: value.field(2).as_text("pre-install")?,
            post_install: value.field(3).as_text("post-install")?,
            pre_deinstall: value.field(4).as_text("pre-deinstall")?,
            post_deinstall: value.field(5).as_text("post-deinstall")?,
            pre_upgrade: value.field(6).as_text("pre-upgrade")?,
            post_upgrade: value.field(7).as_text("post-upgrade")?,
        })
    }
}

/// A whole package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    /// What it says about itself; [`PackageInfo::hash`] and [`PackageInfo::installed_size`] are worked out when it is written.
    pub info: PackageInfo,
    /// Its directories, sorted by path.
    pub dirs: Vec<Dir>,
    /// Its scripts.
    pub scripts: Scripts,
    /// Paths whose change runs the trigger script.
    pub triggers: Vec<String>,
    /// Whose files win where two packages replace each other: the higher.
    pub replaces_priority: Option<u64>,
}

impl Package {
    /// The package's file, signed by `keys`. Equal input gives equal bytes.
    ///
    /// # Errors
    /// [`ApkError::Field`] for a name, version or path outside its grammar, [`ApkError::TooLarge`].
    pub fn to_bytes(&self, keys: &[&SigningKey], compression: Compression) -> Result<Vec<u8>, ApkError> {
        let mut blocks = self.to_blocks()?;
        keys.iter().for_each(|key| blocks.sign(key));
        Ok(blocks.to_bytes(compression))
    }

    /// The package in blocks, unsigned.
    ///
    /// # Errors
    /// As [`Package::to_bytes`].
    pub fn to_blocks(&self) -> Result<Blocks, ApkError> {
        self.info.check()?;
        let mut dirs = self.dirs.clone();
        dirs.sort_by(|a, b| a.path.cmp(&b.path));
        let (mut data, mut size) = (Vec::new(), 0);
        let mut paths = Vec::new();
        for (dir, path) in dirs.iter_mut().zip(1..) {
            check_path(&dir.path)?;
            dir.files.sort_by(|a, b| a.name.cmp(&b.name));
            let mut files = Vec::new();
            for (file, number) in dir.files.iter().zip(1..) {
                check_name(&file.name)?;
                files.push(file_value(file));
                if let Content::File(bytes) = &file.content {
                    size += bytes.len() as u64;
                    if !bytes.is_empty() {
                        data.push(DataBlock {
                            path,
                            file: number,
                            bytes: bytes.clone(),
                        });
                    }
                }
            }
            paths.push(Value::object(vec![
                Value::text(&dir.path),
                dir.owner.to_value(),
                Value::array(files),
            ]));
        }
        let mut info = self.info.clone();
        // Never 0: apk would take a package of empty files for one without any.
        info.installed_size = Some(size.max(1));
        info.file_size = None;
        let root = Value::object(vec![
            info.to_value(Value::Own(vec![0; ID])),
            Value::array(paths),
            self.scripts.to_value(),
            Value::array(self.triggers.iter().map(|path| Value::text(path))),
            Value::number(self.replaces_priority),
        ]);
        let mut tree = value::encode(&root)?;
        let id = Sha256::digest(&tree.bytes);
        if let Some(own) = tree.own {
            tree.bytes[own..own + ID].copy_from_slice(&id[..ID]);
        }
        Ok(Blocks::new(Schema::Package, tree.bytes, data))
    }

    /// Reads a package, without asking who signed it: [`Blocks::verify`] does that.
    ///
    /// # Errors
    /// As [`Blocks::from_bytes`] and [`Package::from_blocks`].
    pub fn from_bytes(bytes: &[u8], limits: Limits) -> Result<Self, ApkError> {
        Self::from_blocks(&Blocks::from_bytes(bytes, limits)?)
    }

    /// Reads a package, its files held against the hashes in its tree.
    ///
    /// # Errors
    /// [`ApkError::Damaged`] for a tree that is none, a file without its content or with another, a content without its
    /// file; [`ApkError::Unsupported`] for devices and extended attributes.
    pub fn from_blocks(blocks: &Blocks) -> Result<Self, ApkError> {
        if blocks.schema != Schema::Package {
            return Err(ApkError::damaged("package", "is an index, expected a package"));
        }
        let root = value::decode(&blocks.tree)?;
        let mut data = blocks.data.iter();
        let mut dirs = Vec::new();
        for (dir, path) in root.field(2).items().iter().zip(1..) {
            let mut files = Vec::new();
            for (file, number) in dir.field(3).items().iter().zip(1..) {
                files.push(read_file(file, (path, number), &mut data)?);
            }
            let dir = Dir {
                path: dir.field(1).as_text("path")?,
                owner: Owner::from_value(dir.field(2))?,
                files,
            };
            check_path(&dir.path)?;
            dirs.push(dir);
        }
        if let Some(more) = data.next() {
            let problem = format!(
                "a block for file {} of directory {} out of its turn",
                more.file, more.path
            );
            return Err(ApkError::damaged("data", problem));
        }
        let triggers = root.field(4).items().iter().map(|path| path.as_text("trigger"));
        Ok(Self {
            info: PackageInfo::from_value(root.field(1))?,
            dirs,
            scripts: Scripts::from_value(root.field(3))?,
            triggers: triggers.collect::<Result<_, _>>()?,
            replaces_priority: root.field(5).as_number(),
        })
    }
}

fn file_value(file: &File) -> Value {
    let (size, hash, target) = match &file.content {
        Content::File(bytes) => (bytes.len(), Value::bytes(&Sha256::digest(bytes)), Value::Null),
        Content::Symlink(target) => (target.len(), Value::Null, link(SYMLINK, target)),
        Content::Hardlink(target) => (0, Value::Null, link(REGULAR, target)),
    };
    Value::object(vec![
        Value::text(&file.name),
        file.owner.to_value(),
        Value::Int(size as u64),
        Value::Int(file.mtime),
        hash,
        target,
    ])
}

fn link(kind: u16, target: &str) -> Value {
    Value::Blob([&kind.to_le_bytes(), target.as_bytes()].concat())
}

fn read_file<'b>(
    value: &Value,
    place: (u32, u32),
    data: &mut impl Iterator<Item = &'b DataBlock>,
) -> Result<File, ApkError> {
    let name = value.field(1).as_text("name of a file")?;
    check_name(&name)?;
    let size = value.field(3).as_number().unwrap_or(0);
    let content = match value.field(6).as_bytes().split_at_checked(2) {
        Some((kind, target)) => {
            let target = String::from_utf8(target.to_vec())
                .map_err(|_| ApkError::damaged("target of a link", "is not UTF-8, expected text"))?;
            match u16::from_le_bytes([kind[0], kind[1]]) {
                SYMLINK => Content::Symlink(target),
                REGULAR => Content::Hardlink(target),
                other => {
                    return Err(ApkError::Unsupported(format!(
                        "file type {other:o} of {name:?} in an apk"
                    )));
                }
            }
        }
        None => {
            let bytes = if size == 0 {
                Vec::new()
            } else {
                let next = data.next().filter(|block| (block.path, block.file) == place);
                let missing = || ApkError::damaged("data", format!("the content of {name:?} is not where it belongs"));
                next.ok_or_else(missing)?.bytes.clone()
            };
            if bytes.len() as u64 != size || Sha256::digest(&bytes)[..] != *value.field(5).as_bytes() {
                let problem = format!("the content of {name:?} is not what the tree says of it");
                return Err(ApkError::damaged("data", problem));
            }
            Content::File(bytes)
        }
    };
    Ok(File {
        name,
        owner: Owner::from_value(value.field(2))?,
        mtime: value.field(4).as_number().unwrap_or(0),
        content,
    })
}

fn check_path(path: &str) -> Result<(), ApkError> {
    if path.is_empty() {
        return Ok(());
    }
    path.split('/').try_for_each(|part| check_part(part, path))
}

fn check_name(name: &str) -> Result<(), ApkError> {
    if name.contains('/') {
        return Err(ApkError::field("name of a file", name, "one name without a slash"));
    }
    check_part(name, name)
}

fn check_part(part: &str, whole: &str) -> Result<(), ApkError> {
    if matches!(part, "" | "." | "..") || part.chars().any(char::is_control) {
        let expected = "a path below the root, without empty parts, `.`, `..` and control characters";
        return Err(ApkError::field("path", whole, expected));
    }
    Ok(())
}
