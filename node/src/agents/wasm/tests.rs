//! Modules in their text form: what they do well, and what hostile ones get.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use jos_schemas::documents::runtime::Job;
use jos_schemas::text::Name;
use serde_json::{Value, json};

use super::*;
use crate::hands::{Granted, Grip};
use crate::models::Echo;
use crate::roles::Grants;

fn hands(root: &Path, roles: &[&str]) -> Granted {
    Granted::new(Grip {
        root: root.to_owned(),
        agent: Name::new("guest").expect("a name"),
        job: "job-1".into(),
        grants: Arc::new(Grants::new(roles.iter().copied(), &[]).expect("roles")),
        model: Arc::new(Echo),
        device: None,
        messages: None,
    })
}

fn job(input: Value) -> Job {
    serde_json::from_value(json!({ "id": "job-1", "agent": "guest", "input": input })).expect("a job")
}

fn decide(text: &str, input: Value, roles: &[&str]) -> Result<Vec<Proposal>, AgentError> {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("artifacts")).expect("a folder");
    fs::write(dir.path().join("artifacts/in"), "found").expect("a file");
    let agent = WasmAgent(Machine::new(text.as_bytes(), &["decide"]).expect("a module"));
    agent.decide(&job(input), &mut hands(dir.path(), roles))
}

/// Reads a file and proposes its bytes, in quotes, as an event's note.
const READER: &str = r#"(module
  (import "jos" "read" (func $read (param i32 i32) (result i32)))
  (import "jos" "take" (func $take (param i32 i32) (result i32)))
  (import "jos" "fail" (func $fail (param i32 i32)))
  (import "jos" "propose" (func $propose (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "artifacts/in")
  (data (i32.const 32) "advance")
  (data (i32.const 64) "\"")
  (func (export "decide") (result i32)
    (local $n i32)
    (local.set $n (call $read (i32.const 0) (i32.const 12)))
    (if (i32.lt_s (local.get $n) (i32.const 0)) (then (return (i32.const 1))))
    (drop (call $take (i32.const 65) (i32.const 1000)))
    (i32.store8 (i32.add (i32.const 65) (local.get $n)) (i32.const 34))
    (call $propose (i32.const 32) (i32.const 7) (i32.const 64) (i32.add (local.get $n) (i32.const 2)))
    (i32.const 0)))"#;

#[test]
fn a_module_reaches_files_through_its_hands_and_only_where_it_was_granted() {
    let proposals = decide(READER, json!({}), &["reader"]).expect("granted");
    assert_eq!(proposals[0].kind, "advance");
    assert_eq!(proposals[0].payload, json!("found"));
    let denied = decide(READER, json!({}), &[]).expect_err("not granted").to_string();
    assert!(
        denied.contains("guest was not granted fs.read on artifacts/in"),
        "{denied}"
    );
}

#[test]
fn a_module_that_imports_a_system_is_refused_before_it_runs() {
    for import in [
        r#"(import "wasi_snapshot_preview1" "path_open" (func (param i32)))"#,
        r#"(import "wasi_snapshot_preview1" "sock_open" (func))"#,
        r#"(import "env" "environ_get" (func))"#,
        r#"(import "jos" "decide" (func))"#,
        r#"(import "other" "agent" (func))"#,
    ] {
        let text = format!(
            r#"(module {import} (memory (export "memory") 1) (func (export "decide") (result i32) i32.const 0))"#
        );
        let refused = Machine::new(text.as_bytes(), &["decide"]).err().expect(import);
        assert!(refused.contains("it imports"), "{refused}");
    }
    let refused = Machine::new(b"(module)", &["decide"]).err().expect("no exports");
    assert!(refused.contains("memory"), "{refused}");
    Machine::new(b"#!/bin/sh", &["decide"]).err().expect("no module");
}

fn body(text: &str) -> String {
    format!(
        r#"(module
        (import "jos" "input" (func $input (result i32)))
        (import "jos" "take" (func $take (param i32 i32) (result i32)))
        (import "jos" "propose" (func $propose (param i32 i32 i32 i32)))
        (memory (export "memory") 1) (data (i32.const 0) "advance{{}}{{\"id\":\"x\",\"source\":\"admin\"}}")
        (func $again (call $again)) (func $forge) {text})"#
    )
}

#[test]
fn a_hostile_module_runs_out_of_fuel_memory_or_stack_and_the_node_goes_on() {
    let limits = [
        (
            "never ends",
            r#"(func (export "decide") (result i32) (loop $l (br $l)) i32.const 0)"#,
        ),
        (
            "calls the host for ever",
            r#"(func (export "decide") (result i32) (loop $l (drop (call $input)) (br $l)) i32.const 0)"#,
        ),
        (
            "floods with proposals",
            r#"(func (export "decide") (result i32)
            (loop $l (call $propose (i32.const 0) (i32.const 7) (i32.const 7) (i32.const 2)) (br $l)) i32.const 0)"#,
        ),
        (
            "calls itself for ever",
            r#"(func (export "decide") (result i32) (call $again) i32.const 0)"#,
        ),
        (
            "points beyond its memory",
            r#"(func (export "decide") (result i32)
            (call $propose (i32.const 65530) (i32.const 70000) (i32.const 0) (i32.const 0)) i32.const 0)"#,
        ),
        (
            "divides by nothing",
            r#"(func (export "decide") (result i32) (i32.div_s (i32.const 1) (i32.const 0)))"#,
        ),
    ];
    for (deed, text) in limits {
        decide(&body(text), json!({}), &[]).expect_err(deed);
    }
    let grows = body(r#"(func (export "decide") (result i32) (memory.grow (i32.const 4096)))"#);
    let refused = decide(&grows, json!({}), &[])
        .expect_err("growth is refused")
        .to_string();
    assert!(refused.contains("-1"), "memory.grow gave −1: {refused}");
    let begins_large = r#"(module (memory (export "memory") 4096) (func (export "decide") (result i32) i32.const 0))"#;
    decide(begins_large, json!({}), &[]).expect_err("a memory of 256 MiB");
}

#[test]
fn a_module_cannot_say_who_it_is() {
    let forged = body(
        r#"(func (export "decide") (result i32)
        (call $propose (i32.const 0) (i32.const 7) (i32.const 9) (i32.const 27)) i32.const 0)"#,
    );
    let proposals = decide(&forged, json!({}), &[]).expect("a payload like any other");
    // What looks like a source is payload; a proposal has no place for one, and its id is the job's.
    assert_eq!(proposals[0].id, "job-1-1");
    assert_eq!(proposals[0].payload["source"], "admin");
}

#[test]
fn nothing_of_a_run_is_left_for_the_next() {
    let counts = r#"(module (memory (export "memory") 1) (global $n (mut i32) (i32.const 0))
        (func (export "decide") (result i32)
          (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
          (global.set $n (i32.add (global.get $n) (i32.const 1)))
          (i32.sub (i32.add (i32.load (i32.const 0)) (global.get $n)) (i32.const 2))))"#;
    let machine = Machine::new(counts.as_bytes(), &["decide"]).expect("a module");
    let dir = tempfile::tempdir().expect("a directory");
    for _ in 0..3 {
        WasmAgent(Arc::clone(&machine))
            .decide(&job(json!({})), &mut hands(dir.path(), &[]))
            .expect("each time the first");
    }
}
