//! The ledger: as it lies on a disk, as an export, and replayed.

use std::fmt::Write as _;

use jos_runtime::ledger::{Archive, Export, LedgerError, Line, read_segment};
use jos_runtime::replay::{Watch, run_twice};
use jos_trust::digest::Hasher;
use jos_trust::{Digest, canonical, sha256};

/// A segment, an export, and records written down in lines (see `chained`), chained as a writer would chain them.
pub fn ledger(data: &[u8]) {
    segment(data);
    export(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let made = chained(text);
        segment(&made.segment());
        export(&made.export());
    }
}

/// What reads as a segment is one chain, each record is read whole or refused in words, and a byte more is never passed over.
fn segment(bytes: &[u8]) {
    let (mut count, mut length) = (0, HEADER);
    let read = read_segment(bytes, &mut |line| {
        assert_eq!(line.index, count, "a record out of its place");
        (count, length) = (count + 1, length + FRAME + line.json.len());
        record(line);
    });
    match read {
        Ok(head) => assert_eq!(
            (head.count, length),
            (count, bytes.len()),
            "bytes that belong to no record"
        ),
        Err(error) => worded(&error),
    }
}

/// What opens as an export gives every blob by its hash; its records replay twice to the same, or are refused in words.
fn export(bytes: &[u8]) {
    let export = match Export::open(bytes) {
        Ok(export) => export,
        Err(error) => return worded(&error),
    };
    for (digest, size) in export.blobs() {
        match export.blob(&digest) {
            Ok(blob) => {
                let blob = blob.expect("it is listed");
                assert_eq!((sha256(&blob), blob.len() as u64), (digest, size));
            }
            Err(error) => worded(&error),
        }
    }
    let read = export.lines(&mut record);
    let archive = Archive::Export(Box::new(export));
    match (read, run_twice(&archive, &Watch::Everything)) {
        (Ok(extent), Ok((one, two))) => {
            assert_eq!(extent, one.extent);
            assert!(one.machine == two.machine, "two executions of the same records");
            assert_eq!(one.divergence, two.divergence);
            if let Some(divergence) = one.divergence {
                assert!(!divergence.to_string().is_empty());
            }
            let mut blob = |digest: &Digest| archive.blob(digest).ok().flatten();
            assert_eq!(one.machine.tree_hash(&mut blob), two.machine.tree_hash(&mut blob));
        }
        (Err(one), Err(two)) => assert_eq!(one.to_string(), two.to_string()),
        _ => panic!("records that read once and not again"),
    }
}

/// The payload of a record that was read is canonical: where it is small enough to be signed, it is what would be signed.
fn record(line: &Line<'_>) {
    let payload = line.payload().expect("what was checked is JSON");
    if let Ok(bytes) = canonical::to_bytes(&jos_schemas::node::Node::from_json(&payload)) {
        assert_eq!(bytes, line.payload, "a payload in another spelling");
    }
    if let Err(error) = line.record() {
        worded(&error);
    }
}

fn worded(error: &LedgerError) {
    assert!(!error.to_string().is_empty(), "a refusal without a reason");
}

/// The header of a segment, and what stands around the JSON of a record.
const HEADER: usize = 104;
const FRAME: usize = 8 + 1 + 64 + 1 + 1;

/// Records with the blobs that they may name.
#[derive(Default)]
struct Chained {
    lines: Vec<u8>,
    count: usize,
    last: Option<String>,
    blobs: Vec<(Digest, Vec<u8>)>,
}

/// Reads `KIND TAB SOURCE TAB CAUSE TAB VERSION TAB PAYLOAD` and `blob TAB TEXT`, a line each; a cause or a version of `-` is
/// none, `@N@` in a payload is the name of the Nth blob. Whatever the line says, its frame, index and chain are right.
fn chained(text: &str) -> Chained {
    let mut made = Chained::default();
    for line in text.lines().take(64) {
        let words: Vec<&str> = line.splitn(5, '\t').collect();
        match words[..] {
            ["blob", ..] => {
                let blob = line.split_once('\t').map_or("", |(_, blob)| blob);
                made.blobs.push((sha256(blob.as_bytes()), blob.into()));
            }
            [kind, source, cause, version, payload] => made.add(kind, source, cause, version, payload),
            _ => {}
        }
    }
    made
}

