//! Whatever happens to a device: its ledger replays, and says what stands there.

use jos_schemas::documents::ledger::OutcomeKind;
use jos_trust::Channel;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{agreed, replayed};
use crate::disk::Disk;
use crate::ledger::Blobs;
use crate::replay::Watch;
use crate::testing::{Cut, Machine, state};

/// Where things may stand; what lies below a directory comes after it.
const PATHS: [&str; 6] = [
    "/etc/a",
    "/etc/b",
    "/srv/d",
    "/srv/d/in",
    "/srv/new/deep",
    "/etc/secret",
];

/// What a version may want of a path.
#[derive(Clone, Debug)]
enum Wanted {
    Unlisted,
    File(u8),
    Closed(u8),
    Dir,
    Link(u8),
    Absent,
}

/// What may happen.
#[derive(Clone, Debug)]
enum Event {
    /// A new version, perhaps one that prunes, whose health is good or not.
    Version(Vec<Wanted>, bool, bool),
    /// A new version, and the power goes at this write.
    Crash(Vec<Wanted>, u64),
    /// Somebody writes to a path.
    Drift(usize, u8),
    /// Somebody removes a path.
    Gone(usize),
    /// A look; or one at which the power goes.
    Converge,
    ConvergeCut(u64),
    /// A secret has another value.
    Secret(u8),
    /// Time passes: history becomes old enough for a checkpoint, and for pruning.
    Days(i64),
}

fn wanted() -> impl Strategy<Value = Vec<Wanted>> {
    let one = prop_oneof![
        3 => Just(Wanted::Unlisted),
        4 => (0..3u8).prop_map(Wanted::File),
        1 => (0..3u8).prop_map(Wanted::Closed),
        1 => Just(Wanted::Dir),
        1 => (0..2u8).prop_map(Wanted::Link),
        1 => Just(Wanted::Absent),
    ];
    proptest::collection::vec(one, PATHS.len())
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (wanted(), any::<bool>(), proptest::bool::weighted(0.75)).prop_map(|(w, p, h)| Event::Version(w, p, h)),
        2 => (wanted(), 0..120u64).prop_map(|(w, k)| Event::Crash(w, k)),
        3 => (0..PATHS.len(), 0..4u8).prop_map(|(p, c)| Event::Drift(p, c)),
        1 => (0..PATHS.len()).prop_map(Event::Gone),
        2 => Just(Event::Converge),
        1 => (0..60u64).prop_map(Event::ConvergeCut),
        1 => (0..3u8).prop_map(Event::Secret),
        1 => (1..400i64).prop_map(Event::Days),
    ]
}

fn steps(wanted: &[Wanted]) -> Value {
    let step = |(path, wanted): (&&str, &Wanted)| match wanted {
        _ if path.ends_with("secret") => match wanted {
            Wanted::Unlisted => None,
            _ => Some(json!({ "type": "file", "path": path, "content": { "secret": "key" } })),
        },
        Wanted::Unlisted => None,
        Wanted::File(n) => {
            Some(json!({ "type": "file", "path": path, "content": format!("{n}\n"), "notify": ["cups"] }))
        }
        Wanted::Closed(n) => Some(json!({ "type": "file", "path": path, "content": format!("{n}\n"), "mode": "0600" })),
        Wanted::Dir => Some(json!({ "type": "directory", "path": path, "mode": "0750" })),
        Wanted::Link(n) => Some(json!({ "type": "link", "path": path, "target": format!("to{n}") })),
        Wanted::Absent => Some(json!({ "type": "absent", "path": path, "recursive": true })),
    };
    PATHS.iter().zip(wanted).filter_map(step).collect()
}

struct Story {
    m: Machine,
    version: u64,
}

impl Story {
    fn new() -> Self {
        let m = Machine::new();
        m.secret("key", "s0");
        m.service("cups", true, true);
        m.write("/etc/b", "0\n", 0o644);
        Self { m, version: 0 }
    }

