//! Users, who are the installation's.

use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::audit::{Actor, INSTALLATION, Object, from_to, note};
use crate::platform::clock::Clock;
use crate::users::sign_ins::Token;
use crate::users::{Role, User, sign_ins, store};

/// How long an invitation holds.
const INVITED_FOR: chrono::TimeDelta = chrono::TimeDelta::hours(72);

/// Why a user was not changed.
#[derive(Debug)]
pub enum NotChanged {
    /// It is the only owner.
    LastOwner,
    /// There is no such user.
    Unknown,
    /// The database.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for NotChanged {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Makes a user; false when the address has one already.
pub async fn create_user(
    conn: &mut PgConnection,
    actor: &Actor,
    user: &User,
    password_hash: Option<&str>,
    clock: &Clock,
) -> Result<bool, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    if !store::insert(&mut transaction, user, password_hash).await? {
        return Ok(false);
    }
    let verb = if user.invited { "invited" } else { "created" };
    let change = json!({ "role": user.role });
    note(&mut transaction, actor, &object(user), verb, Some(change), clock).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Gives a user a link to set a password by, in place of earlier ones; its token.
pub async fn invite_user(
    conn: &mut PgConnection,
    actor: &Actor,
    user: &User,
    clock: &Clock,
) -> Result<Token, sqlx::Error> {
    let (token, now) = (Token::generate(), clock.now());
    let mut transaction = conn.begin().await?;
    store::invite(
        &mut transaction,
        user.user_id,
        &token.hash(),
        now,
        now + INVITED_FOR,
    )
    .await?;
    note(&mut transaction, actor, &object(user), "link_made", None, clock).await?;
    transaction.commit().await?;
    Ok(token)
}

/// Sets the first password by an invitation; none when it is not in force, or was used.
pub async fn accept_invitation(
    conn: &mut PgConnection,
    token: &Token,
    password_hash: &str,
    clock: &Clock,
) -> Result<Option<User>, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let Some(user) = store::invited(&mut transaction, &token.hash(), clock.now()).await? else {
        return Ok(None);
    };
    if !store::use_up(&mut transaction, &token.hash()).await? {
        return Ok(None);
    }
    store::set_password(&mut transaction, user.user_id, password_hash).await?;
    sign_ins::store::end_all(&mut transaction, user.user_id, None).await?;
    let actor = Actor::User(user.email.clone());
    note(
        &mut transaction,
        &actor,
        &object(&user),
        "password_set",
        None,
        clock,
    )
    .await?;
    transaction.commit().await?;
    Ok(Some(user))
}

/// Sets a user's own password, and signs the user out everywhere but here.
pub async fn set_password(
    conn: &mut PgConnection,
    user: &User,
    password_hash: &str,
    here: &Token,
    clock: &Clock,
) -> Result<(), sqlx::Error> {
    let mut transaction = conn.begin().await?;
    store::set_password(&mut transaction, user.user_id, password_hash).await?;
    sign_ins::store::end_all(&mut transaction, user.user_id, Some(&here.hash())).await?;
    let actor = Actor::User(user.email.clone());
    note(
        &mut transaction,
        &actor,
        &object(user),
        "password_changed",
        None,
        clock,
    )
    .await?;
    transaction.commit().await
}

/// Ends all sign-ins of a user.
pub async fn sign_out_everywhere(
    conn: &mut PgConnection,
    user: &User,
    clock: &Clock,
) -> Result<(), sqlx::Error> {
    let mut transaction = conn.begin().await?;
    sign_ins::store::end_all(&mut transaction, user.user_id, None).await?;
    let actor = Actor::User(user.email.clone());
    note(
        &mut transaction,
        &actor,
        &object(user),
        "signed_out_everywhere",
        None,
        clock,
    )
    .await?;
    transaction.commit().await
}

/// Sets a user's role; who may do less has to sign in again.
pub async fn set_role(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    role: Role,
    clock: &Clock,
) -> Result<User, NotChanged> {
    let mut transaction = conn.begin().await?;
    let owners = store::lock_owners(&mut transaction).await?;
    let before = store::find(&mut transaction, user_id).await?;
    let before = before.ok_or(NotChanged::Unknown)?;
    if before.role == role {
        return Ok(before);
    }
    if owners == [user_id] {
        return Err(NotChanged::LastOwner);
    }
    store::set_role(&mut transaction, user_id, role).await?;
    if role < before.role {
        sign_ins::store::end_all(&mut transaction, user_id, None).await?;
    }
    let change = from_to(before.role.as_str(), role.as_str());
    note(
        &mut transaction,
        actor,
        &object(&before),
        "role_changed",
        change,
        clock,
    )
    .await?;
    transaction.commit().await?;
    Ok(User { role, ..before })
}

/// Removes a user, with all sign-ins.
pub async fn remove_user(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    clock: &Clock,
) -> Result<(), NotChanged> {
    let mut transaction = conn.begin().await?;
    let owners = store::lock_owners(&mut transaction).await?;
    let user = store::find(&mut transaction, user_id).await?;
    let user = user.ok_or(NotChanged::Unknown)?;
    if owners == [user_id] {
        return Err(NotChanged::LastOwner);
    }
    store::delete(&mut transaction, user_id).await?;
    note(&mut transaction, actor, &object(&user), "removed", None, clock).await?;
    Ok(transaction.commit().await?)
}

fn object(user: &User) -> Object<'_> {
    Object {
        property_id: INSTALLATION,
        kind: "user",
        id: user.user_id,
        name: &user.email,
    }
}
