//! What a device measured, as curves: the last two days of each number that its agents said.

use std::collections::BTreeMap;

use jos_ui::chart::{self, Curve, Line};
use jos_ui::{Markup, Tone, html, parts};

use crate::api::admin::devices::ShownAgent;
use crate::history::FINE_KEPT;
use crate::hub::Hub;
use crate::store::{Stored, history};

/// Curves that a page has room for.
const MOST: usize = 12;

/// One curve for each number; nothing where there is none.
pub(super) async fn charts(hub: &Hub, device: &str, agents: &[ShownAgent]) -> Stored<Markup> {
    let since = hub.clock.now() - FINE_KEPT;
    let mut curves: Vec<(String, Vec<(i64, f64)>)> = Vec::new();
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
        curves.extend(by_name.into_iter().map(|(name, points)| {
            let name = if several {
                format!("{} {name}", said.name)
            } else {
                name.to_owned()
            };
            (name, points)
        }));
    }
    // Of one point there is no curve yet.
    curves.retain(|(_, points)| points.len() > 1);
    Ok(html! {
        @if !curves.is_empty() {
            (parts::card("Measured", None, &html! {
                div class="charts" { @for (name, points) in curves.into_iter().take(MOST) { (one(&name, points)) } }
            }))
        }
    })
}

fn one(name: &str, points: Vec<(i64, f64)>) -> Markup {
    let last = points.last().map_or(0.0, |point| point.1);
    let line = Line {
        name,
        tone: Tone::Busy,
        points,
    };
    let curve = Curve {
        lines: vec![line],
        most: 0.0,
        steps: false,
        say: said,
    };
    html! { div { h3 { span { (name) } span class="soft" { (said(last)) } } (chart::curve(&curve)) } }
}

/// A number in few signs, whatever its size.
fn said(value: f64) -> String {
    let size = value.abs();
    for (unit, sign) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")] {
        if size >= unit {
            let unit = if sign == "k" { 1e3 } else { unit };
            return format!("{:.1} {sign}", value / unit);
        }
    }
    let digits = if size >= 100.0 || value.fract() == 0.0 { 0 } else { 2 };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_number_is_said_in_few_signs() {
        let said = [0.0, 0.42, 47.5, 512.3, 20_480.0, 3.5e9, -2e6].map(super::said);
        assert_eq!(said, ["0", "0.42", "47.50", "512", "20.5 k", "3.5 G", "-2.0 M"]);
    }
}
