//! Conversion x destination -> to be sent, or not and why. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::state::Reason;
use crate::destinations::{Policy, Topics};
use crate::domain::consent::Consent;
use crate::domain::topic::Topic;

/// What the plan needs to know of a conversion.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What kind it is.
    pub topic: Topic,
    /// Name of a custom event.
    pub event_name: Option<String>,
    /// When it happened.
    pub event_time: DateTime<Utc>,
    /// What is known of its visitor.
    pub grounds: Grounds,
    /// Whether its property takes unknown consent for granted.
    pub unknown_consent_granted: bool,
}

/// What is known of a conversion's visitor, as far as it decides on sending.
#[derive(Debug, Clone, Default)]
pub struct Grounds {
    /// What the visitor agreed to.
    pub consent: Consent,
    /// Whether it was matched.
    pub matched: bool,
    /// Name of the click id that last click credits.
    pub click_id: Option<String>,
}

impl Grounds {
    /// Those of a refund. Shops send refunds from their back office, where nobody knows the visitor: what a refund does not say of consent, its
    /// purchase says. Match and credit are the purchase's, for that is what the refund takes back; the refund's own where it has none.
    pub fn or_purchase(self, purchase: Self) -> Self {
        Self {
            consent: self.consent.or(purchase.consent),
            matched: self.matched || purchase.matched,
            click_id: match purchase.matched {
                true => purchase.click_id,
                false => self.click_id,
            },
        }
    }
}

/// What the plan needs to know of a destination.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Whether it was taken away.
    pub removed: bool,
    /// Whether the platform takes conversions of this topic.
    pub supported: bool,
    /// Topics sent; none: all.
    pub topics: Option<&'a Topics>,
    /// Which conversions it gets.
    pub policy: Policy,
    /// Names of the click ids that are the platform's own.
    pub click_ids: &'a [&'a str],
    /// How old an event may be when the platform gets it; none where any will do.
    pub max_age: Option<TimeDelta>,
}

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planned {
    /// To be sent until then.
    Queued {
        /// When the platform takes it no more.
        deliver_by: DateTime<Utc>,
    },
    /// Not to be sent.
    Suppressed(Reason),
    /// Too old already.
    Expired,
}

/// How long a platform is asked that has no limit of its own.
pub(super) const A_WEEK: TimeDelta = TimeDelta::days(7);

