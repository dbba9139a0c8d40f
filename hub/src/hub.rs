//! The hub itself: what every request reaches. Owns its keys, its clock, its store and what wakes those who wait.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jos_trust::SecretKey;
use jos_trust::keyfile::{self, KeyFileError};
use jos_trust::keys::KeyId;
use ring::hmac;
use tokio::sync::{Notify, Semaphore, watch};

use crate::authorities::{Authorities, Folder, KeysError};
use crate::ca::{self, Ca, CaError};
use crate::clock::Clock;
use crate::dir::{self, Dir, DirError};
use crate::fault::{Done, Fault};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::pages::Dashboard;
use crate::random;
use crate::rates::Rates;
use crate::seal::Seal;
use crate::store::{self, Database, Store, StoreError};
use crate::{api_token, names, rotation};

/// Under which the database keeps the fingerprint of the CA that its hub was made with.
const OWN_CA: &str = "ca";
/// The tenant that every hub has.
pub const DEFAULT_TENANT: &str = "default";
/// Long polls that look at once: half of the store's connections.
const LOOKS: usize = 4;
/// Devices that are told of a change at once. Beyond, they wait in their order: a whole fleet that is woken is no crowd before
/// which a heartbeat has to wait.
const TOLD: usize = 256;
/// Devices that one hub asks in a second to renew before their time.
const EARLY: i64 = 50;

/// What a hub cannot be made or opened without.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory.
    #[error("{0}")]
    Dir(#[from] DirError),
    /// The database.
    #[error("{path}: {source}")]
    Store {
        /// The file, or the URL without its password.
        path: String,
        /// What is wrong.
        source: StoreError,
    },
    /// The certificates.
    #[error("{0}")]
    Ca(#[from] CaError),
    /// The freshness key.
    #[error("{0}")]
    Key(#[from] KeyFileError),
    /// Its CAs and freshness keys.
    #[error("{0}")]
    Keys(#[from] KeysError),
    /// The folder is of one hub and the database of another.
    #[error("the database {database} belongs to the hub with the CA {found}, the folder to the one with {own}")]
    OtherHub {
        /// The database.
        database: String,
        /// The fingerprint that it holds.
        found: String,
        /// The folder's.
        own: String,
    },
    /// A file that is not what a hub writes.
    #[error("{path}: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

impl OpenError {
    /// What to do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Dir(error) => error.help(),
            Self::Key(error) => error.help(),
            Self::Store {
                source: StoreError::Taken,
                ..
            } => Some(
                "one more hub on it needs no init: copy the first one's folder without server.key and server.pem"
                    .to_owned(),
            ),
            Self::Store {
                source: StoreError::Empty,
                ..
            } => Some("`jos-hub init` makes one in it".to_owned()),
            Self::OtherHub { .. } => {
                Some("give this folder the database that it was made with, or this database its own folder".to_owned())
            }
            Self::Keys(KeysError::Dir(error)) => error.help(),
            Self::Keys(KeysError::Sealed { .. } | KeysError::Missing { .. }) => {
                Some("copy the folder of a hub on this database, as for one more hub; or restore the backup".to_owned())
            }
            Self::Store { .. } | Self::Ca(_) | Self::Keys(_) | Self::Malformed { .. } => None,
        }
    }
}

/// What `init` made, for the person who called it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Made {
    /// The data directory.
    pub data: String,
    /// Where devices will look for the hub.
    pub addresses: Vec<String>,
    /// SHA-256 of the CA's certificate.
    pub ca: String,
    /// File with the public half of the freshness key.
    pub freshness: String,
    /// File with the API token.
    pub admin_token: String,
    /// The tenant that is there.
    pub tenant: String,
}

/// Where a hub is: its folder, and its database where that lies elsewhere.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder.
    pub data: PathBuf,
    /// The database, where it is not in the folder.
    pub database: Option<Database>,
}

impl Place {
    /// A folder with everything in it.
    pub fn folder(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            database: None,
        }
    }

    /// The one that was named, else the one that `init` wrote down, else the one in the folder.
    fn database(&self, dir: &Dir) -> Result<Database, OpenError> {
        if let Some(database) = &self.database {
            return Ok(database.clone());
        }
        let file = dir.file(dir::DATABASE_URL);
        if !file.is_file() {
            return Ok(Database::File(dir.file("hub.db")));
        }
        let url = dir.read_secret(dir::DATABASE_URL)?;
        Database::of_url(url.trim()).map_err(|reason| OpenError::Malformed {
            path: file.display().to_string(),
            reason,
        })
    }
}

