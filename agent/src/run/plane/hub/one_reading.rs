//! One reading of now for each turn: whatever is done to the clock meanwhile, a turn knows of one time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use jos_runtime::world::Clock;
use jos_schemas::text::Utc;
use serde_json::Value;

use super::floor::tests::Bench;
use crate::world::{Real, SystemClock};

const A_MONTH: i64 = 30 * 86_400;

/// Somebody sets it a month ahead at every reading. Deadlines go by another clock, which nobody sets.
struct Restless(Rc<Cell<i64>>);

impl Clock for Restless {
    fn now(&self) -> i64 {
        self.0.set(self.0.get() + 1);
        1_893_456_000 + A_MONTH * self.0.get()
    }
    fn pause(&self, how_long: Duration) {
        SystemClock.pause(how_long);
    }
    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }
    fn boot(&self) -> Option<String> {
        SystemClock.boot()
    }
}

#[test]
fn a_turn_reads_the_clock_once_and_all_that_it_writes_down_is_of_that_reading() {
    let (bench, readings, turns) = (Bench::new(), Rc::new(Cell::new(0)), Cell::new(0));
    let real = Real::new().by(Box::new(Restless(Rc::clone(&readings))));
    let came = |agent: &super::Agent<'_>| {
        // Asked before every turn; the first reading is that of the start.
        turns.set(turns.get() + 1);
        assert_eq!(
            readings.get(),
            turns.get(),
            "readings of the clock, and turns with the start"
        );
        bench.content() == "5\n" && agent.live.link.as_ref().is_some_and(|link| link.waiting == 0)
    };
    bench.run_in(real, came, |agent| {
        // Turns of the plane are begun by `serve` and `once`; what one does adds no reading.
        let (before, mut open) = (readings.get(), Vec::new());
        agent.act(jos_link::Do::Converge, &mut open);
        assert_eq!(readings.get(), before);
    });
    assert!(turns.get() > 3, "{}", turns.get());

    // The state was judged, applied and reported in one turn: its records are of one time, months from any other turn's.
    let ledger = std::fs::read_to_string(bench.path("state/kiosk/ledger/00000000.jsl")).expect("a ledger");
    // Each line begins with the length and the hash of its record.
    let records = ledger.lines().filter_map(|line| line.find('{').map(|at| &line[at..]));
    let records = records.filter_map(|record| serde_json::from_str::<Value>(record).ok());
    let of_state = records.filter(|record| record["version"] == 5);
    let times: Vec<i64> = of_state
        .filter_map(|record| Some(Utc::new(record["time"].as_str()?).ok()?.unix()))
        .collect();
    assert!(times.len() >= 2, "{ledger}");
    assert!(
        times.iter().all(|time| (0..60).contains(&(time - times[0]))),
        "{times:?}"
    );
}
