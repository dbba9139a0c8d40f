//! Programs that mean harm, each as an agent: what they try is kept from them, and the node goes on.

use std::fs;

use serde_json::{Value, json};

use super::Node;

/// A program in Perl, which every Debian has: tries its deed and says whether it could.
fn tries(deed: &str) -> String {
    format!(
        r#"use strict; $| = 1; my $job = <STDIN>;
my $done = eval {{ {deed} }};
if ($done) {{ print qq({{"propose":{{"kind":"advance","payload":{{"events":["start","complete"]}}}}}}\n{{"done":null}}\n); }}
else {{ print qq({{"fail":"kept out"}}\n); }}
"#
    )
}

fn node(program: &str) -> Node {
    let node = Node::new(&[]);
    node.put("agents/guest.pl", program);
    let document = json!({ "kind": "jos.runtime_agent", "name": "guest", "argv": ["perl", "./guest.pl"] });
    node.put("agents/guest.json", &document.to_string());
    node
}

/// How a job of the guest ended: its state, or the reason why it failed.
fn ends(program: &str) -> (Node, String) {
    let node = node(program);
    node.ok(&["submit", "guest", "--id", "g"]);
    let served = node.run(&["serve", "--drain"]);
    assert_eq!(served.status.code(), Some(0), "{served:?}");
    let data = node.data();
    let said = fs::read_to_string(data.join("outbox/g.json"))
        .map(|text| serde_json::from_str::<Value>(&text).expect("a result")["state"].to_string());
    let said = said.or_else(|_| fs::read_to_string(data.join("failed/g.json.reason")));
    let said = said.or_else(|_| fs::read_to_string(data.join("failed/g.reason")));
    let said = said.unwrap_or_else(|e| panic!("no end: {e}"));
    (node, said)
}

#[test]
fn a_program_reaches_no_file_no_network_no_process_and_no_environment() {
    let (_node, well) = ends(&tries("1"));
    assert_eq!(well, "\"DONE\"", "a program that behaves is run");
    for (what, deed) in [
        ("a file of the system", "open(my $f, '<', '/etc/passwd')"),
        ("the node's folder", "opendir(my $d, $0 =~ s{/[^/]*$}{}r)"),
        ("the ledger", "opendir(my $d, $0 =~ s{/agents/.*}{/state}r)"),
        ("another agent's document", "open(my $f, '<', $0 =~ s{pl$}{json}r)"),
        ("a new file", "open(my $f, '>', '/tmp/jos-hostile')"),
        ("its own file", "open(my $f, '>>', $0)"),
        (
            "another's memory",
            "open(my $f, '<', '/proc/' . getppid() . '/environ')",
        ),
        ("a socket", "socket(my $s, 2, 1, 0)"),
        ("a local socket", "socket(my $s, 1, 1, 0)"),
        ("a child", "defined(my $pid = fork())"),
        ("a shell", "system('/bin/true') == 0"),
        ("a signal", "kill(0, getppid())"),
        (
            "the environment",
            "grep { $_ ne 'PATH' && $_ ne 'LANG' && $_ ne 'PWD' } keys %ENV",
        ),
        ("a new root", "chroot('/')"),
        ("a link", "symlink('/etc', '/tmp/jos-hostile-link')"),
    ] {
        let (_node, said) = ends(&tries(deed));
        assert!(said.contains("kept out"), "{what}: {said}");
    }
}

#[test]
fn a_program_that_burns_floods_grows_or_is_silent_is_ended_and_the_job_fails_once() {
    for (what, program, expected) in [
        ("burns the CPU", "<STDIN>; 1 while 1;", "did not answer within 5 s"),
        ("never answers", "<STDIN>; sleep 1000;", "did not answer within 5 s"),
        ("floods", "print 'x' x 65536 while 1;", "bytes"),
        ("floods its errors", "print STDERR 'x' x 65536 while 1;", "bytes"),
        ("grows", "my $x = 'x' x (1 << 30); print length $x;", "without \"done\""),
        ("talks nonsense", "print \"hello\\n\";", "no line of the protocol"),
        ("just ends", "exit 3;", "exit status: 3"),
    ] {
        let (_node, said) = ends(program);
        assert!(said.contains(expected), "{what}: {said}");
    }
}

#[test]
fn a_program_cannot_say_that_it_is_somebody_else() {
    let forged = r#"print qq({"propose":{"kind":"advance","payload":{},"source":"operator"}}\n{"done":null}\n);"#;
    let (_node, said) = ends(forged);
    assert!(said.contains("unknown field `source`"), "{said}");
    let greedy = r#"$| = 1; print qq({"propose":{"kind":"fs.write","payload":{"path":"agents/guest.json","content":"x"}}}\n{"done":null}\n);"#;
    let (node, said) = ends(greedy);
    assert!(
        said.contains("guest was not granted fs.write on agents/guest.json") || said.contains("agents/guest.json"),
        "{said}"
    );
    assert!(
        fs::read_to_string(node.data().join("agents/guest.json"))
            .expect("there")
            .contains("jos.runtime_agent")
    );
}

#[test]
fn what_a_program_asks_for_is_held_against_its_grants() {
    let asks = r#"use strict; $| = 1; <STDIN>;
print qq({"read":"outbox/x.json"}\n); my $denied = <STDIN>;
print qq({"read":"facts/disk"}\n); my $given = <STDIN>;
my $well = $denied =~ /was not granted fs.read on outbox/ && $given =~ /disk_used_percent/;
print $well ? qq({"propose":{"kind":"advance","payload":{"events":["start","complete"]}}}\n{"done":null}\n) : qq({"fail":"held otherwise"}\n);"#;
    let node = node(asks);
    let document =
        json!({ "kind": "jos.runtime_agent", "name": "guest", "argv": ["perl", "./guest.pl"], "roles": ["observer"] });
    node.put("agents/guest.json", &document.to_string());
    node.ok(&["submit", "guest", "--id", "g"]);
    node.ok(&["serve", "--drain"]);
    assert!(node.data().join("outbox/g.json").exists());
}
