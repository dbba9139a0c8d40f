//! Who calls, looked up in the registry for many calls at once: what is asked while one look is under way shares the next.
//! Nothing is kept, so that a device that was put into quarantine a moment ago is not served.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::store::devices::{self, Device};
use crate::strokes::Strokes;

/// Calls that may wait for a look; one more is told to come again.
const WAITING: usize = 16_384;
/// Calls that one look is for, at most.
const BATCH: usize = 256;
/// Looks under way at once.
const LOOKS: usize = 2;
/// Between the beginnings of two looks.
const APART: Duration = Duration::from_millis(4);

/// A device, and the database's generation as it was looked up.
pub type Found = Option<(Device, u64)>;

#[derive(Debug)]
struct Asked {
    tls: String,
    told: oneshot::Sender<Done<Found>>,
}

/// Where to ask.
#[derive(Clone, Debug)]
pub struct Lookups(mpsc::Sender<Asked>);

impl Lookups {
    /// Starts those who look. They end once every [`Lookups`] is dropped.
    pub fn start(hub: &Arc<Hub>) -> Self {
        let (asks, asked) = mpsc::channel(WAITING);
        let asked = Arc::new(Mutex::new((asked, Strokes::new(APART))));
        for _ in 0..LOOKS {
            tokio::spawn(look(hub.clone(), asked.clone()));
        }
        Self(asks)
    }

    /// The device whose TLS key has this hash.
    pub async fn by_tls(&self, tls: String) -> Done<Found> {
        let (told, answer) = oneshot::channel();
        self.0.try_send(Asked { tls, told }).map_err(|_| Fault::busy())?;
        answer.await.map_err(|_| Fault::busy())?
    }
}

/// Callers, of whom one at a time takes a batch.
type Crowd = Mutex<(mpsc::Receiver<Asked>, Strokes)>;

async fn batch(crowd: &Crowd) -> Vec<Asked> {
    let mut crowd = crowd.lock().await;
    let (asked, strokes) = &mut *crowd;
    let mut batch = Vec::from_iter(asked.recv().await);
    if !batch.is_empty() {
        strokes.next().await;
        batch.extend(std::iter::from_fn(|| asked.try_recv().ok()).take(BATCH - 1));
    }
    batch
}

async fn look(hub: Arc<Hub>, crowd: Arc<Crowd>) {
    loop {
        let batch = batch(&crowd).await;
        if batch.is_empty() {
            break;
        }
        let found = async {
            let keys: Vec<&str> = batch.iter().map(|one| one.tls.as_str()).collect();
            let mut conn = hub.store.read().await?;
            Ok::<_, Fault>(devices::calling(&mut conn, &keys).await?)
        };
        let found = found.await.map(|found| {
            let by_key = found.into_iter().map(|(device, at)| (device.tls.clone(), (device, at)));
            by_key.collect::<HashMap<_, _>>()
        });
        for one in batch {
            let answer = match &found {
                Ok(found) => Ok(found.get(&one.tls).cloned()),
                Err(fault) => Err(fault.clone()),
            };
            // Who hung up asks again.
            let _ = one.told.send(answer);
        }
    }
}
