//! Who may do what: grants by right and prefix, and the roles that bundle them.
//!
//! Nothing is granted that is not named (default deny), and some places are never granted at all: a handle writes nothing
//! that the node itself believes, and reads nothing that holds its secrets.

use jos_schemas::documents::runtime::{Capability, Right};
use jos_schemas::text::Name;

/// A named bundle of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// What a document writes under `roles`.
    pub name: &'static str,
    /// What it is for.
    pub what: &'static str,
    /// Its rights; an empty prefix is everything that can be granted.
    pub rights: &'static [(Right, &'static str)],
}

/// Every role that there is. `docs/building-agents.md` shows this table; a test holds the two together.
pub const ROLES: [Role; 7] = [
    Role {
        name: "observer",
        what: "reads facts about the machine",
        rights: &[(Right::FsRead, "facts")],
    },
    Role {
        name: "reader",
        what: "reads artifacts",
        rights: &[(Right::FsRead, "artifacts")],
    },
    Role {
        name: "writer",
        what: "reads and writes artifacts",
        rights: &[(Right::FsRead, "artifacts"), (Right::FsWrite, "artifacts")],
    },
    Role {
        name: "auditor",
        what: "reads what jobs came to",
        rights: &[
            (Right::FsRead, "outbox"),
            (Right::FsRead, "failed"),
            (Right::FsRead, "processed"),
            (Right::FsRead, "status.json"),
        ],
    },
    Role {
        name: "planner",
        what: "hands work out",
        rights: &[(Right::QueueSend, "work")],
    },
    Role {
        name: "worker",
        what: "takes work, hands results in",
        rights: &[(Right::QueueReceive, "work"), (Right::QueueSend, "results")],
    },
    Role {
        name: "reviewer",
        what: "takes results",
        rights: &[(Right::QueueReceive, "results")],
    },
];

/// The node's own places: it believes what stands there, so no handle writes them.
const NEVER_WRITTEN: [&str; 13] = [
    "agents",
    "claimed",
    "config",
    "evals",
    "facts",
    "failed",
    "inbox",
    "outbox",
    "processed",
    "schedules",
    "state",
    "status.json",
    "tools",
];
/// Keys, ledgers and settings.
const NEVER_READ: [&str; 2] = ["config", "state"];

/// As a document writes it.
pub fn right_word(right: Right) -> &'static str {
    match right {
        Right::QueueSend => "queue.send",
        Right::QueueReceive => "queue.receive",
        Right::FsRead => "fs.read",
        Right::FsWrite => "fs.write",
        Right::DevicePropose => "device.propose",
    }
}

fn right_of(word: &str) -> Option<Right> {
    let all = [
        Right::QueueSend,
        Right::QueueReceive,
        Right::FsRead,
        Right::FsWrite,
        Right::DevicePropose,
    ];
    all.into_iter().find(|right| right_word(*right) == word)
}

/// All that one agent or tool was granted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grants(Vec<Capability>);

impl Grants {
    /// The rights of these roles and these single ones. Refused: a role that is not there, a place that is never granted.
    pub fn new<'r>(roles: impl IntoIterator<Item = &'r str>, single: &[Capability]) -> Result<Self, String> {
        let mut all = Vec::new();
        for name in roles {
            let Some(role) = ROLES.iter().find(|role| role.name == name) else {
                let known: Vec<&str> = ROLES.iter().map(|role| role.name).collect();
                return Err(format!("found role {name:?}, expected one of {}", known.join(", ")));
            };
            all.extend(role.rights.iter().map(|(right, to)| Capability {
                right: *right,
                to: (*to).to_owned(),
            }));
        }
        for capability in single {
            grantable(capability)?;
            all.push(capability.clone());
        }
        Ok(Self(all))
    }

    /// The same out of texts, as an artifact's `security.permissions` has them: `role:worker`, `fs.write:artifacts/notes`.
    pub fn of_texts(texts: &[String]) -> Result<Self, String> {
        let mut roles = Vec::new();
        let mut single = Vec::new();
        for text in texts {
            let parts = text.split_once(':');
            match parts.map(|(word, to)| (word, right_of(word), to)) {
                Some(("role", _, name)) => roles.push(name),
                Some((_, Some(right), to)) => single.push(Capability {
                    right,
                    to: to.to_owned(),
                }),
                _ => {
                    return Err(format!(
                        "found permission {text:?}, expected \"role:NAME\" or one of \"fs.read:PATH\", \"fs.write:PATH\", \
                         \"queue.send:QUEUE\", \"queue.receive:QUEUE\", \"device.propose:NAME\": an agent of the runtime can be granted nothing else"
                    ));
                }
            }
        }
        Self::new(roles, &single)
    }

    /// Whether `right` on `to` was granted.
    pub fn allow(&self, right: Right, to: &str) -> bool {
        self.0.iter().any(|grant| grant.right == right && covers(&grant.to, to))
    }

    /// What was granted, in the order of the document.
    pub fn all(&self) -> &[Capability] {
        &self.0
    }
}

fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn grantable(capability: &Capability) -> Result<(), String> {
    let Capability { right, to } = capability;
    let word = right_word(*right);
    match right {
        Right::QueueSend | Right::QueueReceive => Name::new(to.as_str())
            .map(drop)
            .map_err(|e| format!("{word} on a queue: {e}")),
        Right::DevicePropose => Name::new(to.as_str())
            .map(drop)
            .map_err(|e| format!("{word} to a device's plane: {e}")),
        Right::FsRead | Right::FsWrite => place(to).and_then(|()| {
            if is_closed(*right, to) {
                Err(format!(
                    "{word} on {to}: the node's own, which no handle is granted; \"artifacts/…\" is for agents"
                ))
            } else {
                Ok(())
            }
        }),
    }
}

/// Whether a place is the node's own in this respect, whoever asks.
pub(crate) fn is_closed(right: Right, path: &str) -> bool {
    let top = path.split('/').next().unwrap_or_default();
    match right {
        Right::FsWrite => NEVER_WRITTEN.contains(&top),
        Right::FsRead => NEVER_READ.contains(&top),
        Right::QueueSend | Right::QueueReceive | Right::DevicePropose => false,
    }
}

/// Whether a text is a path below the data directory as handles take it.
///
/// The first component is of a-z, 0-9 and `._-` alone: on a file system that knows no case, `State` and `ſtate` would be
/// `state`.
pub(crate) fn place(path: &str) -> Result<(), String> {
    let why = if path.is_empty() {
        "it is empty"
    } else if path.len() > 1024 {
        "it is longer than 1024 bytes"
    } else if path.starts_with('/') {
        "it is absolute, expected one below the data directory"
    } else if path.chars().any(|c| c < ' ' || c == '\u{7f}' || c == '\\') {
        "it holds a control character or a backslash"
    } else if path
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
    {
        "it holds an empty component, '.' or '..'"
    } else if path.split('/').any(|part| part.starts_with(".jos-")) {
        "'.jos-' begins the names of half-written files"
    } else if !path.split('/').next().is_some_and(|top| {
        top.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    }) {
        "its first component holds more than a-z, 0-9, '.', '_' and '-'"
    } else {
        return Ok(());
    };
    let shown: String = path.chars().take(120).collect();
    Err(format!("{shown:?} is no path for a handle: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(right: Right, to: &str) -> Capability {
        Capability {
            right,
            to: to.to_owned(),
        }
    }

    #[test]
    fn nothing_is_granted_that_is_not_named() {
        let none = Grants::default();
        assert!(!none.allow(Right::FsRead, "artifacts/a"));
        let some = Grants::new(["writer"], &[]).expect("a role");
        assert!(some.allow(Right::FsWrite, "artifacts"));
        assert!(some.allow(Right::FsWrite, "artifacts/a/b"));
        assert!(
            !some.allow(Right::FsWrite, "artifacts2/a"),
            "a prefix ends at a component"
        );
        assert!(!some.allow(Right::QueueSend, "artifacts/a"), "another right");
    }

    #[test]
    fn the_nodes_own_places_cannot_be_granted_whatever_a_document_says() {
        for place in NEVER_WRITTEN {
            let e = Grants::new([], &[capability(Right::FsWrite, place)]).expect_err(place);
            assert!(e.contains(place), "{e}");
        }
        for place in ["state/ledger", "config/llm.toml"] {
            Grants::new([], &[capability(Right::FsRead, place)]).expect_err(place);
        }
        for trick in [
            "State/x",
            "\u{17f}tate/x",
            "./state",
            "a/../state",
            "/etc",
            "",
            "a//b",
            "a\\b",
            "artifacts/.jos-1",
        ] {
            Grants::new([], &[capability(Right::FsRead, trick)]).expect_err(trick);
        }
        Grants::new([], &[capability(Right::FsRead, "outbox")]).expect("readable where granted");
        Grants::new([], &[capability(Right::FsWrite, "reports/daily")]).expect("a folder of the operator's");
    }

    #[test]
    fn every_role_grants_only_what_can_be_granted() {
        for role in ROLES {
            for (right, to) in role.rights {
                grantable(&capability(*right, to)).expect(role.name);
            }
        }
    }

    #[test]
    fn permissions_of_an_artifact_are_strict() {
        let texts = |list: &[&str]| Grants::of_texts(&list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        let grants = texts(&["role:worker", "fs.write:artifacts/notes"]).expect("both forms");
        assert!(grants.allow(Right::QueueReceive, "work") && grants.allow(Right::FsWrite, "artifacts/notes/1"));
        for wrong in [
            "shell",
            "fs:write:/srv/**",
            "role:root",
            "fs.write:state",
            "queue.send:Not A Queue",
        ] {
            texts(&[wrong]).expect_err(wrong);
        }
    }
}
