//! argon2id, off the runtime's threads and a few at a time.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier};
use metrics::Counter;
use tokio::sync::Semaphore;

/// Hashes and verifies secrets.
#[derive(Clone)]
pub struct SlowHash {
    permits: Arc<Semaphore>,
    runs: Counter,
}

/// A hash could not be computed.
#[derive(Debug, thiserror::Error)]
#[error("cannot hash: {0}")]
pub struct HashError(String);

impl SlowHash {
    /// At most `at_once` computations run at the same time.
    pub fn new(at_once: usize) -> Self {
        let runs = metrics::counter!("trustdata_argon2_runs_total");
        Self {
            permits: Arc::new(Semaphore::new(at_once)),
            runs,
        }
    }

    /// The hash of a secret, as a PHC string.
    pub async fn hash(&self, secret: String) -> Result<String, HashError> {
        self.run(move || {
            Argon2::default()
                .hash_password(secret.as_bytes())
                .map(|hash| hash.to_string())
        })
        .await?
        .map_err(|error| HashError(error.to_string()))
    }

    /// Whether `secret` is what was hashed. A hash that cannot be read matches nothing.
    pub async fn verify(&self, secret: String, hash: String) -> Result<bool, HashError> {
        self.run(move || {
            PasswordVerifier::<str>::verify_password(&Argon2::default(), secret.as_bytes(), hash.as_str())
                .is_ok()
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let _permit = self
            .permits
            .acquire()
            .await
            .map_err(|error| HashError(error.to_string()))?;
        self.runs.increment(1);
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| HashError(error.to_string()))
    }
}
