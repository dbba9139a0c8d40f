//! Dates as changelogs and APT write them: RFC 5322, in UTC.

use jos_schemas::text::Utc;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// `Sat, 21 Nov 2026 13:00:00 +0000`; a changelog's zone is `+0000` (deb-changelog(5)), APT's `UTC`.
pub(crate) fn rfc_5322(unix: u32, zone: &str) -> String {
    let utc = Utc::from_unix(i64::from(unix)).to_string();
    let month = utc[5..7].parse::<usize>().unwrap_or(1).clamp(1, 12);
    let weekday = DAYS[(unix / 86_400 % 7) as usize];
    let (year, day, time) = (&utc[..4], &utc[8..10], &utc[11..19]);
    format!("{weekday}, {day} {} {year} {time} {zone}", MONTHS[month - 1])
}

/// The seconds since 1970 of such a date in the zone `UTC`.
pub(crate) fn unix(date: &str) -> Option<u32> {
    let [_, day, month, year, time, "UTC"] = date.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let moment = Utc::new(format!("{year}-{month:02}-{day}T{time}Z")).ok()?;
    u32::try_from(moment.unix()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_date_1_and_are_read_again() {
        let theirs = |unix: u32| {
            let mut command = std::process::Command::new("date");
            let args = ["-u", "-d", &format!("@{unix}"), "+%a, %d %b %Y %H:%M:%S UTC"];
            let done = command.args(args).env("LC_ALL", "C").output().expect("date");
            String::from_utf8(done.stdout).expect("text").trim().to_owned()
        };
        for moment in [0, 1, 951_782_400, 1_795_219_200, 4_294_967_295] {
            let date = rfc_5322(moment, "UTC");
            assert_eq!((date.clone(), unix(&date)), (theirs(moment), Some(moment)));
        }
        assert_eq!(rfc_5322(1_795_266_000, "+0000"), "Sat, 21 Nov 2026 13:00:00 +0000");
        for junk in [
            "",
            "Sat, 21 Nov 2026 13:00:00 +0000",
            "x 99 Nov 2026 00:00:00 UTC",
            "x 01 Nov 1969 00:00:00 UTC",
        ] {
            assert_eq!(unix(junk), None, "{junk}");
        }
    }
}
