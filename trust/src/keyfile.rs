//! Key files: a secret key with mode 0600, and its public half for others.
//!
//! Owns the two small JSON documents and the rules of their files: a secret is created for its owner alone, never
//! overwritten, and not read while others can read it. No error and no `Debug` shows a secret.
//!
//! ```text
//! admin.key      {"kind":"jos.key","alg":"ed25519","key_id":…,"public":…,"secret":…}     0600
//! admin.key.pub  {"kind":"jos.public_key","alg":"ed25519","key_id":…,"public":…}         0644
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jos_schemas::documents::desired_state::SignatureAlg;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::keys::{BadPublicKey, KeyId, PublicKey, SecretKey};

/// The `kind` of a secret key file.
pub const SECRET_KIND: &str = "jos.key";
/// The `kind` of a public key file.
pub const PUBLIC_KIND: &str = "jos.public_key";
/// Larger files are no key files.
const MOST_BYTES: u64 = 16 * 1024;

/// A public key with its id, as others hand it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedKey {
    /// Its id.
    pub id: KeyId,
    /// The key.
    pub public: PublicKey,
    /// For people.
    pub comment: Option<String>,
    /// A throwaway key.
    pub dev: bool,
}

impl From<&SecretKey> for NamedKey {
    fn from(key: &SecretKey) -> Self {
        let comment = key.comment().map(str::to_owned);
        Self {
            id: key.id().clone(),
            public: key.public(),
            comment,
            dev: key.is_dev(),
        }
    }
}

impl NamedKey {
    /// The public key file's content as a JSON value.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(KeyText {
            kind: PUBLIC_KIND.into(),
            alg: SignatureAlg::Ed25519,
            key_id: self.id.clone(),
            public: self.public.to_base64().into(),
            comment: self.comment.as_deref().map(Into::into),
            dev: self.dev,
            secret: None,
        })
        .expect("a key is plain data")
    }
}

/// A key file, either kind. Texts are borrowed from the file's buffer, which is wiped.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyText<'a> {
    #[serde(borrow)]
    kind: std::borrow::Cow<'a, str>,
    alg: SignatureAlg,
    key_id: KeyId,
    #[serde(borrow)]
    public: std::borrow::Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    comment: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    dev: bool,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("{}: cannot {act}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read`, `create`, `write`.
        act: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// There is a file already; a key is never overwritten.
    #[error("{} exists; a key is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner may read or write it.
    #[error("{} has mode {mode:04o}: others can read this secret key", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory, a device, a pipe, or something larger than any key.
    #[error("{} is no key file: found {found}, expected a regular file of {MOST_BYTES} bytes at most", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// Not the JSON of a key.
    #[error("{} is no key file: line {line}, column {column}: it is not the JSON that `jos key new` writes", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// JSON, but no key of this kind.
    #[error("{}: {message}", path.display())]
    WrongContent {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected, without any secret.
        message: String,
    },
    /// The public half is none.
    #[error("{}: {reason}", path.display())]
    BadPublicKey {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: BadPublicKey,
    },
}

impl KeyFileError {
    /// What to do next.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Io { .. } => return None,
            Self::Exists { path } => format!("choose another name, or move {} away first", path.display()),
            Self::Exposed { path, .. } => format!("chmod 600 {}", path.display()),
            Self::NotAFile { .. } | Self::Malformed { .. } => "`jos key new --out FILE` makes a key file".to_owned(),
            Self::WrongContent { .. } | Self::BadPublicKey { .. } => {
                "`jos key new --out FILE` makes a key file, and its public half beside it".to_owned()
            }
        })
    }
}

/// Creates `path` with mode 0600 and writes `key` to it. Refuses an existing file, and leaves none half-written.
pub fn write_secret(path: &Path, key: &SecretKey) -> Result<(), KeyFileError> {
    let secret = Zeroizing::new(STANDARD.encode(*key.seed()));
    let text = KeyText {
        kind: SECRET_KIND.into(),
        alg: SignatureAlg::Ed25519,
        key_id: key.id().clone(),
        public: key.public().to_base64().into(),
        comment: key.comment().map(Into::into),
        dev: key.is_dev(),
        secret: Some(&secret),
    };
    // Sized once: a buffer that grows would leave copies of the secret in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096 + 6 * key.comment().map_or(0, str::len)));
    serde_json::to_writer_pretty(&mut *bytes, &text).expect("a key is plain data");
    bytes.push(b'\n');
    create(path, 0o600, &bytes)
}

/// Creates `path` with mode 0644 and writes the public half. Refuses an existing file.
pub fn write_public(path: &Path, key: &NamedKey) -> Result<(), KeyFileError> {
    let mut text = serde_json::to_string_pretty(&key.to_json()).expect("a key is plain data");
    text.push('\n');
    create(path, 0o644, text.as_bytes())
}