/// A hub that is open.
#[derive(Debug)]
pub struct Hub {
    /// Its directory.
    pub dir: Dir,
    /// What it remembers.
    pub store: Store,
    /// What seals the keys that lie in the database.
    pub seal: Seal,
    /// Its one reading of now.
    pub clock: Clock,
    /// Where devices find it.
    pub addresses: Vec<String>,
    /// What it counts.
    pub metrics: Metrics,
    /// How often each device may call.
    pub rates: Rates,
    /// What is live in the store, kept between two changes.
    pub live: Live,
    /// What its pages keep.
    pub dashboard: Dashboard,
    /// The second in which the database was last seen to take a write.
    pub probed: AtomicI64,
    /// The second in which what a device said found no room in it last.
    pub no_room: AtomicI64,
    /// How many long polls look at once: when a whole fleet is woken, heartbeats still find a connection to the database.
    pub looks: Semaphore,
    /// How many devices that waited are told of a change at once.
    pub told: Arc<Semaphore>,
    authorities: RwLock<Arc<Authorities>>,
    /// Told when `authorities` are others.
    pub rotated: Notify,
    folder: Folder,
    /// Devices that were asked to renew early within this second: the second, and how many.
    early: (AtomicI64, AtomicI64),
    challenges: hmac::Key,
    changed: watch::Sender<u64>,
    /// The last change that concerns some devices alone, and which.
    only: Mutex<Option<(u64, Arc<HashSet<String>>)>>,
}

/// Makes a hub in an empty directory: its authority, keys, database and first API token.
pub async fn init(place: &Place, addresses: &[String], clock: &Clock) -> Result<Made, OpenError> {
    if let Some(database) = &place.database {
        // Before anything is written: the folder of a hub that is there lies elsewhere.
        let free = Store::is_free(database)
            .await
            .and_then(|free| if free { Ok(()) } else { Err(StoreError::Taken) });
        free.map_err(of_store(database))?;
    }
    let dir = Dir::create(&place.data)?;
    let now = clock.now();
    let authority = ca::make(now)?;
    dir.write_secret("ca.key", authority.key.as_bytes())?;
    dir.write_public("ca.pem", authority.certificate.as_bytes())?;
    let ca = Ca::open(&authority.certificate, &authority.key, 1)?;
    let server = ca.server(&names::of(addresses), now)?;
    dir.write_secret("server.key", server.key.as_bytes())?;
    dir.write_public("server.pem", server.certificate.as_bytes())?;
    let (freshness, _) = new_voice().map_err(|reason| OpenError::Malformed {
        path: "freshness.key".to_owned(),
        reason,
    })?;
    keyfile::write_secret(&dir.file("freshness.key"), &freshness)?;
    keyfile::write_public(&dir.file("freshness.key.pub"), &(&freshness).into())?;
    dir.write_secret("challenge.key", random::hex(32).as_bytes())?;
    let token = api_token::ApiToken::new(ca.fingerprint());
    dir.write_secret("admin.token", format!("{}\n", *token.line()).as_bytes())?;
    let database = place.database(&dir)?;
    match &database {
        Database::File(_) => dir.write_secret("hub.db", b"")?,
        // So that every later command finds it.
        Database::Postgres(url) => dir.write_secret(dir::DATABASE_URL, format!("{}\n", **url).as_bytes())?,
    }
    let store = Store::create(&database).await.map_err(of_store(&database))?;
    let filled = async {
        let mut tx = store.write().await?;
        store::set_meta(&mut tx, OWN_CA, &ca.fingerprint().to_string()).await?;
        store::tenants::add(&mut tx, DEFAULT_TENANT, now).await?;
        let by = crate::actor::local();
        let first = store::api_tokens::ApiTokenRow::first(now, by.clone());
        store::api_tokens::add(&mut tx, &first, &token.hash()).await?;
        let act = store::audit::Act {
            actor: &by,
            tenant: None,
            action: "hub.init",
            subject: &ca.fingerprint().to_string(),
            detail: serde_json::json!({ "addresses": addresses }),
        };
        store::audit::append(&mut tx, &act, now).await?;
        tx.commit().await?;
        Ok(())
    };
    filled.await.map_err(of_store(&database))?;
    store.close().await;
    // Last: a directory without it holds no hub.
    dir.write_settings(addresses)?;
    Ok(Made {
        data: dir.path().display().to_string(),
        addresses: addresses.to_vec(),
        ca: ca.fingerprint().to_string(),
        freshness: dir.file("freshness.key.pub").display().to_string(),
        admin_token: dir.file("admin.token").display().to_string(),
        tenant: DEFAULT_TENANT.to_owned(),
    })
}