impl Chained {
    fn add(&mut self, kind: &str, source: &str, cause: &str, version: &str, payload: &str) {
        let mut payload = payload.to_owned();
        for (at, (digest, _)) in self.blobs.iter().enumerate() {
            payload = payload.replace(&format!("@{at}@"), &digest.to_string());
        }
        let prev = self.prev();
        let cause = if cause == "-" {
            String::new()
        } else {
            format!("\"cause\":\"{cause}\",")
        };
        let version = if version == "-" {
            String::new()
        } else {
            format!(",\"version\":{version}")
        };
        let record = format!(
            "{{{cause}\"index\":{},\"kind\":\"{kind}\",\"name\":\"portal\",\"payload\":{payload},\"prev\":\"{prev}\",\
             \"source\":\"{source}\",\"time\":\"2026-11-21T12:00:00Z\"{version}}}",
            self.count
        );
        let mut hasher = Hasher::default();
        hasher.update(b"jos-record-v1\n");
        hasher.update(record.as_bytes());
        let hash = hasher.finish().to_string();
        self.lines
            .extend(format!("{:08x} {hash} {record}\n", record.len()).into_bytes());
        self.count += 1;
        self.last = Some(hash);
    }

    fn prev(&self) -> String {
        self.last.clone().unwrap_or_else(|| Digest::ZERO.to_string())
    }

    fn segment(&self) -> Vec<u8> {
        let mut bytes = format!("jos-ledger 1 {:08x} {:016x} {}\n", 0, 0, Digest::ZERO).into_bytes();
        bytes.extend_from_slice(&self.lines);
        bytes
    }

    fn export(&self) -> Vec<u8> {
        let mut blobs = self.blobs.clone();
        blobs.sort();
        blobs.dedup();
        let mut head = String::new();
        let (zero, count, prev) = (Digest::ZERO, self.count, self.prev());
        let _ = writeln!(
            head,
            "jos-ledger-export 1 portal {:016x} {count:016x} {zero} {prev} {:016x}",
            0,
            blobs.len()
        );
        head += "key -\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.lines);
        for (digest, blob) in &blobs {
            bytes.extend(format!("{:016x} {digest}\n", blob.len()).into_bytes());
            bytes.extend_from_slice(blob);
            bytes.push(b'\n');
        }
        let end = format!("end {}\n", sha256(&bytes));
        bytes.extend(end.into_bytes());
        bytes
    }
}

/// A flow that writes a file, writes it again and is once refused: as lines, as a segment and as an export.
pub(crate) fn histories() -> Vec<(&'static str, Vec<u8>)> {
    let text = sample();
    let made = chained(&text);
    vec![
        ("lines", text.clone().into_bytes()),
        ("segment", made.segment()),
        ("export", made.export()),
    ]
}

fn sample() -> String {
    let gate = serde_json::json!({ "features": ["file"], "live": true, "own_services": [], "protected": [], "schemes": ["http"],
        "policy": { "kind": "jos.policy", "grants": { "artifact": { "files": ["/srv/**"] } } } });
    let shape = |content: &str| {
        serde_json::json!({ "kind": "file", "mode": "0644", "owner": "0:0", "sha256": sha256(content.as_bytes()).to_string(),
            "size": content.len() })
    };
    let decision = |content: &str| {
        serde_json::json!({ "id": "kiosk-page", "kind": "flow.step", "payload": {
            "act": { "content": content, "path": "/srv/page", "type": "file" }, "artifact": "kiosk", "gate": "@0@",
            "ids": { "": "0:0" }, "step": "page" }, "source": "artifact" })
    };
    let outcome = |action: &str, before: Option<&str>, after: &str| {
        let mut change = serde_json::json!({ "action": action, "after": shape(after), "source": "artifact",
            "step": "step 1 (file /srv/page)", "what": "/srv/page" });
        if let Some(before) = before {
            change["before"] = shape(before);
        }
        serde_json::json!({ "changes": [change], "outcome": "applied" })
    };
    let refused = serde_json::json!({ "outcome": "refused", "reasons": ["the path is not granted: \"/etc/x\"\n"] });
    let written = |value: &serde_json::Value| {
        let node = jos_schemas::node::Node::from_json(value);
        let bytes = canonical::to_bytes(&node).expect("plain data");
        String::from_utf8(bytes).expect("text")
    };
    [
        format!("blob\t{}", written(&gate)),
        format!("decision\tartifact\t-\t-\t{}", written(&decision("one"))),
        format!("outcome\tartifact\t#0\t-\t{}", written(&outcome("create", None, "one"))),
        format!("refused\thub\t-\t7\t{}", written(&refused)),
        format!("decision\tartifact\t-\t-\t{}", written(&decision("two"))),
        format!(
            "outcome\tartifact\t#3\t-\t{}",
            written(&outcome("update", Some("one"), "two"))
        ),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_a_history_that_replays() {
        let made = chained(&sample()).export();
        let export = Export::open(&made).expect("an export");
        let (one, _) = run_twice(&Archive::Export(Box::new(export)), &Watch::Everything).expect("a chain");
        assert_eq!(one.divergence, None);
        assert_eq!(one.machine.history()["/srv/page"].len(), 2);
    }
}
