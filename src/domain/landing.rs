//! A landing: what a page's URL and the referrer say about where the visitor came from.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use url::Url;

use super::click_id::{self, ClickId};
use super::passage::is_passage;
use super::personal::{MASK, is_masked};

/// Characters that a kept field may have; longer ones are cut.
const MOST_KEPT: usize = 512;
/// Bytes that a click id may have. A longer one is not kept: cut, it would be another click's.
pub const MAX_CLICK_ID: usize = 1024;
/// Bytes that a landing URL or a referrer may have.
pub const MAX_URL: usize = 8192;

/// Where a visit came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Campaign {
    /// `utm_source`
    pub source: Option<String>,
    /// `utm_medium`
    pub medium: Option<String>,
    /// `utm_campaign`
    pub campaign: Option<String>,
    /// `trdt_cpid`
    pub campaign_id: Option<String>,
    /// `trdt_agid`
    pub ad_group_id: Option<String>,
    /// `trdt_kwid`
    pub keyword_id: Option<String>,
    /// `trdt_ctid`
    pub creative_id: Option<String>,
    /// `utm_term`
    pub term: Option<String>,
    /// `utm_content`
    pub content: Option<String>,
}

/// A landing as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Landing {
    /// The URL, masked.
    pub url: String,
    /// The referrer, masked, when another site sent the visitor.
    pub referrer: Option<String>,
    /// The campaign.
    pub campaign: Campaign,
    /// Click ids and their companions, by canonical name.
    pub click_ids: BTreeMap<String, String>,
    /// The click id that told the network before the values were taken out.
    withheld: Option<&'static ClickId>,
}

/// Not the URL of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an http or https URL of at most 8192 bytes")]
pub struct NotAPage;

impl Landing {
    /// Reads a landing page's URL and the referrer that came with it; a referrer that is no URL counts as none.
    pub fn parse(url: &str, referrer: Option<&str>) -> Result<Self, NotAPage> {
        let page = parse_page(url)?;
        let mut campaign = Campaign::default();
        let (mut click_ids, mut masked_ids) = (BTreeMap::new(), Vec::new());
        for (name, value) in page.query_pairs() {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            if let Some(slot) = campaign.slot(&name) {
                slot.get_or_insert_with(|| kept(value));
            } else if let Some(canonical) = canonical_click_id(&name) {
                // The browser's script masks them where the visitor has not agreed.
                if value == MASK || !is_click_id(value) {
                    masked_ids.push(canonical);
                    continue;
                }
                click_ids
                    .entry(canonical.to_owned())
                    .or_insert_with(|| value.to_owned());
            }
        }
        let referrer = referrer
            .and_then(|text| parse_page(text).ok())
            .filter(|from| is_external(from, &page));
        Ok(Self {
            url: masked(page, is_masked),
            referrer: referrer.map(|from| masked(from, is_masked)),
            campaign,
            click_ids,
            withheld: click_id::ALL
                .iter()
                .find(|known| masked_ids.contains(&known.name)),
        })
    }

    /// What may be kept without the visitor's consent to being measured: no value of a click id, and of the referrer its origin. The campaign
    /// stays, and so does the network that the click id told.
    pub fn without_consent(mut self) -> Self {
        self.withheld = self.click_id();
        self.click_ids.clear();
        let origin = |text: &str| {
            Url::parse(text)
                .ok()
                .map(|url| url.origin().ascii_serialization())
        };
        self.referrer = self.referrer.as_deref().and_then(origin);
        if let Ok(url) = Url::parse(&self.url) {
            self.url = masked(url, |name| canonical_click_id(name).is_some());
        }
        self
    }

