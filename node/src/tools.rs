//! The forms of tools: a `.jos` artifact that says what to write or send ([`declared`]), a WebAssembly module, a confined
//! program. A tool acts only with what both it and the proposing agent were granted.

pub mod declared;

use std::sync::Arc;

use jos_schemas::documents::ledger::Decision;
use serde_json::Value;

use crate::agents::program::{self, Launch, Programs};
#[cfg(feature = "wasm")]
use crate::agents::wasm::{self, Machine};
use crate::contract::{AgentError, Hands, Tool};
use crate::hands::{Narrowed, Nobody};
use crate::roles::Grants;
use declared::Declared;

/// The three forms.
pub(crate) enum Form {
    /// Writes and sends what an artifact says.
    Declared(Declared),
    /// A module.
    #[cfg(feature = "wasm")]
    Wasm(Arc<Machine>),
    /// A program.
    Program(Launch, Arc<dyn Programs>),
}

/// A tool out of a document in `tools/`.
pub(crate) struct Installed {
    pub(crate) kinds: Vec<String>,
    pub(crate) grants: Grants,
    pub(crate) form: Form,
}

impl Tool for Installed {
    fn kinds(&self) -> &[String] {
        &self.kinds
    }

    fn validate(&self, decision: &Decision) -> Result<(), String> {
        let checked = match &self.form {
            Form::Declared(declared) => declared.validate(decision).map_err(AgentError::Failed),
            #[cfg(feature = "wasm")]
            Form::Wasm(machine) => wasm::asked(machine, "validate", decision, None).map(drop),
            Form::Program(launch, programs) => {
                program::asked(&**programs, launch, "validate", decision, &mut Nobody).map(drop)
            }
        };
        checked.map_err(|e| e.to_string())
    }

    fn execute(&self, decision: &Decision, hands: &mut dyn Hands) -> Result<Value, AgentError> {
        let mut hands = Narrowed::new(hands, &self.grants);
        match &self.form {
            Form::Declared(declared) => declared.execute(decision, &mut hands),
            #[cfg(feature = "wasm")]
            Form::Wasm(machine) => wasm::asked(machine, "execute", decision, Some(&mut hands)),
            Form::Program(launch, programs) => program::asked(&**programs, launch, "execute", decision, &mut hands),
        }
    }
}
