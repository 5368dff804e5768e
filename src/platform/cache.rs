//! A bounded cache of settings that live in the database: emptied by notifications, with a short life as the safety net.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::Counter;
use moka::future::Cache;

use super::db;

/// Entries, at most.
const CAPACITY: u64 = 100_000;
/// How long an entry may outlive a notification that got lost.
const TIME_TO_LIVE: Duration = Duration::from_secs(10);

/// Settings by key; `None` is remembered too.
pub struct SettingsCache<K, V> {
    entries: Cache<K, Option<Arc<V>>>,
    /// Goes up with every invalidation: a load that began before one must not outlive it.
    generation: AtomicU64,
    hits: Counter,
    misses: Counter,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static, V: Send + Sync + 'static> SettingsCache<K, V> {
    /// An empty cache, named for the metrics.
    pub fn new(name: &'static str) -> Self {
        let counter =
            |result| metrics::counter!("trustdata_cache_lookups_total", "cache" => name, "result" => result);
        Self {
            entries: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(TIME_TO_LIVE)
                .build(),
            generation: AtomicU64::new(0),
            hits: counter("hit"),
            misses: counter("miss"),
        }
    }

    /// The entry, loaded once however many ask for it at the same time, or an error within [`db::LOOK_UP_WITHIN`].
    pub async fn get<F>(&self, key: K, load: impl Fn(K) -> F) -> Result<Option<Arc<V>>, Arc<sqlx::Error>>
    where
        F: Future<Output = Result<Option<V>, sqlx::Error>>,
    {
        if let Some(entry) = self.entries.get(&key).await {
            self.hits.increment(1);
            return Ok(entry);
        }
        self.misses.increment(1);
        // Seldom taken, and by far the largest: in a box of its own it does not make every request's future as large.
        Box::pin(self.load(key, load)).await
    }

    async fn load<F>(&self, key: K, load: impl Fn(K) -> F) -> Result<Option<Arc<V>>, Arc<sqlx::Error>>
    where
        F: Future<Output = Result<Option<V>, sqlx::Error>>,
    {
        let load = |key| db::in_time(load(key));
        let before = self.generation.load(Ordering::Acquire);
        let fresh = async { Ok(load(key.clone()).await?.map(Arc::new)) };
        let entry = self.entries.try_get_with(key.clone(), fresh).await?;
        if self.generation.load(Ordering::Acquire) != before {
            // Something changed while the row was being read: what was read may be the old state.
            self.entries.invalidate(&key).await;
            return Ok(load(key).await.map_err(Arc::new)?.map(Arc::new));
        }
        Ok(entry)
    }

    /// Forgets one entry.
    pub async fn forget(&self, key: &K) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.entries.invalidate(key).await;
    }

    /// Forgets everything: notifications may have been missed.
    pub fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.entries.invalidate_all();
    }
}
