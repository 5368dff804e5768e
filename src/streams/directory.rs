//! From an attribution ID to its stream, without asking the database each time.

use std::sync::Arc;

use sqlx::PgPool;
use uuid::Uuid;

use super::{Stream, store};
use crate::platform::cache::SettingsCache;

/// The streams by attribution ID.
pub struct Streams {
    pool: PgPool,
    cache: SettingsCache<Uuid, Stream>,
}

impl Streams {
    /// Reads from `pool` what it has not seen lately.
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            cache: SettingsCache::new("streams"),
        }
    }

    /// The stream of an attribution ID, if there is one.
    pub async fn get(&self, attribution_id: Uuid) -> Result<Option<Arc<Stream>>, Arc<sqlx::Error>> {
        let load = |id| async move { store::find_stream(&mut *self.pool.acquire().await?, id).await };
        self.cache.get(attribution_id, load).await
    }

    /// A stream changed.
    pub async fn forget(&self, attribution_id: Uuid) {
        self.cache.forget(&attribution_id).await;
    }

    /// Any stream may have changed.
    pub fn forget_all(&self) {
        self.cache.forget_all();
    }
}
