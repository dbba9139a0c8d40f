use proptest::prelude::*;

use super::*;

fn config() -> Config {
    Config {
        interval: 60_000,
        patience: 30_000,
        first_pause: 1000,
        longest_pause: 300_000,
        half: true,
    }
}

/// A network half and a plane that answer at once, in virtual time.
struct World {
    turn: Turn,
    now: u64,
    looks: u64,
    converges: u64,
    starts: u64,
    ends: u64,
    judged: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Fetcher {
    Answers,
    Offers,
    Hangs,
    Dies,
}

impl World {
    fn new(seed: u64) -> Self {
        let turn = Turn::new(config(), seed, 0);
        Self {
            turn,
            now: 0,
            looks: 0,
            converges: 0,
            starts: 0,
            ends: 0,
            judged: 0,
        }
    }

    fn happen(&mut self, event: Event, fetcher: Fetcher) {
        let mut open = vec![event];
        let mut steps = 0;
        while let Some(event) = open.pop() {
            steps += 1;
            assert!(steps < 100, "the loop turns without sleeping");
            for what in self.turn.step(self.now, event) {
                match (what, fetcher) {
                    (Do::Start, fetcher) => {
                        self.starts += 1;
                        open.push(if fetcher == Fetcher::Dies {
                            Event::Down
                        } else {
                            Event::Up
                        });
                    }
                    (Do::End, _) => {
                        self.ends += 1;
                        open.push(Event::Down);
                    }
                    (Do::Look { sequence }, Fetcher::Answers) => {
                        self.looks += 1;
                        open.push(Event::Nothing { sequence });
                    }
                    (Do::Look { sequence }, Fetcher::Offers) => {
                        self.looks += 1;
                        open.push(Event::Offer {
                            sequence,
                            bytes: vec![1],
                        });
                    }
                    (Do::Look { .. }, _) => self.looks += 1,
                    (Do::Judge(_), _) => {
                        self.judged += 1;
                        open.push(Event::Done);
                    }
                    (Do::Converge, _) => {
                        self.converges += 1;
                        open.push(Event::Done);
                    }
                }
            }
        }
    }

