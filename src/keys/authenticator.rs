//! From an `Authorization` header to the key that it proves to be.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use metrics::Counter;
use moka::future::Cache;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use super::token::{BadToken, Token};
use super::{Key, store};
use crate::domain::tenant::Tenant;
use crate::platform::cache::SettingsCache;
use crate::platform::client_ip::limited_as;
use crate::platform::clock::Clock;
use crate::platform::db;
use crate::platform::password::{HashError, SlowHash};
use crate::platform::rate::Allowance;

/// Proven tokens that are remembered, at most.
const PROOFS: u64 = 100_000;
/// Client addresses whose failures are counted at the same time, at most.
const ADDRESSES: u64 = 100_000;

/// Proves keys: slowly the first time, by a look into a cache after that.
pub struct Authenticator {
    pool: PgPool,
    clock: Clock,
    hash: SlowHash,
    /// Token (under a keyed hash) -> the key whose secret it is. A fact that never changes, so revoking needs no proof again.
    proofs: Cache<[u8; 32], Proof>,
    /// What makes the cache's keys worthless outside this process.
    pepper: [u8; 32],
    keys: SettingsCache<Uuid, Key>,
    failures: moka::sync::Cache<IpAddr, Arc<Allowance>>,
    failures_per_minute: NonZeroU32,
    hits: Counter,
    misses: Counter,
}

/// A key by its whole name.
#[derive(Debug, Clone, Copy)]
struct Proof {
    property_id: Uuid,
    key_id: Uuid,
}

/// Why a request is not let in.
#[derive(Debug)]
pub enum Refusal {
    /// No `Authorization` header.
    Missing,
    /// A header that cannot be a key: what is wrong with it.
    Malformed(&'static str),
    /// Well-formed, and no key of this attribution ID.
    Invalid,
    /// The true secret of a key that was revoked.
    Revoked,
    /// The true secret of a key whose time is over.
    Expired,
    /// Too many failures from this address.
    TooManyFailures {
        /// Whole seconds.
        retry_after: u64,
    },
    /// It cannot be found out now.
    Unavailable(String),
}

impl From<Arc<sqlx::Error>> for Refusal {
    fn from(error: Arc<sqlx::Error>) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<HashError> for Refusal {
    fn from(error: HashError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Authenticator {
    /// An authenticator that allows each client address so many failures a minute.
    pub fn new(pool: PgPool, clock: Clock, hash: SlowHash, failures_per_minute: NonZeroU32) -> Self {
        let counter = |result| metrics::counter!("trustdata_cache_lookups_total", "cache" => "proofs", "result" => result);
        Self {
            pool,
            clock,
            hash,
            proofs: Cache::new(PROOFS),
            pepper: rand::random(),
            keys: SettingsCache::new("keys"),
            failures: moka::sync::Cache::builder()
                .max_capacity(ADDRESSES)
                .time_to_idle(Duration::from_secs(61))
                .build(),
            failures_per_minute,
            hits: counter("hit"),
            misses: counter("miss"),
        }
    }

    /// The key that the header proves, of this very stream, and in force.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        tenant: Tenant,
        client: IpAddr,
    ) -> Result<Arc<Key>, Refusal> {
        let proven = match read_header(headers) {
            Ok(token) => self.prove(token, tenant, client).await,
            Err(refusal) => Err(self.count_failure(client).err().unwrap_or(refusal)),
        };
        let (key, counted) = proven?;
        let refusal = if key.attribution_id != tenant.attribution_id {
            Refusal::Invalid
        } else if key.revoked_at.is_some() {
            Refusal::Revoked
        } else if key.expires_at.is_some_and(|end| end <= self.clock.now()) {
            Refusal::Expired
        } else {
            return Ok(key);
        };
        if counted {
            return Err(refusal);
        }
        Err(self.count_failure(client).err().unwrap_or(refusal))
    }

    /// The key of a token, and whether the address has paid for the attempt already: it pays before anything slow is done, and a token that
    /// was proven before is free.
    async fn prove(&self, token: Token, tenant: Tenant, client: IpAddr) -> Result<(Arc<Key>, bool), Refusal> {
        let seal = self.fingerprint(&token);
        let (proof, counted) = match self.proofs.get(&seal).await {
            Some(proof) => {
                self.hits.increment(1);
                (proof, false)
            }
            None => {
                self.misses.increment(1);
                (self.prove_slowly(seal, token, tenant, client).await?, true)
            }
        };
        let load =
            |id| async move { store::find(&mut *self.pool.acquire().await?, proof.property_id, id).await };
        match self.keys.get(proof.key_id, load).await? {
            Some(key) => Ok((key, counted)),
            None => Err(Refusal::Invalid),
        }
    }

    /// Requests that bring the same new token at once are one attempt: one wait, one hash.
    async fn prove_slowly(
        &self,
        seal: [u8; 32],
        token: Token,
        tenant: Tenant,
        client: IpAddr,
    ) -> Result<Proof, Refusal> {
        let proof = async {
            self.count_failure(client)?;
            // The connection goes back before the slow part.
            let look_up =
                async { store::candidates(&mut *self.pool.acquire().await?, tenant, token.prefix()).await };
            let candidates = db::in_time(look_up)
                .await
                .map_err(|error| Refusal::Unavailable(error.to_string()))?;
            for candidate in candidates {
                if self
                    .hash
                    .verify(token.expose().to_owned(), candidate.hash)
                    .await?
                {
                    return Ok(Proof {
                        property_id: tenant.property_id,
                        key_id: candidate.key_id,
                    });
                }
            }
            Err(Refusal::Invalid)
        };
        self.proofs
            .try_get_with(seal, proof)
            .await
            .map_err(|shared: Arc<Refusal>| shared.again())
    }

    /// Takes one attempt out of what the address has left.
    fn count_failure(&self, client: IpAddr) -> Result<(), Refusal> {
        let fresh = || Arc::new(Allowance::new(self.failures_per_minute, self.clock.clone()));
        let allowance = self.failures.get_with(limited_as(client), fresh);
        match allowance.take() {
            Ok(_) => Ok(()),
            Err(exhausted) => Err(Refusal::TooManyFailures {
                retry_after: exhausted.retry_after,
            }),
        }
    }

    fn fingerprint(&self, token: &Token) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.pepper)
            .chain_update(token.expose())
            .finalize()
            .into()
    }

