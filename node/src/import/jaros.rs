//! The decision log of jaros (0.2.0 and 0.5.0 were run): one record a line, each with the SHA-256 of the one before.
//!
//! ```text
//! {"checksum":"HEX","decision":{"id":…,"kind":…,"payload":…,"source":…},"index":N,"prev":"HEX"}
//! ```
//!
//! Its writer sorts the members, leaves no white space and escapes what is not ASCII, and `checksum` is that of the same text
//! without its own member. So the bytes that it covers are cut out of the line: no number is read and written again. From 0.5.0 on
//! `kind` is called `type`.

use jos_schemas::documents::ledger::Decision;
use jos_schemas::documents::policy::Source;
use jos_trust::Digest;
use jos_trust::digest::Hasher;
use serde::Deserialize;
use serde_json::Value;

/// What the first record names as the one before it.
const NONE: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const FIRST: &str = "{\"checksum\":\"";

/// A record that holds, and follows the one before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Taken {
    /// Its place, from 1.
    pub(crate) index: u64,
    /// Its checksum.
    pub(crate) checksum: Digest,
    /// The agent that it was put down to.
    pub(crate) agent: String,
    /// What was decided.
    pub(crate) decision: Decision,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(rename = "checksum")]
    _checksum: String,
    decision: Decided,
    index: u64,
    prev: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decided {
    id: String,
    #[serde(alias = "type")]
    kind: String,
    payload: Value,
    source: String,
}

/// One log as it is read, record by record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// So many were read.
    pub(crate) count: u64,
    /// The checksum of the first, by which the log is known.
    pub(crate) log: Option<Digest>,
    /// The checksum of the last.
    pub(crate) last: Option<Digest>,
}

impl Chain {
    /// The chain of a log as it stands before a line of it, by that line's own word; nothing where it is the first.
    pub(crate) fn before(log: &str, line: &str) -> Self {
        let record: Option<Record> = serde_json::from_str(line).ok();
        let after = |record: Record| {
            let last = record.prev.parse().ok()?;
            Some(Self {
                count: record.index.checked_sub(1)?,
                log: Some(log.parse().ok()?),
                last: Some(last),
            })
        };
        record
            .filter(|record| record.index > 1)
            .and_then(after)
            .unwrap_or_default()
    }

    /// Takes the next line, without its end.
    pub(crate) fn take(&mut self, line: &str) -> Result<Taken, String> {
        let (named, covered) = parts(line).ok_or_else(|| {
            "this is no line as jaros writes it: expected {\"checksum\":\"…\",\"decision\":{…},\"index\":…,\"prev\":\"…\"}".to_owned()
        })?;
        let mut hash = Hasher::default();
        hash.update(b"{");
        hash.update(covered.as_bytes());
        let checksum = hash.finish();
        if checksum.to_string() != named {
            return Err(format!(
                "the checksum is {named}, and this record has {checksum}: it was changed"
            ));
        }
        let record: Record = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let expected = self.count + 1;
        if record.index != expected {
            return Err(format!(
                "found the index {}, expected {expected}: a record was taken out, put in or moved",
                record.index
            ));
        }
        let before = self.last.map_or_else(|| NONE.to_owned(), |last| last.to_string());
        if record.prev != before {
            return Err(format!(
                "found the record before to be {}, expected {before}: the chain does not hold",
                record.prev
            ));
        }
        self.count = expected;
        self.log.get_or_insert(checksum);
        self.last = Some(checksum);
        let Decided {
            id,
            kind,
            payload,
            source,
        } = record.decision;
        Ok(Taken {
            index: expected,
            checksum,
            agent: source,
            decision: Decision {
                id,
                source: Source::Agent,
                kind,
                payload,
            },
        })
    }
}

/// The checksum that a line names, and the text behind it.
fn parts(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix(FIRST).filter(|_| line.is_ascii())?;
    let (named, rest) = rest.split_once('"')?;
    let covered = rest.strip_prefix(',')?;
    (named.len() == NONE.len()).then_some((named, covered))
}

