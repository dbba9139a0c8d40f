//! Schedules: files in `schedules/` that submit jobs, each firing once, over restarts and over nodes.
//!
//! A firing is a job whose id says when it was due (`NAME-20261121T120000Z`). It is submitted behind the door, where the
//! cursor of its schedule (`state/schedules/NAME.json`, or a row of the database) is read again: whoever comes second finds it moved, and should the
//! power fail between job and cursor, finds the id in use.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jos_schemas::documents::runtime::{CatchUp, Schedule};
use jos_schemas::read;
use jos_schemas::text::{Name, Utc};
use serde_json::{Map, Value};

use crate::cron::Cron;
use crate::error::NodeError;
use crate::jobs;
use crate::join::Broken;
use crate::place::{DataDir, Durable};
use crate::queue::{Cursor, Queue};

/// What is later than this was missed.
const LATE: i64 = 60;
/// So many missed firings are made up at most.
const MOST: usize = 1000;
/// The largest schedule, as a file.
const LIMIT: u64 = 64 * 1024;

/// When it fires.
#[derive(Clone, Debug)]
enum Rule {
    Every(i64),
    Cron(Cron, TimeZone),
    At(i64),
}

impl Rule {
    fn of(schedule: &Schedule) -> Result<Self, String> {
        let zone = schedule.zone.as_deref().map_or(Ok(TimeZone::UTC), zone)?;
        match (schedule.every, &schedule.cron, &schedule.at) {
            (Some(every), ..) => Ok(Self::Every(i64::from(every))),
            (_, Some(cron), _) => Ok(Self::Cron(Cron::read(cron)?, zone)),
            (.., Some(at)) => Ok(Self::At(at.unix())),
            _ => Err("expected one of \"every\", \"cron\" and \"at\"".into()),
        }
    }

    /// The first firing after `after`.
    fn next(&self, after: i64) -> Option<i64> {
        match self {
            Self::Every(seconds) => after.checked_add(*seconds),
            Self::Cron(cron, zone) => cron.next(after, zone),
            Self::At(at) => (*at > after).then_some(*at),
        }
    }
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| format!("found the zone {name:?}, expected one of the IANA database, as \"America/Mexico_City\""))
}

/// A schedule that is read.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its document.
    pub schedule: Schedule,
    /// Its file, below the data directory.
    place: String,
    rule: Rule,
}

/// The schedules of a data directory.
#[derive(Clone, Debug, Default)]
pub struct Schedules {
    planned: BTreeMap<Name, Planned>,
    /// Files that are none, and why.
    pub broken: Vec<Broken>,
}

/// A job that a schedule submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fired {
    pub(crate) schedule: Name,
    pub(crate) job: String,
    pub(crate) due: Utc,
}

impl Schedules {
    /// Reads what is there. A file that is no schedule is named and hurts no other.
    pub fn load(data: &DataDir) -> Result<Self, NodeError> {
        let mut found = Self::default();
        let disk = jobs::disk(data.root(), "0")?;
        for name in data
            .names("schedules")?
            .into_iter()
            .filter(|name| name.ends_with(".json"))
        {
            let place = format!("schedules/{name}");
            let read = disk.read(&place, LIMIT).map_err(|e| e.to_string());
            let read = read.and_then(|(bytes, _)| parse(name.trim_end_matches(".json"), &bytes));
            // The first file by name keeps a name.
            let read = read.and_then(|planned| match found.planned.get(&planned.schedule.name) {
                Some(first) => Err(format!("the name {} is taken by {}", first.schedule.name, first.place)),
                None => Ok(planned),
            });
            match read {
                Ok(planned) => drop(found.planned.insert(planned.schedule.name.clone(), planned)),
                Err(reason) => found.broken.push(Broken { place, reason }),
            }
        }
        Ok(found)
    }

    /// The schedules by name.
    pub fn all(&self) -> impl Iterator<Item = &Planned> {
        self.planned.values()
    }

    /// The schedule of a name.
    pub fn get(&self, name: &Name) -> Option<&Planned> {
        self.planned.get(name)
    }

    /// When the next one is due.
    pub(crate) fn next(&self, queue: &Queue, now: i64) -> Option<i64> {
        self.all().filter_map(|planned| planned.next(queue, now)).min()
    }

