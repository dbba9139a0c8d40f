//! What a device measured, as curves: the last two days of each number that its agents said.

use std::collections::BTreeMap;

use jos_ui::chart::{self, Curve, Line};
use jos_ui::{Markup, Tone, html, parts};

use crate::api::admin::devices::ShownAgent;
use crate::figures;
use crate::history::FINE_KEPT;
use crate::hub::Hub;
use crate::store::{Stored, history};

/// Curves that a page has room for.
const MOST: usize = 24;
/// What only stands, or only rises: no curve says more of it than its last value.
const STANDING: [&str; 3] = ["disk.total", "memory.total", "uptime"];

/// One metric of one agent: its name on the page, its own name, and what it was when.
struct Drawn {
    name: String,
    metric: String,
    points: Vec<(i64, f64)>,
}

/// One curve for each number; nothing where there is none.
pub(super) async fn charts(hub: &Hub, device: &str, agents: &[ShownAgent]) -> Stored<Markup> {
    let since = hub.clock.now() - FINE_KEPT;
    let mut curves: Vec<Drawn> = Vec::new();
    let mut conn = hub.store.read().await?;
    for said in agents.iter().filter_map(|agent| agent.said.as_ref()) {
        let mut slots = history::list(&mut conn, device, &said.name, since, i64::MAX).await?;
        slots.push((0, said.slot.clone()));
        let mut by_name: BTreeMap<&str, Vec<(i64, f64)>> = BTreeMap::new();
        for (_, slot) in &slots {
            for (name, stat) in &slot.metrics {
                let mean = stat.sum / stat.count.max(1) as f64;
                by_name.entry(name).or_default().push((slot.start, mean));
            }
        }
        let several = agents.len() > 1;
        let mut by_name: Vec<_> = by_name.into_iter().collect();
        by_name.sort_by_key(|(metric, _)| place(metric));
        curves.extend(by_name.into_iter().map(|(metric, points)| Drawn {
            name: if several {
                format!("{} {metric}", said.name)
            } else {
                metric.to_owned()
            },
            metric: metric.to_owned(),
            points,
        }));
    }
    for drawn in curves.iter_mut().filter(|drawn| is_counter(&drawn.metric)) {
        drawn.points = rates(&drawn.points);
    }
    // Of one point there is no curve yet.
    curves.retain(|drawn| drawn.points.len() > 1 && !STANDING.contains(&&*drawn.metric));
    // The machine first, then what its owner measures; each by name.
    curves.sort_by_key(|drawn| drawn.metric.starts_with("custom."));
    let more = curves.len().saturating_sub(MOST);
    Ok(html! {
        @if !curves.is_empty() {
            (parts::card("Measured", None, &html! {
                div class="charts" { @for drawn in curves.into_iter().take(MOST) { (one(drawn)) } }
                @if more > 0 { p class="soft" { "and " (more) " more: " code { "jos-hub device show " (device) } " lists all" } }
            }))
        }
    })
}

/// Where a metric stands among the others: by name, and what is over so many minutes by these.
fn place(metric: &str) -> (&str, u32) {
    let over = metric
        .rsplit_once('.')
        .and_then(|(name, over)| Some((name, over.parse().ok()?)));
    over.unwrap_or((metric, 0))
}

/// What counts from the machine's start on: its curve is of how fast it rises.
fn is_counter(metric: &str) -> bool {
    metric.starts_with("network.")
}

/// By how much a counter rose each second, from one point to the next; where it began anew, nothing is known.
fn rates(points: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let pairs = points
        .windows(2)
        .filter(|pair| pair[1].1 >= pair[0].1 && pair[1].0 > pair[0].0);
    let rate = |pair: &[(i64, f64)]| (pair[1].0, (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0) as f64);
    pairs.map(rate).collect()
}

/// Where the axis ends at least, so that idle looks idle and the same height is the same figure on every device.
fn top(metric: &str) -> f64 {
    match metric.split_once('.') {
        // Hundredths.
        Some(("load", _)) => 100.0,
        Some(("services", _)) => 1.0,
        None if metric == "cpu" => 100.0,
        _ => 0.0,
    }
}

fn one(Drawn { name, metric, points }: Drawn) -> Markup {
    let last = points.last().map_or(0.0, |point| point.1);
    let say = if is_counter(&metric) {
        figures::each_second
    } else {
        figures::unit(&metric)
    };
    let line = Line {
        name: &name,
        tone: Tone::Busy,
        points,
    };
    let curve = Curve {
        lines: vec![line],
        most: top(&metric),
        steps: false,
        say,
    };
    html! { div { h3 { span { (name) } span class="soft" { (say(last)) } } (chart::curve(&curve)) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_stands_in_the_order_of_its_minutes() {
        let mut metrics = ["memory.available", "load.1", "load.15", "cpu", "load.5"];
        metrics.sort_by_key(|metric| place(metric));
        assert_eq!(metrics, ["cpu", "load.1", "load.5", "load.15", "memory.available"]);
    }

    #[test]
    fn a_counter_is_drawn_as_how_fast_it_rises_and_its_new_beginning_as_nothing() {
        let counted = [(0, 1000.0), (300, 4000.0), (600, 4000.0), (900, 50.0), (1200, 650.0)];
        assert_eq!(rates(&counted), [(300, 10.0), (600, 0.0), (1200, 2.0)]);
        assert_eq!(rates(&counted[..1]), []);
    }
}
