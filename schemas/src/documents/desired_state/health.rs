//! How to know that an applied state works.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ruled;
use crate::tagged::tagged;
use crate::text::ServiceName;

/// How to know that the applied state works. Told apart by `type`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HealthCheck {
    /// A GET that answers 2xx or 3xx.
    Http(HttpCheck),
    /// A TCP connection that opens.
    Tcp(TcpCheck),
    /// A listed command that succeeds.
    Command(CommandCheck),
    /// A service that is active.
    Service(ServiceCheck),
}

/// A GET that answers 2xx or 3xx.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// `http://…` or `https://…`.
    #[serde(deserialize_with = "ruled::text::<_, ruled::WebUrl>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::WebUrl"))]
    pub url: String,
    /// Tries after the first, 0 to 100; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 0, 100>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 100)))]
    pub retries: Option<u32>,
    /// Seconds for each try, 1 to 3600; 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 3600>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 3600)))]
    pub timeout: Option<u32>,
}

/// A TCP connection that opens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TcpCheck {
    /// Name or address.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Host>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Host"))]
    pub host: String,
    /// Port.
    #[serde(deserialize_with = "ruled::int::<_, _, 1, 65_535>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 65_535)))]
    pub port: u16,
    /// Tries after the first; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 0, 100>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 100)))]
    pub retries: Option<u32>,
    /// Seconds for each try; 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 3600>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 3600)))]
    pub timeout: Option<u32>,
}

/// A listed command that succeeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CommandCheck {
    /// A listed command.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Command>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Command"))]
    pub command: String,
    /// Tries after the first; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 0, 100>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 100)))]
    pub retries: Option<u32>,
    /// Seconds for each try; 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 3600>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 3600)))]
    pub timeout: Option<u32>,
}

/// A service that is active.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ServiceCheck {
    /// As the init system names it.
    pub name: ServiceName,
    /// Tries after the first; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 0, 100>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 100)))]
    pub retries: Option<u32>,
    /// Seconds for each try; 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 3600>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 3600)))]
    pub timeout: Option<u32>,
}

tagged!(HealthCheck, "a health check", {
    "http" => Http(HttpCheck),
    "tcp" => Tcp(TcpCheck),
    "command" => Command(CommandCheck),
    "service" => Service(ServiceCheck),
});
