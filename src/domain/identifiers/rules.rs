//! The table: which platform takes which identifier, in which form, hashed or not.

use super::{Field, Unusable, address, check, email, is_sha256, name, opaque, phone, sha256_hex};

/// How a platform wants one identifier.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    normalise: fn(&str) -> Option<String>,
    hashed: bool,
}

const fn hashed(normalise: fn(&str) -> Option<String>) -> Option<Rule> {
    Some(Rule {
        normalise,
        hashed: true,
    })
}

const fn clear(normalise: fn(&str) -> Option<String>) -> Option<Rule> {
    Some(Rule {
        normalise,
        hashed: false,
    })
}

/// How a platform wants identifiers; none, where it has no place for one.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    email: Option<Rule>,
    phone: Option<Rule>,
    first_name: Option<Rule>,
    last_name: Option<Rule>,
    street: Option<Rule>,
    city: Option<Rule>,
    region: Option<Rule>,
    postal_code: Option<Rule>,
    country: Option<Rule>,
    external_id: Option<Rule>,
}

impl Rule {
    /// The form that the platform asks for; none, where nothing is left.
    pub fn normalise(&self, text: &str) -> Option<String> {
        (self.normalise)(text)
    }

    /// Whether it travels hashed.
    pub fn is_hashed(&self) -> bool {
        self.hashed
    }

    /// What is sent. What the sender hashed is passed on, where the platform wants a hash.
    pub fn prepare(&self, field: Field, sent: &str) -> Result<String, Unusable> {
        check(field, sent)?;
        let text = sent.trim();
        match (is_sha256(text), self.hashed) {
            (true, true) => return Ok(text.to_ascii_lowercase()),
            (true, false) => return Err(Unusable::Hashed),
            (false, _) => {}
        }
        let normal = self.normalise(text).ok_or(Unusable::NothingLeft)?;
        Ok(if self.hashed { sha256_hex(&normal) } else { normal })
    }
}

impl Rules {
    /// Meta Conversions API.
    pub const META: Self = Self {
        email: hashed(email::ascii_local),
        phone: hashed(phone::digits),
        first_name: hashed(name::compact),
        last_name: hashed(name::compact),
        street: None,
        city: hashed(address::city_ascii),
        region: hashed(address::region_cut),
        postal_code: hashed(address::postal_head),
        country: hashed(address::country_lower),
        external_id: hashed(opaque::compact),
    };

    /// Google Data Manager.
    pub const GOOGLE: Self = Self {
        email: hashed(email::gmail_folded),
        phone: hashed(phone::plus),
        first_name: hashed(name::untitled),
        last_name: hashed(name::without_suffix),
        street: None,
        city: None,
        region: None,
        postal_code: clear(address::postal_trimmed),
        country: clear(address::country_upper),
        external_id: None,
    };

    /// GA4 Measurement Protocol: Google's rules, and two more fields. A user id in clear is not ours to hand on.
    pub const GA4: Self = Self {
        street: hashed(address::words),
        city: clear(address::words),
        region: clear(address::words),
        ..Self::GOOGLE
    };

    /// TikTok Events API.
    pub const TIKTOK: Self = Self {
        email: hashed(email::plain),
        phone: hashed(phone::plus),
        first_name: hashed(name::compact),
        last_name: hashed(name::compact),
        street: None,
        city: clear(address::city_alphanumeric),
        region: clear(address::region_code),
        postal_code: hashed(address::postal_compact),
        country: clear(address::country_lower),
        external_id: hashed(opaque::lower),
    };

    /// Microsoft UET Conversions API. It takes an external id as it is; a hash is one that tells nobody's name.
    pub const MICROSOFT: Self = Self {
        email: hashed(email::all_folded),
        phone: hashed(phone::digits),
        external_id: hashed(opaque::trimmed),
        ..Self::NONE
    };

    /// LinkedIn Conversions API.
    pub const LINKEDIN: Self = Self {
        email: hashed(email::plain),
        first_name: clear(name::as_written),
        last_name: clear(name::as_written),
        country: clear(address::country_upper),
        ..Self::NONE
    };

    /// Pinterest API for Conversions.
    pub const PINTEREST: Self = Self {
        email: hashed(email::plain),
        phone: hashed(phone::digits),
        first_name: hashed(name::unspaced),
        last_name: hashed(name::unspaced),
        street: None,
        city: hashed(address::city_compact),
        region: hashed(address::region_code),
        postal_code: hashed(address::postal_digits),
        country: hashed(address::country_lower),
        external_id: hashed(opaque::compact),
    };