    /// A key changed.
    pub async fn forget(&self, key_id: Uuid) {
        self.keys.forget(&key_id).await;
    }

    /// Any key may have changed.
    pub fn forget_all(&self) {
        self.keys.forget_all();
    }
}

impl Refusal {
    /// The same refusal for another request that waited for the same attempt.
    fn again(&self) -> Self {
        match self {
            Self::Missing => Self::Missing,
            Self::Malformed(why) => Self::Malformed(why),
            Self::Invalid => Self::Invalid,
            Self::Revoked => Self::Revoked,
            Self::Expired => Self::Expired,
            Self::TooManyFailures { retry_after } => Self::TooManyFailures {
                retry_after: *retry_after,
            },
            Self::Unavailable(cause) => Self::Unavailable(cause.clone()),
        }
    }
}

/// The token of `Authorization: Bearer ...`.
fn read_header(headers: &HeaderMap) -> Result<Token, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Missing)?;
    if values.next().is_some() {
        return Err(Refusal::Malformed("there is more than one Authorization header"));
    }
    let text = value
        .to_str()
        .map_err(|_| Refusal::Malformed("the header holds characters that no key has"))?;
    if text.trim().is_empty() {
        return Err(Refusal::Missing);
    }
    if text.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::Malformed("there is no key after the scheme"));
    }
    let Some((scheme, token)) = text.split_once(' ') else {
        return Err(Refusal::Malformed(
            "there is no scheme: send `Authorization: Bearer td_wh_...`",
        ));
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::Malformed(
            "the scheme is not Bearer: send `Authorization: Bearer td_wh_...`",
        ));
    }
    if token.contains(|c: char| c.is_whitespace()) {
        return Err(Refusal::Malformed(
            "there is stray whitespace around or within the key",
        ));
    }
    Token::parse(token).map_err(|bad| {
        Refusal::Malformed(match bad {
            BadToken::Shape => "this is no webhook key: one is td_wh_ and 38 letters and digits",
            BadToken::Checksum => "the checksum is wrong: a character of the key was lost or changed",
        })
    })
}
