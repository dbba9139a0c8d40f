//! apk's repositories: a folder an architecture with `packages.adb`.

use std::fs;
use std::path::Path;

use jos_apk::block::Blocks;
use jos_apk::{Compression, Index, Limits};

use super::{Keys, Offer, RepoError, Settings, entries, file_name, files, put};
use crate::formats::UNPACKED_LIMIT;

pub(super) const INDEX: &str = "packages.adb";
pub(super) const LIMITS: Limits = Limits { bytes: UNPACKED_LIMIT };

/// A package with the repository's signatures, so that it can be installed from a file as well.
pub(super) fn signed(bytes: &[u8], keys: &Keys) -> Result<Vec<u8>, RepoError> {
    let mut blocks = Blocks::from_bytes(bytes, LIMITS)?;
    for key in keys.all_apk() {
        blocks.sign(key);
    }
    Ok(blocks.to_bytes(Compression::Deflate))
}

pub(super) fn write(dir: &Path, keys: &Keys, settings: &Settings) -> Result<Offer, RepoError> {
    let mut offer = Offer::default();
    for folder in entries(dir)? {
        let architecture = file_name(&folder);
        let mut index = Index {
            description: settings.title.clone(),
            ..Index::default()
        };
        for path in files(&folder, "apk")? {
            let mut bytes = fs::read(&path).map_err(RepoError::io(&path))?;
            // What an earlier key signed gets the present one's signature.
            let again = signed(&bytes, keys)?;
            if again != bytes {
                put(&path, &again)?;
                bytes = again;
            }
            index.add(&bytes, LIMITS)?;
        }
        for info in &index.packages {
            offer.note(&architecture, &info.name);
        }
        put(
            &folder.join(INDEX),
            &index.to_bytes(&keys.all_apk(), Compression::Deflate)?,
        )?;
    }
    Ok(offer)
}