    /// Submits every job that is due.
    pub(crate) fn fire(&self, queue: &Queue, now: i64) -> Result<Vec<Fired>, NodeError> {
        let mut fired = Vec::new();
        for planned in self.all().filter(|planned| !planned.schedule.disabled) {
            let known = queue.0.cursor(&planned.schedule.name);
            if known.is_none() || planned.next(queue, now).is_some_and(|due| due <= now) {
                fired.extend(planned.fire(queue, now)?);
            }
        }
        Ok(fired)
    }
}

impl Planned {
    /// When it is due next, as its cursor stands; nothing where it never is again.
    pub fn next(&self, queue: &Queue, now: i64) -> Option<i64> {
        if self.schedule.disabled {
            return None;
        }
        self.rule.next(
            queue
                .0
                .cursor(&self.schedule.name)
                .unwrap_or_else(|| self.first(now))
                .last,
        )
    }

    /// The cursor of a schedule that is seen for the first time: what was due before is not its concern, but for the one
    /// moment of an `at`.
    fn first(&self, now: i64) -> Cursor {
        let last = match self.rule {
            Rule::At(at) => now.min(at - 1),
            _ => now,
        };
        Cursor { last, fired: 0 }
    }

    fn fire(&self, queue: &Queue, now: i64) -> Result<Vec<Fired>, NodeError> {
        let mut planned = BTreeMap::new();
        let ids = queue.0.fire(&self.schedule.name, &mut |known| {
            let before = known.unwrap_or_else(|| self.first(now)).last;
            let mut jobs = Vec::new();
            for due in due(&self.rule, before, now, self.schedule.catch_up) {
                let due = Utc::from_unix(due);
                let id = format!("{}-{}", self.schedule.name, due.as_str().replace([':', '-'], ""));
                jobs.push(jobs::job(
                    id.clone(),
                    self.schedule.agent.clone(),
                    self.schedule.input.clone(),
                ));
                planned.insert(id, due);
            }
            (passed(&self.rule, before, now), jobs)
        })?;
        let fired = ids.into_iter().filter_map(|job| {
            let due = planned.remove(&job)?;
            let schedule = self.schedule.name.clone();
            Some(Fired { schedule, job, due })
        });
        Ok(fired.collect())
    }
}

/// The last firing that is not later than now: from there the next is counted.
fn passed(rule: &Rule, last: i64, now: i64) -> i64 {
    match rule {
        Rule::Every(seconds) => last + (now - last).max(0) / seconds * seconds,
        Rule::Cron(..) => last.max(now),
        Rule::At(at) => {
            if *at <= now {
                last.max(*at)
            } else {
                last
            }
        }
    }
}

/// What is to be fired of what was due after `last`, up to `now`.
fn due(rule: &Rule, last: i64, now: i64, catch_up: CatchUp) -> Vec<i64> {
    let mut fresh = Vec::new();
    let mut missed = Vec::new();
    // Only the last ones can be wanted: of many missed, none before is looked at.
    let mut at = match rule {
        Rule::Every(seconds) if now - last > seconds.saturating_mul(MOST as i64) => {
            passed(rule, last, now) - seconds * MOST as i64
        }
        _ => last,
    };
    while let Some(next) = rule.next(at).filter(|next| *next <= now) {
        if now - next > LATE {
            missed.push(next)
        } else {
            fresh.push(next)
        }
        at = next;
        if missed.len() > MOST {
            missed.remove(0);
        }
    }
    let mut wanted = match catch_up {
        CatchUp::Skip => Vec::new(),
        CatchUp::Once if fresh.is_empty() => missed.pop().into_iter().collect(),
        CatchUp::Once => Vec::new(),
        CatchUp::All => missed,
    };
    wanted.append(&mut fresh);
    wanted
}

/// A schedule's document; without a name in it, the file's is its own. The original's spellings are read too: `id`, `kind`,
/// `every_seconds`, `enabled`, and an `at` with an offset or in the schedule's zone.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Planned, String> {
    let node = read::parse(&format!("{name}.json"), bytes, read::Format::Json).map_err(|e| e.to_string())?;
    let Value::Object(mut members) = node.to_json() else {
        return Err("expected a JSON object".into());
    };
    as_ours(&mut members)?;
    members.entry("name").or_insert_with(|| name.into());
    let schedule: Schedule =
        read::from_json(&Value::Object(members)).map_err(|e| e.to_string().trim_end().to_owned())?;
    let rule = Rule::of(&schedule)?;
    Ok(Planned {
        schedule,
        place: place(name),
        rule,
    })
}

