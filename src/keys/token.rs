//! `td_wh_` + 32 random base62 characters + 6 of the checksum.

use rand::seq::IndexedRandom as _;

const SCHEME: &str = "td_wh_";
const RANDOM: usize = 32;
const CHECKSUM: usize = 6;
const LENGTH: usize = SCHEME.len() + RANDOM + CHECKSUM;
const PREFIX: usize = SCHEME.len() + 8;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A whole key: a secret. It has no `Debug`, and leaves only through [`Token::expose`].
#[derive(Clone)]
pub struct Token(String);

/// Why a text is no key, before anything is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadToken {
    /// Another length, beginning or alphabet.
    Shape,
    /// A typing or copying error.
    Checksum,
}

impl Token {
    /// A new random key.
    pub fn generate() -> Self {
        let mut rng = rand::rng();
        let mut text = SCHEME.to_owned();
        text.extend(
            std::iter::repeat_with(|| char::from(*BASE62.choose(&mut rng).unwrap_or(&b'0'))).take(RANDOM),
        );
        text.push_str(&checksum(&text));
        Self(text)
    }

    /// Reads a key; a wrong checksum costs no look-up.
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let shaped = text.len() == LENGTH
            && text.starts_with(SCHEME)
            && text[SCHEME.len()..]
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric());
        if !shaped {
            return Err(BadToken::Shape);
        }
        let (body, sum) = text.split_at(LENGTH - CHECKSUM);
        if checksum(body) == sum {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadToken::Checksum)
        }
    }

    /// What lists show.
    pub fn prefix(&self) -> &str {
        &self.0[..PREFIX]
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// CRC-32 of `body` in base62, most significant digit first.
fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_read() {
        let token = Token::generate();
        assert_eq!(token.expose().len(), 44);
        assert!(token.prefix().starts_with("td_wh_") && token.prefix().len() == 14);
        assert!(Token::parse(token.expose()).is_ok());
        assert_ne!(token.expose(), Token::generate().expose());
    }

    #[test]
    fn any_changed_character_is_found() {
        let token = Token::generate();
        for at in SCHEME.len()..LENGTH {
            let mut bytes = token.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(Token::parse(&changed).err(), Some(BadToken::Checksum), "at {at}");
        }
        for bad in [
            "",
            "td_wh_",
            "sk_live_abc",
            &token.expose()[1..],
            &format!("{}x", token.expose()),
        ] {
            assert_eq!(Token::parse(bad).err(), Some(BadToken::Shape), "{bad}");
        }
        assert_eq!(Token::parse(&"é".repeat(22)).err(), Some(BadToken::Shape));
    }
}
