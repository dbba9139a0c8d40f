//! `provenance.intoto.jsonl`: for each output a signed statement of what it was made from, and how.
//!
//! Owns: statements of in-toto, version 1, with the predicate SLSA provenance, version 1, each in a DSSE envelope, one a
//! line: the form that in-toto calls a bundle. Nothing in them depends on the machine, the folder or the clock, so they
//! name no run and no time; nothing in them is a secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jos_trust::{PublicKey, SecretKey, envelope, release};
use serde_json::{Value, json};

use crate::bake::Appliance;
use crate::builders::Program;
use crate::formats::hash::sha256;
use crate::manifest::Output;

/// Its file.
pub const FILE: &str = "provenance.intoto.jsonl";
/// The type of a payload (in-toto's attestation framework).
pub const PAYLOAD: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://slsa.dev/provenance/v1";
/// What `externalParameters` and `internalParameters` mean is said there.
const BUILD_TYPE: &str = "https://github.com/josfox/jos/blob/main/docs/images.md#provenance";
const BUILDER: &str = "https://github.com/josfox/jos#jos-image";

/// The statement about one output. `base` is the hash of the root that an image was made from, `programs` are those of its
/// target; `beside` the lists that came out with it.
#[must_use]
pub fn statement(
    app: &Appliance,
    output: &Output<'_>,
    base: Option<&str>,
    programs: &[Program],
    beside: &[(&str, &str)],
) -> Value {
    let mut dependencies: Vec<Value> = app
        .inputs
        .iter()
        .map(|input| json!({ "name": format!("{}:{}", input.role, input.name), "digest": { "sha256": input.sha256 } }))
        .chain(base.map(|sha256| json!({ "name": "base", "digest": { "sha256": sha256 } })))
        .collect();
    for program in programs {
        let mut annotations = serde_json::to_value(&program.provenance).unwrap_or_default();
        annotations["crates"] = program.crates.len().into();
        dependencies.push(json!({
            "name": format!("program:{}", program.triple),
            "digest": { "sha256": sha256(&program.bytes) },
            "annotations": annotations,
        }));
    }
    let byproducts: Vec<Value> = beside
        .iter()
        .map(|(name, text)| json!({ "name": name, "digest": { "sha256": sha256(text.as_bytes()) } }))
        .collect();
    json!({
        "_type": STATEMENT,
        "subject": [{ "name": output.file, "digest": { "sha256": output.sha256 } }],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "profile": app.profile,
                    "target": output.target,
                    "version": app.full_version(),
                },
                "internalParameters": { "source_date_epoch": app.epoch, "dev_key": app.dev },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": { "id": BUILDER, "version": { "jos-image": env!("CARGO_PKG_VERSION") } },
                "byproducts": byproducts,
            },
        },
    })
}

/// One line of the bundle: the statement in an envelope, signed.
#[must_use]
pub fn sealed(statement: &Value, key: &SecretKey) -> String {
    let payload = statement.to_string();
    let envelope = json!({
        "payloadType": PAYLOAD,
        "payload": STANDARD.encode(&payload),
        "signatures": [{
            "keyid": release::key_number(&key.public()),
            "sig": envelope::sign(PAYLOAD, payload.as_bytes(), key),
        }],
    });
    format!("{envelope}\n")
}

/// Why a line of a bundle is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    /// Not of the form.
    #[error("is no DSSE envelope of an in-toto statement: {0}")]
    Form(String),
    /// Signed by somebody else, or changed since.
    #[error("has no signature by the trusted key, or was changed since")]
    Signature,
}

/// The statement in a line of a bundle, if `key` signed it. Other signatures beside that one are no matter.
///
/// # Errors
/// [`Unsealed`].
pub fn open(line: &str, key: &PublicKey) -> Result<Value, Unsealed> {
    let form = |why: &str| Unsealed::Form(why.to_owned());
    let envelope: Value = serde_json::from_str(line).map_err(|e| Unsealed::Form(e.to_string()))?;
    if envelope["payloadType"] != PAYLOAD {
        return Err(form("its payloadType is another"));
    }
    let payload = envelope["payload"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let payload = payload.ok_or_else(|| form("its payload is no base64"))?;
    let signatures = envelope["signatures"].as_array().into_iter().flatten();
    let mut texts = signatures.filter_map(|signature| signature["sig"].as_str());
    if !texts.any(|sig| envelope::verifies(PAYLOAD, &payload, sig, key)) {
        return Err(Unsealed::Signature);
    }
    let statement: Value = serde_json::from_slice(&payload).map_err(|e| Unsealed::Form(e.to_string()))?;
    if statement["_type"] != STATEMENT || statement["predicateType"] != PREDICATE {
        return Err(form("it is another statement than SLSA provenance, version 1"));
    }
    Ok(statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_opened_by_its_signers_key_alone_and_only_unchanged() {
        let key = SecretKey::from_bytes(&[7; 32]);
        let statement = json!({ "_type": STATEMENT, "predicateType": PREDICATE, "subject": [] });
        let line = sealed(&statement, &key);
        assert_eq!(open(&line, &key.public()), Ok(statement.clone()));
        let other = SecretKey::from_bytes(&[8; 32]).public();
        assert_eq!(open(&line, &other), Err(Unsealed::Signature));
        let mut envelope: Value = serde_json::from_str(&line).expect("JSON");
        envelope["payload"] = STANDARD.encode(statement.to_string() + " ").into();
        assert_eq!(open(&envelope.to_string(), &key.public()), Err(Unsealed::Signature));
        for line in ["", "{}", "{\"payloadType\":\"text/plain\"}"] {
            assert!(matches!(open(line, &key.public()), Err(Unsealed::Form(_))), "{line}");
        }
        let other = sealed(&json!({ "_type": STATEMENT }), &key);
        assert!(matches!(open(&other, &key.public()), Err(Unsealed::Form(_))));
    }
}