    /// The click id that tells the network.
    pub fn click_id(&self) -> Option<&'static ClickId> {
        let there = || {
            click_id::ALL
                .iter()
                .find(|known| self.click_ids.contains_key(known.name))
        };
        there().or(self.withheld)
    }

    /// Whether it is no touch at all: nobody sent the visitor.
    pub fn is_direct(&self) -> bool {
        self.campaign == Campaign::default() && self.click_id().is_none() && self.referrer.is_none()
    }

    /// A number that stands for what was paid for; none without campaign and click id. A click has the number of its id, whatever the site's
    /// own links carry on of the campaign beside it; where no id is known, the campaign's fields and the network make the number.
    pub fn campaign_key(&self) -> Option<i64> {
        let network = self.click_id();
        if let Some((name, value)) = network.and_then(|id| self.click_ids.get_key_value(id.name)) {
            return number_of([name.as_str(), value]);
        }
        if self.campaign == Campaign::default() && network.is_none() {
            return None;
        }
        let fields = [
            &self.campaign.source,
            &self.campaign.medium,
            &self.campaign.campaign,
            &self.campaign.campaign_id,
            &self.campaign.ad_group_id,
            &self.campaign.keyword_id,
            &self.campaign.creative_id,
            &self.campaign.term,
            &self.campaign.content,
        ];
        let fields = fields
            .into_iter()
            .map(|field| field.as_deref().unwrap_or_default());
        number_of(fields.chain([network.map_or("", |id| id.name)]))
    }

    /// The source, or what the click id or the referrer says in its place.
    pub fn source(&self) -> Option<String> {
        let implied = || self.click_id().map(|id| id.source.to_owned());
        self.campaign
            .source
            .clone()
            .or_else(implied)
            .or_else(|| self.referrer_host())
    }

    /// The medium, or what the click id or the referrer says in its place.
    pub fn medium(&self) -> Option<String> {
        let implied = || self.click_id().map(|id| id.medium.to_owned());
        let referral =
            || (self.campaign.source.is_none() && self.referrer.is_some()).then(|| "referral".to_owned());
        self.campaign.medium.clone().or_else(implied).or_else(referral)
    }

    fn referrer_host(&self) -> Option<String> {
        let referrer = Url::parse(self.referrer.as_deref()?).ok()?;
        referrer.host_str().map(|host| bare_host(host).to_owned())
    }
}

impl Campaign {
    /// The field that a query parameter fills.
    fn slot(&mut self, parameter: &str) -> Option<&mut Option<String>> {
        match parameter.to_ascii_lowercase().as_str() {
            "utm_source" => Some(&mut self.source),
            "utm_medium" => Some(&mut self.medium),
            "utm_campaign" => Some(&mut self.campaign),
            "utm_term" => Some(&mut self.term),
            "utm_content" => Some(&mut self.content),
            "trdt_cpid" => Some(&mut self.campaign_id),
            "trdt_agid" => Some(&mut self.ad_group_id),
            "trdt_kwid" => Some(&mut self.keyword_id),
            "trdt_ctid" => Some(&mut self.creative_id),
            _ => None,
        }
    }
}

/// A number that stands for some texts.
fn number_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<i64> {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(text.len().to_be_bytes());
        digest.update(text);
    }
    let digest = digest.finalize();
    digest.first_chunk().map(|first| i64::from_be_bytes(*first))
}

/// Whether a value can be a click id: one that was cut or changed would be another click's.
pub fn is_click_id(value: &str) -> bool {
    !value.is_empty() && value.len() <= MAX_CLICK_ID && !value.contains(char::is_control)
}

/// The spelling under which a click id, or a companion of one, is kept.
pub fn canonical_click_id(name: &str) -> Option<&'static str> {
    let companion = || {
        click_id::COMPANIONS
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(name))
    };
    click_id::find(name).map(|id| id.name).or_else(companion)
}

/// A field's value as it is kept: no control characters, of bounded length.
pub fn kept(value: &str) -> String {
    super::text::shown(value.trim(), MOST_KEPT)
}

fn parse_page(text: &str) -> Result<Url, NotAPage> {
    if text.len() > MAX_URL {
        return Err(NotAPage);
    }
    let url = Url::parse(text).map_err(|_| NotAPage)?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err(NotAPage)
    }
}

fn is_external(referrer: &Url, page: &Url) -> bool {
    let (Some(from), Some(to)) = (referrer.host_str(), page.host_str()) else {
        return false;
    };
    let (from, to) = (bare_host(from), bare_host(to));
    from != to && !is_passage(from)
}

fn bare_host(host: &str) -> &str {
    host.strip_prefix("www.").unwrap_or(host)
}

/// The URL without credentials, and without the values of the parameters that `hides` names.
fn masked(mut url: Url, hides: impl Fn(&str) -> bool) -> String {
    // Only a URL without a host refuses these, and it has been turned away.
    let _without_user = url.set_username("");
    let _without_password = url.set_password(None);
    let query = url.query().map(|pairs| mask_pairs(pairs, &hides));
    url.set_query(query.as_deref());
    let fragment = url.fragment().map(|pairs| mask_pairs(pairs, &hides));
    url.set_fragment(fragment.as_deref());
    url.into()
}

/// Masks the values of `name=value` pairs in place, so that everything else stays as it was sent. A value reaches to the next `&` or `#`.
fn mask_pairs(pairs: &str, hides: &impl Fn(&str) -> bool) -> String {
    let mut masked = String::with_capacity(pairs.len());
    for piece in pairs.split_inclusive(['&', '#']) {
        let (piece, end) = match piece.as_bytes().last() {
            Some(b'&' | b'#') => piece.split_at(piece.len() - 1),
            _ => (piece, ""),
        };
        match hidden_value(piece, hides) {
            Some(at) => {
                masked.push_str(&piece[..at]);
                masked.push_str(MASK);
            }
            None => masked.push_str(piece),
        }
        masked.push_str(end);
    }
    masked
}

