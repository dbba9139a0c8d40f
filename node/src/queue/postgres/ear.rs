//! What the database tells: one connection that only listens, and a pipe that can be polled beside everything else.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::task::JoinHandle;

use super::line::Line;
use crate::error::NodeError;

/// Told when jobs wait.
pub(super) const WAITING: &str = "jos_waiting";
/// Told when a job has ended, with its id.
pub(super) const ENDED: &str = "jos_ended";
/// Between two tries to hear again.
const PAUSE: Duration = Duration::from_millis(500);
/// What is not taken is dropped, and said to be lost.
const MOST: usize = 4096;

#[derive(Default)]
struct Heard {
    words: VecDeque<String>,
    lost: bool,
}

/// Hears one channel from its making on, over any number of connections.
pub(super) struct Ear {
    told: UnixStream,
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

impl Ear {
    /// Begins to listen.
    pub(super) fn start(line: &Line, channel: &'static str) -> Result<Self, NodeError> {
        let failed = NodeError::io(std::path::Path::new("a pipe"), "make it");
        let (tell, told) = UnixStream::pair()
            .and_then(|(tell, told)| {
                tell.set_nonblocking(true)?;
                told.set_nonblocking(true)?;
                Ok((tell, told))
            })
            .map_err(failed)?;
        let _inside = line.runtime().enter();
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(line.options());
        let first = line
            .runtime()
            .block_on(listen(&pool, channel))
            .map_err(|e| line.refused(&e))?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let task = line
            .runtime()
            .spawn(hear(first, pool, channel, tell, Arc::clone(&heard)));
        Ok(Self { told, heard, task })
    }

    /// Readable when there is something to take.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.told.as_fd()
    }

    /// What was told since the last call, and whether something may have been missed.
    pub(super) fn take(&self) -> (Vec<String>, bool) {
        let mut bytes = [0; 64];
        while matches!((&self.told).read(&mut bytes), Ok(n) if n > 0) {}
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        (heard.words.drain(..).collect(), std::mem::take(&mut heard.lost))
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(pool: &PgPool, channel: &str) -> sqlx::Result<PgListener> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(channel).await?;
    Ok(listener)
}

async fn hear(first: PgListener, pool: PgPool, channel: &'static str, mut tell: UnixStream, into: Arc<Mutex<Heard>>) {
    let mut listener = Some(first);
    loop {
        let heard = match &mut listener {
            Some(open) => open.try_recv().await.ok().flatten(),
            None => None,
        };
        let word = match heard {
            Some(heard) => Some(heard.payload().to_owned()),
            None => {
                // What is told from here to the new connection is told to nobody.
                drop(listener.take());
                tokio::time::sleep(PAUSE).await;
                match listen(&pool, channel).await {
                    Ok(again) => listener = Some(again),
                    Err(_) => continue,
                }
                None
            }
        };
        let mut heard = into.lock().unwrap_or_else(PoisonError::into_inner);
        match word {
            // One of several that are the same says as much.
            Some(word) if heard.words.back() == Some(&word) => {}
            Some(word) if heard.words.len() < MOST => heard.words.push_back(word),
            _ => heard.lost = true,
        }
        drop(heard);
        let _ = tell.write(&[1]);
    }
}
