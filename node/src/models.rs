//! The models that need nothing: `echo` and `uppercase`. Those that are reached over a network come from the program, behind
//! the same trait.

use crate::contract::{AgentError, Model, Prompt, Reply};

/// The models that every node has.
pub const BUILT_IN: [&str; 2] = ["echo", "uppercase"];

/// Answers with the question: the same at every run, so that an eval needs no model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

/// Answers with the question in capitals: a second model, to see that models can be swapped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uppercase;

impl Model for Echo {
    fn name(&self) -> &str {
        "echo"
    }

    fn complete(&self, prompt: &Prompt) -> Result<Reply, AgentError> {
        Ok(Reply {
            model: "echo".into(),
            text: prompt.prompt.clone(),
        })
    }
}

impl Model for Uppercase {
    fn name(&self) -> &str {
        "uppercase"
    }

    fn complete(&self, prompt: &Prompt) -> Result<Reply, AgentError> {
        Ok(Reply {
            model: "uppercase".into(),
            text: prompt.prompt.to_uppercase(),
        })
    }
}

/// One of [`BUILT_IN`] by its name.
pub fn built_in(name: &str) -> Option<std::sync::Arc<dyn Model>> {
    match name {
        "echo" => Some(std::sync::Arc::new(Echo)),
        "uppercase" => Some(std::sync::Arc::new(Uppercase)),
        _ => None,
    }
}
