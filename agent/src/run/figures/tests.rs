use std::collections::BTreeMap;
use std::fs;

use jos_schemas::text::{Name, Utc};
use serde_json::json;

use super::*;

fn sample(number: i64) -> Sample {
    let load = (Name::new("load").unwrap(), json!(number));
    Sample {
        time: Utc::from_unix(1_800_000_000 + number * 60),
        telemetry: BTreeMap::from([load]),
    }
}

/// One that an agent of this folder has, with what it may want to say of itself.
struct Here {
    dir: tempfile::TempDir,
}

impl Here {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    fn open(&self) -> Figures {
        Figures::open(self.dir.path(), "kiosk")
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.path().join("kiosk/figures"));
        let mut all: Vec<PathBuf> = entries.into_iter().flatten().map(|e| e.unwrap().path()).collect();
        all.sort();
        all
    }
}

/// All that waits, as a hub would take it: the numbers of the samples.
fn drained(figures: &mut Figures) -> Vec<i64> {
    let mut all = Vec::new();
    while let Some(told) = figures.next() {
        all.extend(told.samples.iter().map(|s| (s.time.unix() - 1_800_000_000) / 60));
        for sample in &told.samples {
            assert_eq!(*sample, self::sample((sample.time.unix() - 1_800_000_000) / 60));
        }
        figures.done(&told.batch);
    }
    all
}

#[test]
fn with_a_hub_there_nothing_is_written() {
    let here = Here::new();
    let mut figures = here.open();
    for minute in 0..100 {
        figures.add(minute * 60_000, &sample(minute as i64));
        figures.write(minute * 60_000);
        let told = figures.next().unwrap();
        assert_eq!(told.samples, [sample(minute as i64)]);
        figures.done(&told.batch);
    }
    assert_eq!((figures.next(), here.files().len()), (None, 0));
}

#[test]
fn without_one_ten_samples_or_those_of_ten_minutes_are_one_write() {
    let here = Here::new();
    let mut figures = here.open();
    for n in 0..9 {
        figures.add(n * 1000, &sample(n as i64));
        figures.write(n * 1000);
    }
    assert_eq!((here.files().len(), figures.due()), (0, PATIENCE));
    // Killed now, none of these were on disk; a tenth, or time, brings them there.
    assert!(drained(&mut here.open()).is_empty());
    figures.write(PATIENCE);
    assert_eq!(here.files().len(), 1);
    assert_eq!(drained(&mut here.open()), Vec::from_iter(0..9));
    let mut figures = here.open();
    for n in 0..10 {
        figures.add(0, &sample(n));
    }
    figures.write(1);
    assert_eq!((here.files().len(), figures.due()), (1, u64::MAX));
    assert_eq!(drained(&mut here.open()), Vec::from_iter(0..10));
    assert_eq!(here.files().len(), 0);
}

#[test]
fn what_was_sent_and_not_acknowledged_comes_again_as_the_same_batch_also_from_the_next_run() {
    let here = Here::new();
    let mut figures = here.open();
    figures.add(0, &sample(1));
    figures.settle();
    let first = figures.next().unwrap();
    figures.add(0, &sample(2));
    assert_eq!(figures.next().unwrap(), first, "nothing is added to what was sent");
    figures.settle();
    let mut next = here.open();
    next.add(0, &sample(3));
    assert_eq!(next.next().unwrap(), first);
    next.done("another");
    assert_eq!(next.next().unwrap(), first);
    next.done(&first.batch);
    assert_eq!(drained(&mut next), [2, 3]);
}

#[test]
fn a_batch_that_an_earlier_run_left_is_never_added_to() {
    let here = Here::new();
    let mut figures = here.open();
    figures.add(0, &sample(1));
    figures.settle();
    // It may have been sent by that run.
    let mut next = here.open();
    next.add(0, &sample(2));
    let sent = next.next().unwrap();
    assert_eq!(sent.samples, [sample(1)]);
}

#[test]
fn a_tail_that_was_torn_at_any_byte_costs_no_more_than_its_line() {
    let here = Here::new();
    let mut figures = here.open();
    (0..4).for_each(|n| figures.add(0, &sample(n)));
    figures.settle();
    let path = here.files()[0].clone();
    let whole = fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let lines = whole[..length].iter().filter(|b| **b == b'\n').count() as i64;
        let mut figures = here.open();
        figures.add(0, &sample(9));
        let mut read = drained(&mut figures);
        assert_eq!(read.pop(), Some(9));
        // A whole line without its end is whole.
        let more = i64::from(whole.get(length) == Some(&b'\n'));
        assert_eq!(read, Vec::from_iter(0..lines + more), "{length} bytes");
    }
}

