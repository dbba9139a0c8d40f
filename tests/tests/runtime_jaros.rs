//! People who come from jaros bring their data directory as it is: jobs, schedules, evals and log, in both of its spellings,
//! through the built program. Agents and tools they write anew.

use std::fs;
use std::path::Path;
use std::process::Command;

use jos_tests::command::run;
use jos_tests::node::Node;
use serde_json::{Value, json};

/// What a version calls the agent of a job, a schedule and a case, and the kind of a decision.
struct Version {
    agent: &'static str,
    decision: &'static str,
    check: &'static str,
}

/// 0.2.0 and 0.5.0.
const VERSIONS: [Version; 2] = [
    Version {
        agent: "kind",
        decision: "kind",
        check: "decision_kind",
    },
    Version {
        agent: "agent",
        decision: "type",
        check: "decision_type",
    },
];

/// The log of decisions, as Python writes it.
const LOG: &str = r#"
import hashlib, json, sys
dump = lambda value: json.dumps(value, sort_keys=True, separators=(",", ":"))
prev, lines = "0" * 64, []
for index, (source, kind, payload) in enumerate(json.loads(sys.argv[3]), 1):
    decision = {"id": f"{source}-{index}", "source": source, sys.argv[2]: kind, "payload": payload}
    record = {"index": index, "prev": prev, "decision": decision}
    record["checksum"] = prev = hashlib.sha256(dump(record).encode()).hexdigest()
    lines.append(dump(record) + "\n")
open(sys.argv[1], "w").write("".join(lines))
"#;

