//! argon2id, off the runtime's threads and a few at a time.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier};
use metrics::Counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hashes and verifies secrets.
#[derive(Clone)]
pub struct SlowHash {
    permits: Arc<Semaphore>,
    /// How long anybody waits for a turn; none: for as long as it takes.
    patience: Option<Duration>,
    runs: Counter,
}

/// Why a hash was not computed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Too many others waited before.
    #[error("too many hashes wait to be computed")]
    Busy,
    /// It failed.
    #[error("cannot hash: {0}")]
    Failed(String),
}

impl SlowHash {
    /// At most `at_once` computations run at the same time.
    pub fn new(at_once: usize) -> Self {
        let runs = metrics::counter!("trustdata_argon2_runs_total");
        Self {
            permits: Arc::new(Semaphore::new(at_once)),
            patience: None,
            runs,
        }
    }

    /// Whoever has waited so long for a turn is turned away.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Waits for the right to compute one hash.
    pub async fn turn(&self) -> Result<Turn, HashError> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = match self.patience {
            Some(patience) => tokio::time::timeout(patience, permit)
                .await
                .map_err(|_| HashError::Busy)?,
            None => permit.await,
        };
        Ok(Turn {
            permit: permit.map_err(|error| HashError::Failed(error.to_string()))?,
            runs: self.runs.clone(),
        })
    }

    /// The hash of a secret, as a PHC string.
    pub async fn hash(&self, secret: String) -> Result<String, HashError> {
        let turn = self.turn().await?;
        turn.run(move || {
            Argon2::default()
                .hash_password(secret.as_bytes())
                .map(|hash| hash.to_string())
        })
        .await?
        .map_err(|error| HashError::Failed(error.to_string()))
    }
}

/// The right to compute one hash.
pub struct Turn {
    permit: OwnedSemaphorePermit,
    runs: Counter,
}

impl Turn {
    /// Whether `secret` is what was hashed. A hash that cannot be read matches nothing.
    pub async fn verify(self, secret: String, hash: String) -> Result<bool, HashError> {
        self.run(move || {
            PasswordVerifier::<str>::verify_password(&Argon2::default(), secret.as_bytes(), hash.as_str())
                .is_ok()
        })
        .await
    }

    /// The turn lasts as long as the work does: it goes on when its caller has gone away.
    async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, HashError> {
        self.runs.increment(1);
        let work = move || {
            let _permit = self.permit;
            work()
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| HashError::Failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_waited_long_enough_is_turned_away() {
        let hash = SlowHash::new(1).with_patience(Duration::ZERO);
        let turn = hash.turn().await.unwrap();
        assert!(matches!(hash.turn().await, Err(HashError::Busy)));
        drop(turn);
        assert!(hash.turn().await.is_ok());
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_its_turn_to_the_work() {
        let hash = SlowHash::new(1);
        let started = tokio::time::timeout(Duration::ZERO, hash.hash("secret".to_owned())).await;
        assert!(started.is_err(), "argon2 takes longer than that");
        assert_eq!(hash.permits.available_permits(), 0);
        assert!(hash.hash("another".to_owned()).await.is_ok());
        assert_eq!(hash.permits.available_permits(), 1);
    }
}
