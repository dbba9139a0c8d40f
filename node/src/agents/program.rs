//! Agents and tools that are programs: one line of JSON in, lines of JSON out.
//!
//! The node writes `{"decide": JOB}` (a tool is written `{"validate": DECISION}` or `{"execute": DECISION}`). The program
//! answers with any number of
//!
//! ```text
//! {"read": PATH}   {"receive": NAME}   {"ask": {"prompt": TEXT}}
//! {"write": {"path": PATH, "content": TEXT}}   {"send": {"queue": NAME, "message": OBJECT}}        a tool's
//!                                        each is answered by one line: {"ok": VALUE} or {"error": TEXT}
//! {"propose": {"kind": KIND, "payload": VALUE}}        an agent's; not answered
//! ```
//!
//! and ends with `{"done": VALUE}` or `{"fail": TEXT}`. How it is started and what it is kept from is up to [`Programs`]: this
//! crate has no processes.

use std::path::PathBuf;

use jos_schemas::documents::ledger::{Decision, Proposal};
use jos_schemas::documents::runtime::Job;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Proposals;
use crate::contract::{Agent, AgentError, Hands, Prompt};

/// What is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program and its arguments; what begins with `./` was made absolute.
    pub argv: Vec<String>,
    /// The files beside the document that it may read; all others of that folder it may not.
    pub files: Vec<PathBuf>,
}

/// Starts programs, confined.
pub trait Programs: Send + Sync {
    /// Starts one for one question.
    fn start(&self, launch: &Launch) -> Result<Box<dyn Talk>, AgentError>;
}

/// A program that was started. Dropping it ends it.
pub trait Talk {
    /// Writes it a line.
    fn say(&mut self, line: &str) -> Result<(), AgentError>;
    /// Its next line without the newline, or `None` at its end. Keeps the limits of time and of length.
    fn hear(&mut self) -> Result<Option<String>, AgentError>;
    /// How it ended, with what it wrote to standard error, for a message.
    fn ending(&mut self) -> String;
}

/// One line of a program.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Read(String),
    Write(WriteLine),
    Send(SendLine),
    Receive(String),
    Ask(Prompt),
    Propose(ProposeLine),
    Done(Value),
    Fail(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteLine {
    path: String,
    content: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SendLine {
    queue: String,
    message: Value,
}

/// Without a source, and without room for one: the node knows who speaks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProposeLine {
    kind: String,
    payload: Value,
}

/// What came of a conversation.
#[derive(Debug)]
pub(crate) struct Told {
    /// What it proposed, in order.
    pub(crate) proposed: Vec<(String, Value)>,
    /// What it ended with.
    pub(crate) done: Value,
}

/// Asks a program one question and serves it until its end.
pub(crate) fn converse(
    programs: &dyn Programs,
    launch: &Launch,
    question: &Value,
    hands: &mut dyn Hands,
) -> Result<Told, AgentError> {
    let mut talk = programs.start(launch)?;
    let mut proposed = Vec::new();
    talk.say(&question.to_string())?;
    loop {
        let Some(line) = talk.hear()? else {
            let ending = talk.ending();
            return Err(AgentError::Failed(format!("it ended without \"done\": {ending}")));
        };
        if line.trim().is_empty() {
            continue;
        }
        let parsed = serde_json::from_str::<Line>(&line).map_err(|e| {
            let shown: String = line.chars().take(120).collect();
            AgentError::Failed(format!("it said {shown:?}, which is no line of the protocol: {e}"))
        })?;
        let answer = match parsed {
            Line::Read(path) => hands.read(&path).and_then(|bytes| {
                let text = String::from_utf8(bytes).map_err(|_| AgentError::Failed(format!("{path} is not UTF-8")))?;
                Ok(Value::String(text))
            }),
            Line::Write(it) => hands.write(&it.path, it.content.as_bytes()).map(|()| Value::Null),
            Line::Send(it) => hands.send(&it.queue, &it.message).map(|()| Value::Null),
            Line::Receive(queue) => hands.receive(&queue).map(|message| message.unwrap_or(Value::Null)),
            Line::Ask(prompt) => hands.ask(&prompt).map(|reply| Value::String(reply.text)),
            Line::Propose(it) => {
                if proposed.len() >= super::PROPOSALS {
                    let most = super::PROPOSALS;
                    return Err(AgentError::Limit(format!("more than {most} proposals in one job")));
                }
                proposed.push((it.kind, it.payload));
                continue;
            }
            Line::Done(done) => return Ok(Told { proposed, done }),
            Line::Fail(why) => return Err(AgentError::Failed(why)),
        };
        let answer = match answer {
            Ok(value) => json!({ "ok": value }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        talk.say(&answer.to_string())?;
    }
}

/// An agent that is a program.
pub struct ProgramAgent {
    /// What is started for each job.
    pub launch: Launch,
    /// Who starts it.
    pub programs: std::sync::Arc<dyn Programs>,
}

impl Agent for ProgramAgent {
    fn decide(&self, job: &Job, hands: &mut dyn Hands) -> Result<Vec<Proposal>, AgentError> {
        let question = json!({ "decide": job });
        let told = converse(&*self.programs, &self.launch, &question, hands)?;
        let mut proposals = Proposals::of(job);
        for (kind, payload) in told.proposed {
            proposals.add(&kind, payload)?;
        }
        Ok(proposals.done())
    }
}

/// What a tool that is a program said to a decision.
pub(crate) fn asked(
    programs: &dyn Programs,
    launch: &Launch,
    verb: &str,
    decision: &Decision,
    hands: &mut dyn Hands,
) -> Result<Value, AgentError> {
    let question = json!({ verb: decision });
    let told = converse(programs, launch, &question, hands)?;
    if told.proposed.is_empty() {
        Ok(told.done)
    } else {
        Err(AgentError::Failed(
            "a tool proposes nothing: it was asked to act".into(),
        ))
    }
}
