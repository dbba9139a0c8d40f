//! The key that signs: `--key FILE`, or the throwaway key of `--dev-key`.

use std::fs;
use std::path::{Path, PathBuf};

use jos_trust::SecretKey;
use jos_trust::keyfile::{KeyFileError, read_secret, write_secret};

use super::ui::Failure;
use crate::bake::Signing;
use crate::builders::toolchain::cache_dir;

/// How to sign.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct SigningArgs {
    /// Secret key that signs the baseline and the checksums (made by `jos key new`)
    #[arg(long, value_name = "FILE", conflicts_with = "dev_key")]
    key: Option<PathBuf>,
    /// Sign with a throwaway key kept in the cache folder; everything made is marked as a development build
    #[arg(long)]
    dev_key: bool,
    /// First trust root of the devices, in place of the profile's `[trust]` file
    #[arg(long, value_name = "FILE", conflicts_with = "dev_key")]
    trust: Option<PathBuf>,
}

impl SigningArgs {
    /// Reads key and trust root.
    pub(super) fn signing(&self) -> Result<Signing, Failure> {
        let key = match &self.key {
            Some(path) => Some(read_secret(path).map_err(|e| key_error(&e))?),
            None if self.dev_key => Some(throwaway(&cache_dir().join("dev.key"))?),
            None => None,
        };
        let trust = match &self.trust {
            Some(path) => {
                let bytes = fs::read(path).map_err(|e| Failure::invalid(format!("{}: {e}", path.display())))?;
                Some((path.display().to_string(), bytes))
            }
            None => None,
        };
        Ok(Signing {
            key,
            trust,
            published: None,
        })
    }
}

fn key_error(e: &KeyFileError) -> Failure {
    let failure = Failure::invalid(e);
    match e.help() {
        Some(help) => failure.help(help),
        None => failure,
    }
}

/// The throwaway key of this machine: made once, so that a second build gives the same bytes.
fn throwaway(path: &Path) -> Result<SecretKey, Failure> {
    if path.exists() {
        return read_secret(path).map(SecretKey::as_dev).map_err(|e| key_error(&e));
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(|e| Failure::failed(format!("{}: {e}", dir.display())))?;
    let mut failed = None;
    let key = SecretKey::generate(&mut |bytes| {
        if let Err(e) = getrandom::fill(bytes) {
            failed = Some(e);
        }
    });
    if let Some(e) = failed {
        return Err(Failure::failed(format!("the system gave no random bytes: {e}")));
    }
    let key = key
        .with_comment(Some("throwaway key of jos-image build --dev-key".into()))
        .as_dev();
    match write_secret(path, &key) {
        Ok(()) => Ok(key),
        // Another build was faster: its key is the key.
        Err(KeyFileError::Exists { .. }) => read_secret(path).map_err(|e| key_error(&e)),
        Err(e) => Err(key_error(&e)),
    }
}
