//! The tables. Times are seconds since 1970; lists and maps are JSON; secrets are held as their SHA-256.

use super::database::{CHANNEL, Database};

/// Rises when the tables change. A program opens its own, and brings older ones that it has the steps for up to it.
pub(super) const FORMAT: u32 = 7;
/// The format that [`TABLES`] makes; the steps lead on from there.
const FIRST: u32 = 3;

/// What makes the tables, in order. A new database goes the way that an old one goes.
pub(super) fn statements(database: &Database) -> Vec<String> {
    let mut all = worded(TABLES, database);
    match database {
        Database::File(_) => all.extend(OF_SQLITE.iter().map(|&text| text.to_owned())),
        Database::Postgres(_) => all.extend(OF_POSTGRES.iter().map(|text| text.replace("CHANNEL", CHANNEL))),
    }
    all.extend(steps(FIRST, database).unwrap_or_default());
    all
}

/// The tables as the earliest format that is opened had them.
#[cfg(test)]
pub(super) fn earliest(database: &Database) -> (u32, Vec<String>) {
    (FIRST, worded(TABLES, database))
}

/// What brings a database of the format `from` up to ours; none where there is no way.
pub(super) fn steps(from: u32, database: &Database) -> Option<Vec<String>> {
    let at = usize::try_from(from.checked_sub(FIRST)?).ok()?;
    let steps = STEPS.get(at..)?;
    Some(steps.iter().flat_map(|step| worded(step, database)).collect())
}

fn worded(statements: &[&str], database: &Database) -> Vec<String> {
    let worded = |text: &&str| match database {
        Database::File(_) => (*text).to_owned(),
        // Ids and names are compared by their bytes, as SQLite does and as this program does.
        Database::Postgres(_) => text.replace(" TEXT", " TEXT COLLATE \"C\"").replace(" BLOB", " BYTEA"),
    };
    statements.iter().map(worded).collect()
}

/// What was done stays written, also for whoever holds this connection.
const OF_SQLITE: &[&str] = &[
    "CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
    "CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
];

/// The same; and every hub is told of a new generation when the transaction that made it is committed.
const OF_POSTGRES: &[&str] = &[
    "CREATE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$",
    "CREATE TRIGGER audit_is_not_changed BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_stays()",
    "CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_stays()",
    "CREATE FUNCTION generation_is_told() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN PERFORM pg_notify('CHANNEL', NEW.value); RETURN NULL; END $$",
    "CREATE TRIGGER generation_is_told AFTER UPDATE ON meta FOR EACH ROW WHEN (NEW.key = 'generation') \
     EXECUTE FUNCTION generation_is_told()",
];

