//! Signing in, and who is signed in.

mod browsers;
pub mod cookies;
pub mod store;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;

use self::browsers::Browsers;
pub use self::cookies::Cookies;
use super::{MOST_EMAIL, User, password};
use crate::platform::client_ip::limited_as;
use crate::platform::clock::Clock;
use crate::platform::db;
use crate::platform::password::{HashError, SlowHash};
use crate::platform::rate::{Allowance, Allowances, Exhausted};
use crate::platform::secrets::Sealer;

/// Without a visit for so long, a sign-in is over.
const IDLE: TimeDelta = TimeDelta::hours(12);
/// However busy, a sign-in is over after this.
const LIFE: TimeDelta = TimeDelta::days(7);
/// How exactly it is noted when a user was last here.
const SEEN_EVERY: TimeDelta = TimeDelta::minutes(1);
const TOKEN_BYTES: usize = 32;

/// What an unknown account's password is compared with, so that it costs what a known one's does. Nobody knows a password for it.
const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$uG6kU0B6S2VxQ3R5bW1law$2Ew4sFPj1e8rZ0nq8mYJvKpXo7c3dHhAq5tLw9sRzUE";

/// A sign-in's secret: what is in the cookie, and nowhere else. It has no `Debug`.
#[derive(Clone)]
pub struct Token([u8; TOKEN_BYTES]);

impl Token {
    /// A new random one.
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// As it is in a cookie.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// For the cookie.
    pub fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// As it is stored.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// What every form of this sign-in must carry. It tells nothing of the token.
    pub fn form_token(&self) -> String {
        let derived = Sha256::new()
            .chain_update("trustdata form\0")
            .chain_update(self.0);
        URL_SAFE_NO_PAD.encode(derived.finalize())
    }

    /// Whether a form carries it. Hashes are compared: how long that takes tells nothing of what was right in the text.
    pub fn is_form_token(&self, sent: &str) -> bool {
        Sha256::digest(sent) == Sha256::digest(self.form_token())
    }
}

/// Why somebody is not signed in.
#[derive(Debug)]
pub enum Refusal {
    /// No such account, or another password: the same to whoever asks.
    Wrong,
    /// Too many failures, of this account or from this address.
    TooMany {
        /// Seconds until another try.
        retry_after: u64,
    },
    /// Too many sign in at this moment.
    Busy,
    /// No database, or no answer in time.
    Unavailable(String),
}

impl From<Exhausted> for Refusal {
    fn from(exhausted: Exhausted) -> Self {
        Self::TooMany {
            retry_after: exhausted.retry_after,
        }
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<HashError> for Refusal {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy => Self::Busy,
            HashError::Failed(cause) => Self::Unavailable(cause),
        }
    }
}

/// Signs people in and out.
pub struct SignIns {
    pool: PgPool,
    clock: Clock,
    hash: SlowHash,
    cookies: Cookies,
    browsers: Browsers,
    by_address: Allowances<IpAddr>,
    by_account: Allowances<[u8; 32]>,
    /// Browsers where the account signed in before, and sessions whose user tells the password once more.
    by_browser: Allowances<[u8; 32]>,
    failures_per_minute: NonZeroU32,
}

impl SignIns {
    /// Nobody has failed yet. `hash` is for passwords alone: who waits for a turn waits for other people, not for programs.
    pub fn new(
        pool: PgPool,
        clock: Clock,
        hash: SlowHash,
        cookies: Cookies,
        sealer: Sealer,
        failures_per_minute: NonZeroU32,
    ) -> Self {
        Self {
            pool,
            hash,
            cookies,
            browsers: Browsers(sealer),
            by_address: Allowances::new(clock.clone()),
            by_account: Allowances::new(clock.clone()),
            by_browser: Allowances::new(clock.clone()),
            clock,
            failures_per_minute,
        }
    }

    /// The cookies that keep a sign-in.
    pub fn cookies(&self) -> Cookies {
        self.cookies
    }

    /// Signs somebody in under a new token; what the browser had before is over. `request` has its cookies, and the answer gets new ones.
    pub async fn sign_in(
        &self,
        email: &str,
        password: String,
        client: IpAddr,
        request: &HeaderMap,
        answer: &mut HeaderMap,
    ) -> Result<(), Refusal> {
        let account = account(email);
        let known = self.cookies.browser(request);
        let known = known.and_then(|cookie| Some((cookie, self.browsers.find(cookie, &account)?)));
        let failures = match known {
            Some((_, browser)) => vec![self.by_browser.of(browser, self.failures_per_minute)],
            None => vec![
                self.by_address.of(limited_as(client), self.failures_per_minute),
                self.by_account.of(account, self.failures_per_minute),
            ],
        };
        let user = self.prove(email, password, &failures).await?;
        let (token, now) = (Token::generate(), self.clock.now());
        let write = async {
            let mut transaction = self.pool.begin().await?;
            if let Some(former) = self.cookies.session(request) {
                store::end(&mut transaction, &former.hash()).await?;
            }
            store::insert(&mut transaction, &token.hash(), user.user_id, now, now + LIFE).await?;
            transaction.commit().await
        };
        db::in_time(write).await?;
        let unwritten = |error: &dyn std::fmt::Display| Refusal::Unavailable(error.to_string());
        let browser = match known {
            Some((cookie, _)) => cookie.to_owned(),
            None => self.browsers.known(&account).map_err(|error| unwritten(&error))?,
        };
        let written = self.cookies.set(&token, &browser, answer);
        written.map_err(|error| unwritten(&error))
    }

