//! An event of the browser script: what a page says happened, parsed and valid.

mod conversion;
mod parse;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use conversion::BrowserConversion;
pub use parse::parse;

use super::consent::Consent;
use super::landing::Landing;
use super::text;

/// Ids that the server makes for visitors who have not agreed to be recognised begin so.
pub const ANONYMOUS: &str = "fp_";

/// Cookies of ad platforms that forwarding has a use for; those of [`OF_STREAM`] besides.
const BROWSER_COOKIES: [&str; 9] = [
    "_fbp",
    "_fbc",
    "_ttp",
    "_epik",
    "_scid",
    "_ga",
    "_rdt_uuid",
    "_uetvid",
    "li_fat_id",
];
/// What names of GA4's cookies of a session begin with; the id of its stream follows.
const OF_STREAM: &str = "_ga_";
/// Characters of such an id, at most.
const MOST_OF_STREAM: usize = 32;
/// Characters that a cookie may have.
const MOST_OF_COOKIE: usize = 512;
/// Cookies that are kept of one visit: all that there are, and those of a few streams.
const MOST_COOKIES: usize = 16;

/// Whether a cookie is an ad platform's that forwarding has a use for.
pub fn is_platforms_own(name: &str) -> bool {
    let of_stream = |id: &str| {
        (1..=MOST_OF_STREAM).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    BROWSER_COOKIES.contains(&name) || name.strip_prefix(OF_STREAM).is_some_and(of_stream)
}

/// Puts newer cookies over those that are kept, and beside them as far as there is room.
pub fn keep_newer(kept: &mut BTreeMap<String, String>, newer: &BTreeMap<String, String>) {
    for (name, value) in newer {
        if kept.contains_key(name) || kept.len() < MOST_COOKIES {
            kept.insert(name.clone(), value.clone());
        }
    }
}

/// A valid event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserEvent {
    /// The stream that it is for.
    pub attribution_id: Uuid,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// The id that the browser sent, where it may be used.
    pub visitor_id: Option<String>,
    /// The page, and what brought the visitor there, as far as the visitor's consent goes; none where the event does not tell.
    pub landing: Option<Landing>,
    /// The browser, as its script saw it.
    pub user_agent: Option<String>,
    /// What the visitor agreed to.
    pub consent: Consent,
    /// Cookies of ad platforms; none without the consent to advertising.
    pub browser_ids: BTreeMap<String, String>,
    /// What happened.
    pub kind: Kind,
}

/// What happened on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A page was viewed.
    PageView,
    /// The visitor agreed to be recognised: two ids are one visitor from now on.
    IdentityLink {
        /// The id of before, one of ours.
        previous: String,
        /// The id from now on.
        new: String,
    },
    /// Something that is counted.
    Conversion(Box<BrowserConversion>),
    /// Anything else.
    Interaction,
}

impl BrowserEvent {
    /// Whether the visitor agreed to be measured.
    pub fn may_measure(&self) -> bool {
        self.consent.analytics == Some(true)
    }

    /// Keeps a cookie of an ad platform, if the visitor agreed to that; what the event itself told stands.
    pub fn keep_cookie(&mut self, name: &str, value: &str) {
        if self.consent.advertising == Some(true)
            && is_platforms_own(name)
            && text::check(value, MOST_OF_COOKIE).is_ok()
            && self.browser_ids.len() < MOST_COOKIES
        {
            self.browser_ids
                .entry(name.to_owned())
                .or_insert_with(|| value.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_that_platforms_set() {
        for name in ["_fbp", "_ga", "_ga_ABC123", "_rdt_uuid", "_uetvid", "li_fat_id"] {
            assert!(is_platforms_own(name), "{name}");
        }
        let long = format!("_ga_{}", "A".repeat(33));
        for name in [
            "", "ga", "_ga_", "_ga_A B", "_ga_A.B", "_gat", "_FBP", "session", &long,
        ] {
            assert!(!is_platforms_own(name), "{name}");
        }
    }

    #[test]
    fn a_visit_keeps_so_many() {
        let of = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let mut kept = BTreeMap::new();
        for n in 0..100 {
            keep_newer(&mut kept, &of(&format!("_ga_{n}"), "old"));
        }
        assert_eq!(kept.len(), MOST_COOKIES);
        keep_newer(&mut kept, &of("_ga_0", "new"));
        assert_eq!(kept["_ga_0"], "new");
        assert_eq!(kept.len(), MOST_COOKIES);
    }
}
