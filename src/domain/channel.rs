//! The channel that a visit came through: one table of rules, the first that fits holds.

use super::landing::Landing;

/// A way in, as marketers count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Nobody sent the visitor.
    Direct,
    /// A newsletter or the like.
    Email,
    /// A partner who is paid by success.
    Affiliate,
    /// Banners, video.
    Display,
    /// An ad in a social network.
    PaidSocial,
    /// An ad beside search results.
    PaidSearch,
    /// A social network, unpaid.
    OrganicSocial,
    /// A search engine, unpaid.
    OrganicSearch,
    /// A link on another site.
    Referral,
    /// A campaign that no rule knows.
    Other,
}

const EMAIL: &[&str] = &["email", "e-mail", "e_mail", "newsletter", "mail", "mailing"];
const AFFILIATE: &[&str] = &["affiliate", "affiliates", "partner"];
const DISPLAY: &[&str] = &[
    "display",
    "banner",
    "cpm",
    "expandable",
    "interstitial",
    "programmatic",
    "video",
];
const PAID_SOCIAL: &[&str] = &[
    "paid_social",
    "paidsocial",
    "paid-social",
    "social_paid",
    "social-paid",
];
const PAID_SEARCH: &[&str] = &["paid_search", "paidsearch", "paid-search", "sem"];
/// Paid, but where the source tells.
const PAID: &[&str] = &[
    "cpc",
    "ppc",
    "cpv",
    "cpa",
    "paid",
    "ads",
    "retargeting",
    "remarketing",
];
/// Of those, what is shown as banners, but by social networks and search engines.
const SHOWN_AGAIN: &[&str] = &["retargeting", "remarketing"];
const SOCIAL: &[&str] = &[
    "social",
    "social-network",
    "social_network",
    "social-media",
    "social_media",
    "sm",
];
const ORGANIC: &[&str] = &["organic", "seo"];

/// Names and hosts of social networks; a host fits with all below it.
const SOCIAL_SOURCES: &[&str] = &[
    "facebook",
    "fb",
    "instagram",
    "ig",
    "tiktok",
    "twitter",
    "x",
    "linkedin",
    "pinterest",
    "snapchat",
    "reddit",
    "youtube",
    "threads",
    "facebook.com",
    "instagram.com",
    "tiktok.com",
    "twitter.com",
    "x.com",
    "t.co",
    "linkedin.com",
    "lnkd.in",
    "pinterest.com",
    "snapchat.com",
    "reddit.com",
    "youtube.com",
    "threads.net",
    "threads.com",
    "bsky.app",
    "vk.com",
    "xing.com",
    "quora.com",
    "messenger.com",
];
/// Names of networks that sell banners by the click too.
const DISPLAY_SOURCES: &[&str] = &[
    "adform",
    "adroll",
    "criteo",
    "dv360",
    "outbrain",
    "quantcast",
    "rtbhouse",
    "rtb_house",
    "taboola",
    "teads",
    "thetradedesk",
    "the_trade_desk",
];
/// Names of senders of newsletters.
const EMAIL_SOURCES: &[&str] = &[
    "activecampaign",
    "brevo",
    "klaviyo",
    "mailchimp",
    "sendgrid",
    "sendinblue",
];
/// Hosts where people read their mail; others tell it by a label below their domain.
const WEBMAIL: &[&str] = &[
    "3c.gmx.net",
    "3c.web.de",
    "app.fastmail.com",
    "app.tuta.com",
    "e.mail.ru",
    "gmail.com",
    "icloud.com",
    "messagerie.orange.fr",
    "navigator.gmx.net",
    "navigator.web.de",
    "outlook.com",
    "outlook.live.com",
    "outlook.office.com",
    "outlook.office365.com",
];
/// Labels of hosts where people read their mail.
const MAIL_LABELS: &[&str] = &["email", "mail", "poczta", "webmail"];

/// Names and hosts of search engines.
const SEARCH_SOURCES: &[&str] = &[
    "google",
    "bing",
    "yahoo",
    "duckduckgo",
    "ecosia",
    "baidu",
    "yandex",
    "qwant",
    "startpage",
    "naver",
    "brave",
    "bing.com",
    "yahoo.com",
    "duckduckgo.com",
    "ecosia.org",
    "baidu.com",
    "yandex.com",
    "yandex.ru",
    "qwant.com",
    "startpage.com",
    "naver.com",
    "seznam.cz",
    "search.brave.com",
    "yahoo.co.jp",
];

impl Channel {
    /// The channel of a landing.
    pub fn of(landing: &Landing) -> Self {
        if landing.is_direct() {
            return Self::Direct;
        }
        let lower = |text: Option<String>| text.unwrap_or_default().to_lowercase();
        Self::by(&lower(landing.source()), &lower(landing.medium()))
    }

    /// The channel of a touch, of which no more is known than this.
    pub fn of_touch(direct: bool, source: Option<&str>, medium: Option<&str>) -> Self {
        if direct {
            return Self::Direct;
        }
        let lower = |text: Option<&str>| text.unwrap_or_default().to_lowercase();
        Self::by(&lower(source), &lower(medium))
    }

