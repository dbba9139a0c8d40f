//! Every document, one file for those that belong together.

pub mod agent_config;
pub mod answer;
pub mod artifact;
pub mod checkpoint;
pub mod declared;
pub mod desired_state;
pub mod hub;
pub mod key;
pub mod ledger;
pub mod policy;
pub mod profile;
pub mod rollout;
pub mod runtime;
pub mod trust;

/// Declares the type of a document's constant `kind`.
macro_rules! kind {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
        pub enum $name {
            /// The only value.
            #[default]
            #[serde(rename = $kind)]
            Constant,
        }
    };
}
pub(crate) use kind;
