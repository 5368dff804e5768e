//! Tokens that programs send: a scheme + 32 random base62 characters + 6 of the checksum.

use rand::seq::IndexedRandom as _;

const RANDOM: usize = 32;
const CHECKSUM: usize = 6;
/// Random characters that lists show.
const SHOWN: usize = 8;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a token is for, told by how it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A webhook key.
    Webhook,
    /// A token of the admin API.
    Api,
}

impl Scheme {
    fn text(self) -> &'static str {
        match self {
            Self::Webhook => "td_wh_",
            Self::Api => "td_live_",
        }
    }
}

/// A whole token: a secret. It has no `Debug`, and leaves only through [`Token::expose`].
#[derive(Clone)]
pub struct Token {
    scheme: Scheme,
    text: String,
}

/// Why a text is no token, before anything is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadToken {
    /// Another length, beginning or alphabet.
    Shape,
    /// A typing or copying error.
    Checksum,
}

impl Token {
    /// A new random one.
    pub fn generate(scheme: Scheme) -> Self {
        let mut rng = rand::rng();
        let mut text = scheme.text().to_owned();
        text.extend(
            std::iter::repeat_with(|| char::from(*BASE62.choose(&mut rng).unwrap_or(&b'0'))).take(RANDOM),
        );
        text.push_str(&checksum(&text));
        Self { scheme, text }
    }

    /// Reads a token; a wrong checksum costs no look-up.
    pub fn parse(scheme: Scheme, text: &str) -> Result<Self, BadToken> {
        let random = text.strip_prefix(scheme.text()).ok_or(BadToken::Shape)?;
        let shaped =
            random.len() == RANDOM + CHECKSUM && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !shaped {
            return Err(BadToken::Shape);
        }
        let (body, sum) = text.split_at(text.len() - CHECKSUM);
        if checksum(body) == sum {
            Ok(Self {
                scheme,
                text: text.to_owned(),
            })
        } else {
            Err(BadToken::Checksum)
        }
    }

    /// What lists show.
    pub fn prefix(&self) -> &str {
        &self.text[..self.scheme.text().len() + SHOWN]
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.text
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
        for (scheme, length, prefix) in [(Scheme::Webhook, 44, "td_wh_"), (Scheme::Api, 46, "td_live_")] {
            let token = Token::generate(scheme);
            assert_eq!(token.expose().len(), length);
            assert!(token.prefix().starts_with(prefix) && token.prefix().len() == prefix.len() + 8);
            assert!(Token::parse(scheme, token.expose()).is_ok());
            assert_ne!(token.expose(), Token::generate(scheme).expose());
        }
        let other = Token::generate(Scheme::Api);
        assert_eq!(
            Token::parse(Scheme::Webhook, other.expose()).err(),
            Some(BadToken::Shape)
        );
    }

    #[test]
    fn any_changed_character_is_found() {
        let parse = |text: &str| Token::parse(Scheme::Webhook, text).err();
        let token = Token::generate(Scheme::Webhook);
        for at in "td_wh_".len()..token.expose().len() {
            let mut bytes = token.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(parse(&changed), Some(BadToken::Checksum), "at {at}");
        }
        for bad in [
            "",
            "td_wh_",
            "sk_live_abc",
            &token.expose()[1..],
            &format!("{}x", token.expose()),
        ] {
            assert_eq!(parse(bad), Some(BadToken::Shape), "{bad}");
        }
        assert_eq!(parse(&"é".repeat(22)), Some(BadToken::Shape));
    }
}
