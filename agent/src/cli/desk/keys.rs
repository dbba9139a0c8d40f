//! Key files, and what is said when one cannot be used.

use std::path::Path;

use jos_trust::SecretKey;
use jos_trust::keyfile::{self, KeyFileError, NamedKey};
use jos_trust::sign::CannotSign;

use crate::cli::Failure;
use crate::cli::signing::helped;

/// Reads a secret key file.
pub(in crate::cli::desk) fn secret(path: &Path) -> Result<SecretKey, Failure> {
    keyfile::read_secret(path).map_err(key_failure)
}

/// Reads the public half of a key file of either kind.
pub(in crate::cli::desk) fn public(path: &Path) -> Result<NamedKey, Failure> {
    keyfile::read_public(path).map_err(key_failure)
}

pub(in crate::cli::desk) fn key_failure(error: KeyFileError) -> Failure {
    helped(Failure::invalid(&error), error.help().as_deref())
}

/// Why a document was not signed: the input is not what can be signed.
pub(in crate::cli::desk) fn cannot_sign(file: &str, error: &CannotSign) -> Failure {
    if let CannotSign::Invalid(report) = error {
        return Failure::invalid(report).details(report);
    }
    helped(Failure::invalid(format!("{file}: not signed: {error}")), error.help())
}