/// Plans one delivery. Consent comes before everything that is a matter of taste: who looks why something was not sent reads that first.
pub fn plan(facts: &Facts, rules: Rules<'_>, now: DateTime<Utc>) -> Planned {
    // Where the platform has no limit, ours is a week of trying.
    let deliver_by = rules.max_age.map_or(now + A_WEEK, |age| facts.event_time + age);
    let sent = rules
        .topics
        .is_none_or(|topics| topics.contains_key(facts.topic.as_str()));
    let own_click = || {
        let click = facts.grounds.click_id.as_deref();
        click.is_some_and(|click| rules.click_ids.contains(&click))
    };
    let reason = match facts.grounds.consent.advertising {
        _ if rules.removed => Some(Reason::DestinationRemoved),
        Some(false) => Some(Reason::ConsentDenied),
        None if !facts.unknown_consent_granted => Some(Reason::ConsentUnknown),
        _ if !rules.supported => Some(Reason::TopicNotSupported),
        _ if !sent => Some(Reason::TopicNotSent),
        _ if rules.policy != Policy::All && !facts.grounds.matched => Some(Reason::NotMatched),
        _ if rules.policy == Policy::OwnClick && !own_click() => Some(Reason::NotOwnClick),
        _ => None,
    };
    match reason {
        Some(reason) => Planned::Suppressed(reason),
        None if deliver_by <= now => Planned::Expired,
        None => Planned::Queued { deliver_by },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn advertising(granted: Option<bool>) -> Consent {
        Consent {
            advertising: granted,
            ..Consent::default()
        }
    }

    fn facts() -> Facts {
        Facts {
            topic: Topic::Purchase,
            event_name: None,
            event_time: now(),
            grounds: Grounds {
                consent: advertising(Some(true)),
                matched: true,
                click_id: Some("gclid".to_owned()),
            },
            unknown_consent_granted: false,
        }
    }

    const RULES: Rules<'_> = Rules {
        removed: false,
        supported: true,
        topics: None,
        policy: Policy::Matched,
        click_ids: &["gclid", "gbraid"],
        max_age: Some(TimeDelta::days(7)),
    };

    #[test]
    fn consent_decides_first() {
        // Consent, property's opt-in -> reason.
        let table = [
            (Some(true), false, None),
            (Some(true), true, None),
            (Some(false), true, Some(Reason::ConsentDenied)),
            (Some(false), false, Some(Reason::ConsentDenied)),
            (None, false, Some(Reason::ConsentUnknown)),
            (None, true, None),
        ];
        for (consent, opted_in, expected) in table {
            let mut facts = Facts {
                unknown_consent_granted: opted_in,
                ..facts()
            };
            facts.grounds.consent = advertising(consent);
            let planned = plan(&facts, RULES, now());
            let expected = match expected {
                Some(reason) => Planned::Suppressed(reason),
                None => Planned::Queued {
                    deliver_by: now() + TimeDelta::days(7),
                },
            };
            assert_eq!(planned, expected, "{consent:?} {opted_in}");
        }
    }

    #[test]
    fn a_refund_stands_on_its_purchase() {
        let grounds = |consent: Option<bool>, matched: bool, click_id: Option<&str>| Grounds {
            consent: advertising(consent),
            matched,
            click_id: click_id.map(str::to_owned),
        };
        let nothing = || grounds(None, false, None);
        let purchase = || grounds(Some(true), true, Some("gclid"));
        let stood = nothing().or_purchase(purchase());
        assert_eq!(
            (
                stood.consent.advertising,
                stood.matched,
                stood.click_id.as_deref()
            ),
            (Some(true), true, Some("gclid"))
        );
        // What it says itself of consent stands; the credit that it takes back is the purchase's.
        let stood = grounds(Some(false), true, Some("fbclid")).or_purchase(purchase());
        assert_eq!(
            (stood.consent.advertising, stood.click_id.as_deref()),
            (Some(false), Some("gclid"))
        );
        let stood = grounds(None, true, Some("fbclid")).or_purchase(nothing());
        assert_eq!(
            (
                stood.consent.advertising,
                stood.matched,
                stood.click_id.as_deref()
            ),
            (None, true, Some("fbclid"))
        );
    }

    #[test]
    fn each_reason() {
        let only_leads = Topics::from([("lead".to_owned(), None)]);
        let with = |change: fn(&mut Facts), rules: Rules<'_>| {
            let mut facts = facts();
            change(&mut facts);
            plan(&facts, rules, now())
        };
        let suppressed = Planned::Suppressed;
        let removed = Rules {
            removed: true,
            ..RULES
        };
        assert_eq!(with(|_| (), removed), suppressed(Reason::DestinationRemoved));
        let unsupported = Rules {
            supported: false,
            ..RULES
        };
        assert_eq!(with(|_| (), unsupported), suppressed(Reason::TopicNotSupported));
        let leads = Rules {
            topics: Some(&only_leads),
            ..RULES
        };
        assert_eq!(with(|_| (), leads), suppressed(Reason::TopicNotSent));
        assert_eq!(
            with(|f| f.grounds.matched = false, RULES),
            suppressed(Reason::NotMatched)
        );
        let own = Rules {
            policy: Policy::OwnClick,
            ..RULES
        };
        assert_eq!(
            with(|f| f.grounds.click_id = None, own),
            suppressed(Reason::NotOwnClick)
        );
        assert_eq!(
            with(|f| f.grounds.click_id = Some("fbclid".to_owned()), own),
            suppressed(Reason::NotOwnClick)
        );
        let all = Rules {
            policy: Policy::All,
            ..RULES
        };
        assert!(matches!(
            with(|f| f.grounds.matched = false, all),
            Planned::Queued { .. }
        ));
        assert_eq!(
            with(|f| f.event_time -= TimeDelta::days(7), RULES),
            Planned::Expired
        );
    }
}
