//! opkg's feeds: a folder an architecture with `Packages`, `Packages.gz` and `Packages.sig`.
//!
//! Owns: the order of fields as OpenWrt's `ipkg-make-index` writes them; the signature over the uncompressed list, as usign
//! checks it.

use std::fs;
use std::path::Path;

use jos_trust::release;

use super::{Keys, Offer, RepoError, entries, file_name, files, put};
use crate::formats::{gzip, hash, inspect};

pub(super) fn write(dir: &Path, keys: &Keys) -> Result<Offer, RepoError> {
    let mut offer = Offer::default();
    for feed in entries(dir)? {
        let architecture = file_name(&feed);
        let mut list = String::new();
        for path in files(&feed, "ipk")? {
            let bytes = fs::read(&path).map_err(RepoError::io(&path))?;
            let report = inspect(&bytes)?;
            let mut stanza = report.control;
            let name = stanza.get("Package").unwrap_or_default().to_owned();
            for (field, value) in [
                ("Filename", file_name(&path)),
                ("Size", bytes.len().to_string()),
                ("SHA256sum", hash::sha256(&bytes)),
            ] {
                stanza.insert_before("Description", field, &value)?;
            }
            list.push_str(&format!("{stanza}\n"));
            offer.note(&architecture, &name);
        }
        let signature =
            release::sign_file("Packages", list.as_bytes(), &keys.opkg).map_err(|e| RepoError::Sign(e.to_string()))?;
        put(&feed.join("Packages"), list.as_bytes())?;
        put(
            &feed.join("Packages.gz"),
            &gzip::compress("Packages.gz", list.as_bytes())?,
        )?;
        put(&feed.join("Packages.sig"), signature.as_bytes())?;
    }
    Ok(offer)
}
