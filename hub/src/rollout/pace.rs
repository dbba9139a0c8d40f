//! How fast a rollout goes, and when it stops: a function of the plan, the fleet and the time. No I/O, no clock.

use std::collections::BTreeMap;

use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::documents::rollout::{Phase, Rollout};
use jos_trust::sha256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Percent of a phase that may fail where the plan says nothing.
const HALT_PERCENT: u32 = 5;
/// Seconds to watch after a phase where the plan says nothing.
const SOAK: u32 = 3600;
/// Seconds after which a device counts as silent where the plan says nothing.
const SILENT_AFTER: u32 = 3600;

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// For a second person's approval.
    Waiting,
    /// Under way.
    Running,
    /// Stopped by a person.
    Paused,
    /// Stopped by itself: too many devices failed.
    Halted,
    /// Ended by a person, for good.
    Aborted,
    /// The version is everybody's.
    Done,
}

impl Status {
    /// As the database and the metrics write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Aborted => "aborted",
            Self::Done => "done",
        }
    }

    /// The inverse; what nobody knows offers nothing.
    pub fn of_word(word: &str) -> Self {
        let all = [Self::Waiting, Self::Running, Self::Paused, Self::Halted, Self::Done];
        all.into_iter()
            .find(|status| status.word() == word)
            .unwrap_or(Self::Aborted)
    }

    /// It may still let devices in, so nothing else takes its audience.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Running | Self::Paused)
    }
}

/// What became of the version on one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is in force.
    Well,
    /// The device said that it is not.
    Failed,
    /// The device got it and said nothing more.
    Silent,
}

impl Outcome {
    /// As the database writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Failed => "failed",
            Self::Silent => "silent",
        }
    }

    /// The inverse.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Well, Self::Failed, Self::Silent]
            .into_iter()
            .find(|one| one.word() == word)
    }

    /// What a report says of the version; none where nothing is settled by it.
    pub fn of_report(outcome: OutcomeKind) -> Option<Self> {
        match outcome {
            OutcomeKind::Applied | OutcomeKind::Unchanged => Some(Self::Well),
            OutcomeKind::RolledBack | OutcomeKind::Refused | OutcomeKind::Unsupported | OutcomeKind::Broken => {
                Some(Self::Failed)
            }
            // The hub was away, or something else than the version changed: no fault of it.
            OutcomeKind::Drifted | OutcomeKind::Unconfirmed => None,
        }
    }
}

/// A device whose turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetIn {
    /// In which phase, from 0.
    pub phase: usize,
    /// When it fetched the version.
    pub offered: Option<i64>,
    /// What became of it.
    pub outcome: Option<Outcome>,
}

impl LetIn {
    fn is_under_way(&self) -> bool {
        self.offered.is_some() && self.outcome.is_none()
    }
}

/// One device of the audience.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Served, and not held by a person: it may be let in.
    pub free: bool,
    /// Now is in one of its maintenance windows.
    pub open: bool,
    /// Where its turn has come.
    pub let_in: Option<LetIn>,
}

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pace {
    /// Where it stands.
    pub status: Status,
    /// The phase that it is in, from 0.
    pub phase: usize,
    /// Since when.
    pub since: i64,
    /// Since when all devices of the phase have been let in.
    pub full: Option<i64>,
    /// For each phase, how many devices come in by it.
    pub planned: Vec<u64>,
    /// For each phase, how many failures a person has passed over by resuming.
    pub excused: Vec<u64>,
}

impl Pace {
    /// At its start.
    pub fn new(plan: &Rollout, now: i64) -> Self {
        Self {
            status: if plan.approval {
                Status::Waiting
            } else {
                Status::Running
            },
            phase: 0,
            since: now,
            full: None,
            planned: vec![0; plan.phases.len()],
            excused: vec![0; plan.phases.len()],
        }
    }
}

/// What happens now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Those whose turn has come: place in the fleet, and phase.
    pub let_in: Vec<(usize, usize)>,
    /// Those that have said nothing for too long.
    pub silent: Vec<usize>,
    /// How far the rollout is then.
    pub next: Pace,
    /// Why it halted, where it does.
    pub why: Option<String>,
}

/// Failures of one phase: said, and silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Devices that said so.
    pub failed: u64,
    /// Devices that said nothing more.
    pub silent: u64,
}

/// One look at a rollout. What happens is noted in `fleet` as well.
pub fn turn(plan: &Rollout, id: &str, pace: &Pace, fleet: &mut [Member], now: i64) -> Turn {
    let mut turn = Turn {
        let_in: Vec::new(),
        silent: Vec::new(),
        next: pace.clone(),
        why: None,
    };
    if !matches!(pace.status, Status::Running | Status::Paused) {
        return turn;
    }
    let patience = i64::from(plan.silent_after.unwrap_or(SILENT_AFTER));
    for (at, member) in fleet.iter_mut().enumerate() {
        let Some(let_in) = &mut member.let_in else { continue };
        if let_in.is_under_way() && let_in.offered.is_some_and(|since| now - since >= patience) {
            let_in.outcome = Some(Outcome::Silent);
            turn.silent.push(at);
        }
    }
    turn.why = verdict(plan, pace, &failures(plan, fleet));
    if turn.why.is_some() {
        turn.next.status = Status::Halted;
        return turn;
    }
    if pace.status == Status::Paused {
        return turn;
    }
    // Only where somebody may come in is the order worth computing.
    let waits = |member: &Member| member.let_in.is_none() && member.free;
    let mut order: Vec<usize> = (0..fleet.len()).filter(|at| waits(&fleet[*at])).collect();
    order.sort_by_cached_key(|at| place(id, &fleet[*at].id));
    loop {
        let next = &mut turn.next;
        let phase = &plan.phases[next.phase];
        let room = Room::of(phase, next, fleet, now);
        let waiting = order
            .iter()
            .filter(|at| waits(&fleet[**at]) && matches(phase, &fleet[**at]))
            .count() as u64;
        next.planned[next.phase] = room.own + room.left.min(waiting);
        let may = room.now.min(room.left);
        let take = usize::try_from(may).unwrap_or(usize::MAX);
        let chosen: Vec<usize> = order
            .iter()
            .copied()
            .filter(|at| waits(&fleet[*at]) && fleet[*at].open && matches(phase, &fleet[*at]))
            .take(take)
            .collect();
        for at in &chosen {
            fleet[*at].let_in = Some(LetIn {
                phase: next.phase,
                offered: None,
                outcome: None,
            });
            turn.let_in.push((*at, next.phase));
        }
        let taken = chosen.len() as u64;
        let full = taken == room.left || taken == waiting;
        next.full = if full { next.full.or(Some(now)) } else { None };
        if !is_over(phase, next, fleet, now) {
            return turn;
        }
        if next.phase + 1 == plan.phases.len() {
            next.status = Status::Done;
            return turn;
        }
        next.phase += 1;
        next.since = now;
        next.full = None;
    }
}

