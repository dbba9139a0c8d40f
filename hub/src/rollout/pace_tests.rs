//! Fleets, plans and failures drawn at random, under a clock that a test moves.

use std::collections::BTreeMap;

use jos_schemas::documents::rollout::{Phase, Rollout, RolloutKind};
use jos_schemas::text::Name;
use proptest::collection::vec;
use proptest::prelude::*;

use super::pace::{Failures, LetIn, Member, Outcome, Pace, Status, may_have, share, turn, verdict};

const ID: &str = "r-0123456789abcdef";
const RINGS: [&str; 3] = ["canary", "early", "late"];

fn plan(phases: Vec<Phase>, halt_percent: Option<u32>) -> Rollout {
    Rollout {
        schema: None,
        kind: RolloutKind::default(),
        name: Name::new("portal").expect("a name"),
        version: 2,
        phases,
        halt_percent,
        silent_after: Some(600),
        revert_with: None,
        approval: false,
        windows: Vec::new(),
        zone: None,
    }
}

fn phase(percent: u32, ring: Option<&str>, spread: u32, soak: u32) -> Phase {
    let labels = ring.map(|ring| ("ring".to_owned(), ring.to_owned()));
    Phase {
        percent,
        labels: labels.into_iter().collect(),
        spread: Some(spread),
        soak: Some(soak),
    }
}

fn member(number: usize, ring: &str) -> Member {
    Member {
        id: format!("d-{number:04}"),
        labels: BTreeMap::from([("ring".to_owned(), ring.to_owned())]),
        free: true,
        open: true,
        let_in: None,
    }
}

fn fleet(size: usize) -> Vec<Member> {
    (0..size).map(|number| member(number, RINGS[number % 3])).collect()
}

fn plans() -> impl Strategy<Value = Rollout> {
    let one = (1u32..=100, 0usize..4, 0u32..1000, 0u32..1000);
    (vec(one, 0..5), prop::option::of(0u32..=100)).prop_map(|(drawn, halt)| {
        let mut phases: Vec<Phase> = drawn
            .into_iter()
            .map(|(percent, ring, spread, soak)| phase(percent, RINGS.get(ring).copied(), spread, soak))
            .collect();
        phases.push(phase(100, None, 0, 10));
        for at in 0..phases.len() {
            let alike = phases[..at]
                .iter()
                .rev()
                .find(|before| before.labels == phases[at].labels);
            phases[at].percent = phases[at].percent.max(alike.map_or(1, |before| before.percent));
        }
        plan(phases, halt)
    })
}

/// What happens between two looks.
#[derive(Clone, Debug)]
struct Between {
    seconds: i64,
    /// Devices that fetch, those that report, and how; by place.
    fetch: Vec<usize>,
    report: Vec<(usize, bool)>,
    /// Devices whose window opens or closes, that are held or let go.
    moved: Vec<(usize, bool, bool)>,
    pause: Option<bool>,
}

fn between(size: usize) -> impl Strategy<Value = Between> {
    let moved = (0..size, prop::bool::weighted(0.8), prop::bool::weighted(0.9));
    let parts = (
        0i64..900,
        vec(0..size, 0..20),
        vec((0..size, prop::bool::weighted(0.9)), 0..20),
        vec(moved, 0..4),
        prop::option::weighted(0.1, any::<bool>()),
    );
    parts.prop_map(|(seconds, fetch, report, moved, pause)| Between {
        seconds,
        fetch,
        report,
        moved,
        pause,
    })
}

/// The devices as the hub would have them after `what`; gives those that got the version now.
fn happen(fleet: &mut [Member], pace: &mut Pace, what: &Between, now: i64) -> usize {
    for (at, open, free) in &what.moved {
        (fleet[*at].open, fleet[*at].free) = (*open, *free);
    }
    match (what.pause, pace.status) {
        (Some(true), Status::Running) => pace.status = Status::Paused,
        (Some(false), Status::Paused) => pace.status = Status::Running,
        _ => {}
    }
    let mut got = 0;
    for at in &what.fetch {
        let member = &mut fleet[*at];
        if may_have(pace.status, member.let_in, member.open, false)
            && let Some(let_in) = member.let_in.as_mut().filter(|let_in| let_in.offered.is_none())
        {
            let_in.offered = Some(now);
            got += 1;
        }
    }
    for (at, well) in &what.report {
        let offered = fleet[*at].let_in.as_mut().filter(|let_in| let_in.offered.is_some());
        if let Some(let_in) = offered.filter(|let_in| let_in.outcome != Some(Outcome::Failed)) {
            let_in.outcome = Some(if *well { Outcome::Well } else { Outcome::Failed });
        }
    }
    got
}

