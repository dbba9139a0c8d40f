//! Maintenance windows, each device's by its own clock on the wall. The time zones are those of the program, not of the
//! machine that it runs on.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jos_schemas::documents::rollout::{Weekday, Window};

/// The label, or else the fact, that names a device's time zone.
pub const ZONE: &str = "timezone";

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone by its IANA name (`America/Mexico_City`) or as POSIX writes it (`CST6CDT,M3.2.0,M11.1.0`), which is what
/// OpenWrt has; none where it is neither.
pub fn zone(name: &str) -> Option<TimeZone> {
    if name == "UTC" {
        return Some(TimeZone::UTC);
    }
    ZONES.get(name).ok().or_else(|| TimeZone::posix(name).ok())
}

/// The time zone of a device: its label, what it said of itself, the plan's, UTC. One that is none is passed over.
pub fn zone_of(labels: &BTreeMap<String, String>, facts: &BTreeMap<String, String>, plan: Option<&str>) -> TimeZone {
    let named = [labels.get(ZONE), facts.get(ZONE)].into_iter().flatten();
    let mut named = named.map(String::as_str).chain(plan);
    named.find_map(zone).unwrap_or(TimeZone::UTC)
}

/// Whether one of `windows` is open at `now` (seconds since 1970) in a time zone. Where there is none, always.
pub fn open(windows: &[Window], zone: &TimeZone, now: i64) -> bool {
    if windows.is_empty() {
        return true;
    }
    let Ok(now) = Timestamp::from_second(now) else {
        return false;
    };
    let local = now.to_zoned(zone.clone());
    let minute = u32::from(local.hour().unsigned_abs()) * 60 + u32::from(local.minute().unsigned_abs());
    let today = day(local.weekday());
    let yesterday = day(local.weekday().previous());
    windows.iter().any(|window| {
        let begins = |day: Weekday| window.days.is_empty() || window.days.contains(&day);
        let (from, to) = (minutes(&window.from), minutes(&window.to));
        if from < to {
            begins(today) && (from..to).contains(&minute)
        } else {
            (begins(today) && minute >= from) || (begins(yesterday) && minute < to)
        }
    })
}

/// `HH:MM` in minutes; the type has checked it.
fn minutes(text: &str) -> u32 {
    let (hours, minutes) = text.split_once(':').unwrap_or_default();
    hours.parse::<u32>().unwrap_or(0) * 60 + minutes.parse::<u32>().unwrap_or(0)
}

fn day(day: jiff::civil::Weekday) -> Weekday {
    use jiff::civil::Weekday as Of;
    match day {
        Of::Monday => Weekday::Mon,
        Of::Tuesday => Weekday::Tue,
        Of::Wednesday => Weekday::Wed,
        Of::Thursday => Weekday::Thu,
        Of::Friday => Weekday::Fri,
        Of::Saturday => Weekday::Sat,
        Of::Sunday => Weekday::Sun,
    }
}

#[cfg(test)]
mod tests {
    use jos_schemas::text::Utc;

    use super::*;

    fn at(text: &str) -> i64 {
        Utc::new(text).expect("a time").unix()
    }

    fn window(days: &[Weekday], from: &str, to: &str) -> Window {
        Window {
            days: days.to_vec(),
            from: from.to_owned(),
            to: to.to_owned(),
        }
    }

    #[test]
    fn a_window_is_open_by_the_devices_clock_and_not_by_the_hubs() {
        let windows = [window(&[], "02:00", "04:00")];
        let mexico = zone("America/Mexico_City").expect("it is known");
        // 02:30 UTC is 20:30 of the day before there; 08:30 UTC is 02:30.
        assert!(open(&windows, &TimeZone::UTC, at("2026-11-21T02:30:00Z")));
        assert!(!open(&windows, &mexico, at("2026-11-21T02:30:00Z")));
        assert!(open(&windows, &mexico, at("2026-11-21T08:30:00Z")));
        assert!(!open(&windows, &mexico, at("2026-11-21T10:00:00Z")));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_begins_on() {
        // 2026-11-21 is a Saturday.
        let windows = [window(&[Weekday::Sat], "22:30", "04:00")];
        for (time, expected) in [
            ("2026-11-20T23:00:00Z", false),
            ("2026-11-21T03:59:00Z", false),
            ("2026-11-21T22:29:59Z", false),
            ("2026-11-21T22:30:00Z", true),
            ("2026-11-22T03:59:59Z", true),
            ("2026-11-22T04:00:00Z", false),
            ("2026-11-22T22:30:00Z", false),
        ] {
            assert_eq!(open(&windows, &TimeZone::UTC, at(time)), expected, "{time}");
        }
    }

    #[test]
    fn summer_time_moves_the_window_with_the_clock_on_the_wall() {
        let windows = [window(&[], "02:00", "03:00")];
        let berlin = zone("Europe/Berlin").expect("it is known");
        assert!(open(&windows, &berlin, at("2026-01-10T01:30:00Z")));
        assert!(open(&windows, &berlin, at("2026-07-10T00:30:00Z")));
        assert!(!open(&windows, &berlin, at("2026-07-10T01:30:00Z")));
    }

    #[test]
    fn a_label_goes_before_a_fact_and_what_is_no_zone_is_passed_over() {
        let named = |zone: &str| BTreeMap::from([(ZONE.to_owned(), zone.to_owned())]);
        let none = BTreeMap::new();
        let offset = |zone: &TimeZone| zone.to_offset(Timestamp::UNIX_EPOCH).seconds();
        assert_eq!(
            offset(&zone_of(&named("Asia/Tokyo"), &named("Europe/Berlin"), None)),
            9 * 3600
        );
        assert_eq!(
            offset(&zone_of(&none, &named("JST-9"), Some("Europe/Berlin"))),
            9 * 3600
        );
        assert_eq!(
            offset(&zone_of(&named("Mars/Olympus"), &none, Some("Asia/Tokyo"))),
            9 * 3600
        );
        assert_eq!(offset(&zone_of(&none, &none, None)), 0);
    }

    #[test]
    fn one_that_ends_when_it_begins_is_the_whole_day() {
        let windows = [window(&[Weekday::Sat], "06:00", "06:00")];
        assert!(open(&windows, &TimeZone::UTC, at("2026-11-21T06:00:00Z")));
        assert!(open(&windows, &TimeZone::UTC, at("2026-11-22T05:59:00Z")));
        assert!(!open(&windows, &TimeZone::UTC, at("2026-11-22T06:00:00Z")));
    }
}