const TABLES: &[&str] = &[
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE tenants (name TEXT PRIMARY KEY, created BIGINT NOT NULL)",
    "CREATE TABLE api_tokens (id TEXT PRIMARY KEY, secret TEXT NOT NULL UNIQUE, comment TEXT NOT NULL, created BIGINT NOT NULL, \
     revoked BIGINT)",
    "CREATE TABLE tokens (id TEXT PRIMARY KEY, tenant TEXT NOT NULL REFERENCES tenants (name), secret TEXT NOT NULL UNIQUE, \
     labels TEXT NOT NULL, comment TEXT NOT NULL, uses BIGINT NOT NULL, used BIGINT NOT NULL, expires BIGINT NOT NULL, \
     created BIGINT NOT NULL, created_by TEXT NOT NULL, revoked BIGINT)",
    "CREATE TABLE devices (id TEXT PRIMARY KEY, tenant TEXT NOT NULL REFERENCES tenants (name), token TEXT NOT NULL, \
     tls TEXT NOT NULL UNIQUE, ledger TEXT NOT NULL UNIQUE, encryption TEXT, labels TEXT NOT NULL, facts TEXT NOT NULL, \
     status TEXT NOT NULL, reason TEXT, enrolled BIGINT NOT NULL, serial TEXT NOT NULL, serial_used BIGINT NOT NULL, \
     serial_before TEXT, not_after BIGINT NOT NULL, last_seen BIGINT, address TEXT, held TEXT)",
    "CREATE INDEX devices_by_tenant ON devices (tenant, id)",
    "CREATE TABLE agents (device TEXT NOT NULL REFERENCES devices (id), name TEXT NOT NULL, session TEXT NOT NULL, \
     sessions TEXT NOT NULL, program TEXT NOT NULL, features TEXT NOT NULL, version BIGINT, outcome TEXT, head_index BIGINT, \
     head_hash TEXT, floor BIGINT NOT NULL, telemetry TEXT NOT NULL, slot TEXT NOT NULL, seen BIGINT NOT NULL, PRIMARY KEY (device, name))",
    "CREATE TABLE heads (device TEXT NOT NULL, name TEXT NOT NULL, position BIGINT NOT NULL, hash TEXT NOT NULL, \
     seen BIGINT NOT NULL, PRIMARY KEY (device, name, position))",
    "CREATE TABLE reports (device TEXT NOT NULL, name TEXT NOT NULL, position BIGINT NOT NULL, hash TEXT NOT NULL, \
     version BIGINT NOT NULL, outcome TEXT NOT NULL, device_time TEXT NOT NULL, reason TEXT, changed BIGINT NOT NULL, \
     received BIGINT NOT NULL, PRIMARY KEY (device, name, position, hash))",
    "CREATE INDEX reports_by_version ON reports (name, version)",
    "CREATE TABLE trusts (tenant TEXT NOT NULL REFERENCES tenants (name), version BIGINT NOT NULL, content TEXT NOT NULL, \
     bytes BLOB NOT NULL, added BIGINT NOT NULL, PRIMARY KEY (tenant, version))",
    "CREATE TABLE counters (tenant TEXT NOT NULL, name TEXT NOT NULL, floor BIGINT NOT NULL, content TEXT, \
     PRIMARY KEY (tenant, name))",
    "CREATE TABLE states (tenant TEXT NOT NULL REFERENCES tenants (name), name TEXT NOT NULL, version BIGINT NOT NULL, \
     content TEXT NOT NULL, sha256 TEXT NOT NULL, bytes BLOB NOT NULL, signers TEXT NOT NULL, audience TEXT NOT NULL, \
     requires TEXT NOT NULL, expires BIGINT NOT NULL, pushed BIGINT NOT NULL, pushed_by TEXT NOT NULL, retired BIGINT, \
     retired_why TEXT, rollout TEXT, PRIMARY KEY (tenant, name, version, content))",
    "CREATE TABLE rollouts (id TEXT PRIMARY KEY, tenant TEXT NOT NULL REFERENCES tenants (name), name TEXT NOT NULL, \
     version BIGINT NOT NULL, plan TEXT NOT NULL, status TEXT NOT NULL, pace TEXT NOT NULL, why TEXT, revision BIGINT NOT NULL, \
     created BIGINT NOT NULL, created_by TEXT NOT NULL, approved_by TEXT, ended BIGINT)",
    "CREATE INDEX rollouts_by_version ON rollouts (tenant, name, version)",
    "CREATE TABLE rollout_devices (rollout TEXT NOT NULL REFERENCES rollouts (id), device TEXT NOT NULL, phase BIGINT NOT NULL, \
     let_in BIGINT NOT NULL, offered BIGINT, outcome TEXT, settled BIGINT, reason TEXT, PRIMARY KEY (rollout, device))",
    "CREATE TABLE history (device TEXT NOT NULL, name TEXT NOT NULL, step BIGINT NOT NULL, start BIGINT NOT NULL, \
     metrics TEXT NOT NULL, PRIMARY KEY (device, name, step, start))",
    "CREATE INDEX history_by_age ON history (step, start)",
    "CREATE TABLE blobs (tenant TEXT NOT NULL REFERENCES tenants (name), sha256 TEXT NOT NULL, size BIGINT NOT NULL, \
     added BIGINT NOT NULL, PRIMARY KEY (tenant, sha256))",
    "CREATE TABLE chunks (sha256 TEXT NOT NULL, number BIGINT NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (sha256, number))",
    "CREATE TABLE alarms (tenant TEXT NOT NULL, device TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, \
     detail TEXT NOT NULL, first BIGINT NOT NULL, latest BIGINT NOT NULL, times BIGINT NOT NULL, cleared BIGINT, \
     PRIMARY KEY (device, kind, name))",
    "CREATE TABLE audit (number BIGINT PRIMARY KEY, time BIGINT NOT NULL, actor TEXT NOT NULL, tenant TEXT, action TEXT NOT NULL, \
     subject TEXT NOT NULL, detail TEXT NOT NULL, hash TEXT NOT NULL)",
    "CREATE TABLE users (name TEXT PRIMARY KEY, password TEXT NOT NULL, created BIGINT NOT NULL, created_by TEXT NOT NULL, \
     signed_in BIGINT)",
    "CREATE TABLE roles (name TEXT NOT NULL REFERENCES users (name), tenant TEXT NOT NULL, role TEXT NOT NULL, \
     PRIMARY KEY (name, tenant))",
    "CREATE TABLE sessions (secret TEXT PRIMARY KEY, name TEXT NOT NULL REFERENCES users (name), began BIGINT NOT NULL, \
     seen BIGINT NOT NULL)",
];

