//! Webhook keys.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::audit::{Actor, Object, from_to, note};
use crate::keys::{Key, store};
use crate::platform::clock::Clock;
use crate::platform::password::{HashError, SlowHash};
use crate::platform::token::{Scheme, Token};
use crate::streams::Stream;

/// A key that is not stored yet.
pub struct NewKey {
    /// As it is listed.
    pub key: Key,
    /// The secret, to be shown once.
    pub token: Token,
    /// What is stored of it.
    pub hash: String,
}

/// A new key; hashing takes its time, and needs no connection.
pub async fn new_key(
    stream: &Stream,
    name: String,
    rate_limit: i32,
    expires_at: Option<DateTime<Utc>>,
    hash: &SlowHash,
    clock: &Clock,
) -> Result<NewKey, HashError> {
    let token = Token::generate(Scheme::Webhook);
    let hash = hash.hash(token.expose().to_owned()).await?;
    let key = Key {
        key_id: clock.new_id(),
        property_id: stream.property_id,
        attribution_id: stream.attribution_id,
        name,
        prefix: token.prefix().to_owned(),
        rate_limit,
        created_at: clock.now(),
        expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    Ok(NewKey { key, token, hash })
}

/// Stores a new key.
pub async fn create_key(
    conn: &mut PgConnection,
    actor: &Actor,
    new: &NewKey,
    clock: &Clock,
) -> Result<(), sqlx::Error> {
    let mut transaction = conn.begin().await?;
    store::insert(&mut transaction, &new.key, &new.hash).await?;
    let change = json!({ "prefix": new.key.prefix, "rate_limit": new.key.rate_limit, "expires_at": new.key.expires_at });
    note(
        &mut transaction,
        actor,
        &object(&new.key),
        "created",
        Some(change),
        clock,
    )
    .await?;
    transaction.commit().await
}

/// Revokes a key; the first revocation's time stands. None when there is no such key.
pub async fn revoke_key(
    conn: &mut PgConnection,
    actor: &Actor,
    property_id: Uuid,
    key_id: Uuid,
    clock: &Clock,
) -> Result<Option<Key>, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let Some(before) = store::lock(&mut transaction, property_id, key_id).await? else {
        return Ok(None);
    };
    if before.revoked_at.is_some() {
        return Ok(Some(before));
    }
    let after = store::revoke(&mut transaction, property_id, key_id, clock.now()).await?;
    note(&mut transaction, actor, &object(&before), "revoked", None, clock).await?;
    transaction.commit().await?;
    Ok(after)
}

/// Sets a key's limit. None when there is no such key.
pub async fn set_rate_limit(
    conn: &mut PgConnection,
    actor: &Actor,
    property_id: Uuid,
    key_id: Uuid,
    per_minute: i32,
    clock: &Clock,
) -> Result<Option<Key>, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let Some(before) = store::lock(&mut transaction, property_id, key_id).await? else {
        return Ok(None);
    };
    if before.rate_limit == per_minute {
        return Ok(Some(before));
    }
    let after = store::set_rate_limit(&mut transaction, property_id, key_id, per_minute).await?;
    let change = from_to(before.rate_limit, per_minute);
    note(
        &mut transaction,
        actor,
        &object(&before),
        "rate_limit_changed",
        change,
        clock,
    )
    .await?;
    transaction.commit().await?;
    Ok(after)
}

fn object(key: &Key) -> Object<'_> {
    Object {
        property_id: key.property_id,
        kind: "webhook_key",
        id: key.key_id,
        name: &key.name,
    }
}