/// A new freshness key, and its seed in hex.
pub fn new_voice() -> Result<(SecretKey, zeroize::Zeroizing<String>), String> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    random::fill(&mut *seed);
    let key = SecretKey::from_bytes(&seed);
    let id = format!("hub-{}", &key.id().as_str()[..8]);
    let id = KeyId::new(id).map_err(|broken| broken.to_string())?;
    let key = key.with_id(id).with_comment(Some("the hub's freshness key".to_owned()));
    let seed = zeroize::Zeroizing::new(seed.iter().map(|b| format!("{b:02x}")).collect());
    Ok((key, seed))
}

fn of_store(database: &Database) -> impl Fn(StoreError) -> OpenError {
    let path = database.to_string();
    move |source| OpenError::Store {
        path: path.clone(),
        source,
    }
}

impl Hub {
    /// Opens a hub.
    pub async fn open(place: &Place, clock: Clock) -> Result<Arc<Self>, OpenError> {
        let dir = Dir::open(&place.data, place.database.is_some())?;
        let settings = dir.settings()?;
        let certificate = dir.read("ca.pem")?;
        let fingerprint = ca::fingerprint(&certificate).ok_or_else(|| OpenError::Malformed {
            path: dir.file("ca.pem").display().to_string(),
            reason: "no PEM certificate in it".to_owned(),
        })?;
        // Once it was rotated out, it is gone.
        let freshness = dir.file("freshness.key");
        let freshness = freshness
            .exists()
            .then(|| keyfile::read_secret(&freshness))
            .transpose()?;
        let folder = Folder { certificate, freshness };
        let database = place.database(&dir)?;
        let store = Store::open(&database).await.map_err(of_store(&database))?;
        let found = async { store::meta(&mut *store.read().await?, OWN_CA).await };
        let found = found.await.map_err(of_store(&database))?.unwrap_or_default();
        // The first CA says whose folder it is, for ever.
        if found != fingerprint.to_string() {
            return Err(OpenError::OtherHub {
                database: database.to_string(),
                found,
                own: fingerprint.to_string(),
            });
        }
        let mut conn = store.read().await.map_err(of_store(&database))?;
        let challenges = rotation::folder::key(&rotation::folder::settled(&dir, &mut conn).await?);
        let seal = Seal::of(&challenges);
        let authorities = Authorities::read(&mut conn, &dir, &folder, &seal).await?;
        drop(conn);
        let hub = Self {
            seal,
            authorities: RwLock::new(Arc::new(authorities)),
            folder,
            early: (AtomicI64::new(0), AtomicI64::new(0)),
            clock,
            addresses: settings.addresses,
            metrics: Metrics::default(),
            rates: Rates::default(),
            live: Live::default(),
            dashboard: Dashboard::default(),
            probed: AtomicI64::new(0),
            no_room: AtomicI64::new(0),
            looks: Semaphore::new(LOOKS),
            told: Arc::new(Semaphore::new(TOLD)),
            challenges,
            changed: watch::Sender::new(0),
            rotated: Notify::new(),
            only: Mutex::default(),
            dir,
            store,
        };
        hub.drop_keys();
        Ok(Arc::new(hub))
    }

