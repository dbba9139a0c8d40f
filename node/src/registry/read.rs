//! From a file to an agent or a tool.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use jos_schemas::documents::artifact::Artifact;
use jos_schemas::documents::runtime::{Capability, RuntimeAgent, Tool as ToolDocument};
use jos_schemas::read::{self, Format};
use jos_schemas::text::{Name, Sha256Hex};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::scan::Seen;
use super::{Listed, Means};
use crate::agents::program::{Launch, ProgramAgent, Programs};
use crate::agents::prompt::{PromptAgent, name_of};
#[cfg(feature = "wasm")]
use crate::agents::wasm::{Machine, WasmAgent};
use crate::contract::{Agent, Tool};
use crate::roles::{Grants, right_word};
use crate::tools::declared::{self, Declared};
use crate::tools::{Form, Installed};

/// Bytes of one document.
const DOCUMENT: u64 = 1 << 20;

pub(super) struct ReadAgent {
    pub(super) listed: Listed,
    pub(super) agent: Arc<dyn Agent>,
    pub(super) grants: Grants,
}

pub(super) struct ReadTool {
    pub(super) listed: Listed,
    pub(super) tool: Arc<dyn Tool>,
}

/// A document's bytes and what an artifact of them says.
struct Source {
    name: String,
    bytes: Vec<u8>,
}

impl Source {
    fn read(root: &Path, seen: &Seen) -> Result<Self, String> {
        let bytes = bytes(&root.join(seen.file()), DOCUMENT)?;
        Ok(Self {
            name: seen.file(),
            bytes,
        })
    }

    fn typed<T: DeserializeOwned>(&self) -> Result<(T, Value), String> {
        let parsed = read::document::<T>(&self.name, &self.bytes, Format::of_path(&self.name));
        let parsed = parsed.map_err(|report| report.to_string())?;
        let json = parsed.node.to_json();
        Ok((parsed.value, json))
    }

    fn is_artifact(&self) -> bool {
        self.name.ends_with(".jos")
    }
}

/// What an artifact asks for.
fn asked(artifact: &Artifact) -> Result<Grants, String> {
    let texts = artifact.security.as_ref().map_or(&[][..], |s| &s.permissions);
    Grants::of_texts(texts).map_err(|e| format!("/security/permissions: {e}"))
}

pub(super) fn agent(root: &Path, seen: &Seen, means: &Means) -> Result<ReadAgent, String> {
    let source = Source::read(root, seen)?;
    if source.is_artifact() {
        let (artifact, json) = source.typed::<Artifact>()?;
        let grants = asked(&artifact)?;
        let agent: Arc<dyn Agent> = Arc::new(PromptAgent::new(&artifact, &json)?);
        let listed = listed(name_of(&artifact), "prompts", seen, described(&artifact), &grants);
        return Ok(ReadAgent { listed, agent, grants });
    }
    let (document, _) = source.typed::<RuntimeAgent>()?;
    let grants = granted(&document.roles, &document.capabilities)?;
    let (form, agent) = match (&document.wasm, &document.argv) {
        (Some(hash), _) => ("wasm", wasm_agent(root, seen, hash)?),
        (None, Some(argv)) => {
            let (launch, programs) = program(root, seen, argv, means)?;
            let agent: Arc<dyn Agent> = Arc::new(ProgramAgent { launch, programs });
            ("program", agent)
        }
        (None, None) => return Err("neither \"wasm\" nor \"argv\"".into()),
    };
    let listed = listed(&document.name, form, seen, document.description, &grants);
    Ok(ReadAgent { listed, agent, grants })
}

pub(super) fn tool(root: &Path, seen: &Seen, means: &Means) -> Result<ReadTool, String> {
    let source = Source::read(root, seen)?;
    if source.is_artifact() {
        let (artifact, json) = source.typed::<Artifact>()?;
        let grants = asked(&artifact)?;
        let installed = Installed {
            kinds: declared::kinds(&artifact)?,
            form: Form::Declared(Declared::new(&artifact, &json)?),
            grants,
        };
        return Ok(ready(
            installed,
            name_of(&artifact),
            "declared",
            seen,
            described(&artifact),
        ));
    }
    let (document, _) = source.typed::<ToolDocument>()?;
    let grants = granted(&document.roles, &document.capabilities)?;
    let (word, form) = match (&document.wasm, &document.argv) {
        (Some(hash), _) => ("wasm", wasm_tool(root, seen, hash)?),
        (None, Some(argv)) => {
            let (launch, programs) = program(root, seen, argv, means)?;
            ("program", Form::Program(launch, programs))
        }
        (None, None) => return Err("neither \"wasm\" nor \"argv\"".into()),
    };
    let installed = Installed {
        kinds: document.decisions,
        grants,
        form,
    };
    Ok(ready(installed, &document.name, word, seen, document.description))
}