/// A line as jaros would write it, for tests.
#[cfg(test)]
pub(crate) fn line(index: u64, prev: Option<Digest>, decision: &str) -> (String, Digest) {
    let prev = prev.map_or_else(|| NONE.to_owned(), |prev| prev.to_string());
    let covered = format!("\"decision\":{decision},\"index\":{index},\"prev\":\"{prev}\"}}");
    let checksum = jos_trust::sha256(format!("{{{covered}").as_bytes());
    (format!("{FIRST}{checksum}\",{covered}"), checksum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of two logs, as jaros 0.2.0 and 0.5.0 wrote.
    const WRITTEN: [&str; 2] = [
        r#"{"checksum":"8030b6b4d740c43b1fa8dd0b9bd43ab43218bf7890e7d116430a485354e801f3","decision":{"id":"disk-4dbddd8994084f189b1d17ffa12798d6","kind":"fs.disk_usage","payload":{"path":"."},"source":"disk-monitor"},"index":2,"prev":"f3fd7456836d3f6ce47676a0883a2279f215a8e545c0a0aae32295f429637f86"}"#,
        r#"{"checksum":"0009716325fce8651e790ce5a8ae9a673406b4bce2e57a467bfa42dc436c0169","decision":{"id":"disk-5b80a3603e18425585938095de8c492c","payload":{"path":"."},"source":"disk-monitor","type":"fs.disk_usage"},"index":1,"prev":"0000000000000000000000000000000000000000000000000000000000000000"}"#,
    ];

    fn three() -> Vec<String> {
        let decisions = [
            r#"{"id":"a","kind":"advance","payload":{"events":["start","complete"],"note":"gr\u00fc\u00dfe 1.50"},"source":"planner"}"#,
            r#"{"id":"b","payload":{"n":1e+16},"source":"worker","type":"text.count"}"#,
            r#"{"id":"c","kind":"advance","payload":{},"source":"planner"}"#,
        ];
        let mut prev = None;
        let mut lines = Vec::new();
        for (decision, index) in decisions.iter().zip(1..) {
            let (line, checksum) = line(index, prev, decision);
            prev = Some(checksum);
            lines.push(line);
        }
        lines
    }

    fn wrong(lines: &[String]) -> Option<(u64, String)> {
        let mut chain = Chain::default();
        lines
            .iter()
            .find_map(|line| chain.take(line).err().map(|why| (chain.count + 1, why)))
    }

    #[test]
    fn both_spellings_of_a_kind_are_read_and_the_chain_is_followed() {
        let mut chain = Chain::default();
        let taken: Vec<Taken> = three().iter().map(|line| chain.take(line).unwrap()).collect();
        assert_eq!(chain.count, 3);
        assert_eq!(taken[0].decision.payload["note"], "grüße 1.50");
        assert_eq!(
            (taken[1].decision.kind.as_str(), taken[1].agent.as_str()),
            ("text.count", "worker")
        );
        assert_eq!(chain.log, Some(taken[0].checksum));
    }

    #[test]
    fn a_log_whose_first_part_was_pruned_goes_on_from_there_and_is_held_to_what_it_says() {
        let lines = three();
        let log = {
            let mut chain = Chain::default();
            chain.take(&lines[0]).unwrap().checksum.to_string()
        };
        let mut chain = Chain::before(&log, &lines[1]);
        let taken: Vec<u64> = lines[1..].iter().map(|line| chain.take(line).unwrap().index).collect();
        assert_eq!(taken, [2, 3]);
        assert_eq!(chain.log.map(|first| first.to_string()), Some(log.clone()));
        assert!(
            Chain::before(&log, &lines[1]).take(&lines[2]).is_err(),
            "one was taken out"
        );
        assert_eq!(Chain::before(&log, &lines[0]), Chain::default());
    }

    #[test]
    fn what_jaros_itself_wrote_is_read() {
        let before = "f3fd7456836d3f6ce47676a0883a2279f215a8e545c0a0aae32295f429637f86";
        let mut second = Chain {
            count: 1,
            log: None,
            last: before.parse().ok(),
        };
        for (chain, line) in [&mut second, &mut Chain::default()].into_iter().zip(WRITTEN) {
            let taken = chain.take(line).unwrap();
            assert_eq!(
                (taken.decision.kind.as_str(), taken.agent.as_str()),
                ("fs.disk_usage", "disk-monitor")
            );
        }
    }

    #[test]
    fn an_edit_a_cut_a_swap_and_a_second_copy_are_named_with_their_place() {
        let good = three();
        let edited = vec![good[0].clone(), good[1].replace("worker", "walker")];
        assert!(matches!(wrong(&edited), Some((2, why)) if why.contains("changed")));
        let cut = vec![good[1].clone()];
        assert!(matches!(wrong(&cut), Some((1, why)) if why.contains("taken out")));
        let moved = vec![good[0].clone(), good[2].clone()];
        assert!(matches!(wrong(&moved), Some((2, why)) if why.contains("expected 2")));
        let twice = vec![good[0].clone(), good[0].clone()];
        assert!(wrong(&twice).is_some());
        let (other, _) = line(
            2,
            Some(jos_trust::sha256(b"another")),
            r#"{"id":"b","kind":"x","payload":1,"source":"s"}"#,
        );
        assert!(matches!(wrong(&[good[0].clone(), other]), Some((2, why)) if why.contains("chain")));
    }

    #[test]
    fn a_member_more_white_space_and_text_that_is_not_ascii_are_refused() {
        let good = &three()[0];
        for line in [
            good.replacen("{\"checksum\"", "{ \"checksum\"", 1),
            good.replacen("{\"checksum\"", "{\"a\":1,\"checksum\"", 1),
            good.replace("\\u00fc", "ü"),
            String::new(),
            "null".into(),
        ] {
            assert!(wrong(std::slice::from_ref(&line)).is_some(), "{line}");
        }
        // With a checksum that fits.
        let (extra, _) = line(
            1,
            None,
            r#"{"extra":1,"id":"a","kind":"advance","payload":{},"source":"s"}"#,
        );
        assert!(matches!(wrong(&[extra]), Some((1, why)) if why.contains("extra")));
    }
}
