//! Five fields of cron in a time zone: when is it next?
//!
//! Where the hour is `*` the fields are matched in real time, so an hour that a zone repeats fires as often as it lasts.
//! Where an hour is named, the firing belongs to the day: an hour that a zone repeats fires once, the first time, and one
//! that it leaves out fires when the clocks have gone over it. Both as Vixie's cron does it.

use jiff::civil::{Date, time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// No date that matches comes later than this: 29 February on a weekday can take 40 years.
const HORIZON_DAYS: u32 = 366 * 41;

/// One field: which numbers match, and whether it was written as `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    allowed: Vec<bool>,
    any: bool,
}

impl Field {
    fn read(text: &str, low: usize, high: usize) -> Result<Self, String> {
        let wrong = || format!("found {text:?} in a cron schedule, expected numbers from {low} to {high}");
        let mut allowed = vec![false; high + 1];
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0).ok_or_else(wrong)?),
                None => (part, 1_usize),
            };
            let number = |text: &str| {
                text.parse::<usize>()
                    .ok()
                    .filter(|n| (low..=high).contains(n))
                    .ok_or_else(wrong)
            };
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (low, high),
                Some((from, to)) => (number(from)?, number(to)?),
                None if step > 1 => (number(range)?, high),
                None => (number(range)?, number(range)?),
            };
            if from > to {
                return Err(wrong());
            }
            (from..=to).step_by(step).for_each(|n| allowed[n] = true);
        }
        Ok(Self {
            allowed,
            any: text.starts_with('*'),
        })
    }

    fn has(&self, number: i8) -> bool {
        usize::try_from(number).is_ok_and(|n| self.allowed.get(n) == Some(&true))
    }

    fn numbers(&self) -> impl Iterator<Item = i8> + '_ {
        (0..)
            .zip(&self.allowed)
            .filter(|(_, allowed)| **allowed)
            .map(|(n, _)| n)
    }
}

/// A schedule of cron.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cron {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Cron {
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!(
                "found {} fields in the cron schedule {text:?}, expected 5",
                fields.len()
            ));
        };
        let mut weekday = Field::read(weekday, 0, 7)?;
        weekday.allowed[0] |= weekday.allowed[7];
        Ok(Self {
            minute: Field::read(minute, 0, 59)?,
            hour: Field::read(hour, 0, 23)?,
            day: Field::read(day, 1, 31)?,
            month: Field::read(month, 1, 12)?,
            weekday,
        })
    }

    /// The first firing after `after`, both in seconds since 1970. `None` where no date matches.
    pub(crate) fn next(&self, after: i64, zone: &TimeZone) -> Option<i64> {
        let begin = Timestamp::from_second(after).ok()?;
        // The day before may still fire: a named hour that was left out moves forward.
        let mut date = zone.to_datetime(begin).date();
        for _ in 0..HORIZON_DAYS {
            if self.on(date)
                && let Some(found) = self.within(date, after, zone)
            {
                return Some(found);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// Day of the month or weekday: where both are named, either will do.
    fn on(&self, date: Date) -> bool {
        let (day, weekday) = (
            self.day.has(date.day()),
            self.weekday.has(date.weekday().to_sunday_zero_offset()),
        );
        let right = match (self.day.any, self.weekday.any) {
            (false, false) => day || weekday,
            _ => day && weekday,
        };
        right && self.month.has(date.month())
    }

    fn within(&self, date: Date, after: i64, zone: &TimeZone) -> Option<i64> {
        if self.hour.any {
            return self.in_real_time(date, after, zone);
        }
        let mut found: Option<i64> = None;
        for hour in self.hour.numbers() {
            for minute in self.minute.numbers() {
                let civil = date.to_datetime(time(hour, minute, 0, 0));
                let at = zone.to_ambiguous_timestamp(civil).compatible().ok()?.as_second();
                if at > after {
                    found = Some(found.map_or(at, |best| best.min(at)));
                }
            }
        }
        found
    }

    fn in_real_time(&self, date: Date, after: i64, zone: &TimeZone) -> Option<i64> {
        let start = |date: Date| {
            let midnight = date.to_datetime(time(0, 0, 0, 0));
            zone.to_ambiguous_timestamp(midnight)
                .compatible()
                .ok()
                .map(Timestamp::as_second)
        };
        let (from, to) = (start(date)?, start(date.checked_add(1.day()).ok()?)?);
        let first = from.max((after.div_euclid(60) + 1) * 60);
        let mut at = first;
        while at < to {
            let civil = zone.to_datetime(Timestamp::from_second(at).ok()?);
            if self.minute.has(civil.minute()) && self.hour.has(civil.hour()) {
                return Some(at);
            }
            at += 60;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    fn nexts(cron: &str, zone: &str, after: &str, many: usize) -> Vec<String> {
        let (cron, zone) = (Cron::read(cron).unwrap(), TimeZone::get(zone).unwrap());
        let mut now = at(after);
        (0..many)
            .map(|_| {
                now = cron.next(now, &zone).unwrap();
                Timestamp::from_second(now).unwrap().to_string()
            })
            .collect()
    }

    #[test]
    fn a_named_hour_fires_once_a_day_over_both_changes_of_the_clocks() {
        // Berlin: 29 March 2026 has no 02:30, 25 October has it twice.
        assert_eq!(
            nexts("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
            ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            nexts("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn any_hour_fires_in_real_time_also_in_one_that_is_repeated() {
        let all = nexts("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", 4);
        assert_eq!(
            all,
            [
                "2026-10-25T00:00:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T02:00:00Z",
                "2026-10-25T03:00:00Z"
            ]
        );
        assert_eq!(
            nexts("*/20 * * * *", "UTC", "2026-01-01T00:00:30Z", 2),
            ["2026-01-01T00:20:00Z", "2026-01-01T00:40:00Z"]
        );
    }

    #[test]
    fn day_and_weekday_are_either_where_both_are_named() {
        // 1 February 2026 is a Sunday.
        assert_eq!(
            nexts("0 0 1 * 1", "UTC", "2026-01-30T00:00:00Z", 3),
            ["2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z", "2026-02-09T00:00:00Z"]
        );
        assert_eq!(
            nexts("0 0 * * 7", "UTC", "2026-01-30T00:00:00Z", 1),
            ["2026-02-01T00:00:00Z"]
        );
        assert_eq!(
            nexts("0 0 29 2 *", "UTC", "2026-01-30T00:00:00Z", 1),
            ["2028-02-29T00:00:00Z"]
        );
        assert_eq!(Cron::read("0 0 30 2 *").unwrap().next(0, &TimeZone::UTC), None);
    }

    #[test]
    fn what_is_no_cron_is_refused() {
        for wrong in [
            "",
            "* * * *",
            "60 * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "* * 0 * *",
            "* * * * 8",
        ] {
            assert!(Cron::read(wrong).is_err(), "{wrong}");
        }
    }
}