#[test]
fn a_bit_that_flipped_anywhere_costs_its_line_and_invents_none() {
    let here = Here::new();
    let mut figures = here.open();
    (0..3).for_each(|n| figures.add(0, &sample(n)));
    figures.settle();
    let path = here.files()[0].clone();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut rotten = whole.clone();
            rotten[at] ^= 1 << bit;
            fs::write(&path, &rotten).unwrap();
            // `drained` holds each that reads against what was written.
            let read = drained(&mut here.open());
            assert!(!read.is_empty(), "byte {at}, bit {bit}: {read:?}");
            assert!(
                read.iter().all(|n| (0..3).contains(n)),
                "byte {at}, bit {bit}: {read:?}"
            );
        }
    }
}

#[test]
fn junk_in_the_folder_stands_in_nobodys_way() {
    let here = Here::new();
    let mut figures = here.open();
    figures.add(0, &sample(1));
    figures.settle();
    let folder = here.dir.path().join("kiosk/figures");
    fs::write(folder.join("0000000000-aa.log"), vec![0xff; 2 * BYTES]).unwrap();
    fs::write(folder.join("0000000000-bb.log"), "").unwrap();
    fs::create_dir(folder.join("0000000000-cc.log")).unwrap();
    fs::write(folder.join("lost"), "many").unwrap();
    fs::write(folder.join("x.log"), "x").unwrap();
    assert_eq!(drained(&mut here.open()), [1]);
}

#[test]
fn past_the_limit_the_oldest_go_and_are_counted_over_restarts() {
    let here = Here::new();
    let large = |n: i64| {
        let custom: serde_json::Map<String, serde_json::Value> = (0..60)
            .map(|m| (format!("metric-{m:02}"), json!(n * 1000 + m)))
            .collect();
        let mut all = sample(n);
        all.telemetry.insert(Name::new("custom").unwrap(), custom.into());
        all
    };
    let each = line(&large(1000)).unwrap().len();
    let count = 3 * ALL as i64 / each as i64;
    let mut figures = here.open();
    for n in 0..count {
        figures.add(n as u64, &large(n));
        figures.write(n as u64);
        if n == count / 2 {
            figures.settle();
            figures = here.open();
        }
    }
    figures.settle();
    let on_disk: u64 = here.files().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(on_disk <= ALL as u64 + 64, "{on_disk} bytes");
    let mut figures = here.open();
    let (mut kept, lost) = (Vec::new(), figures.lost as i64);
    while let Some(told) = figures.next() {
        assert_eq!(told.lost as i64, lost);
        kept.extend(told.samples.iter().map(|s| (s.time.unix() - 1_800_000_000) / 60));
        figures.done(&told.batch);
    }
    assert_eq!(
        kept,
        Vec::from_iter(lost..count),
        "the newest are here, and the others were counted"
    );
    assert!(lost > 0);
}

#[test]
fn a_batch_fits_into_a_heartbeat_and_into_what_a_hub_takes() {
    let here = Here::new();
    let mut figures = here.open();
    (0..1000).for_each(|n| figures.add(0, &sample(n)));
    let mut all = 0;
    while let Some(told) = figures.next() {
        assert!(told.samples.len() <= MOST && MOST <= jos_link::wire::MAX_SAMPLES);
        assert!(own::write(&told).unwrap().len() < jos_link::wire::MAX_HEARTBEAT / 2);
        all += told.samples.len();
        figures.done(&told.batch);
    }
    assert_eq!(all, 1000);
}

#[test]
fn while_the_disk_takes_nothing_figures_wait_in_memory() {
    let here = Here::new();
    // A file where the folder would be.
    fs::write(here.dir.path().join("kiosk"), "").unwrap();
    let mut figures = here.open();
    for n in 0..30 {
        figures.add(n * 1000, &sample(n as i64));
        figures.write(n * 1000);
    }
    assert!(figures.troubled);
    let due = figures.due();
    assert!(due <= 30_000 + AGAIN, "{due}");
    fs::remove_file(here.dir.path().join("kiosk")).unwrap();
    figures.write(due);
    assert!(!figures.troubled);
    assert_eq!(drained(&mut here.open()), Vec::from_iter(0..30));
}