/// Where the first value that must not be kept begins. A name stands at the beginning, or where a route or an encoded URL within has a query or
/// fragment of its own: `/route?token=...`, `next=https%3A%2F%2F...%3Ftoken%3D...`.
fn hidden_value(piece: &str, hides: &impl Fn(&str) -> bool) -> Option<usize> {
    let mut name_at = Some(0);
    let mut at = 0;
    while at < piece.len() {
        if let Some(length) = one_of(piece, at, &["=", "%3d"]) {
            let name = name_at
                .take()
                .and_then(|start| piece.get(start..at))
                .unwrap_or_default();
            let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
            // A single-page application writes `#!token=` and `#/token=`.
            if hides(name.trim_start_matches(['!', '/'])) {
                return Some(at + length);
            }
            at += length;
        } else if let Some(length) = one_of(piece, at, &["?", "%3f", "%26", "%23"]) {
            at += length;
            name_at = Some(at);
        } else {
            at += 1;
        }
    }
    None
}

/// The length of the one among `wanted`, in any case, that stands there.
fn one_of(text: &str, at: usize, wanted: &[&str]) -> Option<usize> {
    let rest = &text.as_bytes()[at..];
    let stands = |wanted: &&&str| {
        let found = rest.get(..wanted.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(wanted.as_bytes()))
    };
    wanted.iter().find(stands).map(|wanted| wanted.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn landing(url: &str, referrer: Option<&str>) -> Landing {
        Landing::parse(url, referrer).unwrap()
    }

    #[test]
    fn where_a_visit_came_from() {
        // url, referrer -> direct, source, medium, click id
        type Row = (
            &'static str,
            Option<&'static str>,
            bool,
            Option<&'static str>,
            Option<&'static str>,
            Option<&'static str>,
        );
        let table: &[Row] = &[
            ("https://shop.example/", None, true, None, None, None),
            (
                "https://shop.example/?utm_source=google&utm_medium=cpc&gclid=x",
                None,
                false,
                Some("google"),
                Some("cpc"),
                Some("gclid"),
            ),
            (
                "https://shop.example/?GCLID=x",
                None,
                false,
                Some("google"),
                Some("cpc"),
                Some("gclid"),
            ),
            ("https://shop.example/?gclid=", None, true, None, None, None),
            ("https://shop.example/?gclsrc=aw.ds", None, true, None, None, None),
            ("https://shop.example/?trdt_cpid=7", None, false, None, None, None),
            (
                "https://shop.example/?utm_source=mail",
                Some("https://other.example/"),
                false,
                Some("mail"),
                None,
                None,
            ),
            (
                "https://shop.example/",
                Some("https://www.blog.example/p?a=1"),
                false,
                Some("blog.example"),
                Some("referral"),
                None,
            ),
            (
                "https://shop.example/",
                Some("https://www.shop.example/cart"),
                true,
                None,
                None,
                None,
            ),
            (
                "https://shop.example/",
                Some("https://www.paypal.com/x"),
                true,
                None,
                None,
                None,
            ),
            ("https://shop.example/", Some("not a url"), true, None, None, None),
            (
                "https://shop.example/?fbclid=1",
                None,
                false,
                Some("facebook"),
                Some("social"),
                Some("fbclid"),
            ),
        ];
        for (url, referrer, direct, source, medium, click_id) in table {
            let landing = landing(url, *referrer);
            assert_eq!(landing.is_direct(), *direct, "{url}");
            assert_eq!(landing.source().as_deref(), *source, "{url}");
            assert_eq!(landing.medium().as_deref(), *medium, "{url}");
            assert_eq!(landing.click_id().map(|id| id.name), *click_id, "{url}");
        }
    }

    #[test]
    fn without_consent_the_campaign_and_the_network_stay() {
        let url = "https://shop.example/?utm_campaign=spring&GCLID=abc&s_kwcid=x#r?fbclid=y";
        let landing = landing(url, Some("https://news.example/a?b=c")).without_consent();
        assert_eq!(
            landing.url,
            "https://shop.example/?utm_campaign=spring&GCLID=[MASKED]&s_kwcid=[MASKED]#r?fbclid=[MASKED]"
        );
        assert_eq!(landing.referrer.as_deref(), Some("https://news.example"));
        assert_eq!(landing.click_ids, BTreeMap::new());
        let told = |landing: &Landing| (landing.click_id().map(|id| id.name), landing.source());
        assert_eq!(told(&landing), (Some("gclid"), Some("google".to_owned())));
        // What was masked on the way here tells the same, and keeps no value either.
        let again = Landing::parse(&landing.url, None).unwrap();
        assert_eq!(told(&again), told(&landing));
        assert_eq!(again.click_ids, BTreeMap::new());
    }

    #[test]
    fn nothing_sensitive_is_kept() {
        let table = [
            (
                "https://u:p@shop.example/a?email=j@x.y&b=1",
                "https://shop.example/a?email=[MASKED]&b=1",
            ),
            (
                "https://shop.example/?Access_Token=t&E-Mail=x",
                "https://shop.example/?Access_Token=[MASKED]&E-Mail=[MASKED]",
            ),
            (
                "https://shop.example/?%65mail=x",
                "https://shop.example/?%65mail=[MASKED]",
            ),
            (
                "https://shop.example/#/r?token=t&x=1",
                "https://shop.example/#/r?token=[MASKED]&x=1",
            ),
            (
                "https://shop.example/#token=t&x=1",
                "https://shop.example/#token=[MASKED]&x=1",
            ),
            (
                "https://shop.example/#!token=t&x=1",
                "https://shop.example/#!token=[MASKED]&x=1",
            ),
            (
                "https://shop.example/#/token=t",
                "https://shop.example/#/token=[MASKED]",
            ),
            (
                "https://shop.example/#a#token=t",
                "https://shop.example/#a#token=[MASKED]",
            ),
            (
                "https://shop.example/?next=https%3A%2F%2Fx.example%2F%3Fa%3D1%26Token%3Dt&b=1",
                "https://shop.example/?next=https%3A%2F%2Fx.example%2F%3Fa%3D1%26Token%3D[MASKED]&b=1",
            ),
            (
                "https://shop.example/?next=/a%23%2fotp=t%26b",
                "https://shop.example/?next=/a%23%2fotp=[MASKED]",
            ),
            (
                "https://shop.example/?emailing=x&q=a%20b&n=%3Fnotoken%3D1&token&%3F",
                "https://shop.example/?emailing=x&q=a%20b&n=%3Fnotoken%3D1&token&%3F",
            ),
        ];
        for (url, expected) in table {
            assert_eq!(landing(url, None).url, expected, "{url}");
        }
    }

    #[test]
    fn a_click_is_one_whatever_else_is_carried_on() {
        let key = |query: &str| landing(&format!("https://shop.example/{query}"), None).campaign_key();
        assert_eq!(key("?utm_campaign=spring&gclid=X"), key("?gclid=X"));
        assert_eq!(key("?gclid=X&gclsrc=aw.ds"), key("?utm_source=google&GCLID=X"));
        assert_eq!(
            key("?utm_campaign=a&gclid=[MASKED]"),
            key("?utm_campaign=a&gclid=[MASKED]")
        );
        assert_eq!(key("?gclsrc=aw.ds"), None);
        assert_eq!(key(""), None);
        let all = [
            "?gclid=X",
            "?gclid=Y",
            "?msclkid=X",
            "?utm_campaign=a",
            "?utm_campaign=b",
            "?utm_source=a",
            "?utm_campaign=a&gclid=[MASKED]",
            "?gclid=[MASKED]",
        ];
        for (place, one) in all.iter().enumerate() {
            for other in &all[place + 1..] {
                assert_ne!(key(one), key(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn a_click_id_that_is_too_long_is_none() {
        let of = |value: &str| landing(&format!("https://shop.example/?gclid={value}"), None);
        let long = "x".repeat(MAX_CLICK_ID);
        assert_eq!(of(&long).click_ids["gclid"], long);
        for bad in [long + "x", "a%00b".to_owned()] {
            let landing = of(&bad);
            assert_eq!(landing.click_ids, BTreeMap::new());
            assert_eq!(
                landing.click_id().map(|id| id.name),
                Some("gclid"),
                "the network is told"
            );
        }
    }

    #[test]
    fn hostile_urls() {
        for bad in [
            "",
            "javascript:alert(1)",
            "/relative",
            "ftp://x/",
            "http://",
            "data:text/html,x",
        ] {
            assert_eq!(Landing::parse(bad, None), Err(NotAPage), "{bad}");
        }
        assert_eq!(
            Landing::parse(&format!("https://x.example/?a={}", "a".repeat(MAX_URL)), None),
            Err(NotAPage)
        );
        assert!(Landing::parse("https://x.example/?utm_source=%ff%00", None).is_ok());
    }
}
