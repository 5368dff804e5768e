//! Tokens of the admin API.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::audit::{Actor, Object, note};
use crate::platform::clock::Clock;
use crate::platform::token::{Scheme, Token};
use crate::tokens::{ApiToken, Scope, hash, store};

/// Makes a token: as it is listed, and the secret, to be shown once.
pub async fn create_token(
    conn: &mut PgConnection,
    actor: &Actor,
    property_id: Uuid,
    name: String,
    scope: Scope,
    expires_at: Option<DateTime<Utc>>,
    clock: &Clock,
) -> Result<(ApiToken, Token), sqlx::Error> {
    let secret = Token::generate(Scheme::Api);
    let token = ApiToken {
        token_id: clock.new_id(),
        property_id,
        name,
        prefix: secret.prefix().to_owned(),
        scope,
        created_at: clock.now(),
        expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    let mut transaction = conn.begin().await?;
    store::insert(&mut transaction, &token, &hash(&secret)).await?;
    let change = json!({ "prefix": token.prefix, "scope": token.scope, "expires_at": token.expires_at });
    note(
        &mut transaction,
        actor,
        &object(&token),
        "created",
        Some(change),
        clock,
    )
    .await?;
    transaction.commit().await?;
    Ok((token, secret))
}

/// Revokes a token; the first revocation's time stands. None when there is no such token.
pub async fn revoke_token(
    conn: &mut PgConnection,
    actor: &Actor,
    property_id: Uuid,
    token_id: Uuid,
    clock: &Clock,
) -> Result<Option<ApiToken>, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let Some(mut token) = store::lock(&mut transaction, property_id, token_id).await? else {
        return Ok(None);
    };
    if token.revoked_at.is_some() {
        return Ok(Some(token));
    }
    let now = clock.now();
    store::revoke(&mut transaction, property_id, token_id, now).await?;
    note(&mut transaction, actor, &object(&token), "revoked", None, clock).await?;
    transaction.commit().await?;
    token.revoked_at = Some(now);
    Ok(Some(token))
}

fn object(token: &ApiToken) -> Object<'_> {
    Object {
        property_id: token.property_id,
        kind: "api_token",
        id: token.token_id,
        name: &token.name,
    }
}
