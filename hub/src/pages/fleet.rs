//! A tenant's fleet as it stood a moment ago: every device in one line, counted and searched in memory. It is read again
//! when somebody looks, at most every few seconds, and so seldom that it costs a tenth of one thread.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::standing::{Live, Standing};
use crate::fault::Done;
use crate::hub::Hub;
use crate::store::devices::{self, Device};
use crate::store::glances::{self, Glance};

/// Read again after so long, or ten times what it took.
const FRESH: Duration = Duration::from_millis(1500);
/// What nobody has looked at for so long is dropped.
const KEPT: Duration = Duration::from_secs(120);
/// Devices that are read at once.
const PIECE: u32 = 1000;

/// One device.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) id: String,
    pub(super) standing: Standing,
    /// What it is found by, in small letters.
    words: String,
}

/// All devices of a tenant.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    /// Those that somebody should look at first, then by id.
    pub(super) lines: Vec<Line>,
    /// How many of each standing.
    pub(super) counts: HashMap<Standing, u64>,
    /// How many have which version of which state in force.
    pub(super) versions: BTreeMap<(String, u64), u64>,
    /// How many run which version of the agent.
    pub(super) programs: BTreeMap<String, u64>,
}

impl Fleet {
    /// How many stand so.
    pub(super) fn count(&self, standing: Standing) -> u64 {
        self.counts.get(&standing).copied().unwrap_or(0)
    }

    /// Those that stand so, if that is asked, and have every word of `text`.
    pub(super) fn find(&self, standing: Option<Standing>, text: &str) -> Vec<&Line> {
        let text = text.to_lowercase();
        let words: Vec<&str> = text.split_whitespace().collect();
        let fits = |line: &&Line| {
            standing.is_none_or(|standing| line.standing == standing)
                && words.iter().all(|word| line.words.contains(word))
        };
        self.lines.iter().filter(fits).collect()
    }
}

#[derive(Clone, Debug)]
struct Kept {
    fleet: Arc<Fleet>,
    generation: u64,
    read: Instant,
    took: Duration,
    asked: Instant,
}

/// The fleets that somebody looks at.
#[derive(Debug, Default)]
pub(super) struct Fleets(Mutex<HashMap<String, Kept>>);

/// A tenant's fleet.
pub(super) async fn of(hub: &Hub, tenant: &str) -> Done<Arc<Fleet>> {
    let mut kept = hub.dashboard.fleets.0.lock().await;
    kept.retain(|_, kept| kept.asked.elapsed() < KEPT);
    // What an admin does is seen at once.
    let generation = *hub.listen().borrow();
    if let Some(known) = kept.get_mut(tenant) {
        known.asked = Instant::now();
        if known.generation == generation && known.read.elapsed() < FRESH.max(known.took * 10) {
            return Ok(known.fleet.clone());
        }
    }
    let began = Instant::now();
    let fleet = Arc::new(read(hub, tenant).await?);
    let now = Instant::now();
    let new = Kept {
        fleet: fleet.clone(),
        generation,
        read: now,
        took: began.elapsed(),
        asked: now,
    };
    kept.insert(tenant.to_owned(), new);
    Ok(fleet)
}

async fn read(hub: &Hub, tenant: &str) -> Done<Fleet> {
    let now = hub.clock.now();
    let mut conn = hub.store.read().await?;
    let live = Live::read(&mut conn, tenant, None).await?;
    let (mut fleet, mut after) = (Fleet::default(), String::new());
    loop {
        let some = devices::list(&mut conn, Some(tenant), &after, PIECE).await?;
        let Some(last) = some.last().map(|device| device.id.clone()) else {
            break;
        };
        let agents = glances::agents(&mut conn, tenant, &after, &last).await?;
        let mut agents = agents.as_slice();
        for device in &some {
            let before = agents.partition_point(|agent| agent.device < device.id);
            let own = agents[before..].partition_point(|agent| agent.device == device.id);
            let own_agents = &agents[before..before + own];
            agents = &agents[before + own..];
            fleet.add(device, own_agents, Standing::of(device, own_agents, &live, now));
        }
        after = last;
        // Others have work as well.
        tokio::task::yield_now().await;
    }
    fleet
        .lines
        .sort_by(|a, b| (a.standing, &a.id).cmp(&(b.standing, &b.id)));
    Ok(fleet)
}

impl Fleet {
    fn add(&mut self, device: &Device, agents: &[Glance], standing: Standing) {
        *self.counts.entry(standing).or_default() += 1;
        let mut words = device.id.clone();
        for (key, value) in &device.labels {
            words.push_str(&format!("\n{key}={value}"));
        }
        for text in device.facts.values().chain(&device.address) {
            words.push('\n');
            words.push_str(text);
        }
        for agent in agents {
            let version = agent.version.map(|version| format!("@{version}")).unwrap_or_default();
            words.push_str(&format!("\n{}{version}", agent.name));
            if let Some(version) = agent.version {
                *self.versions.entry((agent.name.clone(), version)).or_default() += 1;
            }
            *self.programs.entry(agent.program.clone()).or_default() += 1;
        }
        self.lines.push(Line {
            id: device.id.clone(),
            standing,
            words: words.to_lowercase(),
        });
    }
}