    /// Its CAs and freshness keys as they stand.
    pub fn authorities(&self) -> Arc<Authorities> {
        self.authorities.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the folder has, from `init` on.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Reads CAs and freshness keys anew where some hub has changed them.
    async fn reread(&self, conn: &mut store::Conn) -> Done<()> {
        if store::authorities::revision(conn).await? == self.authorities().revision {
            return Ok(());
        }
        let read = Authorities::read(conn, &self.dir, &self.folder, &self.seal).await;
        let read = read.map_err(|error| Fault::inside(error.to_string()))?;
        *self.authorities.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
        self.drop_keys();
        self.rotated.notify_one();
        Ok(())
    }

    /// Keys of the folder that are rotated out go, on every hub.
    fn drop_keys(&self) {
        let now = self.authorities();
        let voice = self.folder.freshness.as_ref();
        let voice_is_gone = voice.is_some_and(|own| !now.voices().iter().any(|key| key.id() == own.id()));
        for (file, gone) in [("ca.key", now.first_is_gone()), ("freshness.key", voice_is_gone)] {
            if !gone || !self.dir.file(file).exists() {
                continue;
            }
            match std::fs::remove_file(self.dir.file(file)) {
                Ok(()) => tracing::info!(file, "a key that is rotated out was removed from the folder"),
                Err(error) => tracing::warn!(file, cause = error.to_string(), "a key that is rotated out stays"),
            }
        }
    }

    /// Whether one more device may be asked to renew early in this second: a fleet does not come all at once.
    pub fn may_renew_early(&self) -> bool {
        let now = self.clock.now();
        if self.early.0.swap(now, Ordering::Relaxed) != now {
            self.early.1.store(0, Ordering::Relaxed);
        }
        self.early.1.fetch_add(1, Ordering::Relaxed) < EARLY
    }

    /// What may change an offer has changed: whoever waits looks again.
    pub fn wake(&self, generation: u64) {
        self.changed.send_if_modified(|seen| {
            let newer = *seen < generation;
            *seen = generation.max(*seen);
            newer
        });
    }

    /// The same where only these devices have to look: the others go on waiting.
    pub fn wake_only(&self, generation: u64, devices: HashSet<String>) {
        *self.only.lock().unwrap_or_else(PoisonError::into_inner) = Some((generation, Arc::new(devices)));
        self.wake(generation);
    }

    /// Whether nothing between these two generations concerns a device. In doubt it does.
    pub fn is_spared(&self, device: &str, before: u64, after: u64) -> bool {
        let only = self.only.lock().unwrap_or_else(PoisonError::into_inner).clone();
        only.is_some_and(|(generation, devices)| {
            after == before + 1 && generation == after && !devices.contains(device)
        })
    }

    /// Wakes who waits, after a change that some hub on this database committed.
    pub async fn changed(&self) -> Done<()> {
        let mut conn = self.store.read().await?;
        self.reread(&mut conn).await?;
        // In this order: what is read of the devices is then of that generation, or of none that was asked for.
        let generation = store::generation(&mut conn).await?;
        match store::concerned(&mut conn).await? {
            Some((of, devices)) if of == generation => self.wake_only(generation, devices),
            _ => self.wake(generation),
        }
        Ok(())
    }

    /// Where a change is heard.
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How many wait for a change now.
    pub fn waiting(&self) -> usize {
        self.changed.receiver_count()
    }

    /// What a device signs to show that it is there now: good for some minutes, for this device alone, on every hub that
    /// has the same key. Nothing is kept for it.
    pub fn challenge(&self, device: &str) -> String {
        let time = self.clock.now();
        format!("{time:x}-{}", self.stamp(device, time))
    }

    /// Whether this hub gave that challenge to that device, not long ago.
    pub fn is_own_challenge(&self, device: &str, challenge: &str) -> bool {
        const GOOD_FOR: i64 = 600;
        let Some((time, stamp)) = challenge.split_once('-') else {
            return false;
        };
        let Ok(time) = i64::from_str_radix(time, 16) else {
            return false;
        };
        let age = self.clock.now().saturating_sub(time);
        let Ok(stamp) = unhex(stamp) else {
            return false;
        };
        (0..=GOOD_FOR).contains(&age) && hmac::verify(&self.challenges, &message(device, time), &stamp).is_ok()
    }

    /// What the forms of a session carry, made of its secret and of the hub's own: no other site can know it.
    pub fn guard(&self, secret: &str) -> String {
        let tag = hmac::sign(&self.challenges, format!("jos form guard\n{secret}").as_bytes());
        tag.as_ref().iter().map(|b| format!("{b:02x}")).collect()
    }

    fn stamp(&self, device: &str, time: i64) -> String {
        let tag = hmac::sign(&self.challenges, &message(device, time));
        tag.as_ref().iter().map(|b| format!("{b:02x}")).collect()
    }
}

fn message(device: &str, time: i64) -> Vec<u8> {
    format!("jos renewal challenge\n{device}\n{time}").into_bytes()
}

fn unhex(text: &str) -> Result<Vec<u8>, ()> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return Err(());
    }
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(drop))
        .collect()
}
