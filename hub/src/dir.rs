//! The hub's data directory: one folder, readable by its owner alone, that is all of a hub.
//!
//! ```text
//! DIR/                   0700
//!   hub.json             0644   addresses, format
//!   ca.pem  ca.key       0644, 0600   the first CA; its key goes when it is rotated out
//!   server.pem server.key       the hub's own certificate; made anew before it ends
//!   freshness.key(.pub)  0600, 0644   jos key files; the public half goes into trust documents
//!   challenge.key        0600   makes the challenges of renewals, seals the keys in the database
//!   admin.token          0600   the first API token
//!   hub.db               0600   SQLite; or, where the database is PostgreSQL,
//!   database.url         0600   where that is; it may hold a password
//! ```
//!
//! Nothing but `server.*` is ever written there after `init`, so several hubs on one PostgreSQL each have a copy of it,
//! without `server.*`: each makes its own. Later CAs and freshness keys lie in the database, sealed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Where the database is, if it is PostgreSQL.
pub const DATABASE_URL: &str = "database.url";
/// The layout of the directory.
const FORMAT: u32 = 1;

/// `hub.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The layout.
    pub format: u32,
    /// Where devices find the hub, best first.
    pub addresses: Vec<String>,
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// A file cannot be read or written.
    #[error("{}: cannot {act}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read`, `create`.
        act: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Something is there already.
    #[error("{} is not empty; a hub is never made over another", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// No hub lives there.
    #[error("{} holds no hub: there is no {file}", path.display())]
    NoHub {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        file: &'static str,
    },
    /// A folder with a database of its own, and another database was named.
    #[error("{} is there, and the hub was told of a database elsewhere", path.display())]
    TwoDatabases {
        /// The database in the folder.
        path: PathBuf,
    },
    /// Others can read a secret.
    #[error("{} has mode {mode:04o}: others can read this secret", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// `hub.json` is not what a hub writes.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl DirError {
    /// What to do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Io { .. } | Self::Malformed { .. } => None,
            Self::NotEmpty { .. } => Some("name another folder, or move that one away first".to_owned()),
            Self::NoHub { path, file: "hub.db" } if path.join("hub.json").is_file() => Some(
                "where its database is PostgreSQL, say so: JOS_HUB_DATABASE_URL=postgres://…".to_owned(),
            ),
            Self::TwoDatabases { .. } => Some(
                "a hub has one of them: leave JOS_HUB_DATABASE_URL and database.url away, or make a hub in another folder"
                    .to_owned(),
            ),
            Self::NoHub { path, .. } => Some(format!("`jos-hub init --data {}` makes one", path.display())),
            Self::Exposed { path, .. } => Some(format!("chmod 600 {}", path.display())),
        }
    }
}

/// The directory of one hub.
#[derive(Clone, Debug)]
pub struct Dir {
    path: PathBuf,
}

impl Dir {
    /// An empty directory, made where there is none.
    pub fn create(path: &Path) -> Result<Self, DirError> {
        let io = |act| {
            move |source| DirError::Io {
                path: path.to_owned(),
                act,
                source,
            }
        };
        if path.exists() {
            let mut entries = fs::read_dir(path).map_err(io("read"))?;
            if entries.next().is_some() {
                return Err(DirError::NotEmpty { path: path.to_owned() });
            }
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(io("change"))?;
        } else {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(io("create"))?;
        }
        Self::at(path)
    }

    /// A directory that a hub was made in. `named` is a database that was named besides.
    pub fn open(path: &Path, named: bool) -> Result<Self, DirError> {
        let database = path.join("hub.db");
        let elsewhere = named || path.join(DATABASE_URL).is_file();
        if elsewhere && database.exists() {
            return Err(DirError::TwoDatabases { path: database });
        }
        let needed: &[&'static str] = if elsewhere {
            &["hub.json"]
        } else {
            &["hub.json", "hub.db"]
        };
        if let Some(file) = needed.iter().find(|file| !path.join(file).is_file()) {
            return Err(DirError::NoHub {
                path: path.to_owned(),
                file,
            });
        }
        Self::at(path)
    }

    fn at(path: &Path) -> Result<Self, DirError> {
        let path = path.canonicalize().map_err(|source| DirError::Io {
            path: path.to_owned(),
            act: "read",
            source,
        })?;
        Ok(Self { path })
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a new file for everybody to read.
    pub fn write_public(&self, name: &str, bytes: &[u8]) -> Result<(), DirError> {
        self.create_file(name, 0o644, bytes)
    }

    /// Writes a new file for its owner alone.
    pub fn write_secret(&self, name: &str, bytes: &[u8]) -> Result<(), DirError> {
        self.create_file(name, 0o600, bytes)
    }

    /// Puts `bytes` in the place of a file in one step; its mode is `mode`.
    pub fn replace(&self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), DirError> {
        let fresh = format!(".{name}.new");
        let _ = fs::remove_file(self.file(&fresh));
        self.create_file(&fresh, mode, bytes)?;
        let path = self.file(name);
        fs::rename(self.file(&fresh), &path)
            .and_then(|()| File::open(&self.path)?.sync_all())
            .map_err(|source| DirError::Io {
                path,
                act: "replace",
                source,
            })
    }

    fn create_file(&self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), DirError> {
        let path = self.file(name);
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .and_then(|mut file| {
                file.set_permissions(fs::Permissions::from_mode(mode))?;
                file.write_all(bytes)?;
                file.sync_all()
            });
        made.map_err(|source| DirError::Io {
            path,
            act: "create",
            source,
        })
    }

    /// Reads a text that everybody may read.
    pub fn read(&self, name: &str) -> Result<String, DirError> {
        let path = self.file(name);
        fs::read_to_string(&path).map_err(|source| DirError::Io {
            path,
            act: "read",
            source,
        })
    }

    /// Reads a secret, unless others can.
    pub fn read_secret(&self, name: &str) -> Result<Zeroizing<String>, DirError> {
        let path = self.file(name);
        let io = |source| DirError::Io {
            path: path.clone(),
            act: "read",
            source,
        };
        let mode = fs::metadata(&path).map_err(io)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(DirError::Exposed { path, mode });
        }
        Ok(Zeroizing::new(fs::read_to_string(&path).map_err(io)?))
    }

    /// Writes `hub.json`.
    pub fn write_settings(&self, addresses: &[String]) -> Result<Settings, DirError> {
        let settings = Settings {
            format: FORMAT,
            addresses: addresses.to_vec(),
        };
        let text = serde_json::to_string_pretty(&settings).expect("plain data");
        self.write_public("hub.json", format!("{text}\n").as_bytes())?;
        Ok(settings)
    }

    /// Reads `hub.json`.
    pub fn settings(&self) -> Result<Settings, DirError> {
        let malformed = |reason| DirError::Malformed {
            path: self.file("hub.json"),
            reason,
        };
        let settings: Settings =
            serde_json::from_str(&self.read("hub.json")?).map_err(|error| malformed(error.to_string()))?;
        if settings.format != FORMAT {
            return Err(malformed(format!(
                "format {}, this program knows {FORMAT}",
                settings.format
            )));
        }
        Ok(settings)
    }
}