fn create(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), KeyFileError> {
    let io = |act| {
        move |source| KeyFileError::Io {
            path: path.to_owned(),
            act,
            source,
        }
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(mode);
    }
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            return Err(KeyFileError::Exists { path: path.to_owned() });
        }
        opened => opened.map_err(io("create"))?,
    };
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // A key that is not whole is no key; the file is ours, since it was created above.
        let _ = std::fs::remove_file(path);
    }
    written.map_err(io("write"))?;
    let parent = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // Some file systems cannot sync a directory; the key itself is safe by then.
    let _ = File::open(parent).and_then(|dir| dir.sync_all());
    Ok(())
}

/// Reads a secret key. Refuses a file that its group or others may read or write.
pub fn read_secret(path: &Path) -> Result<SecretKey, KeyFileError> {
    let bytes = read(path)?;
    let text = parse(path, &bytes.0)?;
    let Some(secret) = text.secret else {
        let message = format!(
            "found a {:?} without a secret, expected the file that `jos key new` wrote",
            text.kind
        );
        return Err(KeyFileError::WrongContent {
            path: path.to_owned(),
            message,
        });
    };
    not_exposed(path, bytes.1)?;
    let wrong = |message: &str| KeyFileError::WrongContent {
        path: path.to_owned(),
        message: message.to_owned(),
    };
    let mut seed = Zeroizing::new([0; 32]);
    // Decoding needs room for its estimate, which is a little above 32.
    let mut room = Zeroizing::new([0; 48]);
    match STANDARD.decode_slice(secret, &mut *room) {
        Ok(32) => seed.copy_from_slice(&room[..32]),
        _ => return Err(wrong("`secret` is not 32 bytes in standard base64 with padding")),
    }
    let key = SecretKey::from_bytes(&seed);
    if key.public() != public(path, &text)? {
        return Err(wrong("`public` does not belong to `secret`"));
    }
    let key = key
        .with_id(text.key_id.clone())
        .with_comment(text.comment.as_deref().map(str::to_owned));
    Ok(if text.dev { key.as_dev() } else { key })
}

/// Reads the public half from a public or a secret key file.
pub fn read_public(path: &Path) -> Result<NamedKey, KeyFileError> {
    let bytes = read(path)?;
    let text = parse(path, &bytes.0)?;
    if text.secret.is_some() {
        not_exposed(path, bytes.1)?;
    }
    let comment = text.comment.as_deref().map(str::to_owned);
    Ok(NamedKey {
        id: text.key_id.clone(),
        public: public(path, &text)?,
        comment,
        dev: text.dev,
    })
}

/// Whether the file holds a secret; `false` also for what is no key file at all.
pub fn holds_secret(path: &Path) -> bool {
    read(path).is_ok_and(|bytes| parse(path, &bytes.0).is_ok_and(|text| text.secret.is_some()))
}

/// The bytes, wiped when dropped, and the permission bits of the very file they were read from.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), KeyFileError> {
    let io = |source| KeyFileError::Io {
        path: path.to_owned(),
        act: "read",
        source,
    };
    let not_a_file = |found: String| KeyFileError::NotAFile {
        path: path.to_owned(),
        found,
    };
    // Asked before opening too: opening a pipe would wait for a writer.
    let kind = std::fs::metadata(path).map_err(io)?;
    if !kind.is_file() {
        return Err(not_a_file(
            if kind.is_dir() { "a directory" } else { "a special file" }.to_owned(),
        ));
    }
    let file = File::open(path).map_err(io)?;
    let about = file.metadata().map_err(io)?;
    if !about.is_file() || about.len() > MOST_BYTES {
        return Err(not_a_file(format!("{} bytes", about.len())));
    }
    let room = usize::try_from(MOST_BYTES).expect("16 KiB fit every address space") + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(io)?;
    #[cfg(unix)]
    let mode = {
        use std::os::unix::fs::PermissionsExt as _;
        about.permissions().mode() & 0o7777
    };
    #[cfg(not(unix))]
    let mode = 0o600;
    Ok((bytes, mode))
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<KeyText<'a>, KeyFileError> {
    // The reader's own words could quote the secret, so only its place is told.
    let text: KeyText<'_> = serde_json::from_slice(bytes).map_err(|e| KeyFileError::Malformed {
        path: path.to_owned(),
        line: e.line(),
        column: e.column(),
    })?;
    let expected = if text.secret.is_some() {
        SECRET_KIND
    } else {
        PUBLIC_KIND
    };
    if text.kind != expected {
        let found: String = text.kind.chars().take(60).collect();
        let message = format!("found kind {found:?}, expected {expected:?}");
        return Err(KeyFileError::WrongContent {
            path: path.to_owned(),
            message,
        });
    }
    Ok(text)
}

fn public(path: &Path, text: &KeyText<'_>) -> Result<PublicKey, KeyFileError> {
    PublicKey::from_base64(&text.public).map_err(|reason| KeyFileError::BadPublicKey {
        path: path.to_owned(),
        reason,
    })
}

fn not_exposed(path: &Path, mode: u32) -> Result<(), KeyFileError> {
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(KeyFileError::Exposed {
            path: path.to_owned(),
            mode,
        }),
    }
}

#[cfg(test)]
mod tests;
