//! The functions that a module may import. What needs hands leaves a wish and interrupts the module: it is served outside
//! (`serve.rs`), so that no handle ever lives within the module's store.

use serde_json::Value;
use wasmi::{Caller, Engine, Error, Extern, Linker, StoreLimits};

/// Every function there is.
pub(super) const NAMES: [&str; 11] = [
    "ask", "fail", "get", "input", "propose", "read", "receive", "result", "send", "take", "write",
];

/// Fuel of one call to the host, besides that of the bytes it moves.
const CALL: u64 = 100;

/// What a module has of the world while it runs.
pub(super) struct State {
    pub(super) limits: StoreLimits,
    pub(super) input: Value,
    /// What `take` copies.
    pub(super) answer: Vec<u8>,
    pub(super) proposed: Vec<(String, Value)>,
    pub(super) result: Option<Value>,
    pub(super) reason: Option<String>,
    pub(super) wish: Option<Wish>,
}

impl State {
    pub(super) fn new(limits: StoreLimits, input: Value) -> Self {
        Self {
            limits,
            input,
            answer: Vec::new(),
            proposed: Vec::new(),
            result: None,
            reason: None,
            wish: None,
        }
    }
}

/// What only hands can give.
pub(super) enum Wish {
    Read(String),
    Write(String, Vec<u8>),
    Send(String, Value),
    Receive(String),
    Ask(String),
}

/// Interrupts the module until its wish is served.
#[derive(Debug)]
struct Wait;

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a wish that nobody serves: nothing may be asked for before the call")
    }
}

impl wasmi::errors::HostError for Wait {}

type Call<'c> = Caller<'c, State>;

/// Takes fuel for `bytes` that are moved or read on the module's behalf.
fn pay(caller: &mut Call<'_>, bytes: usize) -> Result<(), Error> {
    let left = caller.get_fuel()?;
    let price = CALL + bytes as u64 / 8;
    match left.checked_sub(price) {
        Some(rest) => caller.set_fuel(rest),
        None => {
            caller.set_fuel(0)?;
            Err(Error::from(wasmi::TrapCode::OutOfFuel))
        }
    }
}

fn memory(caller: &Call<'_>) -> Result<wasmi::Memory, Error> {
    caller
        .get_export("memory")
        .and_then(Extern::into_memory)
        .ok_or_else(|| Error::new("its export \"memory\" is no memory"))
}

fn bytes(caller: &mut Call<'_>, at: i32, length: i32) -> Result<Vec<u8>, Error> {
    let (at, length) = (at as u32 as usize, length as u32 as usize);
    pay(caller, length)?;
    let memory = memory(caller)?;
    let found = at
        .checked_add(length)
        .and_then(|end| memory.data(&*caller).get(at..end));
    found
        .map(<[u8]>::to_vec)
        .ok_or_else(|| Error::new("a pointer and length beyond its memory"))
}

fn text(caller: &mut Call<'_>, at: i32, length: i32) -> Result<String, Error> {
    String::from_utf8(bytes(caller, at, length)?).map_err(|_| Error::new("a text that is not UTF-8"))
}

fn json(caller: &mut Call<'_>, at: i32, length: i32, what: &str) -> Result<Value, Error> {
    let bytes = bytes(caller, at, length)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::new(format!("{what} is no JSON: {e}")))
}

/// Puts an answer where `take` finds it.
fn answer(caller: &mut Call<'_>, answer: Vec<u8>) -> Result<i32, Error> {
    pay(caller, answer.len())?;
    let length = i32::try_from(answer.len()).map_err(|_| Error::new("an answer beyond 2 GiB"))?;
    caller.data_mut().answer = answer;
    Ok(length)
}

fn wish(mut caller: Call<'_>, wish: Wish) -> Result<i32, Error> {
    caller.data_mut().wish = Some(wish);
    Err(Error::host(Wait))
}

/// All of them, ready to be linked.
pub(super) fn linker(engine: &Engine) -> Result<Linker<State>, Error> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("jos", "input", |mut caller: Call<'_>| {
        let text = caller.data().input.to_string();
        answer(&mut caller, text.into_bytes())
    })?;
    linker.func_wrap("jos", "get", |mut caller: Call<'_>, at: i32, length: i32| {
        let pointer = text(&mut caller, at, length)?;
        let found = match caller.data().input.pointer(&pointer) {
            None => return Ok(-1),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        answer(&mut caller, found.into_bytes())
    })?;
    linker.func_wrap("jos", "take", |mut caller: Call<'_>, at: i32, most: i32| {
        let length = caller.data().answer.len().min(most as u32 as usize);
        pay(&mut caller, length)?;
        let memory = memory(&caller)?;
        let (data, state) = memory.data_and_store_mut(&mut caller);
        let at = at as u32 as usize;
        let place = at.checked_add(length).and_then(|end| data.get_mut(at..end));
        let place = place.ok_or_else(|| Error::new("a pointer and length beyond its memory"))?;
        place.copy_from_slice(&state.answer[..length]);
        i32::try_from(length).map_err(|_| Error::new("beyond 2 GiB"))
    })?;
    linker.func_wrap(
        "jos",
        "propose",
        |mut caller: Call<'_>, at: i32, length: i32, payload: i32, size: i32| {
            let kind = text(&mut caller, at, length)?;
            let payload = json(&mut caller, payload, size, "a payload")?;
            if caller.data().proposed.len() >= crate::agents::PROPOSALS {
                return Err(Error::new(format!("more than {} proposals", crate::agents::PROPOSALS)));
            }
            caller.data_mut().proposed.push((kind, payload));
            Ok(())
        },
    )?;
    linker.func_wrap("jos", "result", |mut caller: Call<'_>, at: i32, length: i32| {
        let result = json(&mut caller, at, length, "a result")?;
        caller.data_mut().result = Some(result);
        Ok(())
    })?;
    linker.func_wrap("jos", "fail", |mut caller: Call<'_>, at: i32, length: i32| {
        let reason = text(&mut caller, at, length)?;
        caller.data_mut().reason = Some(reason.chars().take(1000).collect());
        Ok(())
    })?;
    linker.func_wrap("jos", "read", |mut caller: Call<'_>, at: i32, length: i32| {
        let path = text(&mut caller, at, length)?;
        wish(caller, Wish::Read(path))
    })?;
    linker.func_wrap(
        "jos",
        "write",
        |mut caller: Call<'_>, at: i32, length: i32, content: i32, size: i32| {
            let path = text(&mut caller, at, length)?;
            let content = bytes(&mut caller, content, size)?;
            wish(caller, Wish::Write(path, content))
        },
    )?;
    linker.func_wrap(
        "jos",
        "send",
        |mut caller: Call<'_>, at: i32, length: i32, message: i32, size: i32| {
            let queue = text(&mut caller, at, length)?;
            let message = json(&mut caller, message, size, "a message")?;
            wish(caller, Wish::Send(queue, message))
        },
    )?;
    linker.func_wrap("jos", "receive", |mut caller: Call<'_>, at: i32, length: i32| {
        let queue = text(&mut caller, at, length)?;
        wish(caller, Wish::Receive(queue))
    })?;
    linker.func_wrap("jos", "ask", |mut caller: Call<'_>, at: i32, length: i32| {
        let prompt = text(&mut caller, at, length)?;
        wish(caller, Wish::Ask(prompt))
    })?;
    Ok(linker)
}