    /// By source and medium, in lower case.
    fn by(source: &str, medium: &str) -> Self {
        let social = is_one_of(source, SOCIAL_SOURCES);
        let search = is_one_of(source, SEARCH_SOURCES) || is_google(source);
        let banners = DISPLAY_SOURCES.contains(&source) || SHOWN_AGAIN.contains(&medium) && !search;
        let mail = EMAIL.contains(&source) || EMAIL_SOURCES.contains(&source) || is_webmail(source);
        match medium {
            _ if EMAIL.contains(&medium) => Self::Email,
            _ if AFFILIATE.contains(&medium) => Self::Affiliate,
            _ if PAID_SOCIAL.contains(&medium) => Self::PaidSocial,
            _ if PAID_SEARCH.contains(&medium) => Self::PaidSearch,
            _ if social && (PAID.contains(&medium) || medium == "cpm") => Self::PaidSocial,
            _ if PAID.contains(&medium) && banners => Self::Display,
            _ if PAID.contains(&medium) => Self::PaidSearch,
            _ if DISPLAY.contains(&medium) => Self::Display,
            _ if SOCIAL.contains(&medium) => Self::OrganicSocial,
            _ if ORGANIC.contains(&medium) => Self::OrganicSearch,
            "referral" | "" if mail => Self::Email,
            "referral" | "" if social => Self::OrganicSocial,
            "referral" | "" if search => Self::OrganicSearch,
            "referral" => Self::Referral,
            _ => Self::Other,
        }
    }

    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Email => "email",
            Self::Affiliate => "affiliate",
            Self::Display => "display",
            Self::PaidSocial => "paid_social",
            Self::PaidSearch => "paid_search",
            Self::OrganicSocial => "organic_social",
            Self::OrganicSearch => "organic_search",
            Self::Referral => "referral",
            Self::Other => "other",
        }
    }
}

/// A name, or a host or one below it.
fn is_one_of(source: &str, known: &[&str]) -> bool {
    known.iter().any(|known| {
        let below = source.strip_suffix(known).is_some_and(|rest| rest.ends_with('.'));
        source == *known || known.contains('.') && below
    })
}

/// Google searches on a domain in each country; what lies below it is something else: mail, documents.
fn is_google(source: &str) -> bool {
    let suffix = source.strip_prefix("google.");
    suffix.is_some_and(|suffix| psl::suffix_str(source) == Some(suffix))
}

/// A host where people read their mail.
fn is_webmail(source: &str) -> bool {
    let below = psl::domain_str(source).and_then(|domain| source.strip_suffix(domain));
    let mut labels = below.unwrap_or_default().split('.');
    is_one_of(source, WEBMAIL) || labels.any(|label| MAIL_LABELS.contains(&label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule() {
        let table: &[(&str, Option<&str>, Channel)] = &[
            ("", None, Channel::Direct),
            ("?utm_source=klaviyo&utm_medium=email", None, Channel::Email),
            ("?utm_source=blog&utm_medium=affiliate", None, Channel::Affiliate),
            ("?utm_source=criteo&utm_medium=display", None, Channel::Display),
            ("?utm_source=google&utm_medium=cpc", None, Channel::PaidSearch),
            ("?gclid=x", None, Channel::PaidSearch),
            ("?msclkid=x", None, Channel::PaidSearch),
            ("?dclid=x", None, Channel::Display),
            ("?utm_source=Facebook&utm_medium=CPC", None, Channel::PaidSocial),
            ("?ttclid=x", None, Channel::PaidSocial),
            ("?fbclid=x", None, Channel::OrganicSocial),
            ("", Some("https://l.instagram.com/"), Channel::OrganicSocial),
            ("", Some("https://t.co/abc"), Channel::OrganicSocial),
            ("", Some("https://www.google.co.uk/"), Channel::OrganicSearch),
            ("", Some("https://duckduckgo.com/"), Channel::OrganicSearch),
            ("", Some("https://news.example/article"), Channel::Referral),
            ("", Some("https://google.evil.example.net/"), Channel::Referral),
            ("", Some("https://notfacebook.com/"), Channel::Referral),
            ("", Some("https://google.com/"), Channel::OrganicSearch),
            ("", Some("https://google.evil.net/"), Channel::Referral),
            (
                "",
                Some("https://docs.google.com/document/d/1"),
                Channel::Referral,
            ),
            ("", Some("https://accounts.google.com/"), Channel::Direct),
            ("", Some("https://checkout.stripe.com/"), Channel::Direct),
            ("", Some("https://mail.google.com/"), Channel::Email),
            ("", Some("https://uk.mail.yahoo.com/"), Channel::Email),
            ("", Some("https://outlook.live.com/"), Channel::Email),
            ("", Some("https://search.yahoo.com/"), Channel::OrganicSearch),
            ("?utm_source=facebook&utm_medium=cpm", None, Channel::PaidSocial),
            (
                "?utm_source=instagram&utm_medium=retargeting",
                None,
                Channel::PaidSocial,
            ),
            (
                "?utm_source=criteo&utm_medium=retargeting",
                None,
                Channel::Display,
            ),
            ("?utm_source=criteo&utm_medium=cpc", None, Channel::Display),
            (
                "?utm_source=anybody&utm_medium=remarketing",
                None,
                Channel::Display,
            ),
            (
                "?utm_source=google&utm_medium=remarketing",
                None,
                Channel::PaidSearch,
            ),
            ("?utm_source=anybody&utm_medium=cpm", None, Channel::Display),
            ("?utm_source=newsletter", None, Channel::Email),
            ("?utm_source=Klaviyo", None, Channel::Email),
            ("?utm_source=newsletter&utm_medium=cpc", None, Channel::PaidSearch),
            ("?utm_source=google", None, Channel::OrganicSearch),
            ("?utm_source=poster&utm_medium=qr", None, Channel::Other),
            ("?trdt_cpid=1", None, Channel::Other),
        ];
        for (query, referrer, expected) in table {
            let landing = Landing::parse(&format!("https://shop.example/{query}"), *referrer).unwrap();
            assert_eq!(Channel::of(&landing), *expected, "{query} {referrer:?}");
            let (source, medium) = (landing.source(), landing.medium());
            let touch = Channel::of_touch(landing.is_direct(), source.as_deref(), medium.as_deref());
            assert_eq!(touch, *expected, "{query} {referrer:?}");
        }
    }
}