/// From each format to the next one, [`FIRST`] on.
const STEPS: &[&[&str]] = &[
    // 4: CAs that follow one another, and freshness keys that do.
    &[
        "CREATE TABLE authorities (number BIGINT PRIMARY KEY, certificate TEXT NOT NULL, secret TEXT, vouched TEXT, \
         standing TEXT NOT NULL, made BIGINT NOT NULL)",
        "CREATE TABLE hub_cas (tenant TEXT NOT NULL REFERENCES tenants (name), number BIGINT NOT NULL, content TEXT NOT NULL, \
         bytes BLOB NOT NULL, added BIGINT NOT NULL, PRIMARY KEY (tenant, number))",
        "CREATE TABLE voices (id TEXT PRIMARY KEY, secret TEXT, made BIGINT NOT NULL)",
        "ALTER TABLE devices ADD COLUMN hub_ca BIGINT NOT NULL DEFAULT 1",
        "ALTER TABLE devices ADD COLUMN issuer BIGINT NOT NULL DEFAULT 1",
    ],
    // 5: what people ask of devices, and what those answer.
    &[
        "CREATE TABLE questions (id TEXT PRIMARY KEY, device TEXT NOT NULL REFERENCES devices (id), name TEXT NOT NULL, \
         about TEXT NOT NULL, most BIGINT, path TEXT, asked BIGINT NOT NULL, asked_by TEXT NOT NULL, expires BIGINT NOT NULL, \
         answered BIGINT, answer TEXT)",
        "CREATE INDEX questions_by_device ON questions (device, asked)",
    ],
    // 6: what devices measured while no hub was there.
    &[
        "ALTER TABLE agents ADD COLUMN batches TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE agents ADD COLUMN figures_lost BIGINT NOT NULL DEFAULT 0",
    ],
    // 7: API tokens of people, that end and may not do everything. Those of before may, and are nobody's.
    &[
        "ALTER TABLE api_tokens ADD COLUMN owner TEXT",
        "ALTER TABLE api_tokens ADD COLUMN role TEXT NOT NULL DEFAULT 'admin'",
        "ALTER TABLE api_tokens ADD COLUMN tenant TEXT NOT NULL DEFAULT '*'",
        "ALTER TABLE api_tokens ADD COLUMN expires BIGINT",
        "ALTER TABLE api_tokens ADD COLUMN created_by TEXT NOT NULL DEFAULT 'hub'",
    ],
];
