//! What is to be otherwise with a destination.

use super::{Destination, Policy, Topics};
use crate::platform::outbound::Reach;

/// What is to be otherwise; none: it stays.
#[derive(Debug, Clone)]
pub struct Edit {
    /// What people call it.
    pub name: Option<String>,
    /// Ids and credentials at the platform, all of them, sealed.
    pub settings_sealed: Option<Vec<u8>>,
    /// Where the platform is; none within: where it says itself.
    pub base_url: Option<Option<String>>,
    /// How far whoever asks for this may send.
    pub reach: Reach,
    /// Topics sent; none within: all that the platform takes.
    pub topics: Option<Option<Topics>>,
    /// Which conversions it gets.
    pub policy: Option<Policy>,
}

impl Destination {
    /// As it is afterwards, and the names of the fields that are otherwise then. A base URL that stays as it is keeps its reach, unless
    /// somebody who may name any address names it again.
    pub fn edited(&self, edit: Edit) -> (Self, Vec<&'static str>) {
        let mut after = self.clone();
        let mut fields = Vec::new();
        if let Some(name) = edit.name.filter(|name| *name != self.name) {
            after.name = name;
            fields.push("name");
        }
        // Sealed, the same does not look the same.
        if let Some(sealed) = edit.settings_sealed {
            after.settings_sealed = sealed;
            fields.push("settings");
        }
        let anywhere = edit.reach == Reach::Anywhere;
        if let Some(base_url) = edit.base_url
            && (base_url != self.base_url || (anywhere && base_url.is_some() && !self.base_url_anywhere))
        {
            after.base_url_anywhere = anywhere && base_url.is_some();
            after.base_url = base_url;
            fields.push("base_url");
        }
        if let Some(topics) = edit.topics.filter(|topics| *topics != self.topics) {
            after.topics = topics;
            fields.push("topics");
        }
        if let Some(policy) = edit.policy.filter(|policy| *policy != self.policy) {
            after.policy = policy;
            fields.push("policy");
        }
        (after, fields)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;

    fn destination(base_url: Option<&str>, anywhere: bool) -> Destination {
        Destination {
            destination_id: Uuid::nil(),
            property_id: Uuid::nil(),
            attribution_id: Uuid::nil(),
            platform: "meta".to_owned(),
            name: "Meta".to_owned(),
            settings_sealed: vec![1],
            base_url: base_url.map(str::to_owned),
            base_url_anywhere: anywhere,
            topics: None,
            policy: Policy::Matched,
            created_at: DateTime::UNIX_EPOCH,
            paused_at: None,
            paused_reason: None,
            removed_at: None,
        }
    }

    fn edit(base_url: Option<&str>, reach: Reach) -> Edit {
        Edit {
            name: None,
            settings_sealed: None,
            base_url: Some(base_url.map(str::to_owned)),
            reach,
            topics: None,
            policy: None,
        }
    }

    #[test]
    fn a_base_url_leads_as_far_as_who_named_it() {
        let (own, other) = (Some("http://10.0.0.1"), Some("http://10.0.0.2"));
        for (before, asked, reach, after) in [
            ((own, true), own, Reach::Public, (own, true)),
            ((own, true), other, Reach::Public, (other, false)),
            ((own, true), None, Reach::Public, (None, false)),
            ((own, false), own, Reach::Public, (own, false)),
            ((own, false), own, Reach::Anywhere, (own, true)),
            ((own, false), other, Reach::Anywhere, (other, true)),
            ((None, false), None, Reach::Anywhere, (None, false)),
        ] {
            let (found, fields) = destination(before.0, before.1).edited(edit(asked, reach));
            assert_eq!((found.base_url.as_deref(), found.base_url_anywhere), after);
            assert_eq!(fields.is_empty(), before == after);
        }
    }

    #[test]
    fn fields_that_are_otherwise_are_named() {
        let before = destination(None, false);
        let same = Edit {
            name: Some("Meta".to_owned()),
            topics: Some(None),
            policy: Some(Policy::Matched),
            ..edit(None, Reach::Public)
        };
        assert!(before.edited(same).1.is_empty());
        let other = Edit {
            name: Some("M".to_owned()),
            settings_sealed: Some(vec![2]),
            topics: Some(Some(Topics::from([("purchase".to_owned(), None)]))),
            policy: Some(Policy::All),
            ..edit(None, Reach::Public)
        };
        assert_eq!(before.edited(other).1, ["name", "settings", "topics", "policy"]);
    }
}
