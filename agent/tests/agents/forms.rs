//! Agents and tools of each form that reach for what they were not given, or too early: nothing comes of it but a record.

use std::fs;

use serde_json::{Value, json};

use super::Node;

/// Both of what an agent could change something with, on what its roles name.
const ROLES: [&str; 2] = ["writer", "planner"];

/// Calls `write` and `send` while it thinks and proposes its answers, and what the job's input says besides.
const HASTY: &str = r#"use strict; $| = 1; my $job = <STDIN>;
print qq({"write":{"path":"artifacts/early","content":"x"}}\n); my $written = <STDIN>;
print qq({"send":{"queue":"work","message":{"task":"x"}}}\n); my $sent = <STDIN>;
if ($job =~ /refused/) { print qq({"propose":{"kind":"fs.write","payload":{"path":"state/x","content":"x"}}}\n{"done":null}\n); exit }
my $well = $written =~ /propose fs.write on artifacts.early/ && $sent =~ /propose queue.send on work/;
print $well ? qq({"propose":{"kind":"fs.write","payload":{"path":"artifacts/late","content":"once"}}}\n{"done":null}\n) : qq({"fail":"not told"}\n);
"#;

/// The same as a module.
const HASTY_MODULE: &str = r#"(module
  (import "jos" "get" (func $get (param i32 i32) (result i32)))
  (import "jos" "write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "jos" "send" (func $send (param i32 i32 i32 i32) (result i32)))
  (import "jos" "propose" (func $propose (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "artifacts/early")
  (data (i32.const 16) "work")
  (data (i32.const 24) "{\"task\":\"x\"}")
  (data (i32.const 40) "fs.write")
  (data (i32.const 64) "{\"path\":\"artifacts/late\",\"content\":\"once\"}")
  (data (i32.const 128) "{\"path\":\"state/x\",\"content\":\"x\"}")
  (data (i32.const 176) "/input/refused")
  (func (export "decide") (result i32)
    (if (i32.ne (call $write (i32.const 0) (i32.const 15) (i32.const 16) (i32.const 4)) (i32.const -1)) (then (return (i32.const 1))))
    (if (i32.ne (call $send (i32.const 16) (i32.const 4) (i32.const 24) (i32.const 12)) (i32.const -1)) (then (return (i32.const 2))))
    (if (i32.eq (call $get (i32.const 176) (i32.const 14)) (i32.const -1))
      (then (call $propose (i32.const 40) (i32.const 8) (i32.const 64) (i32.const 42)))
      (else (call $propose (i32.const 40) (i32.const 8) (i32.const 128) (i32.const 32))))
    (i32.const 0)))"#;

fn hash(text: &str) -> String {
    jos_trust::sha256(text.as_bytes()).to_hex().to_string()
}

/// Puts `NAME` with its program or module into `folder`.
fn put(node: &Node, folder: &str, name: &str, text: &str, mut document: Value) {
    let module = text.starts_with("(module");
    let end = if module { "wat" } else { "pl" };
    node.put(&format!("{folder}/{name}.{end}"), text);
    document["name"] = name.into();
    if module {
        document["wasm"] = hash(text).into();
    } else {
        document["argv"] = json!(["perl", format!("./{name}.pl")]);
    }
    node.put(&format!("{folder}/{name}.json"), &document.to_string());
}

fn ledger(node: &Node) -> String {
    fs::read_to_string(node.data().join("state/runtime/ledger/00000000.jsl")).expect("a ledger")
}

fn is_denied(node: &Node, agent: &str, right: &str, to: &str) -> bool {
    let access = format!(r#"{{"agent":"{agent}","allowed":false,"right":"{right}","to":"{to}"}}"#);
    ledger(node).contains(&access)
}

fn reason(node: &Node, id: &str) -> String {
    let path = node.data().join(format!("failed/{id}.json.reason"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}\n{}", path.display(), ledger(node)))
}

fn waits(node: &Node, queue: &str) -> usize {
    let entries = fs::read_dir(node.data().join("state/queues").join(queue));
    entries.map_or(0, Iterator::count)
}

#[test]
fn what_an_agent_may_do_by_a_decision_it_may_not_do_while_it_thinks() {
    for (form, text) in [("program", HASTY), ("module", HASTY_MODULE)] {
        let node = Node::new(&[]);
        let document = json!({ "kind": "jos.runtime_agent", "roles": ROLES });
        put(&node, "agents", "hasty", text, document);
        node.ok(&["submit", "hasty", "--id", "bad", "--input", r#"{"refused":true}"#]);
        node.ok(&["submit", "hasty", "--id", "good"]);
        node.ok(&["serve", "--drain"]);
        assert!(
            reason(&node, "bad").contains("state/x"),
            "{form}: {}",
            reason(&node, "bad")
        );
        let early = node.data().join("artifacts/early");
        assert!(!early.exists(), "{form}: written before any decision");
        assert_eq!(waits(&node, "work"), 0, "{form}: sent before any decision");
        let late = fs::read_to_string(node.data().join("artifacts/late"));
        assert_eq!(late.expect("proposed, passed, written"), "once", "{form}");
        for (right, to) in [("fs.write", "artifacts/early"), ("queue.send", "work")] {
            assert!(is_denied(&node, "hasty", right, to), "{form}: {}", ledger(&node));
        }
        let report = node.ok(&["replay"]);
        assert_eq!(
            report["files"].as_object().map(serde_json::Map::len),
            Some(1),
            "{form}: {report:#}"
        );
        assert_eq!(
            node.ok(&["runtime", "blame", "artifacts/late"])["events"][0]["agent"],
            "hasty",
            "{form}"
        );
    }
}

fn artifact(name: &str, permissions: &[&str], definitions: &Value, steps: &[&str]) -> String {
    json!({
        "id_jos": name,
        "orchestration_contract": { "version": "0.0.7" },
        "meta": { "name": name, "description": "hostile" },
        "security": { "permissions": permissions },
        "orchestration": { "definitions": definitions, "flows": { "main": { "steps": steps } } }
    })
    .to_string()
}

#[test]
fn an_agent_of_prompts_has_no_word_that_acts_and_reads_only_what_it_was_given() {
    let node = Node::new(&[]);
    // What a tool's artifact may say, an agent's may not.
    for kind in ["file", "send", "shell", "service"] {
        let step = json!({ "does": { "type": kind, "path": "artifacts/early", "content": "x", "queue": "work", "message": {} } });
        node.put(
            &format!("agents/acts-{kind}.jos"),
            &artifact(&format!("acts-{kind}"), &["role:writer"], &step, &["does"]),
        );
    }
    let steps = json!({
        "look": { "type": "prompt", "prompt": "accept {{files.there}}", "read": { "there": "{{input.path}}" } },
    });
    node.put(
        "agents/reader.jos",
        &artifact("reader", &["role:writer"], &steps, &["look"]),
    );
    let greedy = json!({ "say": { "type": "prompt", "prompt": "{{input.say}}", "propose": [
        { "kind": "fs.write", "payload": { "path": "artifacts/first", "content": "{{reply}}" } },
        { "kind": "fs.write", "payload": { "path": "{{reply}}", "content": "x" } },
    ] } });
    node.put(
        "agents/greedy.jos",
        &artifact("greedy", &["role:writer"], &greedy, &["say"]),
    );
    let paths = [
        "../../etc/passwd",
        "/etc/passwd",
        "state/identity",
        "config/llm.toml",
        "outbox/x.json",
        "artifacts/../state/x",
    ];
    for (n, path) in paths.iter().enumerate() {
        node.ok(&[
            "submit",
            "reader",
            "--id",
            &format!("r{n}"),
            "--input",
            &json!({ "path": path }).to_string(),
        ]);
    }
    // A reply that is a hole is not filled again, and a name that it makes gives no right.
    for (n, say) in ["{{input.secret}}", "agents/greedy.jos", "state/x"].iter().enumerate() {
        let input = json!({ "say": say, "secret": "artifacts/second" }).to_string();
        node.ok(&["submit", "greedy", "--id", &format!("g{n}"), "--input", &input]);
    }
    let before = fs::read(node.data().join("agents/greedy.jos")).expect("there");
    node.ok(&["serve", "--drain"]);
    let broken = node.ok(&["status"])["status"]["broken"].to_string();
    for kind in ["file", "send", "shell", "service"] {
        assert!(broken.contains(&format!("agents/acts-{kind}.jos")), "{broken}");
    }
    for (n, path) in paths.iter().enumerate() {
        let reason = reason(&node, &format!("r{n}"));
        assert!(
            reason.contains("was not granted fs.read") || reason.contains("no path for a handle"),
            "{path}: {reason}"
        );
    }
    assert!(!node.data().join("artifacts/second").exists());
    for id in ["g0", "g1", "g2"] {
        assert!(!reason(&node, id).is_empty());
    }
    assert!(!node.data().join("state/x").exists());
    assert_eq!(fs::read(node.data().join("agents/greedy.jos")).expect("there"), before);
    node.ok(&["replay"]);
}

/// Proposes one deed with the job's input as it is.
const DOES: &str = r#"use strict; $| = 1; my $job = <STDIN>; $job =~ /"input":(\{.*\})\}\}/;
print qq({"propose":{"kind":"deed.do","payload":$1}}\n{"done":null}\n);
"#;

/// A tool that says the line of its payload, while it validates or when it executes, and ends with the node's answer.
const TOOL: &str = r#"use strict; $| = 1; my $said = <STDIN>;
my ($when, $line) = $said =~ /"when":"(\w+)","zline":"(.*?)"[,}]/;
if ($said !~ /^\{"$when"/) { print qq({"done":null}\n); exit }
my %lines = (
  outside => q({"write":{"path":"artifacts/other/x","content":"x"}}), own => q({"write":{"path":"artifacts/own/x","content":"x"}}),
  agents => q({"write":{"path":"agents/tool.json","content":"x"}}), state => q({"read":"state/identity"}),
  dots => q({"write":{"path":"artifacts/own/../../agents/x","content":"x"}}), send => q({"send":{"queue":"work","message":{"task":"x"}}}),
  ask => q({"ask":{"prompt":"x"}}), receive => q({"receive":"work"}),
  propose => q({"propose":{"kind":"fs.write","payload":{"path":"artifacts/own/x","content":"x"}}}));
print "$lines{$line}\n";
if ($line eq 'propose') { print qq({"done":null}\n); exit }
my $answer = <STDIN>; chomp $answer;
print $answer =~ /"ok"/ ? qq({"done":"let"}\n) : qq({"fail":) . ($answer =~ s/^\{"error"://r) . "\n";
"#;

/// The same as a module; where it writes is in its payload.
const TOOL_MODULE: &str = r#"(module
  (import "jos" "get" (func $get (param i32 i32) (result i32)))
  (import "jos" "take" (func $take (param i32 i32) (result i32)))
  (import "jos" "write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "jos" "send" (func $send (param i32 i32 i32 i32) (result i32)))
  (import "jos" "ask" (func $ask (param i32 i32) (result i32)))
  (import "jos" "propose" (func $propose (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "/payload/path") (data (i32.const 16) "/payload/when") (data (i32.const 32) "work{\"task\":\"x\"}")
  (data (i32.const 64) "advance{}") (data (i32.const 80) "/payload/how")
  (func $act (result i32) (local $n i32)
    (local.set $n (call $get (i32.const 80) (i32.const 12)))
    (if (i32.eq (local.get $n) (i32.const 4)) (then (return (call $send (i32.const 32) (i32.const 4) (i32.const 36) (i32.const 12)))))
    (if (i32.eq (local.get $n) (i32.const 3)) (then (return (call $ask (i32.const 32) (i32.const 4)))))
    (if (i32.eq (local.get $n) (i32.const 7)) (then (call $propose (i32.const 64) (i32.const 7) (i32.const 71) (i32.const 2)) (return (i32.const 0))))
    (local.set $n (call $get (i32.const 0) (i32.const 13)))
    (drop (call $take (i32.const 1024) (i32.const 256)))
    (call $write (i32.const 1024) (local.get $n) (i32.const 32) (i32.const 4)))
  ;; "validate" has eight letters, "execute" seven.
  (func (export "validate") (result i32)
    (if (i32.eq (call $get (i32.const 16) (i32.const 13)) (i32.const 8)) (then (return (call $act))))
    (i32.const 0))
  (func (export "execute") (result i32)
    (if (i32.eq (call $get (i32.const 16) (i32.const 13)) (i32.const 7)) (then (return (call $act))))
    (i32.const 0)))"#;

/// Whether the tool could; the reason why not.
fn deed(node: &Node, id: &str, agent: &str, payload: &Value) -> Result<(), String> {
    node.ok(&["submit", agent, "--id", id, "--input", &payload.to_string()]);
    node.ok(&["serve", "--drain"]);
    if node.data().join(format!("outbox/{id}.json")).exists() {
        return Ok(());
    }
    Err(reason(node, id))
}

fn with_tool(text: &str) -> Node {
    let node = Node::new(&[]);
    let own = json!([
        { "right": "fs.write", "to": "artifacts/own" }, { "right": "fs.write", "to": "reports" },
        { "right": "queue.receive", "to": "work" },
    ]);
    put(
        &node,
        "tools",
        "tool",
        text,
        json!({ "kind": "jos.tool", "decisions": ["deed.do"], "capabilities": own }),
    );
    for (name, roles) in [("may", &ROLES[..]), ("may-not", &[])] {
        put(
            &node,
            "agents",
            name,
            DOES,
            json!({ "kind": "jos.runtime_agent", "roles": roles }),
        );
    }
    node
}

#[test]
fn a_tool_that_is_a_program_reaches_only_what_both_it_and_the_proposer_were_given() {
    let node = with_tool(TOOL);
    let said =
        |id: &str, agent: &str, when: &str, line: &str| deed(&node, id, agent, &json!({ "when": when, "zline": line }));
    said("own", "may", "execute", "own").expect("both were given it");
    fs::remove_file(node.data().join("artifacts/own/x")).expect("written");
    for (agent, when, line, expected) in [
        (
            "may-not",
            "execute",
            "own",
            "may-not was not granted fs.write on artifacts/own/x",
        ),
        (
            "may",
            "execute",
            "outside",
            "was not granted fs.write on artifacts/other/x",
        ),
        (
            "may",
            "execute",
            "agents",
            "was not granted fs.write on agents/tool.json",
        ),
        ("may", "execute", "state", "was not granted fs.read on state/identity"),
        ("may", "execute", "dots", "no path for a handle"),
        ("may", "execute", "send", "was not granted queue.send on work"),
        ("may", "execute", "receive", "was not granted queue.receive on work"),
        ("may", "execute", "ask", "a tool asks no model"),
        ("may", "execute", "propose", "a tool proposes nothing"),
        ("may", "validate", "own", "while it validates, a tool has no hands"),
        ("may", "validate", "ask", "while it validates, a tool has no hands"),
        ("may", "validate", "propose", "a tool proposes nothing"),
    ] {
        let id = format!("{agent}-{when}-{line}");
        let refused = said(&id, agent, when, line).expect_err(&id);
        assert!(refused.contains(expected), "{id}: {refused}");
    }
    assert!(!node.data().join("artifacts/own/x").exists() && !node.data().join("artifacts/other").exists());
    assert_eq!(waits(&node, "work"), 0);
    assert!(
        is_denied(&node, "may", "fs.write", "artifacts/other/x"),
        "{}",
        ledger(&node)
    );
    node.ok(&["replay"]);
}

#[test]
fn a_tool_that_is_a_program_is_confined_like_an_agent() {
    let node = with_tool(TOOL);
    for (what, deed_of_it) in [
        ("a file of the system", "open(my $f, '<', '/etc/passwd')"),
        ("the ledger", "opendir(my $d, $0 =~ s{/tools/.*}{/state}r)"),
        ("its document", "open(my $f, '<', $0 =~ s{pl$}{json}r)"),
        ("an agent", "open(my $f, '>>', $0 =~ s{tools/.*}{agents/may.pl}r)"),
        ("a socket", "socket(my $s, 2, 1, 0)"),
        ("a child", "defined(my $pid = fork())"),
        ("a signal", "kill(0, getppid())"),
        (
            "the environment",
            "grep { $_ ne 'PATH' && $_ ne 'LANG' && $_ ne 'PWD' } keys %ENV",
        ),
    ] {
        for when in ["validate", "execute"] {
            let tool = format!(
                "use strict; $| = 1; my $said = <STDIN>; my $could = $said =~ /^..{when}/ && eval {{ {deed_of_it} }};\n\
                 print $could ? qq({{\"done\":\"could\"}}\\n) : qq({{\"fail\":\"kept out of {when}\"}}\\n) if $said =~ /^..{when}/;\n\
                 print qq({{\"done\":null}}\\n);\n"
            );
            node.put("tools/tool.pl", &tool);
            let id = format!("{when}-{}", what.replace(' ', "-"));
            let refused = deed(&node, &id, "may", &json!({})).expect_err(&id);
            assert!(refused.contains(&format!("kept out of {when}")), "{id}: {refused}");
        }
    }
}

#[test]
fn a_tool_that_is_a_module_reaches_only_what_both_it_and_the_proposer_were_given() {
    let node = with_tool(TOOL_MODULE);
    let writes = |path: &str, when: &str| json!({ "path": path, "when": when });
    let says = |how: &str, when: &str| json!({ "how": how, "when": when });
    deed(&node, "own", "may", &writes("artifacts/own/x", "execute")).expect("both were given it");
    fs::remove_file(node.data().join("artifacts/own/x")).expect("written");
    for (id, agent, payload, expected) in [
        (
            "guest",
            "may-not",
            writes("artifacts/own/x", "execute"),
            "may-not was not granted fs.write on artifacts/own/x",
        ),
        (
            "outside",
            "may",
            writes("artifacts/other/x", "execute"),
            "was not granted fs.write on artifacts/other/x",
        ),
        (
            "of-the-tool-alone",
            "may",
            writes("reports/x", "execute"),
            "was not granted fs.write on reports/x",
        ),
        (
            "code",
            "may",
            writes("agents/may.pl", "execute"),
            "was not granted fs.write on agents/may.pl",
        ),
        (
            "dots",
            "may",
            writes("artifacts/own/../../agents/x", "execute"),
            "no path for a handle",
        ),
        (
            "send",
            "may",
            says("send", "execute"),
            "was not granted queue.send on work",
        ),
        ("ask", "may", says("ask", "execute"), "a tool asks no model"),
        ("propose", "may", says("propose", "execute"), "a tool proposes nothing"),
        (
            "early",
            "may",
            writes("artifacts/own/x", "validate"),
            "while it validates, a tool has no hands",
        ),
        (
            "early-ask",
            "may",
            says("ask", "validate"),
            "while it validates, a tool has no hands",
        ),
        (
            "early-propose",
            "may",
            says("propose", "validate"),
            "a tool proposes nothing",
        ),
    ] {
        let refused = deed(&node, id, agent, &payload).expect_err(id);
        assert!(refused.contains(expected), "{id}: {refused}");
    }
    assert!(!node.data().join("artifacts/own/x").exists() && !node.data().join("reports").exists());
    assert_eq!(waits(&node, "work"), 0);
    assert!(
        is_denied(&node, "may", "fs.write", "artifacts/other/x"),
        "{}",
        ledger(&node)
    );
    node.ok(&["replay"]);
}
