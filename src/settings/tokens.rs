//! Tokens of the admin API.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::users::MAKES_TOKENS;
use crate::audit::{Actor, Object, note};
use crate::platform::clock::Clock;
use crate::platform::token::{Scheme, Token};
use crate::tokens::{ApiToken, Scope, hash, store};
use crate::users;

/// A token that is to be made.
#[derive(Debug)]
pub struct NewToken {
    /// Its id: whoever asks twice under one id has one token.
    pub token_id: Uuid,
    /// The one property that it opens.
    pub property_id: Uuid,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// When it stops working by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// The user who makes it, where it is one: it ends with that user's right to make any.
    pub user_id: Option<Uuid>,
}

/// Why a token was not made.
#[derive(Debug)]
pub enum TokenNotMade {
    /// It was made before: its secret was shown then.
    Before,
    /// The user is one no more, or may make none any more.
    NoRight,
    /// The database.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for TokenNotMade {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Makes a token: as it is listed, and the secret, to be shown once.
pub async fn create_token(
    conn: &mut PgConnection,
    actor: &Actor,
    new: NewToken,
    clock: &Clock,
) -> Result<(ApiToken, Token), TokenNotMade> {
    let secret = Token::generate(Scheme::Api);
    let token = ApiToken {
        token_id: new.token_id,
        property_id: new.property_id,
        name: new.name,
        prefix: secret.prefix().to_owned(),
        scope: new.scope,
        created_at: clock.now(),
        created_by: actor.name().to_owned(),
        expires_at: new.expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    let mut transaction = conn.begin().await?;
    if let Some(user_id) = new.user_id {
        let role = users::store::hold_role(&mut transaction, user_id).await?;
        if role.is_none_or(|role| role < MAKES_TOKENS) {
            return Err(TokenNotMade::NoRight);
        }
    }
    if !store::insert(&mut transaction, &token, &hash(&secret), new.user_id).await? {
        return Err(TokenNotMade::Before);
    }
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

/// Revokes what a user made, in every property, in the transaction that takes the right away.
pub(super) async fn revoke_tokens_of(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    clock: &Clock,
) -> Result<(), sqlx::Error> {
    for token in store::revoke_of_user(conn, user_id, clock.now()).await? {
        note(conn, actor, &object(&token), "revoked", None, clock).await?;
    }
    Ok(())
}

fn object(token: &ApiToken) -> Object<'_> {
    Object {
        property_id: token.property_id,
        kind: "api_token",
        id: token.token_id,
        name: &token.name,
    }
}
