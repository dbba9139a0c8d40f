//! Models behind HTTP: Ollama's `/api/chat` and the `/chat/completions` that OpenAI made a custom.
//!
//! The base URL may lead anywhere, also to a machine of one's own. A key is sent nowhere else: redirects are not followed.
//! Answers that are late, too long or garbled are errors by name; a busy or failing server is asked again, with pauses.

use std::fs;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use jos_node::contract::{AgentError, Model, Prompt, Reply};
use jos_runtime::world::Clock as _;
use serde_json::{Map, Value, json};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::{Settings, stream};

/// Bytes of one answer.
const ANSWER: u64 = 4 << 20;
/// The longest pause before another try.
const LONGEST: Duration = Duration::from_secs(10);
/// Where systems keep the certificates that they believe.
const SYSTEM: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/usr/local/etc/ssl/cert.pem",
];

/// Which way a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Ollama,
    OpenAi,
}

/// A model behind HTTP.
pub(super) struct Remote {
    dialect: Dialect,
    settings: Settings,
    name: String,
    agent: ureq::Agent,
}

/// Why a try came to nothing.
enum Trouble {
    /// Another try may do better, after a pause if the server named one.
    Again(String, Option<Duration>),
    /// It would not.
    Final(String),
}

impl Remote {
    pub(super) fn new(dialect: Dialect, settings: Settings) -> Result<Self, String> {
        let word = if dialect == Dialect::Ollama { "ollama" } else { "openai" };
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("jos/", env!("CARGO_PKG_VERSION")));
        if settings.base_url.starts_with("https://") {
            config = config.tls_config(tls(&settings)?);
        }
        Ok(Self {
            dialect,
            name: format!("{word}:{}", settings.model),
            agent: config.build().into(),
            settings,
        })
    }

    fn url(&self) -> String {
        let path = match self.dialect {
            Dialect::Ollama => "/api/chat",
            Dialect::OpenAi => "/chat/completions",
        };
        format!("{}{path}", self.settings.base_url)
    }

    fn question(&self, prompt: &Prompt) -> Value {
        let mut messages = Vec::new();
        if let Some(system) = &prompt.system {
            messages.push(json!({ "role": "system", "content": system }));
        }
        messages.push(json!({ "role": "user", "content": prompt.prompt }));
        let mut options: Map<String, Value> = self.settings.options.clone();
        options.extend(prompt.options.clone());
        let mut question = json!({
            "model": self.settings.model, "messages": messages, "stream": self.settings.stream,
        });
        match self.dialect {
            Dialect::Ollama if options.is_empty() => {}
            Dialect::Ollama => question["options"] = Value::Object(options),
            // Beside the others, which they do not replace.
            Dialect::OpenAi => {
                for (name, value) in options {
                    if question.get(&name).is_none() {
                        question[name] = value;
                    }
                }
            }
        }
        question
    }

    fn once(&self, question: &[u8]) -> Result<String, Trouble> {
        let mut request = self.agent.post(self.url()).header("Content-Type", "application/json");
        if let Some(key) = &self.settings.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let response = request.send(question).map_err(|e| match e {
            ureq::Error::Timeout(_) => Trouble::Final(self.late()),
            other => Trouble::Again(other.to_string(), None),
        })?;
        let status = response.status().as_u16();
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned)
        };
        let pause = header("retry-after")
            .and_then(|text| text.parse().ok())
            .map(Duration::from_secs);
        let mut reader = response.into_body().into_reader().take(ANSWER + 1);
        if status != 200 {
            let mut text = String::new();
            let _ = reader.take(2000).read_to_string(&mut text);
            let said = format!("it answered {status}: {}", text.trim());
            return Err(if status == 429 || status >= 500 {
                Trouble::Again(said, pause)
            } else {
                Trouble::Final(said)
            });
        }
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|e| {
            if e.kind() == std::io::ErrorKind::TimedOut || e.to_string().contains("timeout") {
                Trouble::Final(self.late())
            } else {
                Trouble::Again(format!("its answer broke off: {e}"), None)
            }
        })?;
        if bytes.len() as u64 > ANSWER {
            return Err(Trouble::Final(format!("its answer is longer than {ANSWER} bytes")));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| Trouble::Final("its answer is not UTF-8".into()))?;
        stream::text(self.dialect, self.settings.stream, text).map_err(Trouble::Final)
    }

    fn late(&self) -> String {
        format!("no whole answer within {} s", self.settings.timeout.as_secs())
    }
}

impl Model for Remote {
    fn name(&self) -> &str {
        &self.name
    }

    fn complete(&self, prompt: &Prompt) -> Result<Reply, AgentError> {
        let question = self.question(prompt).to_string();
        let failed = |why: &str| AgentError::Failed(format!("{} at {}: {why}", self.name, self.settings.base_url));
        let mut pause = Duration::from_millis(250);
        for tries in 0.. {
            match self.once(question.as_bytes()) {
                Ok(text) => {
                    return Ok(Reply {
                        model: self.name.clone(),
                        text,
                    });
                }
                Err(Trouble::Again(_, named)) if tries < self.settings.retries => {
                    crate::world::SystemClock.pause(named.unwrap_or(pause).min(LONGEST));
                    pause = (pause * 2).min(LONGEST);
                }
                Err(Trouble::Again(why, _)) => return Err(failed(&format!("{why} ({} tries)", tries + 1))),
                Err(Trouble::Final(why)) => return Err(failed(&why)),
            }
        }
        Err(failed("never asked"))
    }
}

/// TLS 1.3, and whom the system believes, or only the certificates that the settings name.
fn tls(settings: &Settings) -> Result<TlsConfig, String> {
    let pem = match &settings.ca {
        Some(path) => fs::read(path).map_err(|e| format!("ca: {}: {e}", path.display()))?,
        None => {
            let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
            let places = named.into_iter().chain(SYSTEM.iter().map(Into::into));
            places
                .filter_map(|path| fs::read(path).ok())
                .next()
                .ok_or("the system's certificates are not there: install ca-certificates, or name a file as ca in config/llm.toml")?
        }
    };
    let roots: Vec<Certificate<'static>> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if roots.is_empty() {
        return Err("ca: no certificate in it, expected PEM".into());
    }
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}