    /// Snapchat Conversions API.
    pub const SNAPCHAT: Self = Self {
        email: hashed(email::plain),
        phone: hashed(phone::untrunked),
        first_name: hashed(name::unspaced),
        last_name: hashed(name::unspaced),
        street: None,
        city: hashed(name::unspaced),
        region: hashed(address::region_code),
        postal_code: hashed(address::postal_unspaced),
        country: hashed(address::country_lower),
        external_id: hashed(opaque::lower),
    };

    /// Reddit Conversions API.
    pub const REDDIT: Self = Self {
        email: hashed(email::all_folded),
        phone: hashed(phone::plus),
        external_id: hashed(opaque::trimmed),
        ..Self::NONE
    };

    /// The user's own endpoint: hashed, so that clear text never leaves by a URL that somebody typed.
    pub const WEBHOOK: Self = Self {
        email: hashed(email::plain),
        phone: hashed(phone::plus),
        first_name: hashed(name::compact),
        last_name: hashed(name::compact),
        street: None,
        city: hashed(address::city_compact),
        region: hashed(address::city_compact),
        postal_code: hashed(address::postal_unspaced),
        country: clear(address::country_upper),
        external_id: hashed(opaque::trimmed),
    };

    const NONE: Self = Self {
        email: None,
        phone: None,
        first_name: None,
        last_name: None,
        street: None,
        city: None,
        region: None,
        postal_code: None,
        country: None,
        external_id: None,
    };

    /// The rule for a field; none, where the platform has no place for it.
    pub fn get(&self, field: Field) -> Option<Rule> {
        match field {
            Field::Email => self.email,
            Field::Phone => self.phone,
            Field::FirstName => self.first_name,
            Field::LastName => self.last_name,
            Field::Street => self.street,
            Field::City => self.city,
            Field::Region => self.region,
            Field::PostalCode => self.postal_code,
            Field::Country => self.country,
            Field::ExternalId => self.external_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Rules; 10] = [
        Rules::META,
        Rules::GOOGLE,
        Rules::GA4,
        Rules::TIKTOK,
        Rules::MICROSOFT,
        Rules::LINKEDIN,
        Rules::PINTEREST,
        Rules::SNAPCHAT,
        Rules::REDDIT,
        Rules::WEBHOOK,
    ];

    fn email() -> impl Strategy<Value = String> {
        "[ ]?[A-Za-z0-9İΣ.+]{1,12}@(gmail|GoogleMail|shop-a|例子)\\.(com|de)[ ]?"
    }

    fn anything() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "\\PC{0,20}",
            email(),
            "[+0-9 ()-]{0,20}",
            "(Mr\\.|Dr\\.| )*[A-Za-zÀ-ỹ' -]{0,12}(,? ?(Jr\\.?|PhD|iii|2nd))*",
            "[A-Za-z]{2}",
            "[A-Z0-9 -]{0,10}",
        ]
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in anything()) {
            for rules in ALL {
                for field in Field::ALL {
                    let Some(rule) = rules.get(field) else { continue };
                    if let Some(once) = rule.normalise(&text) {
                        prop_assert_eq!(rule.normalise(&once), Some(once), "{:?}", field);
                    }
                }
            }
        }

        #[test]
        fn a_hash_is_all_that_leaves(text in anything()) {
            for rules in ALL {
                for field in Field::ALL {
                    let Some(rule) = rules.get(field).filter(Rule::is_hashed) else { continue };
                    if let Ok(sent) = rule.prepare(field, &text) {
                        prop_assert!(is_sha256(&sent) && sent == sent.to_ascii_lowercase());
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_hashed_is_passed_on() {
        let hash = "C17C025FB9ED44EAE8A9D5C9DF0312AF5C6161BD79BD669692364FC5ECAF108A";
        for rules in ALL {
            let email = rules.email.unwrap().prepare(Field::Email, hash);
            assert_eq!(email, Ok(hash.to_ascii_lowercase()));
        }
        let plain = Rules::TIKTOK.city.unwrap().prepare(Field::City, hash);
        assert_eq!(plain, Err(Unusable::Hashed));
    }
}
