//! Whatever two writers, crashes and prunings do in whatever order: one chain, and nothing acknowledged is lost but what
//! was pruned.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::disk::{Op, Tap};
use crate::ledger::retain;

/// Fails every call from the k-th on until it is disarmed: the power is gone.
#[derive(Default)]
struct Power {
    left: Cell<Option<u32>>,
}

impl Tap for Power {
    fn before(&self, _: &Op<'_>) -> io::Result<()> {
        match self.left.get() {
            Some(0) => Err(io::ErrorKind::Other.into()),
            Some(n) => {
                self.left.set(Some(n - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[derive(Clone, Debug)]
enum Deed {
    /// A writer appends so many records of so many bytes.
    Append(bool, u8, u16),
    /// A writer begins a segment with a checkpoint.
    Checkpoint(bool),
    /// The oldest interval goes, where it may.
    Prune,
    /// The power goes at the k-th write of what comes next, and everything is opened again.
    Cut(u8, Box<Deed>),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (any::<bool>(), 1..4_u8, 0..9000_u16).prop_map(|(who, n, size)| Deed::Append(who, n, size)),
        2 => any::<bool>().prop_map(Deed::Checkpoint),
        1 => Just(Deed::Prune),
    ];
    let cut = (0..12_u8, deed.clone()).prop_map(|(k, deed)| Deed::Cut(k, Box::new(deed)));
    prop::collection::vec(prop_oneof![3 => deed, 1 => cut], 1..40)
}

/// What must be there: count and hash after each acknowledged append.
struct Told {
    count: u64,
    hash: Sha256Hex,
}

fn run(disk: &Disk, writers: &mut [Ledger<'_>; 2], deed: &Deed, told: &mut Vec<Told>) -> Result<(), LedgerError> {
    let writer = match deed {
        Deed::Append(who, n, size) => {
            let writer = &mut writers[usize::from(*who)];
            let mut one = entry(u64::from(*n));
            one.payload = json!("x".repeat(usize::from(*size)));
            writer.append(vec![one; usize::from(*n)])?;
            writer
        }
        Deed::Checkpoint(who) => {
            let writer = &mut writers[usize::from(*who)];
            writer.append_first(Entry {
                kind: CHECKPOINT,
                ..entry(0)
            })?;
            writer
        }
        Deed::Prune => {
            let intervals = retain::intervals(disk, "l")?;
            if retain::droppable(&intervals) > 0 {
                retain::drop_oldest(disk, "l", &intervals[0])?;
            }
            return Ok(());
        }
        Deed::Cut(..) => return Ok(()),
    };
    let head = writer.head();
    told.push(Told {
        count: head.count,
        hash: head.hash,
    });
    Ok(())
}

/// One chain, and every acknowledged head is in it, unless it was pruned.
fn check(p: &Place, told: &[Told]) -> Result<(), TestCaseError> {
    let mut hashes = std::collections::BTreeMap::new();
    let extent = read_lines(&p.disk, "l", &mut |line| {
        drop(hashes.insert(line.index + 1, line.hash.to_hex()))
    });
    let extent = extent.map_err(|e| TestCaseError::fail(e.to_string()))?;
    for told in told.iter().filter(|told| told.count > extent.first) {
        prop_assert_eq!(hashes.get(&told.count), Some(&told.hash), "record {}", told.count - 1);
    }
    prop_assert!(told.last().is_none_or(|last| extent.head.count >= last.count));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(21), ..ProptestConfig::default() })]

    #[test]
    fn two_writers_crashes_and_prunings_in_any_order_keep_one_chain(deeds in deeds()) {
        let p = place();
        let power = Rc::new(Power::default());
        let tapped = || Disk::open(p.dir.path(), "4567").unwrap().with_tap(power.clone());
        let disks = [tapped(), tapped()];
        let mut writers = disks.each_ref().map(|disk| Ledger::open(disk, "l").unwrap());
        let mut told = Vec::new();
        for deed in &deeds {
            if let Deed::Cut(k, deed) = deed {
                power.left.set(Some(u32::from(*k)));
                let _ = run(&disks[0], &mut writers, deed, &mut told);
                power.left.set(None);
                writers = disks.each_ref().map(|disk| Ledger::open(disk, "l").unwrap());
            } else {
                run(&disks[0], &mut writers, deed, &mut told).unwrap();
            }
            check(&p, &told)?;
        }
    }

    #[test]
    fn any_bytes_in_the_place_of_any_file_are_read_without_panic(
        at in any::<prop::sample::Index>(), junk in prop::collection::vec(any::<u8>(), 0..200), whole in any::<bool>()
    ) {
        let p = Place::written(3);
        for file in ["00000000.jsl", "head"] {
            let good = p.bytes(file);
            let mut bad = good.clone();
            let at = if whole { 0 } else { at.index(bad.len()) };
            bad.splice(at.., junk.iter().copied());
            p.set(file, &bad);
            let read = p.all();
            let opened = p.ledger().map(drop);
            // An unfinished write behind the head is no damage; everything else is found both ways.
            prop_assert_eq!(read.is_ok(), opened.is_ok());
            p.set(file, &good);
        }
    }
}