    fn document(&mut self, wanted: &[Wanted], prune: bool) -> Value {
        self.version += 1;
        let health = json!({ "type": "http", "url": "http://localhost/", "retries": 0 });
        let mut document = state(
            "portal",
            self.version,
            json!({ "apply": steps(wanted), "health_check": health }),
        );
        document["meta"]["prune"] = prune.into();
        document
    }

    fn tell(&mut self, event: &Event) {
        let m = &self.m;
        m.clock.set(m.clock.get() + 3600);
        match event {
            Event::Version(wanted, prune, healthy) => {
                let document = self.document(wanted, *prune);
                let m = &self.m;
                m.answer.set(if *healthy { Ok(200) } else { Err("refused") });
                let verified = m.verified(Channel::Local, &document).unwrap();
                m.plane().apply(&verified).unwrap();
                m.answer.set(Ok(200));
            }
            Event::Crash(wanted, k) => {
                let document = self.document(wanted, false);
                let m = &self.m;
                let verified = m.verified(Channel::Local, &document).unwrap();
                if let Ok(plane) = m.plane_with(Some(Cut::power(*k))) {
                    let _ = plane.apply(&verified);
                }
                m.plane().recover().unwrap();
            }
            Event::ConvergeCut(k) => {
                if let Ok(plane) = m.plane_with(Some(Cut::power(*k))) {
                    let _ = plane.converge();
                }
                m.plane().recover().unwrap();
            }
            Event::Drift(path, content) => {
                let at = m.at(PATHS[*path]);
                let free = !at.is_symlink() && !at.is_dir() && at.parent().is_some_and(std::path::Path::is_dir);
                if free && at.parent() == at.parent().map(|p| p.canonicalize().unwrap()).as_deref() {
                    m.write(
                        PATHS[*path],
                        format!("{content}\n"),
                        if *content == 3 { 0o640 } else { 0o644 },
                    );
                }
            }
            Event::Gone(path) => {
                let at = m.at(PATHS[*path]);
                let _ = std::fs::remove_file(&at).or_else(|_| std::fs::remove_dir_all(&at));
            }
            Event::Converge => drop(m.plane().converge().unwrap()),
            Event::Secret(n) => m.secret("key", &format!("s{n}")),
            Event::Days(n) => m.clock.set(m.clock.get() + n * 86_400),
        }
    }

    /// After a last look at which nothing was in the way, the ledger says what stands there.
    fn compare(&self) -> Result<(), TestCaseError> {
        // Whoever flaps is waited for: the pauses are over.
        self.m.clock.set(self.m.clock.get() + 7 * 86_400);
        let last = self.m.plane().converge().unwrap();
        let machine = agreed(&self.m);
        if !matches!(last.kind, OutcomeKind::Applied | OutcomeKind::Unchanged) {
            return Ok(());
        }
        let (root, data) = (
            Disk::open(&self.m.root(), "").unwrap(),
            Disk::open(&self.m.data(), "").unwrap(),
        );
        let blobs = Blobs::at(&data, "portal/blobs");
        let secret =
            |name: &jos_schemas::text::Name| std::fs::read(self.m.dir.path().join("secrets").join(name.as_str())).ok();
        let all = machine
            .differences(&root, &secret, &mut |digest| blobs.get(digest).unwrap())
            .unwrap();
        let held: Vec<_> = all.into_iter().filter(|d| d.held).collect();
        prop_assert!(held.is_empty(), "{held:?} after {last}");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 10, failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_states_crashes_prunings_and_drifts_replays_to_the_world(
        events in proptest::collection::vec(event(), 1..9),
    ) {
        let mut story = Story::new();
        for event in &events {
            story.tell(event);
            let run = replayed(&story.m, Watch::Nothing);
            prop_assert!(run.divergence.is_none(), "after {event:?}: {}", run.divergence.unwrap());
        }
        story.compare()?;
    }
}
