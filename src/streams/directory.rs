//! From an attribution ID to its stream, without asking the database each time.

use std::sync::Arc;

use moka::sync::Cache;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{Stream, store};
use crate::platform::cache::SettingsCache;
use crate::platform::db::CONNECT_TIMEOUT;

/// Look-ups at a time of attribution IDs that were never found yet. Anybody can make such IDs up, and the connections are few.
const STRANGERS_AT_ONCE: usize = 2;
/// Attribution IDs that are remembered to exist, at most.
const MOST_FOUND: u64 = 100_000;

/// The streams by attribution ID.
///
/// A flood of made-up IDs has few connections to itself: more of them wait, and with them the first request to a stream; it waits as long
/// as for a connection, and is then told to come again. A stream that was found once does not wait with them when its entry's time is over.
/// Nor do made-up IDs push streams out of the cache, which lets in only what is asked for more often than what it would replace.
pub struct Streams {
    pool: PgPool,
    cache: SettingsCache<Uuid, Stream>,
    found: Cache<Uuid, ()>,
    strangers: Semaphore,
}

impl Streams {
    /// Reads from `pool` what it has not seen lately.
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            cache: SettingsCache::new("streams"),
            found: Cache::new(MOST_FOUND),
            strangers: Semaphore::new(STRANGERS_AT_ONCE),
        }
    }

    /// The stream of an attribution ID, if there is one.
    pub async fn get(&self, attribution_id: Uuid) -> Result<Option<Arc<Stream>>, Arc<sqlx::Error>> {
        self.cache.get(attribution_id, |id| self.load(id)).await
    }

    async fn load(&self, attribution_id: Uuid) -> Result<Option<Stream>, sqlx::Error> {
        let _turn = match self.found.contains_key(&attribution_id) {
            true => None,
            false => {
                let turn = tokio::time::timeout(CONNECT_TIMEOUT, self.strangers.acquire()).await;
                Some(turn.map_err(|_| sqlx::Error::PoolTimedOut)?)
            }
        };
        let stream = store::find_stream(&mut *self.pool.acquire().await?, attribution_id).await?;
        if stream.is_some() {
            self.found.insert(attribution_id, ());
        }
        Ok(stream)
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn made_up_ids_do_not_push_streams_out() {
        let cache = SettingsCache::<u64, ()>::new("test");
        let loads = AtomicU32::new(0);
        for made_up in 1000..150_000 {
            cache.get(made_up, async |_| Ok(None)).await.unwrap();
            if made_up % 10 == 0 {
                let known = made_up / 10 % 100;
                let load = async |_| {
                    loads.fetch_add(1, Ordering::Relaxed);
                    Ok(Some(()))
                };
                cache.get(known, load).await.unwrap();
            }
        }
        assert_eq!(loads.into_inner(), 100);
    }
}
