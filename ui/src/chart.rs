//! Charts, as SVG made on the server. They are drawn in attributes and classes alone: a page may have no style of its own.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::{Tone, words};

/// One part of a whole.
#[derive(Clone, Copy, Debug)]
pub struct Share<'a> {
    /// How it stands.
    pub tone: Tone,
    /// What it is.
    pub name: &'a str,
    /// How many.
    pub value: u64,
}

/// A bar of a whole in its parts, for whoever takes in a fleet by one look. A part that is there is seen, however small.
pub fn shares(shares: &[Share<'_>]) -> Markup {
    const LEAST: f64 = 0.6;
    let there: Vec<&Share<'_>> = shares.iter().filter(|share| share.value > 0).collect();
    let whole: u64 = there.iter().map(|share| share.value).sum();
    let sizes: Vec<f64> = there
        .iter()
        .map(|share| (share.value as f64 * 100.0 / whole as f64).max(LEAST))
        .collect();
    let sum: f64 = sizes.iter().sum();
    let widths: Vec<f64> = sizes.iter().map(|size| size * 100.0 / sum).collect();
    let start = |part: usize| widths[..part].iter().sum::<f64>();
    let said: Vec<String> = there
        .iter()
        .map(|share| format!("{} {}", words::number(share.value), share.name))
        .collect();
    html! {
        svg class="shares" viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label=(said.join(", ")) {
            @if there.is_empty() { rect class="quiet" width="100" height="4" {} }
            @for (part, share) in there.iter().enumerate() {
                rect class=(share.tone.class()) x=(cut(start(part))) width=(cut(widths[part])) height="4" { title { (share.name) } }
            }
        }
    }
}

/// A bar beside a number: how much of `most` it is.
pub fn bar(tone: Tone, value: u64, most: u64) -> Markup {
    let width = if most == 0 {
        0.0
    } else {
        value as f64 * 100.0 / most as f64
    };
    html! {
        svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
            rect class="rest" width="100" height="6" {}
            rect class=(tone.class()) width=(cut(width.min(100.0))) height="6" {}
        }
    }
}

/// A curve over time.
#[derive(Clone, Copy, Debug)]
pub struct Curve<'a> {
    /// What it shows, for whoever does not see it.
    pub name: &'a str,
    /// How its line stands.
    pub tone: Tone,
    /// Seconds since 1970, rising, and values from 0.
    pub points: &'a [(i64, f64)],
    /// The top; the highest value where it is lower than that.
    pub most: f64,
    /// Whether a value holds until the next one: a count does, a temperature does not.
    pub steps: bool,
    /// How a value is said.
    pub say: fn(f64) -> String,
}

/// Draws it, 640 units wide and 160 high, the lowest and highest value and the ends of time beside it.
pub fn curve(curve: &Curve<'_>) -> Markup {
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 160.0;
    let (Some(first), Some(last)) = (curve.points.first(), curve.points.last()) else {
        return html! {};
    };
    let most = curve
        .points
        .iter()
        .fold(curve.most, |most, (_, value)| most.max(*value));
    let most = if most > 0.0 { most } else { 1.0 };
    let long = (last.0 - first.0).max(1) as f64;
    let x = |time: i64| (time - first.0) as f64 * WIDTH / long;
    let y = |value: f64| HEIGHT - value.max(0.0) * HEIGHT / most;
    let mut line = String::new();
    for (at, (time, value)) in curve.points.iter().enumerate() {
        let (x, y) = (x(*time), y(*value));
        if at == 0 {
            let _ = write!(line, "M{x:.1} {y:.1}");
        } else if curve.steps {
            let _ = write!(line, "H{x:.1}V{y:.1}");
        } else {
            let _ = write!(line, "L{x:.1} {y:.1}");
        }
    }
    let area = format!("{line}V{HEIGHT}H0Z");
    let said = format!(
        "{}: {} at first, {} at the end",
        curve.name,
        (curve.say)(first.1),
        (curve.say)(last.1)
    );
    html! {
        figure class={ "curve " (curve.tone.class()) } {
            div class="most" { span { ((curve.say)(most)) } span { ((curve.say)(0.0)) } }
            svg viewBox="0 0 640 160" preserveAspectRatio="none" role="img" aria-label=(said) {
                @for part in 0..=4 { line class="grid" x1="0" x2="640" y1=(part * 40) y2=(part * 40) {} }
                path class="area" d=(area) {}
                path class="line" d=(line) vector-effect="non-scaling-stroke" {}
            }
            figcaption { (words::exact(first.0)) (words::exact(last.0)) }
        }
    }
}

fn cut(number: f64) -> String {
    format!("{number:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_part_of_a_large_fleet_is_seen_and_all_parts_make_the_whole() {
        let drawn = shares(&[
            Share {
                tone: Tone::Good,
                name: "in step",
                value: 99_999,
            },
            Share {
                tone: Tone::Bad,
                name: "failed",
                value: 1,
            },
        ])
        .into_string();
        let widths: Vec<f64> = drawn
            .split(" width=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next()?.parse().ok())
            .collect();
        assert!(widths.len() == 2 && widths[1] > 0.5, "{drawn}");
        assert!((widths.iter().sum::<f64>() - 100.0).abs() < 0.1, "{drawn}");
        assert!(drawn.contains("99\u{202f}999 in step, 1 failed"), "{drawn}");
    }

    #[test]
    fn a_curve_of_one_point_or_of_nothing_is_no_error() {
        let of = |points: &[(i64, f64)]| {
            let asked = Curve {
                name: "devices",
                tone: Tone::Good,
                points,
                most: 0.0,
                steps: true,
                say: |v| format!("{v}"),
            };
            curve(&asked).into_string()
        };
        assert_eq!(of(&[]), "");
        assert!(of(&[(5, 0.0)]).contains("M0.0 160.0"));
        assert!(of(&[(0, 1.0), (10, 2.0)]).contains("M0.0 80.0H640.0V0.0"));
    }
}
