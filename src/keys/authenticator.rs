//! From an `Authorization` header to the key that it proves to be.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use metrics::Counter;
use moka::future::Cache;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Key, store};
use crate::domain::tenant::Tenant;
use crate::platform::cache::SettingsCache;
use crate::platform::client_ip::limited_as;
use crate::platform::clock::Clock;
use crate::platform::db;
use crate::platform::password::{HashError, SlowHash};
use crate::platform::rate::{Allowance, Allowances, Exhausted};
use crate::platform::token::{BadToken, Scheme, Token};

/// Proven tokens that are remembered, at most.
const PROOFS: u64 = 100_000;

/// Proves keys: slowly the first time, by a look into a cache after that.
pub struct Authenticator {
    pool: PgPool,
    clock: Clock,
    hash: SlowHash,
    /// Attribution ID and token (under a keyed hash) -> the key whose secret it is. A fact that never changes, so revoking needs no proof
    /// again.
    proofs: Cache<[u8; 32], Proof>,
    /// What makes the cache's keys worthless outside this process.
    pepper: [u8; 32],
    keys: SettingsCache<Uuid, Key>,
    failures: Allowances<IpAddr>,
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

/// Why a token was not proven. All requests that wait for one proof get the same.
#[derive(Debug)]
enum NotProven {
    /// It is no key of this attribution ID.
    Invalid,
    /// The address of the request that did the work for all has nothing left. The others may have.
    GivenUp,
    /// It cannot be found out now.
    Unavailable(String),
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

impl From<sqlx::Error> for NotProven {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<HashError> for NotProven {
    fn from(error: HashError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Exhausted> for Refusal {
    fn from(exhausted: Exhausted) -> Self {
        Self::TooManyFailures {
            retry_after: exhausted.retry_after,
        }
    }
}

impl Authenticator {
    /// An authenticator that allows each client address so many failures a minute.
    pub fn new(pool: PgPool, clock: Clock, hash: SlowHash, failures_per_minute: NonZeroU32) -> Self {
        let counter = |result| metrics::counter!("trustdata_cache_lookups_total", "cache" => "proofs", "result" => result);
        Self {
            pool,
            failures: Allowances::new(clock.clone()),
            clock,
            hash,
            proofs: Cache::new(PROOFS),
            pepper: rand::random(),
            keys: SettingsCache::new("keys"),
            failures_per_minute,
            hits: counter("hit"),
            misses: counter("miss"),
        }
    }

    /// The key that the header proves, of this very stream, and in force. Who fails pays for it, out of what the client's address has left;
    /// when that is nothing, an unknown token is refused before anything slow is done.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        tenant: Tenant,
        client: IpAddr,
    ) -> Result<Arc<Key>, Refusal> {
        let proven = async { self.prove(&read_header(headers)?, tenant, client).await };
        let refusal = match proven.await {
            Ok(key) if key.attribution_id != tenant.attribution_id => Refusal::Invalid,
            Ok(key) if key.revoked_at.is_some() => Refusal::Revoked,
            Ok(key) if key.expires_at.is_some_and(|end| end <= self.clock.now()) => Refusal::Expired,
            Ok(key) => return Ok(key),
            // No failure of the sender's, or one that it cannot pay for.
            Err(refusal @ (Refusal::Unavailable(_) | Refusal::TooManyFailures { .. })) => {
                return Err(refusal);
            }
            Err(refusal) => refusal,
        };
        self.failures_of(client).take()?;
        Err(refusal)
    }

    /// The key of a token.
    async fn prove(&self, token: &Token, tenant: Tenant, client: IpAddr) -> Result<Arc<Key>, Refusal> {
        let seal = self.fingerprint(token, tenant);
        let proof = match self.proofs.get(&seal).await {
            Some(proof) => {
                self.hits.increment(1);
                proof
            }
            None => {
                self.misses.increment(1);
                self.prove_slowly(seal, token, tenant, client).await?
            }
        };
        let load =
            |id| async move { store::find(&mut *self.pool.acquire().await?, proof.property_id, id).await };
        self.keys.get(proof.key_id, load).await?.ok_or(Refusal::Invalid)
    }

    /// Requests that bring the same new token to the same stream at once share one wait and one hash. What their addresses have left is
    /// each one's own affair.
    async fn prove_slowly(
        &self,
        seal: [u8; 32],
        token: &Token,
        tenant: Tenant,
        client: IpAddr,
    ) -> Result<Proof, Refusal> {
        let failures = self.failures_of(client);
        loop {
            failures.look()?;
            // Boxed, so that not every request's future is as large.
            let proof = Box::pin(self.find_proof(token, tenant, &failures));
            match self.proofs.try_get_with(seal, proof).await {
                Ok(proof) => return Ok(proof),
                Err(shared) => match &*shared {
                    NotProven::Invalid => return Err(Refusal::Invalid),
                    NotProven::Unavailable(cause) => return Err(Refusal::Unavailable(cause.clone())),
                    NotProven::GivenUp => {}
                },
            }
        }
    }

    /// Looks again before each slow step at what the address has left: many attempts at once get beyond it by as many as there are
    /// connections and hashes at a time, not by all that wait for one.
    async fn find_proof(
        &self,
        token: &Token,
        tenant: Tenant,
        failures: &Allowance,
    ) -> Result<Proof, NotProven> {
        // The connection goes back before the slowest part.
        let look_up = async {
            let mut conn = self.pool.acquire().await?;
            match failures.look() {
                Ok(()) => Ok(Some(store::candidates(&mut conn, tenant, token.prefix()).await?)),
                Err(_) => Ok(None),
            }
        };
        let candidates = db::in_time(look_up).await?.ok_or(NotProven::GivenUp)?;
        for candidate in candidates {
            let turn = self.hash.turn().await?;
            failures.look().map_err(|_| NotProven::GivenUp)?;
            if turn.verify(token.expose().to_owned(), candidate.hash).await? {
                return Ok(Proof {
                    property_id: tenant.property_id,
                    key_id: candidate.key_id,
                });
            }
        }
        Err(NotProven::Invalid)
    }

    /// What the client's address may still fail.
    fn failures_of(&self, client: IpAddr) -> Arc<Allowance> {
        self.failures.of(limited_as(client), self.failures_per_minute)
    }

    fn fingerprint(&self, token: &Token, tenant: Tenant) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.pepper)
            .chain_update(tenant.attribution_id)
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
    Token::parse(Scheme::Webhook, token).map_err(|bad| {
        Refusal::Malformed(match bad {
            BadToken::Shape => "this is no webhook key: one is td_wh_ and 38 letters and digits",
            BadToken::Checksum => "the checksum is wrong: a character of the key was lost or changed",
        })
    })
}