fn place(name: &str) -> String {
    format!("schedules/{name}.json")
}

fn as_ours(members: &mut Map<String, Value>) -> Result<(), String> {
    if members.get("kind").is_some_and(|kind| kind != "jos.schedule") {
        let agent = members.remove("kind").unwrap_or_default();
        members.entry("agent").or_insert(agent);
    }
    members.entry("kind").or_insert_with(|| "jos.schedule".into());
    for (theirs, ours) in [("id", "name"), ("every_seconds", "every")] {
        if let Some(value) = members.remove(theirs) {
            members.entry(ours).or_insert(value);
        }
    }
    if let Some(enabled) = members.remove("enabled") {
        let enabled = enabled.as_bool().ok_or("expected \"enabled\" to be true or false")?;
        members.entry("disabled").or_insert_with(|| (!enabled).into());
    }
    if let Some(at) = members.get("at").and_then(Value::as_str) {
        let zone = members.get("zone").and_then(Value::as_str);
        let at = moment(at, zone)?;
        members.insert("at".into(), at.as_str().into());
    }
    Ok(())
}

/// A moment: with `Z` or an offset, or as the clocks of `zone` show it.
pub fn moment(text: &str, zone: Option<&str>) -> Result<Utc, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Utc::from_unix(at.as_second()));
    }
    let wrong = || format!("found the time {text:?}, expected one as \"2026-11-21T12:00:00Z\"");
    let civil: DateTime = text.parse().map_err(|_| wrong())?;
    let zone = zone.map_or(Ok(TimeZone::UTC), self::zone)?;
    let at = zone.to_ambiguous_timestamp(civil).compatible().map_err(|_| wrong())?;
    Ok(Utc::from_unix(at.as_second()))
}

/// Puts a schedule into its file: the one that it has, else one of its name.
pub fn write(data: &DataDir, schedule: &Schedule) -> Result<(), NodeError> {
    let all = Schedules::load(data)?;
    let place = match all.get(&schedule.name) {
        Some(planned) => planned.place.clone(),
        None => place(schedule.name.as_str()),
    };
    if let Some(other) = all
        .all()
        .find(|other| other.place == place && other.schedule.name != schedule.name)
    {
        let what = format!(
            "the schedule {} stands in it; give this one another name",
            other.schedule.name
        );
        return Err(NodeError::invalid(&place, what));
    }
    let text = serde_json::to_vec_pretty(schedule).map_err(|e| NodeError::invalid(&place, e))?;
    parse(schedule.name.as_str(), &text).map_err(|what| NodeError::invalid(&place, what))?;
    data.put(&place, &text, Durable::Yes)
}

/// Takes a schedule away, and its cursor: one of the same name begins anew. Whether there was one.
pub fn remove(data: &DataDir, queue: &Queue, name: &Name) -> Result<bool, NodeError> {
    let all = Schedules::load(data)?;
    // A broken one is removed by its file's name.
    let place = all
        .get(name)
        .map_or_else(|| place(name.as_str()), |planned| planned.place.clone());
    let is_other = all
        .all()
        .any(|other| other.place == place && other.schedule.name != *name);
    let there = data.path(&place).exists() && !is_other;
    if there {
        data.remove(&place)?;
    }
    queue.0.forget(name)?;
    Ok(there)
}

/// Takes away what is declared no longer: a file, and the cursor of the schedule of its name unless another file has it.
pub(crate) fn remove_file(data: &DataDir, queue: &Queue, place: &str) -> Result<(), NodeError> {
    data.remove(place)?;
    let stem = place
        .strip_prefix("schedules/")
        .and_then(|name| name.strip_suffix(".json"));
    match stem.and_then(|stem| Name::new(stem).ok()) {
        Some(name) if Schedules::load(data)?.get(&name).is_none() => queue.0.forget(&name),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "schedules/tests.rs"]
mod tests;
