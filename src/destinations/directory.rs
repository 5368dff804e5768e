//! From an attribution ID to its destinations, without asking the database each time.

use std::sync::Arc;

use sqlx::PgPool;
use uuid::Uuid;

use super::store;
use crate::domain::tenant::Tenant;
use crate::platform::cache::SettingsCache;

/// Ids of each stream's destinations, paused ones too.
pub struct Destinations {
    pool: PgPool,
    cache: SettingsCache<Uuid, Vec<Uuid>>,
}

impl Destinations {
    /// Reads from `pool` what it has not seen lately.
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            cache: SettingsCache::new("destinations"),
        }
    }

    /// Ids of the stream's destinations; none where it has none.
    pub async fn of(&self, tenant: Tenant) -> Result<Option<Arc<Vec<Uuid>>>, Arc<sqlx::Error>> {
        let load = async |_| {
            let ids = store::ids_of_stream(&mut *self.pool.acquire().await?, tenant).await?;
            Ok((!ids.is_empty()).then_some(ids))
        };
        self.cache.get(tenant.attribution_id, load).await
    }

    /// A stream's destinations changed.
    pub async fn forget(&self, attribution_id: Uuid) {
        self.cache.forget(&attribution_id).await;
    }

    /// Any may have changed.
    pub fn forget_all(&self) {
        self.cache.forget_all();
    }
}
