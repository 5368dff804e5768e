//! Click ids: what an ad network puts on the landing page's URL.

/// A click id's parameter, and what it says where the campaign parameters are silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClickId {
    /// The query parameter, as networks write it; case does not matter when reading.
    pub name: &'static str,
    /// The source it implies.
    pub source: &'static str,
    /// The medium it implies.
    pub medium: &'static str,
}

const fn id(name: &'static str, source: &'static str, medium: &'static str) -> ClickId {
    ClickId { name, source, medium }
}

/// All that are known, the one that tells most first. `gclsrc` and `s_kwcid` only accompany others and imply nothing.
pub const ALL: [ClickId; 17] = [
    id("gclid", "google", "cpc"),
    id("gbraid", "google", "cpc"),
    id("wbraid", "google", "cpc"),
    id("msclkid", "bing", "cpc"),
    id("ttclid", "tiktok", "paid_social"),
    id("li_fat_id", "linkedin", "paid_social"),
    id("epik", "pinterest", "paid_social"),
    id("ScCid", "snapchat", "paid_social"),
    id("rdt_cid", "reddit", "paid_social"),
    id("twclid", "twitter", "paid_social"),
    id("yclid", "yandex", "cpc"),
    id("dclid", "google", "display"),
    id("_branch_match_id", "branch", "referral"),
    id("mc_eid", "mailchimp", "email"),
    id("vero_id", "vero", "email"),
    // Facebook and Instagram put these on unpaid links as well.
    id("fbclid", "facebook", "social"),
    id("igshid", "instagram", "social"),
];

/// Parameters that are kept with the click ids but make no touch by themselves.
pub const COMPANIONS: [&str; 2] = ["gclsrc", "s_kwcid"];

/// The click id of this name.
pub fn find(name: &str) -> Option<&'static ClickId> {
    ALL.iter().find(|known| known.name.eq_ignore_ascii_case(name))
}
