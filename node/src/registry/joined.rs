//! The registry as a node sees it: with the agent that is built in, and hands that write down what was asked of them.

use std::sync::Arc;

use jos_schemas::text::Name;

use super::Registry;
use crate::contract::{Agent, AgentError, Tool};
use crate::hands::Granted;
use crate::join::{ADVANCE, Advance, Agents, Asked, Audited, Broken, Trail};

impl Agents for Registry {
    fn refresh(&self) {
        if let Err(why) = Registry::refresh(self) {
            log::warn!("{why}; the agents and tools stay as they were");
        }
    }

    fn agent(&self, name: &Name) -> Option<Arc<dyn Agent>> {
        if name.as_str() == ADVANCE {
            return Some(Arc::new(Advance));
        }
        Registry::agent(self, name)
    }

    fn tool(&self, kind: &str) -> Option<Arc<dyn Tool>> {
        Registry::tool(self, kind)
    }

    fn agents(&self) -> Vec<String> {
        let mut names: Vec<String> = Registry::agents(self).iter().map(|a| a.name.to_string()).collect();
        names.push(ADVANCE.to_owned());
        names.sort();
        names
    }

    fn kinds(&self) -> Vec<String> {
        let mut kinds: Vec<String> = Registry::tools(self).into_iter().flat_map(|tool| tool.kinds).collect();
        kinds.sort();
        kinds
    }

    fn broken(&self) -> Vec<Broken> {
        let all = Registry::broken(self).into_iter();
        all.map(|broken| Broken {
            place: broken.file,
            reason: broken.reason,
        })
        .collect()
    }

    fn hands(&self, agent: &Name, job: &str) -> Box<dyn Audited> {
        Box::new(Registry::hands(self, agent, job))
    }
}

impl Audited for Granted {
    fn trail(&mut self) -> Trail {
        let captured = self.take_captured();
        let asked = captured.asked.into_iter();
        Trail {
            accesses: captured.accesses,
            asked: asked
                .map(|asked| Asked {
                    prompt: asked.prompt,
                    reply: asked.reply,
                })
                .collect(),
        }
    }

    fn settle(&mut self) -> Result<(), AgentError> {
        Granted::settle(self)
    }
}