    fn run_until(&mut self, end: u64, fetcher: Fetcher) {
        while self.now < end {
            self.happen(Event::Time, fetcher);
            let wake = self.turn.next_wake();
            assert!(wake > self.now, "a wake-up that is due already would spin");
            assert_ne!(wake, u64::MAX, "a loop without a next wake-up sleeps for ever");
            self.now = wake;
        }
    }
}

const YEAR: u64 = 365 * 24 * 3600 * 1000;

#[test]
fn ten_years_of_quiet_turns_keep_their_interval() {
    let mut world = World::new(1);
    world.run_until(10 * YEAR, Fetcher::Answers);
    let expected = 10 * YEAR / 60_000;
    assert!(
        world.converges.abs_diff(expected) < expected / 50,
        "{} turns, about {expected} expected",
        world.converges
    );
    assert_eq!((world.starts, world.ends), (1, 0));
}

#[test]
fn an_offer_is_judged_before_the_world_is_held_against_the_state() {
    let mut turn = Turn::new(config(), 1, 0);
    assert_eq!(turn.step(0, Event::Time), [Do::Start]);
    assert_eq!(turn.step(5, Event::Up), [Do::Look { sequence: 1 }]);
    assert_eq!(
        turn.step(
            9,
            Event::Offer {
                sequence: 1,
                bytes: vec![7]
            }
        ),
        [Do::Judge(vec![7])]
    );
    assert_eq!(turn.step(20, Event::Done), [Do::Converge]);
    assert_eq!(turn.step(30, Event::Done), []);
    assert!(turn.next_wake().abs_diff(60_030) <= 6000);
}

#[test]
fn a_network_half_that_dies_at_once_is_started_with_growing_pauses_and_drift_is_put_right_all_the_same() {
    let mut world = World::new(2);
    world.run_until(24 * 3600 * 1000, Fetcher::Dies);
    assert!(world.converges > 1300, "{}", world.converges);
    assert!((100..400).contains(&world.starts), "{} starts in a day", world.starts);
    assert_eq!(world.looks, 0);
}

#[test]
fn a_network_half_that_hangs_is_ended_and_the_turn_goes_on() {
    let mut world = World::new(3);
    world.run_until(24 * 3600 * 1000, Fetcher::Hangs);
    assert!(world.ends > 100, "{}", world.ends);
    assert!(world.converges >= world.ends);
}

#[test]
fn a_reload_looks_at_once_and_one_during_a_turn_makes_another() {
    let mut turn = Turn::new(config(), 4, 0);
    turn.step(0, Event::Time);
    turn.step(0, Event::Up);
    turn.step(0, Event::Nothing { sequence: 1 });
    assert_eq!(turn.step(1, Event::Done), []);
    assert_eq!(turn.step(100, Event::Reload), [Do::Look { sequence: 2 }]);
    assert_eq!(turn.step(101, Event::Reload), []);
    turn.step(102, Event::Nothing { sequence: 2 });
    assert_eq!(turn.step(103, Event::Done), [Do::Look { sequence: 3 }]);
}

#[test]
fn a_late_reply_is_not_taken_for_the_present_one() {
    let mut turn = Turn::new(config(), 5, 0);
    turn.step(0, Event::Time);
    turn.step(0, Event::Up);
    turn.step(0, Event::Nothing { sequence: 1 });
    turn.step(0, Event::Done);
    turn.step(1, Event::Reload);
    assert_eq!(
        turn.step(
            2,
            Event::Offer {
                sequence: 1,
                bytes: vec![]
            }
        ),
        []
    );
}

#[test]
fn an_agent_without_a_document_starts_no_network_half_and_converges_at_once() {
    let mut turn = Turn::new(
        Config {
            half: false,
            ..config()
        },
        8,
        0,
    );
    assert_eq!(turn.step(0, Event::Time), [Do::Converge]);
    assert_eq!(turn.step(1, Event::Done), []);
    assert!(turn.next_wake().abs_diff(60_001) <= 6000);
    turn.set_half(2, true);
    assert_eq!(turn.step(2, Event::Reload), [Do::Start]);
    assert_eq!(turn.step(3, Event::Up), [Do::Look { sequence: 1 }]);
}

#[test]
fn one_seed_gives_one_run() {
    let run = |seed| {
        let mut world = World::new(seed);
        world.run_until(YEAR / 12, Fetcher::Offers);
        (world.now, world.judged)
    };
    assert_eq!(run(9), run(9));
    assert_ne!(run(9).0, run(10).0);
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Time),
        Just(Event::Up),
        Just(Event::Down),
        Just(Event::Done),
        Just(Event::Reload),
        (0u32..4).prop_map(|sequence| Event::Nothing { sequence }),
        (0u32..4).prop_map(|sequence| Event::Offer {
            sequence,
            bytes: vec![]
        }),
    ]
}

proptest! {
    #[test]
    fn no_order_of_events_asks_the_plane_for_two_things_at_once(
        events in prop::collection::vec((0u64..50_000, any_event()), 0..200)
    ) {
        let mut turn = Turn::new(config(), 6, 0);
        let (mut now, mut busy) = (0, false);
        for (pause, event) in events {
            now += pause;
            if event == Event::Done {
                if !busy {
                    continue;
                }
                busy = false;
            }
            for what in turn.step(now, event) {
                if matches!(what, Do::Judge(_) | Do::Converge) {
                    prop_assert!(!busy, "the plane is busy");
                    busy = true;
                }
            }
            let ending = matches!(turn.half, Half::Coming { until: u64::MAX });
            prop_assert!(busy || ending || turn.next_wake() != u64::MAX);
        }
    }
}

#[test]
fn a_turn_that_is_nearly_due_takes_place_with_what_woke_the_host_and_the_next_an_interval_later() {
    let mut turn = Turn::new(
        Config {
            half: false,
            ..config()
        },
        3,
        0,
    );
    let converges = |turn: &mut Turn, now| turn.step(now, Event::Time).contains(&Do::Converge);
    assert!(converges(&mut turn, 0));
    turn.step(0, Event::Done);
    let due = turn.next_turn();
    // Long before it nothing comes of it.
    turn.hasten(due - 20_000, 15_000);
    assert!(!converges(&mut turn, due - 20_000));
    assert_eq!(turn.next_turn(), due);
    turn.hasten(due - 10_000, 15_000);
    assert!(converges(&mut turn, due - 10_000));
    // While one is under way there is none to hasten.
    turn.hasten(due - 10_000, 15_000);
    turn.step(due - 10_000, Event::Done);
    let next = turn.next_turn() - (due - 10_000);
    assert!((54_000..=66_000).contains(&next), "{next}");
    assert!(!converges(&mut turn, due));
}
