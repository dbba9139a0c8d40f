//! What the shared commands ask of a run.

pub(crate) mod settings {
    use jos_schemas::documents::agent_config::AgentConfig;

    /// The data directory of the node that a daemon of this configuration runs: none does, on Windows.
    pub(crate) fn node(_: &AgentConfig) -> Option<String> {
        None
    }
}
