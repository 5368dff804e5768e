//! Sealing: personal data at rest is XChaCha20-Poly1305 under a key from the configuration.

mod store;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

pub use store::key_of_database;

use super::config;

/// A sealed blob: format (1), key id (4 bytes), nonce (24), ciphertext and tag.
const FORMAT: u8 = 1;
const KEY_ID: std::ops::Range<usize> = 1..5;
const NONCE: std::ops::Range<usize> = 5..29;

/// Seals with one key, opens with all that it knows.
#[derive(Clone)]
pub struct Sealer {
    current: SealKey,
    others: Vec<SealKey>,
}

#[derive(Clone)]
struct SealKey {
    /// The first bytes of the key's SHA-256.
    id: [u8; 4],
    cipher: XChaCha20Poly1305,
}

/// Why a blob stays closed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OpenError {
    /// Not a blob of ours.
    #[error("not a sealed blob")]
    Malformed,
    /// Sealed by a key that is no longer configured.
    #[error("sealed by a key that this service does not have: add it to secrets.previous_seal_keys")]
    UnknownKey,
    /// Changed since, or moved to another row.
    #[error("the sealed blob was altered, or belongs to another row")]
    Altered,
}

/// The cipher takes no message of 256 GiB or more.
#[derive(Debug, thiserror::Error)]
#[error("personal data cannot be sealed")]
pub struct SealError;

/// No key can be read from the configuration.
#[derive(Debug, thiserror::Error)]
#[error("a seal key is not 32 bytes in base64")]
pub struct BadKey;

impl Sealer {
    /// Seals with the configured key, or else with the database's own, which always opens.
    pub fn new(secrets: &config::Secrets, of_database: Option<[u8; 32]>) -> Result<Self, BadKey> {
        let configured = std::iter::once(&secrets.seal_key)
            .chain(&secrets.previous_seal_keys)
            .filter(|text| !text.expose_secret().is_empty())
            .map(|text| decode(text).ok_or(BadKey));
        let mut keys = configured
            .chain(of_database.map(Ok))
            .map(|key| key.map(SealKey::new));
        let current = keys.next().ok_or(BadKey)??;
        Ok(Self {
            current,
            others: keys.collect::<Result<_, _>>()?,
        })
    }

    /// Seals `clear` for the row named by `context`, the only place where it opens again.
    pub fn seal(&self, clear: &[u8], context: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; 24] = rand::random();
        let mut blob = Vec::with_capacity(NONCE.end + clear.len() + 16);
        blob.push(FORMAT);
        blob.extend_from_slice(&self.current.id);
        blob.extend_from_slice(&nonce);
        let payload = Payload {
            msg: clear,
            aad: context,
        };
        let sealed = self.current.cipher.encrypt(&nonce.into(), payload);
        blob.extend_from_slice(&sealed.map_err(|_| SealError)?);
        Ok(blob)
    }

    /// Opens what was sealed for `context`.
    pub fn open(&self, blob: &[u8], context: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (Some(&FORMAT), Some(id), Some(nonce), Some(sealed)) = (
            blob.first(),
            blob.get(KEY_ID),
            blob.get(NONCE),
            blob.get(NONCE.end..),
        ) else {
            return Err(OpenError::Malformed);
        };
        let key = std::iter::once(&self.current)
            .chain(&self.others)
            .find(|key| key.id == id)
            .ok_or(OpenError::UnknownKey)?;
        let nonce: [u8; 24] = nonce.try_into().map_err(|_| OpenError::Malformed)?;
        key.cipher
            .decrypt(
                &nonce.into(),
                Payload {
                    msg: sealed,
                    aad: context,
                },
            )
            .map_err(|_| OpenError::Altered)
    }
}

/// What a row's sealed column is bound to: the tenant and the row's id.
pub fn row(property_id: Uuid, id: &[u8]) -> Vec<u8> {
    let mut context = Vec::with_capacity(16 + id.len());
    context.extend_from_slice(property_id.as_bytes());
    context.extend_from_slice(id);
    context
}

impl SealKey {
    fn new(key: [u8; 32]) -> Self {
        let digest = Sha256::digest(key);
        Self {
            id: [digest[0], digest[1], digest[2], digest[3]],
            cipher: XChaCha20Poly1305::new(&key.into()),
        }
    }
}

/// Whether the text is a key, or empty for none.
pub fn is_key_or_empty(text: &SecretString) -> bool {
    text.expose_secret().is_empty() || decode(text).is_some()
}

fn decode(text: &SecretString) -> Option<[u8; 32]> {
    STANDARD.decode(text.expose_secret().trim()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(seal: &str, previous: &[&str]) -> config::Secrets {
        config::Secrets {
            seal_key: seal.into(),
            previous_seal_keys: previous.iter().map(|key| (*key).into()).collect(),
        }
    }

    #[test]
    fn opens_what_it_sealed_in_its_own_row_only() {
        let sealer = Sealer::new(&secrets("", &[]), Some([7; 32])).unwrap();
        let blob = sealer.seal(b"jane@example.com", b"row 1").unwrap();
        assert!(!blob.windows(4).any(|window| window == b"jane"));
        assert_ne!(blob, sealer.seal(b"jane@example.com", b"row 1").unwrap());
        assert_eq!(sealer.open(&blob, b"row 1").unwrap(), b"jane@example.com");
        assert_eq!(sealer.open(&blob, b"row 2"), Err(OpenError::Altered));
        assert_eq!(sealer.open(&blob[..20], b"row 1"), Err(OpenError::Malformed));
    }

    #[test]
    fn keys_change() {
        let old = STANDARD.encode([1; 32]);
        let new = STANDARD.encode([2; 32]);
        let blob = Sealer::new(&secrets(&old, &[]), None)
            .unwrap()
            .seal(b"x", b"")
            .unwrap();
        let by_database = Sealer::new(&secrets("", &[]), Some([3; 32]))
            .unwrap()
            .seal(b"y", b"")
            .unwrap();
        let sealer = Sealer::new(&secrets(&new, &[&old]), Some([3; 32])).unwrap();
        assert_eq!(sealer.open(&blob, b"").unwrap(), b"x");
        assert_eq!(sealer.open(&by_database, b"").unwrap(), b"y");
        let without = Sealer::new(&secrets(&new, &[]), None).unwrap();
        assert_eq!(without.open(&blob, b""), Err(OpenError::UnknownKey));
        assert!(Sealer::new(&secrets("short", &[]), None).is_err());
    }
}
