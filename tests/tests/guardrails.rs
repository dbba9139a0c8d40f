//! What holds the runtime's design in place, as tests: the planes stay apart, nobody listens, agents never meet, nothing has to
//! be set up. (That a replay comes out the same is proved where replays are tested.)

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jos_tests::command::run;
use jos_tests::programs::workspace;

/// The execution plane: what gates, records, executes and replays decisions.
const EXECUTION: [&str; 9] = [
    "execute.rs",
    "gate.rs",
    "machine.rs",
    "records.rs",
    "replay.rs",
    "resume.rs",
    "tools.rs",
    "tools/declared.rs",
    "writer.rs",
];

/// Servers that one would have to run, by the crates that speak to them, and servers that one would be.
const INFRASTRUCTURE: [&str; 30] = [
    "actix-web",
    "amqprs",
    "axum",
    "deadpool",
    "diesel",
    "etcd-client",
    "hyper",
    "kafka",
    "lapin",
    "libsqlite3-sys",
    "mongodb",
    "mysql",
    "nats",
    "async-nats",
    "paho-mqtt",
    "postgres",
    "pulsar",
    "rdkafka",
    "redis",
    "rocket",
    "rumqttc",
    "rusqlite",
    "sled",
    "sqlx",
    "tiny_http",
    "tokio-postgres",
    "tonic",
    "warp",
    "zeromq",
    "zookeeper",
];

/// The Rust files below a folder of the workspace, with their text up to their tests.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    let mut folders = vec![workspace().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("an entry").path();
            let is_test = path.file_name().is_some_and(|n| n == "tests.rs" || n == "tests");
            if path.is_dir() && !is_test {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !is_test {
                let text = fs::read_to_string(&path).expect("a text");
                let text = text.split("\nmod tests {").next().unwrap_or_default();
                all.push((path, code(text)));
            }
        }
    }
    assert!(!all.is_empty(), "{folder} has no source");
    all
}

/// Without comments.
fn code(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

fn with(all: &[(PathBuf, String)], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in all {
        let lines = text.lines().filter(|line| words.iter().any(|word| line.contains(word)));
        found.extend(lines.map(|line| format!("{}: {}", path.display(), line.trim())));
    }
    found
}

#[test]
fn planes_no_module_of_the_execution_plane_knows_a_model() {
    let node = workspace().join("node/src");
    let read = |name: &&str| {
        let text = fs::read_to_string(node.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        (PathBuf::from(name), code(&text))
    };
    let all: Vec<_> = EXECUTION.iter().map(read).collect();
    let words = ["Model", "models::", ".ask(", ".complete(", "agents::prompt"];
    none(&with(&all, &words), "what executes decisions asks no model");
}

#[test]
fn no_server_nothing_listens_but_the_hub_and_the_console() {
    let words = [
        "TcpListener",
        "UnixListener",
        "UdpSocket::bind",
        "libc::listen",
        "socket::listen",
    ];
    for folder in [
        "schemas/src",
        "trust/src",
        "runtime/src",
        "link/src",
        "node/src",
        "agent/src",
    ] {
        let mut all = sources(folder);
        all.retain(|(path, _)| {
            !path
                .components()
                .any(|part| part.as_os_str().to_string_lossy().starts_with("console"))
        });
        none(
            &with(&all, &words),
            "a socket that listens belongs to the hub or the console",
        );
    }
}

#[test]
fn comms_agents_meet_in_queues_alone() {
    let mut forms = sources("node/src/agents");
    forms.extend(sources("node/src/tools"));
    let words = [
        "Registry",
        "registry::",
        "dyn Agents",
        "join::",
        "std::net",
        "std::process",
        "mpsc",
    ];
    none(
        &with(&forms, &words),
        "an agent or a tool refers to no other, and to no way out but its hands",
    );
    // What is shipped to be learned from holds to it too: no module imports anything but its hands.
    for folder in ["examples", "docs/agent-kit/template"] {
        for kind in ["agents", "tools"] {
            for text in texts(&workspace().join(folder).join(kind), "wat") {
                let imports = text.lines().filter(|line| line.contains("(import "));
                for line in imports {
                    assert!(line.contains("(import \"jos\" "), "{line}");
                }
            }
        }
    }
}

fn texts(folder: &Path, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let paths = paths.filter(|path| path.extension().is_some_and(|e| e == extension));
    paths.map(|path| fs::read_to_string(path).expect("a text")).collect()
}

/// What of [`INFRASTRUCTURE`] the agent is built with.
fn infrastructure(features: &[&str]) -> Vec<&'static str> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = Command::new(cargo);
    tree.args([
        "tree",
        "--locked",
        "--offline",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
    ]);
    tree.args(["--format", "{p}", "--package", "jos-agent"])
        .args(features)
        .current_dir(workspace());
    let built = run(&mut tree).ok().stdout;
    let names: Vec<&str> = built.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"jos-agent"), "{built}");
    INFRASTRUCTURE.into_iter().filter(|name| names.contains(name)).collect()
}

#[test]
fn zero_infrastructure_no_build_of_the_agent_knows_a_database_or_a_broker_unless_it_is_asked_to() {
    for features in [
        &["--no-default-features", "--features", "device"][..],
        &["--no-default-features", "--features", "runtime"],
        &["--no-default-features", "--features", "full"],
        // What is built where nothing is said.
        &[],
    ] {
        let found = infrastructure(features);
        assert!(
            found.is_empty(),
            "{features:?} is built with {found:?}: a node needs files and threads, nothing else"
        );
    }
    // The one exception has a name, and is the one client that the hub has too.
    assert_eq!(infrastructure(&["--features", "postgres"]), ["sqlx"]);
}

#[test]
fn the_roles_in_the_docs_are_those_of_the_node() {
    let docs = fs::read_to_string(workspace().join("docs/building-agents.md")).expect("the docs");
    let code = fs::read_to_string(workspace().join("node/src/roles.rs")).expect("the roles");
    let roles: Vec<&str> = code
        .lines()
        .filter_map(|line| line.trim().strip_prefix("name: \"")?.strip_suffix("\","))
        .collect();
    assert!(roles.len() >= 5, "{roles:?}");
    for role in roles {
        assert!(
            docs.contains(&format!("| `{role}` |")),
            "docs/building-agents.md does not show the role {role}"
        );
    }
}
