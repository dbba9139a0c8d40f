use super::*;
use crate::store::users::Role;
use crate::store::{api_tokens, authorities, devices, questions};

/// A database as a hub of an earlier format left it, with a device in it.
async fn earlier(database: &Database, format: &str) {
    let store = Store::connect(database).await.expect("a connection");
    let mut tx = store.write().await.expect("a transaction");
    let device = "INSERT INTO devices (id, tenant, token, tls, ledger, labels, facts, status, enrolled, serial, serial_used, not_after) \
                  VALUES ('d-1', 'default', 't-1', 'k', 'l', '{}', '{}', 'active', 1, 's', 0, 2)";
    let tenant = "INSERT INTO tenants (name, created) VALUES ('default', 1)";
    let token = "INSERT INTO api_tokens (id, secret, comment, created) VALUES ('admin', 'h', 'made by init', 1)";
    let (_, tables) = schema::earliest(database);
    for statement in tables.into_iter().chain([tenant, device, token].map(str::to_owned)) {
        (&mut *tx).execute(fixed(statement)).await.expect("a statement");
    }
    set_meta(&mut tx, "format", format).await.expect("a setting");
    tx.commit().await.expect("a commit");
    store.close().await;
}

#[tokio::test]
async fn a_database_of_an_earlier_format_is_brought_up_with_what_is_in_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("hub.db");
    std::fs::write(&path, b"").expect("a file");
    is_brought_up(&Database::File(path)).await;
    if jos_tests::postgres::is_wanted() {
        let cluster = jos_tests::postgres::Database::fresh();
        is_brought_up(&Database::of_url(&cluster.url()).expect("a URL")).await;
    }
}

async fn is_brought_up(database: &Database) {
    let (first, _) = schema::earliest(database);
    earlier(database, &first.to_string()).await;
    for _ in 0..2 {
        let store = Store::open(database).await.expect("it is brought up, once");
        let mut conn = store.read().await.expect("a connection");
        let format = meta(&mut conn, "format").await.expect("a setting");
        assert_eq!(format, Some(schema::FORMAT.to_string()));
        let device = devices::by_id(&mut conn, "d-1")
            .await
            .expect("a device")
            .expect("it is there");
        assert_eq!((device.hub_ca, device.issuer), (1, 1));
        assert!(authorities::all(&mut conn).await.expect("a table").is_empty());
        assert!(questions::list(&mut conn, "d-1").await.expect("a table").is_empty());
        // A token of before may do what it might before.
        let token = api_tokens::by_secret(&mut conn, "h").await.expect("a table");
        let token = token.expect("it is there");
        assert_eq!(
            (token.role, &*token.tenant, token.user, token.expires),
            (Role::Admin, "*", None, None)
        );
        drop(conn);
        store.close().await;
    }
}

#[tokio::test]
async fn a_database_of_another_hubs_format_is_refused_by_its_number() {
    for (format, found) in [("2", "2"), ("99", "99"), ("none", "none")] {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("hub.db");
        std::fs::write(&path, b"").expect("a file");
        let database = Database::File(path);
        earlier(&database, format).await;
        let refused = Store::open(&database).await.expect_err("it is not ours");
        assert!(
            matches!(&refused, StoreError::Format { found: is, .. } if is == found),
            "{refused}"
        );
    }
}
