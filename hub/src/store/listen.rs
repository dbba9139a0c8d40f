//! What other hubs on the same PostgreSQL change is heard at once: one connection that only listens.

use sqlx::postgres::PgListener;

use super::database::{CHANNEL, Database};
use super::{StoreError, Stored};

/// A connection on which generations are told.
pub struct Listener(PgListener);

impl Listener {
    /// Begins to listen; `None` where the database tells nothing, which is SQLite.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn begin(database: &Database) -> Stored<Option<Self>> {
        let Database::Postgres(url) = database else {
            return Ok(None);
        };
        let mut listener = PgListener::connect(url).await?;
        listener.listen(CHANNEL).await?;
        Ok(Some(Self(listener)))
    }

    /// Comes back when something was told, or when the connection was lost and is there again: what was told meanwhile
    /// was told to nobody, so the caller looks either way.
    ///
    /// # Errors
    /// The connection is lost and not there again. The next call tries anew.
    pub async fn hear(&mut self) -> Stored<()> {
        self.0.try_recv().await.map(drop).map_err(StoreError::from)
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}