fn inside(fleet: &[Member], phase: &Phase) -> (u64, u64) {
    let pool: Vec<&Member> = fleet
        .iter()
        .filter(|member| {
            phase
                .labels
                .iter()
                .all(|(key, value)| member.labels.get(key) == Some(value))
        })
        .collect();
    let inside = pool.iter().filter(|member| member.let_in.is_some()).count();
    (pool.len() as u64, inside as u64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_wave_exceeds_its_percent_whatever_happens(
        plan in plans(), size in 1usize..80, story in vec(between(80), 1..60),
    ) {
        let mut fleet = fleet(size);
        let (mut now, mut pace) = (1_000_000, Pace::new(&plan, 1_000_000));
        for what in &story {
            let mut what = what.clone();
            what.fetch.retain(|at| *at < size);
            what.report.retain(|(at, _)| *at < size);
            what.moved.retain(|(at, _, _)| *at < size);
            now += what.seconds;
            happen(&mut fleet, &mut pace, &what, now);
            let (before, stood) = (pace.clone(), fleet.clone());
            let turn = turn(&plan, ID, &pace, &mut fleet, now);
            if before.status != Status::Running {
                prop_assert!(turn.let_in.is_empty(), "only a running rollout lets in");
            }
            prop_assert!(turn.next.phase >= before.phase);
            for (at, by) in &turn.let_in {
                prop_assert!(stood[*at].let_in.is_none() && stood[*at].free && stood[*at].open);
                let (pool, inside) = inside(&fleet, &plan.phases[*by]);
                let earlier = stood.iter().filter(|member| member.let_in.is_some()).count() as u64;
                prop_assert!(
                    inside <= share(pool, plan.phases[*by].percent).max(earlier),
                    "phase {by}: {inside} of {pool}"
                );
            }
            pace = turn.next;
        }
    }

    #[test]
    fn a_pause_and_a_halt_offer_the_version_to_nobody_new(
        plan in plans(), size in 1usize..60, story in vec(between(60), 1..40), halted in any::<bool>(),
    ) {
        let mut fleet = fleet(size);
        let (mut now, mut pace) = (0, Pace::new(&plan, 0));
        turn(&plan, ID, &pace.clone(), &mut fleet, now);
        pace.status = if halted { Status::Halted } else { Status::Paused };
        for what in &story {
            let mut what = Between { pause: None, ..what.clone() };
            what.fetch.retain(|at| *at < size);
            what.report.retain(|(at, _)| *at < size);
            what.moved.retain(|(at, _, _)| *at < size);
            now += what.seconds;
            prop_assert_eq!(happen(&mut fleet, &mut pace, &what, now), 0);
            let turn = turn(&plan, ID, &pace, &mut fleet, now);
            prop_assert!(turn.let_in.is_empty());
            pace = turn.next;
        }
    }

    #[test]
    fn more_failures_never_take_a_halt_back(
        plan in plans(), planned in vec(0u64..1000, 6), failed in vec((0u64..50, 0u64..50), 6), more in vec((0u64..50, 0u64..50), 6),
    ) {
        let phases = plan.phases.len();
        let mut pace = Pace::new(&plan, 0);
        pace.planned = planned[..phases].to_vec();
        let of = |failed: &[(u64, u64)]| -> Vec<Failures> {
            failed[..phases].iter().map(|(failed, silent)| Failures { failed: *failed, silent: *silent }).collect()
        };
        let worse: Vec<(u64, u64)> = failed.iter().zip(&more).map(|(a, b)| (a.0 + b.0, a.1 + b.1)).collect();
        if verdict(&plan, &pace, &of(&failed)).is_some() {
            prop_assert!(verdict(&plan, &pace, &of(&worse)).is_some());
        }
    }

    #[test]
    fn a_fleet_without_failures_gets_the_version_whole(plan in plans(), size in 3usize..80) {
        let mut fleet = fleet(size);
        let (mut now, mut pace) = (0, Pace::new(&plan, 0));
        for _ in 0..10_000 {
            if pace.status == Status::Done {
                break;
            }
            let turn = turn(&plan, ID, &pace, &mut fleet, now);
            pace = turn.next;
            for let_in in fleet.iter_mut().filter_map(|member| member.let_in.as_mut()) {
                let_in.offered = let_in.offered.or(Some(now));
                let_in.outcome = Some(Outcome::Well);
            }
            now += 30;
        }
        prop_assert_eq!(pace.status, Status::Done);
        prop_assert!(fleet.iter().all(|member| member.let_in.is_some()));
    }

    #[test]
    fn who_comes_first_hangs_on_the_two_ids_alone(size in 1usize..80, percent in 1u32..=100, turned in 0usize..80) {
        let plan = plan(vec![phase(percent, None, 0, 0), phase(100, None, 0, 0)], None);
        let chosen = |mut fleet: Vec<Member>| {
            let turn = turn(&plan, ID, &Pace::new(&plan, 0), &mut fleet, 0);
            let mut ids: Vec<String> = turn.let_in.iter().map(|(at, _)| fleet[*at].id.clone()).collect();
            ids.sort();
            ids
        };
        let mut other = fleet(size);
        other.rotate_left(turned % size);
        prop_assert_eq!(chosen(fleet(size)), chosen(other));
    }
}

fn run(plan: &Rollout, pace: &Pace, fleet: &mut [Member], now: i64) -> (usize, Pace, Option<String>) {
    let turn = turn(plan, ID, pace, fleet, now);
    (turn.let_in.len(), turn.next, turn.why)
}

fn settle(fleet: &mut [Member], now: i64, outcome: impl Fn(usize) -> Option<Outcome>) {
    let inside = fleet.iter_mut().filter_map(|member| member.let_in.as_mut());
    for (at, let_in) in inside.filter(|let_in| let_in.outcome.is_none()).enumerate() {
        let_in.offered = Some(now);
        let_in.outcome = outcome(at);
    }
}

#[test]
fn a_phase_soaks_before_the_next_one_and_waits_for_a_first_word() {
    let plan = plan(vec![phase(10, None, 0, 100), phase(100, None, 0, 0)], None);
    let mut fleet = fleet(30);
    let (in_first, pace, _) = run(&plan, &Pace::new(&plan, 0), &mut fleet, 0);
    assert_eq!((in_first, pace.phase, pace.full), (3, 0, Some(0)));
    // Nobody has called: time alone proves nothing.
    let (more, pace, _) = run(&plan, &pace, &mut fleet, 100_000);
    assert_eq!((more, pace.phase), (0, 0));
    settle(&mut fleet, 100_000, |_| Some(Outcome::Well));
    let (more, pace, _) = run(&plan, &pace, &mut fleet, 100_001);
    assert_eq!((more, pace.phase), (27, 1));
}

#[test]
fn a_device_that_got_the_version_and_says_nothing_counts_after_its_time() {
    let plan = plan(vec![phase(100, None, 0, 0)], Some(20));
    let mut fleet = fleet(3);
    let (_, pace, _) = run(&plan, &Pace::new(&plan, 0), &mut fleet, 0);
    for let_in in fleet.iter_mut().filter_map(|member| member.let_in.as_mut()) {
        *let_in = LetIn {
            offered: Some(0),
            ..*let_in
        };
    }
    let (_, pace, why) = run(&plan, &pace, &mut fleet, 599);
    assert_eq!((pace.status, why), (Status::Running, None));
    let (_, pace, why) = run(&plan, &pace, &mut fleet, 600);
    assert_eq!(pace.status, Status::Halted);
    assert_eq!(
        why.as_deref(),
        Some("3 of the 3 devices of phase 1 failed (0 said so, 3 went silent): more than 20 percent")
    );
}

#[test]
fn a_spread_phase_lets_in_one_after_the_other() {
    let plan = plan(vec![phase(100, None, 1000, 0)], None);
    let mut fleet = fleet(11);
    let mut pace = Pace::new(&plan, 0);
    let mut seen = Vec::new();
    for now in [0, 0, 100, 250, 500, 999, 1000] {
        let (more, next, _) = run(&plan, &pace, &mut fleet, now);
        seen.push(more);
        pace = next;
    }
    assert_eq!(seen, [1, 0, 1, 1, 3, 5, 0]);
}

#[test]
fn a_phase_that_fits_nobody_waits_and_does_not_open_the_next_one() {
    let plan = plan(vec![phase(100, Some("typo"), 0, 0), phase(100, None, 0, 0)], None);
    let mut fleet = fleet(3);
    let (more, pace, _) = run(&plan, &Pace::new(&plan, 0), &mut fleet, 0);
    assert_eq!((more, pace.phase), (0, 0));
    let (more, pace, _) = run(&plan, &pace, &mut [], 100_000);
    assert_eq!((more, pace.status), (0, Status::Running));
}

#[test]
fn a_held_device_is_passed_over_and_holds_nobody_up() {
    let plan = plan(vec![phase(100, None, 0, 0)], None);
    let mut fleet = fleet(3);
    fleet[1].free = false;
    let (more, pace, _) = run(&plan, &Pace::new(&plan, 0), &mut fleet, 0);
    assert_eq!((more, pace.full), (2, Some(0)));
    settle(&mut fleet, 0, |_| Some(Outcome::Well));
    assert_eq!(run(&plan, &pace, &mut fleet, 1).1.status, Status::Done);
}

#[test]
fn whoever_resumes_passes_over_the_failures_so_far_and_no_later_ones() {
    let plan = plan(vec![phase(100, None, 0, 0)], Some(10));
    let mut fleet = fleet(20);
    let (_, pace, _) = run(&plan, &Pace::new(&plan, 0), &mut fleet, 0);
    settle(&mut fleet, 0, |at| (at < 3).then_some(Outcome::Failed));
    let (_, mut pace, why) = run(&plan, &pace, &mut fleet, 1);
    assert!(pace.status == Status::Halted && why.is_some());
    (pace.status, pace.excused) = (Status::Running, vec![3]);
    let (_, pace, why) = run(&plan, &pace, &mut fleet, 2);
    assert_eq!((pace.status, why), (Status::Running, None));
    settle(&mut fleet, 2, |at| (at < 3).then_some(Outcome::Failed));
    let (_, pace, why) = run(&plan, &pace, &mut fleet, 3);
    assert_eq!(pace.status, Status::Halted);
    assert!(why.is_some_and(|why| why.contains("3 more were passed over")));
}
