//! Agents and tools that are WebAssembly modules.
//!
//! A module exports its `memory` and, an agent, `decide: () -> i32`; a tool, `validate` and `execute`, both `() -> i32`. Zero
//! is well. It may import these functions of the module `jos` and nothing else; `p, n` are a pointer and a length of UTF-8:
//!
//! | function | what it does | gives |
//! |---|---|---|
//! | `input()` | the job, or the decision, as JSON | its length |
//! | `get(p, n)` | the value at that JSON pointer of it: a text as it is, all else as JSON | its length, −1: not there |
//! | `read(p, n)` | a file | its length, −1: the reason is to be taken |
//! | `write(p, n, p, n)` | a tool writes a file: path, content | 0, −1 |
//! | `send(p, n, p, n)` | a tool sends into a queue: name, message as JSON | 0, −1 |
//! | `receive(p, n)` | a queue's oldest message | its length, −1, −2: empty |
//! | `ask(p, n)` | the model | its reply's length, −1 |
//! | `take(p, n)` | copies what the last of these gave to `p`, at most `n` bytes | how many |
//! | `propose(p, n, p, n)` | proposes: kind, payload as JSON | nothing |
//! | `result(p, n)` | what the tool's record captures, as JSON | nothing |
//! | `fail(p, n)` | says why; the export then gives something else than 0 | nothing |
//!
//! Each call starts with a fresh memory, a fixed amount of fuel and no clock, files, network, environment or randomness.

mod host;
mod serve;
#[cfg(all(test, feature = "wat"))]
mod tests;

use std::sync::{Arc, OnceLock};

use jos_schemas::documents::ledger::{Decision, Proposal};
use jos_schemas::documents::runtime::Job;
use serde_json::Value;
use wasmi::{
    Config, Engine, Linker, Module, Store, StoreLimits, StoreLimitsBuilder, TrapCode, TypedResumableCall, Val,
};

use super::Proposals;
use crate::contract::{Agent, AgentError, Hands};
use crate::hands::Nobody;
use host::State;

/// Instructions, near enough, of one call: some tenths of a second on a PC.
pub const FUEL: u64 = 50_000_000;
/// Bytes of memory of one call.
pub const MEMORY: usize = 16 << 20;
/// Bytes of a module.
pub const MODULE_LIMIT: usize = 4 << 20;

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::default();
        config.consume_fuel(true);
        Engine::new(&config)
    })
}

/// A module that was read, checked and linked.
pub struct Machine {
    module: Module,
    linker: Linker<State>,
}

/// What came of a call.
struct Ran {
    state: State,
    code: i32,
}

impl Machine {
    /// Reads a module. Refused: what is none, what imports anything else, what lacks one of `exports`.
    pub fn new(bytes: &[u8], exports: &[&str]) -> Result<Arc<Self>, String> {
        if bytes.len() > MODULE_LIMIT {
            return Err(format!("a module of {} bytes, at most {MODULE_LIMIT}", bytes.len()));
        }
        if !cfg!(feature = "wat") && !bytes.starts_with(b"\0asm") {
            return Err("not a WebAssembly module; this build reads no module in text form".into());
        }
        let module = Module::new(engine(), bytes).map_err(|e| format!("not a module that can be run: {e}"))?;
        let linker = host::linker(engine()).map_err(|e| e.to_string())?;
        for import in module.imports() {
            let known = import.module() == "jos" && host::NAMES.contains(&import.name());
            if !known {
                return Err(format!(
                    "it imports {:?} of {:?}; there is nothing but {} of \"jos\"",
                    import.name(),
                    import.module(),
                    host::NAMES.join(", ")
                ));
            }
        }
        for name in ["memory"].iter().chain(exports) {
            if !module.exports().any(|export| export.name() == *name) {
                return Err(format!("it exports no {name:?}"));
            }
        }
        Ok(Arc::new(Self { module, linker }))
    }

    fn run(&self, export: &str, input: Value, hands: Option<&mut dyn Hands>) -> Result<Ran, AgentError> {
        let limits: StoreLimits = StoreLimitsBuilder::new()
            .memory_size(MEMORY)
            .memories(1)
            .tables(4)
            .table_elements(16_384)
            .instances(1)
            .build();
        let mut store = Store::new(engine(), State::new(limits, input));
        store.limiter(|state| &mut state.limits);
        store.set_fuel(FUEL).map_err(|e| trouble(&e))?;
        let instance = self.linker.instantiate_and_start(&mut store, &self.module);
        let instance = instance.map_err(|e| trouble(&e))?;
        let function = instance.get_typed_func::<(), i32>(&store, export);
        let function = function.map_err(|e| AgentError::Failed(format!("{export}: {e}")))?;
        let mut call = function.call_resumable(&mut store, ()).map_err(|e| trouble(&e))?;
        let mut nobody = Nobody;
        let hands: &mut dyn Hands = hands.unwrap_or(&mut nobody);
        loop {
            match call {
                TypedResumableCall::Finished(code) => {
                    let state = store.into_data();
                    return Ok(Ran { state, code });
                }
                TypedResumableCall::OutOfFuel(_) => return Err(out_of_fuel()),
                TypedResumableCall::HostTrap(trap) => {
                    let Some(wish) = store.data_mut().wish.take() else {
                        return Err(trouble(trap.host_error()));
                    };
                    let code = serve::serve(wish, hands, store.data_mut());
                    call = trap.resume(&mut store, &[Val::I32(code)]).map_err(|e| trouble(&e))?;
                }
            }
        }
    }
}

impl Ran {
    fn well(&self) -> Result<(), AgentError> {
        if self.code == 0 {
            return Ok(());
        }
        let reason = self.state.reason.clone();
        Err(AgentError::Failed(
            reason.unwrap_or_else(|| format!("it gave {} and no reason", self.code)),
        ))
    }
}

fn out_of_fuel() -> AgentError {
    AgentError::Limit(format!("it used up its fuel of {FUEL} without coming to an end"))
}

fn trouble(error: &wasmi::Error) -> AgentError {
    match error.as_trap_code() {
        Some(TrapCode::OutOfFuel) => out_of_fuel(),
        Some(TrapCode::GrowthOperationLimited) => AgentError::Limit(format!("it wanted more than {MEMORY} bytes")),
        _ => AgentError::Failed(format!("it broke off: {error}")),
    }
}

/// An agent that is a module.
pub struct WasmAgent(pub Arc<Machine>);

impl Agent for WasmAgent {
    fn decide(&self, job: &Job, hands: &mut dyn Hands) -> Result<Vec<Proposal>, AgentError> {
        let input = serde_json::to_value(job).map_err(|e| AgentError::Failed(e.to_string()))?;
        let ran = self.0.run("decide", input, Some(hands))?;
        ran.well()?;
        let mut proposals = Proposals::of(job);
        for (kind, payload) in ran.state.proposed {
            proposals.add(&kind, payload)?;
        }
        Ok(proposals.done())
    }
}

/// A tool's answer to a decision: checked (without hands) or acted upon.
pub(crate) fn asked(
    machine: &Machine,
    export: &str,
    decision: &Decision,
    hands: Option<&mut dyn Hands>,
) -> Result<Value, AgentError> {
    let input = serde_json::to_value(decision).map_err(|e| AgentError::Failed(e.to_string()))?;
    let ran = machine.run(export, input, hands)?;
    ran.well()?;
    if !ran.state.proposed.is_empty() {
        return Err(AgentError::Failed(
            "a tool proposes nothing: it was asked to act".into(),
        ));
    }
    Ok(ran.state.result.unwrap_or(Value::Null))
}
