//! `users` and `invitations`: directories, read to find out who it is.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Role, User};

struct Stored {
    user_id: Uuid,
    email: String,
    role: String,
    invited: bool,
    created_at: DateTime<Utc>,
}

impl From<Stored> for User {
    fn from(row: Stored) -> Self {
        Self {
            user_id: row.user_id,
            email: row.email,
            // What nobody wrote may do the least.
            role: row.role.parse().unwrap_or(Role::Viewer),
            invited: row.invited,
            created_at: row.created_at,
        }
    }
}

/// Stores a new user; false when the address has one already. Without a hash nobody can sign in yet.
pub async fn insert(
    conn: &mut PgConnection,
    user: &User,
    password_hash: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into users (user_id, email, role, password_hash, created_at) values ($1, $2, $3, $4, $5) on conflict do nothing",
        user.user_id,
        user.email,
        user.role.as_str(),
        password_hash,
        user.created_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Users after one of them, if one is named; oldest first.
pub async fn list(conn: &mut PgConnection, after: Option<Uuid>, most: i64) -> Result<Vec<User>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Stored,
        r#"select user_id, email, role, password_hash is null as "invited!", created_at from users
           where user_id > coalesce($1, '00000000-0000-0000-0000-000000000000'::uuid) order by user_id limit $2"#,
        after,
        most,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(User::from).collect())
}

/// One user.
pub async fn find(conn: &mut PgConnection, user_id: Uuid) -> Result<Option<User>, sqlx::Error> {
    let row = sqlx::query_as!(
        Stored,
        r#"select user_id, email, role, password_hash is null as "invited!", created_at from users where user_id = $1"#,
        user_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(User::from))
}

/// The user of an address, with the hash of the password.
pub async fn find_by_email(
    conn: &mut PgConnection,
    email: &str,
) -> Result<Option<(User, Option<String>)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select user_id, email, role, password_hash, created_at from users where lower(email) = lower($1)"#,
        email,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let stored = Stored {
            user_id: row.user_id,
            email: row.email,
            role: row.role,
            invited: row.password_hash.is_none(),
            created_at: row.created_at,
        };
        (User::from(stored), row.password_hash)
    }))
}

/// The hash of a user's password.
pub async fn password_hash(conn: &mut PgConnection, user_id: Uuid) -> Result<Option<String>, sqlx::Error> {
    let found = sqlx::query_scalar!("select password_hash from users where user_id = $1", user_id)
        .fetch_optional(conn)
        .await?;
    Ok(found.flatten())
}

/// Sets a password.
pub async fn set_password(conn: &mut PgConnection, user_id: Uuid, hash: &str) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update users set password_hash = $2 where user_id = $1",
        user_id,
        hash
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Locks the owners who can sign in: two who remove each other at once wait for one another. Who was invited, and never set a password,
/// manages nobody.
pub async fn lock_owners(conn: &mut PgConnection) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select user_id from users where role = 'owner' and password_hash is not null order by user_id for update"
    )
    .fetch_all(conn)
    .await
}

/// What a user may do, held until the end of the transaction: nobody is made less, or removed, meanwhile.
pub async fn hold_role(conn: &mut PgConnection, user_id: Uuid) -> Result<Option<Role>, sqlx::Error> {
    let role = sqlx::query_scalar!("select role from users where user_id = $1 for share", user_id)
        .fetch_optional(conn)
        .await?;
    Ok(role.map(|role| role.parse().unwrap_or(Role::Viewer)))
}

/// Sets a role.
pub async fn set_role(conn: &mut PgConnection, user_id: Uuid, role: Role) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update users set role = $2 where user_id = $1",
        user_id,
        role.as_str()
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes a user, with the sign-ins and invitations.
pub async fn delete(conn: &mut PgConnection, user_id: Uuid) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!("delete from users where user_id = $1", user_id)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Stores an invitation in place of earlier ones of the user.
pub async fn invite(
    conn: &mut PgConnection,
    user_id: Uuid,
    token_hash: &[u8],
    at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    withdraw_invitations(conn, user_id).await?;
    sqlx::query!(
        "insert into invitations (token_hash, user_id, created_at, expires_at) values ($1, $2, $3, $4)",
        token_hash,
        user_id,
        at,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Links of a user by which a password could be set: none holds any more.
pub async fn withdraw_invitations(conn: &mut PgConnection, user_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from invitations where user_id = $1", user_id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Whom an invitation in force is for.
pub async fn invited(
    conn: &mut PgConnection,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<User>, sqlx::Error> {
    let row = sqlx::query_as!(
        Stored,
        r#"select u.user_id, u.email, u.role, u.password_hash is null as "invited!", u.created_at
           from invitations i join users u on u.user_id = i.user_id where i.token_hash = $1 and i.expires_at > $2"#,
        token_hash,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(User::from))
}

/// Uses an invitation up; false when somebody did before.
pub async fn use_up(conn: &mut PgConnection, token_hash: &[u8]) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!("delete from invitations where token_hash = $1", token_hash)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}
