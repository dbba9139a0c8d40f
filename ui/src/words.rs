//! How numbers and moments are said.

use jos_schemas::text::Utc;
use maud::{Markup, html};

/// A moment, in the words of somebody who reads now; the exact one is its title.
pub fn moment(seconds: i64, now: i64) -> Markup {
    let exact = Utc::from_unix(seconds).to_string();
    html! { time datetime=(exact) title=(exact) { (since(seconds, now)) } }
}

/// A moment to the minute, in UTC: where two are held against each other.
pub fn exact(seconds: i64) -> Markup {
    let exact = Utc::from_unix(seconds).to_string();
    let (day, time) = exact.split_once('T').unwrap_or((&exact, ""));
    let minutes: String = time.chars().take(5).collect();
    html! { time datetime=(exact) title=(exact) { (day) " " (minutes) " UTC" } }
}

/// A thing and its version, which stay beside each other.
pub fn version(name: &str, version: u64) -> String {
    format!("{name}\u{a0}{version}")
}

/// How long ago, or in how long. Nothing below a minute is counted: a page that is open would never stand still.
pub fn since(seconds: i64, now: i64) -> String {
    let away = now.saturating_sub(seconds);
    let (size, future) = (away.unsigned_abs(), away < 0);
    let (count, unit) = match size {
        0..60 => {
            return if future {
                "in a moment".to_owned()
            } else {
                "just now".to_owned()
            };
        }
        60..3_600 => (size / 60, "min"),
        3_600..172_800 => (size / 3_600, "h"),
        172_800..5_184_000 => (size / 86_400, "days"),
        5_184_000..63_072_000 => (size / 2_592_000, "months"),
        _ => (size / 31_536_000, "years"),
    };
    if future {
        format!("in {count} {unit}")
    } else {
        format!("{count} {unit} ago")
    }
}

/// A number with thin spaces between its thousands.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A number and its noun: `1 device`, `3 devices`.
pub fn counted(value: u64, one: &str) -> String {
    let ending = if value == 1 { "" } else { "s" };
    format!("{} {one}{ending}", number(value))
}

/// So many bytes, in the unit that leaves few digits.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if value < 1024 {
        return format!("{value} B");
    }
    let (mut size, mut unit) = (value as f64 / 1024.0, 0);
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(size < 100.0);
    format!("{size:.digits$} {}", UNITS[unit])
}

/// A long hash, short enough to be told from others by eye.
pub fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_said_as_a_person_would_say_it() {
        let now = 1_800_000_000;
        let said: Vec<String> = [0, 59, 60, 7_199, 172_800, 6_000_000, 70_000_000, -30, -90_000]
            .into_iter()
            .map(|ago| since(now - ago, now))
            .collect();
        assert_eq!(
            said,
            [
                "just now",
                "just now",
                "1 min ago",
                "1 h ago",
                "2 days ago",
                "2 months ago",
                "2 years ago",
                "in a moment",
                "in 25 h"
            ]
        );
    }

    #[test]
    fn numbers_are_grouped_and_bytes_get_a_unit() {
        assert_eq!(number(7), "7");
        assert_eq!(number(100_000), "100\u{202f}000");
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(counted(1, "device"), "1 device");
        assert_eq!(counted(0, "device"), "0 devices");
        assert_eq!(
            [bytes(12), bytes(1536), bytes(500 << 20)],
            ["12 B", "1.5 KiB", "500 MiB"]
        );
        assert_eq!(bytes(u64::MAX), "16384 PiB");
    }
}