/// The four agents that only look, written anew: what they proposed there they propose here.
const AGENTS: &str = r#"$| = 1; my $job = <STDIN>;
my %kinds = ('system-health' => 'sys.info', 'disk-monitor' => 'fs.disk_usage', 'inventory' => 'fs.stat', 'text-metrics' => 'text.count');
my ($agent) = $job =~ /"agent":"([^"]*)"/; my ($path) = $job =~ /"path":"([^"]*)"/;
my $payload = defined $path ? qq({"path":"$path"}) : '{}';
print qq({"propose":{"kind":"$kinds{$agent}","payload":$payload}}\n{"done":null}\n);
"#;
const TOOL: &str = r#"$| = 1; my $said = <STDIN>;
if ($said =~ /^\{"validate"/) { print $said =~ /"path":"\// ? qq({"fail":"an absolute path"}\n) : qq({"done":null}\n); exit }
my ($kind) = $said =~ /"kind":"([^"]*)"/; my ($path) = $said =~ /"path":"([^"]*)"/;
my $time = $said =~ /"path":"clock"/ ? ',"at":' . int(rand(1 << 30)) : '';
print defined $path ? qq({"done":{"tool":"$kind","path":"$path"$time}}\n) : qq({"done":{"tool":"$kind"}}\n);
"#;

fn put(root: &Path, below: &str, text: &str) {
    let path = root.join(below);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("written");
}

/// A data directory as jaros leaves it after some work.
fn left(root: &Path, version: &Version) {
    for folder in [
        "agents",
        "artifacts",
        "claimed",
        "config",
        "evals",
        "failed",
        "inbox",
        "outbox",
        "processed",
        "schedules",
        "state",
        "tools",
    ] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    put(root, "agents/inventory_agent.py", "NAME = \"inventory\"\n");
    put(root, "tools/dir_stat_tool.py", "def register():\n    pass\n");
    let job = |id: &str, agent: &str, input: Value| {
        let mut document = json!({ "id": id, "input": input });
        document[version.agent] = agent.into();
        serde_json::to_string_pretty(&document).expect("JSON")
    };
    let (old, waiting) = ("02e6d745a7ad4b0e91d8ac48c9edf7c3", "b97f3e0194944ad7b37ce684b0a1b7ba");
    put(
        root,
        &format!("processed/{old}.json"),
        &job(old, "inventory", json!({ "path": "." })),
    );
    put(
        root,
        &format!("outbox/{old}.json"),
        &json!({ "id": old, "result": { "tool": "fs.stat" } }).to_string(),
    );
    put(
        root,
        &format!("inbox/{waiting}.json"),
        &job(waiting, "inventory", json!({ "path": "artifacts" })),
    );
    let schedule = |id: &str, rule: (&str, Value), enabled: bool| {
        let mut document = json!({ "id": id, "input": { "path": "." }, "enabled": enabled });
        document[version.agent] = "disk-monitor".into();
        document[rule.0] = rule.1;
        document.to_string()
    };
    put(
        root,
        "schedules/disk-monitor.json",
        &schedule("disk-monitor", ("cron", json!("*/5 * * * *")), true),
    );
    // There the id is the name, whatever the file is called.
    put(
        root,
        "schedules/Every Second.json",
        &schedule("second", ("every_seconds", json!(1)), true),
    );
    put(
        root,
        "schedules/off.json",
        &schedule("sleeps", ("every_seconds", json!(1)), false),
    );
    put(
        root,
        "schedules/once.json",
        &schedule("once", ("at", json!("2026-01-01T00:00:00+02:00")), true),
    );
    put(root, "evals/readonly.json", &cases(version).to_string());
    put(root, "state/transitions.log", "");
    put(
        root,
        "state/audit.log",
        "{\"action\": \"fs.write\", \"agent\": \"daemon-writer\", \"allowed\": true}\n",
    );
    put(
        root,
        "state/schedules.state.json",
        "{\"disk-monitor\": {\"lastMinute\": \"2026-11-23T03:27\"}}",
    );
    put(root, "status.json", "{\"tick\": 24, \"state\": \"PENDING\"}");
    let decisions = json!([["inventory", "fs.stat", { "path": "." }], ["system-health", "sys.info", {}]]);
    let mut python = Command::new("python3");
    python.args(["-c", LOG]).arg(root.join("state/decisions.log"));
    run(python.args([version.decision, &decisions.to_string()])).ok();
}

fn case(version: &Version, name: &str, agent: &str, input: Value, expect: Value) -> Value {
    let mut document = json!({ "name": name, "input": input, "expect": expect });
    document[version.agent] = agent.into();
    document
}

/// Every check that there is.
fn cases(version: &Version) -> Value {
    let all = json!({
        "decision_count": 1, version.check: "sys.info", "source": "system-health", "gate": "accept",
        "result_contains": { "tool": "sys.info" }, "deterministic": true,
    });
    let usage = json!({
        version.check: "fs.disk_usage", "payload_contains": { "path": "." }, "gate": "accept",
        "result_contains": { "tool": "fs.disk_usage", "path": "." },
    });
    json!([
        case(
            version,
            "system-health emits an accepted sys.info decision",
            "system-health",
            json!({}),
            all
        ),
        case(
            version,
            "disk-monitor reads usage for the given path",
            "disk-monitor",
            json!({ "path": "." }),
            usage
        ),
        case(
            version,
            "inventory does not leave the folder",
            "inventory",
            json!({ "path": "/etc" }),
            json!({ "gate": "reject" })
        ),
        case(
            version,
            "text-metrics targets the requested file",
            "text-metrics",
            json!({ "path": "README.md" }),
            json!({ "payload_contains": { "path": "README.md" } })
        ),
    ])
}

/// What has to be written anew.
fn port(root: &Path) {
    put(root, "agents/readers.pl", AGENTS);
    for name in ["system-health", "disk-monitor", "inventory", "text-metrics"] {
        let document = json!({ "kind": "jos.runtime_agent", "name": name, "argv": ["perl", "./readers.pl"] });
        put(root, &format!("agents/{name}.json"), &document.to_string());
    }
    put(root, "tools/readers.pl", TOOL);
    let kinds = ["sys.info", "fs.disk_usage", "fs.stat", "text.count"];
    let document =
        json!({ "kind": "jos.tool", "name": "readers", "decisions": kinds, "argv": ["perl", "./readers.pl"] });
    put(root, "tools/readers.json", &document.to_string());
}

fn brought(version: &Version) -> Node {
    let node = Node::new();
    fs::remove_dir_all(node.root()).expect("removed");
    left(&node.root(), version);
    node.jos(&["runtime", "init", "--force"]).ok();
    port(&node.root());
    node
}

#[test]
fn a_data_directory_of_jaros_is_taken_as_it_is_with_jobs_schedules_evals_and_log() {
    for version in &VERSIONS {
        let node = brought(version);
        let said = node.jos(&["eval", "--json"]).ok().json();
        assert_eq!((&said["passed"], &said["failed"]), (&json!(4), &json!(0)), "{said:#}");
        node.jos(&["eval", "inventory does not leave the folder"])
            .ok()
            .says("1 of 1 passed");
        let log = node.path("state/decisions.log").display().to_string();
        let said = node.jos(&["runtime", "import", &log, "--json"]).ok().json();
        assert_eq!(said["imported"], 2, "{said:#}");

        let serving = node.serve(&[]);
        // The job that waited, and the schedule of every second; the moment that is past was missed.
        let done = node.comes("outbox/b97f3e0194944ad7b37ce684b0a1b7ba.json");
        assert!(done.contains("fs.stat"), "{done}");
        node.over(4);
        let listed = node.jos(&["schedule", "list", "--json"]).ok().json();
        assert_eq!(listed["broken"], json!([]), "{listed:#}");
        let named = |name: &str| {
            let all = listed["schedules"].as_array().expect("a list").iter();
            all.filter(|one| one["name"] == name).count()
        };
        assert_eq!(
            ["disk-monitor", "second", "sleeps", "once"].map(named),
            [1; 4],
            "{listed:#}"
        );
        node.jos(&["schedule", "disable", "second"]).ok().says("disabled");
        assert!(
            !node.path("schedules/second.json").exists(),
            "its file is the one that it had"
        );
        node.jos(&["schedule", "remove", "sleeps"]).ok();
        assert!(!node.path("schedules/off.json").exists());
        serving.stop();
        let ran = node.names("processed");
        assert!(!ran.iter().any(|name| name.starts_with("sleeps")), "{ran:?}");
        // What was done there is not done again, and its id is taken.
        node.jos(&["submit", "inventory", "--id", "02e6d745a7ad4b0e91d8ac48c9edf7c3"])
            .exits(2);
        let report = node.replays();
        assert_eq!(report["imported"], 2, "{report:#}");
        let broken = node.jos(&["status", "--json"]).ok().json()["status"]["broken"].clone();
        assert_eq!(broken, json!([]));
    }
}

#[test]
fn each_check_of_a_case_of_jaros_fails_when_it_does_not_hold_and_a_bad_case_hurts_no_other() {
    for version in &VERSIONS {
        let node = brought(version);
        let one = |name: &str, path: &str, expect: Value| {
            case(version, name, "disk-monitor", json!({ "path": path }), expect)
        };
        let all = json!([
            one("count", ".", json!({ "decision_count": 2 })),
            one("kind", ".", json!({ version.check: "fs.stat" })),
            one("source", ".", json!({ "source": "operator" })),
            one("payload", ".", json!({ "payload_contains": { "path": ".." } })),
            one("gate", "/", json!({ "gate": "accept" })),
            one("not refused", ".", json!({ "gate": "reject" })),
            one("result", ".", json!({ "result_contains": { "tool": "fs.stat" } })),
            one("no result", "/", json!({ "result_contains": {} })),
            one("clock", "clock", json!({ "deterministic": true })),
            one("nothing", ".", json!({})),
            one("unknown", ".", json!({ "decisions": 1 })),
            one("good", ".", json!({ "decision_count": 1 })),
        ]);
        put(&node.root(), "evals/readonly.json", &all.to_string());
        let ran = node.jos(&["eval", "--json"]).exits(1).json();
        assert_eq!((&ran["passed"], &ran["failed"]), (&json!(1), &json!(11)), "{ran:#}");
        let said = |name: &str| {
            let all = ran["cases"].as_array().expect("a list").iter();
            all.filter(|one| one["name"] == name)
                .map(Value::to_string)
                .collect::<String>()
        };
        for (name, expected) in [
            ("count", "decision_count: found 1, expected 2"),
            ("kind", "decision_kind: found"),
            ("source", "source: found disk-monitor, expected operator"),
            ("payload", "payload_contains.path: found"),
            ("gate", "gate: found reject, expected accept"),
            ("gate", "an absolute path"),
            ("not refused", "gate: found accept, expected reject"),
            ("result", "result_contains.tool: found"),
            ("no result", "result_contains: found no result"),
            ("clock", "deterministic: found"),
            ("readonly", "evals/readonly.json: /9: expect: found no check"),
            ("readonly", "evals/readonly.json: /10: unknown field `decisions`"),
        ] {
            assert!(said(name).contains(expected), "{name}: {expected}: {}", said(name));
        }
    }
}
