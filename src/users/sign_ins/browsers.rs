//! Browsers in which an account has signed in before. Each has tries of its own, so that strangers who use up the account's cannot lock its
//! owner out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::platform::secrets::{SealError, Sealer};

/// What the cookie is sealed for.
const CONTEXT: &[u8] = b"browser";

/// Makes and reads what such a browser keeps: the account, sealed. It opens nothing.
pub struct Browsers(pub Sealer);

/// A browser, by what it keeps.
pub type Browser = [u8; 32];

impl Browsers {
    /// For a browser in which the account has just signed in.
    pub fn known(&self, account: &[u8; 32]) -> Result<String, SealError> {
        let sealed = self.0.seal(account, CONTEXT)?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The browser, if this account has signed in there.
    pub fn find(&self, cookie: &str, account: &[u8; 32]) -> Option<Browser> {
        let sealed = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let opened = self.0.open(&sealed, CONTEXT).ok()?;
        (opened == account).then(|| Sha256::digest(&sealed).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::config;

    #[test]
    fn a_browser_is_known_to_its_account_alone() {
        let secrets = config::built_in().secrets;
        let browsers = Browsers(Sealer::new(&secrets, Some([0; 32])).unwrap());
        let (own, other) = ([1; 32], [2; 32]);
        let [one, two] = [browsers.known(&own).unwrap(), browsers.known(&own).unwrap()];
        assert!(browsers.find(&one, &own).is_some());
        assert_ne!(browsers.find(&one, &own), browsers.find(&two, &own));
        assert_eq!(browsers.find(&one, &other), None);
        for made_up in ["", "x", "AAAA"] {
            assert_eq!(browsers.find(made_up, &own), None);
        }
    }
}