fn ready(installed: Installed, name: &Name, form: &str, seen: &Seen, description: Option<String>) -> ReadTool {
    let mut listed = listed(name, form, seen, description, &installed.grants);
    listed.kinds.clone_from(&installed.kinds);
    ReadTool {
        listed,
        tool: Arc::new(installed),
    }
}

fn described(artifact: &Artifact) -> Option<String> {
    artifact.meta.as_ref().and_then(|meta| meta.description.clone())
}

fn granted(roles: &[Name], single: &[Capability]) -> Result<Grants, String> {
    Grants::new(roles.iter().map(Name::as_str), single)
}

fn listed(name: &Name, form: &str, seen: &Seen, description: Option<String>, grants: &Grants) -> Listed {
    let grants = grants.all().iter();
    Listed {
        name: name.clone(),
        form: form.to_owned(),
        file: seen.file(),
        description,
        grants: grants
            .map(|grant| format!("{} {}", right_word(grant.right), grant.to))
            .collect(),
        kinds: Vec::new(),
    }
}

#[cfg(feature = "wasm")]
fn wasm_agent(root: &Path, seen: &Seen, hash: &Sha256Hex) -> Result<Arc<dyn Agent>, String> {
    let bytes = module(root, seen, hash)?;
    Ok(Arc::new(WasmAgent(Machine::new(&bytes, &["decide"])?)))
}

#[cfg(feature = "wasm")]
fn wasm_tool(root: &Path, seen: &Seen, hash: &Sha256Hex) -> Result<Form, String> {
    let bytes = module(root, seen, hash)?;
    Ok(Form::Wasm(Machine::new(&bytes, &["validate", "execute"])?))
}

#[cfg(not(feature = "wasm"))]
fn wasm_agent(_: &Path, _: &Seen, _: &Sha256Hex) -> Result<Arc<dyn Agent>, String> {
    Err("/wasm: this build runs no WebAssembly".into())
}

#[cfg(not(feature = "wasm"))]
fn wasm_tool(_: &Path, _: &Seen, _: &Sha256Hex) -> Result<Form, String> {
    Err("/wasm: this build runs no WebAssembly".into())
}

/// The module beside a document: of the same name, and of the hash that the document says.
#[cfg(feature = "wasm")]
fn module(root: &Path, seen: &Seen, hash: &Sha256Hex) -> Result<Vec<u8>, String> {
    let stem = seen.name.rsplit_once('.').map_or(seen.name.as_str(), |(stem, _)| stem);
    let names = [format!("{stem}.wasm"), format!("{stem}.wat")];
    let folder = root.join(seen.folder);
    let Some(name) = names.iter().find(|name| folder.join(name).is_file()) else {
        return Err(format!("/wasm: neither {} nor {} is beside it", names[0], names[1]));
    };
    let bytes = bytes(&folder.join(name), crate::agents::wasm::MODULE_LIMIT as u64)?;
    let found = jos_trust::sha256(&bytes).to_hex();
    if found != *hash {
        return Err(format!("/wasm: {name} has the hash {found}, expected {hash}"));
    }
    Ok(bytes)
}

/// What is started: words that begin with `./` are files beside the document.
fn program(root: &Path, seen: &Seen, argv: &[String], means: &Means) -> Result<(Launch, Arc<dyn Programs>), String> {
    let programs = means.programs.clone().ok_or("/argv: this node starts no programs")?;
    let mut launch = Launch {
        argv: Vec::new(),
        files: Vec::new(),
    };
    let folder = root.join(seen.folder);
    let folder = fs::canonicalize(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for (index, word) in argv.iter().enumerate() {
        let Some(name) = word.strip_prefix("./") else {
            launch.argv.push(word.clone());
            continue;
        };
        if name.contains('/') || name.starts_with('.') {
            return Err(format!(
                "/argv/{index}: found {word:?}, expected a file beside the document, as \"./agent.sh\""
            ));
        }
        let path = folder.join(name);
        // Not through a link, which could lead anywhere.
        if !fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()) {
            return Err(format!("/argv/{index}: no file {name} is beside it"));
        }
        let text = path.to_str().ok_or("the data directory's path is not UTF-8")?;
        launch.argv.push(text.to_owned());
        launch.files.push(path);
    }
    Ok((launch, programs))
}

fn bytes(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let failed = |e: std::io::Error| format!("cannot be read: {e}");
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(format!("more than {limit} bytes"));
    }
    Ok(bytes)
}
