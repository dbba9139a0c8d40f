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

/// One line of a curve.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// What it shows.
    pub name: &'a str,
    /// Its colour.
    pub tone: Tone,
    /// Seconds since 1970, rising, and values.
    pub points: Vec<(i64, f64)>,
}

/// Curves over the same time.
#[derive(Clone, Debug)]
pub struct Curve<'a> {
    /// They are drawn in this order; the first has its area filled.
    pub lines: Vec<Line<'a>>,
    /// The top is at least here.
    pub most: f64,
    /// Whether a value holds until the next one: a count does, a temperature does not.
    pub steps: bool,
    /// How a value is said.
    pub say: fn(f64) -> String,
}

/// Draws it, 640 units wide and 160 high, from 0 or the least value to the most, the ends of time below.
pub fn curve(curve: &Curve<'_>) -> Markup {
    let all = || curve.lines.iter().flat_map(|line| &line.points);
    let (Some(first), Some(last)) = (all().map(|point| point.0).min(), all().map(|point| point.0).max()) else {
        return html! {};
    };
    let least = all().fold(0.0_f64, |least, point| least.min(point.1));
    let most = all().fold(curve.most, |most, point| most.max(point.1));
    let most = if most > least { most } else { least + 1.0 };
    let frame = Frame {
        first,
        last,
        least,
        most,
    };
    let said: Vec<String> = curve
        .lines
        .iter()
        .filter_map(|line| {
            Some(format!(
                "{}: {} at the end",
                line.name,
                (curve.say)(line.points.last()?.1)
            ))
        })
        .collect();
    html! {
        figure class="curve" {
            div class="most" { span { ((curve.say)(most)) } span { ((curve.say)(least)) } }
            svg viewBox="0 0 640 160" preserveAspectRatio="none" role="img" aria-label=(said.join(", ")) {
                @for part in 0..=4 { line class="grid" x1="0" x2="640" y1=(part * 40) y2=(part * 40) {} }
                @for (at, line) in curve.lines.iter().enumerate() {
                    @let path = frame.path(&line.points, curve.steps);
                    g class=(line.tone.class()) {
                        @if at == 0 { path class="area" d=(frame.closed(&path, &line.points)) {} }
                        path class="line" d=(path) vector-effect="non-scaling-stroke" {}
                    }
                }
            }
            figcaption { (words::exact(first)) (words::exact(last)) }
            @if curve.lines.len() > 1 {
                p class="legend" { @for line in &curve.lines { span { (line.tone) " " (line.name) } } }
            }
        }
    }
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 160.0;

struct Frame {
    first: i64,
    last: i64,
    least: f64,
    most: f64,
}

impl Frame {
    fn at(&self, (time, value): (i64, f64)) -> (f64, f64) {
        let long = (self.last - self.first).max(1) as f64;
        let x = (time - self.first) as f64 * WIDTH / long;
        (x, HEIGHT - (value - self.least) * HEIGHT / (self.most - self.least))
    }

    fn path(&self, points: &[(i64, f64)], steps: bool) -> String {
        let mut path = String::new();
        for (at, point) in points.iter().enumerate() {
            let (x, y) = self.at(*point);
            let _ = match (at, steps) {
                (0, _) => write!(path, "M{x:.1} {y:.1}"),
                (_, true) => write!(path, "H{x:.1}V{y:.1}"),
                (_, false) => write!(path, "L{x:.1} {y:.1}"),
            };
        }
        path
    }

    fn closed(&self, path: &str, points: &[(i64, f64)]) -> String {
        let from = points.first().map_or(0.0, |point| self.at(*point).0);
        format!("{path}V{HEIGHT}H{from:.1}Z")
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
        let of = |points: &[(i64, f64)], steps| {
            let line = Line {
                name: "devices",
                tone: Tone::Good,
                points: points.to_vec(),
            };
            let asked = Curve {
                lines: vec![line],
                most: 0.0,
                steps,
                say: |v| format!("{v}"),
            };
            curve(&asked).into_string()
        };
        assert_eq!(of(&[], true), "");
        assert!(of(&[(5, 0.0)], true).contains("M0.0 160.0"));
        assert!(of(&[(0, 1.0), (10, 2.0)], true).contains("M0.0 80.0H640.0V0.0"));
        assert!(of(&[(0, -1.0), (10, 1.0)], false).contains("M0.0 160.0L640.0 0.0V160H0.0Z"));
    }
}