    /// The user whom address and password prove. Every try that is let in costs one hash, whether there is such an account or not.
    async fn prove(
        &self,
        email: &str,
        password: String,
        failures: &[Arc<Allowance>],
    ) -> Result<User, Refusal> {
        for failures in failures {
            failures.look()?;
        }
        let found = match email.len() <= MOST_EMAIL && !email.contains('\0') {
            true => {
                let look =
                    async { super::store::find_by_email(&mut *self.pool.acquire().await?, email).await };
                db::in_time(look).await?
            }
            false => None,
        };
        let (user, hash) = match found {
            Some((user, Some(hash))) => (Some(user), hash),
            _ => (None, DECOY.to_owned()),
        };
        let turn = self.hash.turn().await?;
        // While it waited for its turn, others may have failed.
        for failures in failures {
            failures.look()?;
        }
        let fits = password.len() <= password::MOST && turn.verify(password, hash).await?;
        match user {
            Some(user) if fits => Ok(user),
            _ => {
                take(failures)?;
                Err(Refusal::Wrong)
            }
        }
    }

    /// Whether this is the password of the user who is signed in by a token; each session has so many failures as an account has.
    pub async fn confirm(&self, user: &User, password: String, token: &Token) -> Result<(), Refusal> {
        let failures = [self.by_browser.of(token.hash(), self.failures_per_minute)];
        let proven = self.prove(&user.email, password, &failures).await?;
        match proven.user_id == user.user_id {
            true => Ok(()),
            false => Err(Refusal::Wrong),
        }
    }

    /// The hash of a new password.
    pub async fn hash(&self, password: String) -> Result<String, HashError> {
        self.hash.hash(password).await
    }

    /// Who is signed in by this token, and visits just now.
    pub async fn find(&self, token: &Token) -> Result<Option<User>, sqlx::Error> {
        self.look_up(token, true).await
    }

    /// Who is signed in by this token; what asks by itself is no visit.
    pub async fn watch(&self, token: &Token) -> Result<Option<User>, sqlx::Error> {
        self.look_up(token, false).await
    }

    async fn look_up(&self, token: &Token, visit: bool) -> Result<Option<User>, sqlx::Error> {
        let (hash, now) = (token.hash(), self.clock.now());
        let look = async {
            let mut conn = self.pool.acquire().await?;
            let Some((user, seen_at)) = store::find(&mut conn, &hash, now, now - IDLE).await? else {
                return Ok(None);
            };
            if visit && seen_at < now - SEEN_EVERY {
                store::seen(&mut conn, &hash, now).await?;
            }
            Ok(Some(user))
        };
        db::in_time(look).await
    }

    /// Signs out.
    pub async fn end(&self, token: &Token) -> Result<(), sqlx::Error> {
        let write = async { store::end(&mut *self.pool.acquire().await?, &token.hash()).await };
        db::in_time(write).await
    }
}

/// An account as it is limited: the address in small letters, of a fixed size whatever was sent.
fn account(email: &str) -> [u8; 32] {
    Sha256::digest(email.to_lowercase()).into()
}

fn take(failures: &[Arc<Allowance>]) -> Result<(), Exhausted> {
    for failures in failures {
        failures.take()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A decoy that is cheaper or dearer than a real hash would tell who has an account.
    #[tokio::test]
    async fn the_decoy_costs_what_a_hash_costs() {
        let slow = SlowHash::new(1);
        let real = slow.hash("password".to_owned()).await.unwrap();
        let costs = |hash: &str| hash.rsplitn(3, '$').last().unwrap().to_owned();
        assert_eq!(costs(&real), costs(DECOY));
        let lengths = |hash: &str| hash.split('$').map(str::len).collect::<Vec<_>>();
        assert_eq!(lengths(&real), lengths(DECOY));
        let turn = slow.turn().await.unwrap();
        assert!(
            !turn
                .verify("password".to_owned(), DECOY.to_owned())
                .await
                .unwrap()
        );
    }

    #[test]
    fn form_tokens_are_of_one_sign_in() {
        let (one, other) = (Token::generate(), Token::generate());
        assert!(one.is_form_token(&one.form_token()));
        for bad in ["", "x", &other.form_token(), &one.expose()] {
            assert!(!one.is_form_token(bad));
        }
        assert!(Token::parse(&one.expose()).is_some());
        assert!(Token::parse("abc").is_none() && Token::parse("").is_none());
    }
}