/// How many may come in by a phase.
struct Room {
    /// By this phase, so far.
    own: u64,
    /// Up to its share.
    left: u64,
    /// Of them now, by its spread.
    now: u64,
}

impl Room {
    fn of(phase: &Phase, pace: &Pace, fleet: &[Member], now: i64) -> Self {
        let (mut pool, mut inside, mut own) = (0u64, 0u64, 0u64);
        for member in fleet.iter().filter(|member| matches(phase, member)) {
            pool += 1;
            inside += u64::from(member.let_in.is_some());
            own += u64::from(member.let_in.is_some_and(|let_in| let_in.phase == pace.phase));
        }
        let left = share(pool, phase.percent).saturating_sub(inside);
        let spread = u64::from(phase.spread.unwrap_or(0));
        let elapsed = u64::try_from(now - pace.since).unwrap_or(0);
        let due = if elapsed >= spread {
            own + left
        } else {
            1 + (own + left) * elapsed / spread
        };
        Self {
            own,
            left,
            now: due.saturating_sub(own),
        }
    }
}

/// `percent` of `pool`, rounded down; of what is not empty, one at least.
pub fn share(pool: u64, percent: u32) -> u64 {
    (pool * u64::from(percent) / 100).max(pool.min(1))
}

fn matches(phase: &Phase, member: &Member) -> bool {
    phase
        .labels
        .iter()
        .all(|(key, value)| member.labels.get(key) == Some(value))
}

/// All are in, the time to watch is over, nobody is under way, and at least one has shown how it goes.
fn is_over(phase: &Phase, pace: &Pace, fleet: &[Member], now: i64) -> bool {
    let own = || {
        fleet
            .iter()
            .filter_map(|member| member.let_in)
            .filter(|one| one.phase == pace.phase)
    };
    let Some(full) = pace.full else { return false };
    if own().next().is_none() {
        // They came in before, so there is nothing to watch; or there is nobody, and nothing has been shown.
        return fleet
            .iter()
            .any(|member| member.let_in.is_some() && matches(phase, member));
    }
    let all = || fleet.iter().filter_map(|member| member.let_in);
    now - full >= i64::from(phase.soak.unwrap_or(SOAK))
        && !all().any(|one| one.is_under_way())
        && own().any(|one| one.outcome.is_some())
}

fn failures(plan: &Rollout, fleet: &[Member]) -> Vec<Failures> {
    let mut failures = vec![Failures::default(); plan.phases.len()];
    for let_in in fleet.iter().filter_map(|member| member.let_in) {
        let Some(of) = failures.get_mut(let_in.phase) else {
            continue;
        };
        match let_in.outcome {
            Some(Outcome::Failed) => of.failed += 1,
            Some(Outcome::Silent) => of.silent += 1,
            Some(Outcome::Well) | None => {}
        }
    }
    failures
}

/// Why a rollout halts, where it does: in one of its phases more failed than may.
pub fn verdict(plan: &Rollout, pace: &Pace, failures: &[Failures]) -> Option<String> {
    let percent = plan.halt_percent.unwrap_or(HALT_PERCENT);
    failures.iter().enumerate().find_map(|(phase, of)| {
        let planned = pace.planned.get(phase).copied().unwrap_or(0);
        let excused = pace.excused.get(phase).copied().unwrap_or(0);
        let counted = (of.failed + of.silent).saturating_sub(excused);
        (counted * 100 > planned * u64::from(percent)).then(|| {
            let passed = if excused == 0 {
                String::new()
            } else {
                format!(", {excused} more were passed over")
            };
            format!(
                "{counted} of the {planned} devices of phase {} failed ({} said so, {} went silent{passed}): more than {percent} percent",
                phase + 1,
                of.failed,
                of.silent
            )
        })
    })
}

/// Where a device stands in the order of a rollout: the same for the same two ids, on every hub and at any time.
pub fn place(rollout: &str, device: &str) -> [u8; 32] {
    *sha256(format!("{rollout}\n{device}").as_bytes()).as_bytes()
}

/// Whether a device may have the version (`revert`: the one that takes it back).
pub fn may_have(status: Status, let_in: Option<LetIn>, open: bool, revert: bool) -> bool {
    let offered = let_in.is_some_and(|let_in| let_in.offered.is_some());
    if revert {
        return offered && matches!(status, Status::Halted | Status::Aborted);
    }
    offered || (status == Status::Running && let_in.is_some() && open)
}
