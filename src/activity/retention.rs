//! Rows are kept so many days.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::store;
use crate::domain::tenant::Tenant;

/// Rows deleted in one statement: short locks, and room for the recorder in between.
const CHUNK: i64 = 5000;

/// Deletes what is older than `cutoff` in a stream; how many rows it was.
pub async fn keep_short(pool: &PgPool, tenant: Tenant, cutoff: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let mut deleted = 0;
    loop {
        let mut conn = pool.acquire().await?;
        let chunk = store::delete_before(
            &mut conn,
            tenant.property_id,
            tenant.attribution_id,
            cutoff,
            CHUNK,
        )
        .await?;
        deleted += chunk;
        if chunk < CHUNK.unsigned_abs() {
            return Ok(deleted);
        }
    }
}
