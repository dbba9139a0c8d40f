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

fn one(Drawn { name, metric, points }: Drawn) -> Markup {
    let last = points.last().map_or(0.0, |point| point.1);
    let say = figures::unit(&metric);
    let line = Line {
        name: &name,
        tone: Tone::Busy,
        points,
    };
    let curve = Curve {
        lines: vec![line],
        most: 0.0,
        steps: false,
        say,
    };
    html! { div { h3 { span { (name) } span class="soft" { (say(last)) } } (chart::curve(&curve)) } }
}
