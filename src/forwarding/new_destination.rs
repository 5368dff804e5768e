//! A destination as somebody asks for it, or asks for it to be otherwise: checked.

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::lane;
use super::platforms::{Name, Platform};
use super::sender::Sender;
use crate::destinations::{Destination, Edit, Policy, Topics, seal_settings};
use crate::domain::faults::{Fault, Faults};
use crate::domain::tenant::Tenant;
use crate::domain::text;
use crate::domain::topic::{Topic, UnknownTopic};
use crate::platform::clock::Clock;
use crate::platform::outbound::Reach;
use crate::platform::secrets::{SealError, Sealer};

/// Characters of a platform's event name, at most.
const MOST_EVENT_NAME: usize = 64;
/// Bytes of a base URL, at most.
const MOST_URL: usize = 2048;

/// What is asked for.
pub struct Wanted {
    /// The platform.
    pub platform: Name,
    /// What people call it.
    pub name: String,
    /// Ids and credentials, as JSON.
    pub settings: SecretString,
    /// Where the platform is, in place of its own address.
    pub base_url: Option<Url>,
    /// Topics sent; empty: all that the platform takes.
    pub topics: Topics,
    /// Which conversions it gets.
    pub policy: Policy,
}

/// What is asked to be otherwise; none: it stays.
#[derive(Default)]
pub struct Changes {
    /// What people call it.
    pub name: Option<String>,
    /// Ids and credentials, as JSON: all of them.
    pub settings: Option<SecretString>,
    /// Where the platform is; none within: at its own address.
    pub base_url: Option<Option<Url>>,
    /// Topics sent; empty: all that the platform takes.
    pub topics: Option<Topics>,
    /// Which conversions it gets.
    pub policy: Option<Policy>,
}

/// Why there is no such destination.
#[derive(Debug)]
pub enum Unfit {
    /// What is wrong with what was asked for, all of it; no value is shown.
    Faults(Vec<Fault>),
    /// The settings cannot be sealed.
    Seal(SealError),
}

/// A destination that is not stored yet, its settings checked and sealed. `reach` is how far whoever asks for it may send.
pub fn new_destination(
    tenant: Tenant,
    wanted: Wanted,
    reach: Reach,
    sender: &Sender,
    sealer: &Sealer,
    clock: &Clock,
) -> Result<Destination, Unfit> {
    let platform = wanted.platform;
    let base_url = wanted.base_url.as_ref().map(as_stored);
    let mut faults = Faults::default();
    check_base_url(wanted.base_url.as_ref(), reach, sender, &mut faults);
    let endpoint = base_url.as_deref();
    let read = check_settings(&wanted.settings, platform, endpoint, sender, &mut faults);
    let topics = match read {
        Some(read) => check_topics(read.as_ref(), wanted.topics, &mut faults),
        None => wanted.topics,
    };
    if !faults.is_empty() {
        return Err(Unfit::Faults(faults.into_vec()));
    }
    let destination_id = clock.new_id();
    let sealed = seal_settings(&wanted.settings, tenant.property_id, destination_id, sealer);
    Ok(Destination {
        destination_id,
        property_id: tenant.property_id,
        attribution_id: tenant.attribution_id,
        platform: platform.as_str().to_owned(),
        name: wanted.name,
        settings_sealed: sealed.map_err(Unfit::Seal)?,
        base_url_anywhere: base_url.is_some() && reach == Reach::Anywhere,
        base_url,
        topics: some_topics(topics),
        policy: wanted.policy,
        created_at: clock.now(),
        paused_at: None,
        paused_reason: None,
        removed_at: None,
    })
}

/// What is to be otherwise with a destination, checked as for a new one, and sealed.
pub fn changed_destination(
    before: &Destination,
    changes: Changes,
    reach: Reach,
    sender: &Sender,
    sealer: &Sealer,
) -> Result<Edit, Unfit> {
    let mut faults = Faults::default();
    let base_url = changes.base_url.as_ref().map(|url| url.as_ref().map(as_stored));
    // One that stays as it is was named by somebody who might.
    if base_url.as_ref().is_some_and(|url| *url != before.base_url) {
        let named = changes.base_url.as_ref().and_then(Option::as_ref);
        check_base_url(named, reach, sender, &mut faults);
    }
    let mut read = None;
    if let Some(settings) = &changes.settings {
        match before.platform.parse::<Name>() {
            Ok(platform) => {
                let endpoint = base_url.as_ref().unwrap_or(&before.base_url).as_deref();
                read = check_settings(settings, platform, endpoint, sender, &mut faults);
            }
            Err(unknown) => faults.add("platform", "unknown_platform", unknown.to_string()),
        }
    }
    let topics = changes.topics.map(|topics| {
        let kept = || lane::read(before, sealer).map(|(_, platform)| platform);
        match read.or_else(kept) {
            Some(platform) => check_topics(platform.as_ref(), topics, &mut faults),
            // Settings that nobody can read are sent to nobody, whatever the topics are called.
            None => topics,
        }
    });
    if !faults.is_empty() {
        return Err(Unfit::Faults(faults.into_vec()));
    }
    let sealed = changes
        .settings
        .map(|settings| seal_settings(&settings, before.property_id, before.destination_id, sealer));
    Ok(Edit {
        name: changes.name,
        settings_sealed: sealed.transpose().map_err(Unfit::Seal)?,
        base_url,
        reach,
        topics: topics.map(some_topics),
        policy: changes.policy,
    })
}

fn as_stored(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

fn some_topics(topics: Topics) -> Option<Topics> {
    Some(topics).filter(|topics| !topics.is_empty())
}

/// What is no public address by its looks is refused at once; what a name leads to is found out when it is looked up, each time.
const NOT_PUBLIC: &str = "must lead to a public address, or to one of the ranges in forwarding.allowed_private_networks of the configuration";

fn check_base_url(base_url: Option<&Url>, reach: Reach, sender: &Sender, faults: &mut Faults) {
    if base_url.is_some_and(|url| !sender.may_lead_to(url, reach)) {
        faults.add("base_url", "address_not_public", NOT_PUBLIC);
    }
}

/// The names of the topics' events as the platform takes them; every one that it does not take is a fault.
fn check_topics(platform: &dyn Platform, topics: Topics, faults: &mut Faults) -> Topics {
    let mut named = |(sent, name): (String, Option<String>)| {
        let (Some(asked), Ok(topic)) = (&name, sent.parse::<Topic>()) else {
            return (sent, name);
        };
        // What is not taken at all needs no name.
        let taken = platform
            .event_name(topic, None)
            .and_then(|_own| platform.rename(topic, asked));
        let taken = taken.map_err(|no| faults.add(format!("topics.{sent}"), no.code, no.reason));
        (sent, taken.ok())
    };
    topics.into_iter().map(&mut named).collect()
}

/// Reads the settings, and looks where they lead.
fn check_settings(
    settings: &SecretString,
    platform: Name,
    base_url: Option<&str>,
    sender: &Sender,
    faults: &mut Faults,
) -> Option<Box<dyn Platform>> {
    // What the parser says may quote the text: a secret.
    let json = match serde_json::from_str(settings.expose_secret()) {
        Ok(json) => json,
        Err(error) => {
            let message = format!("are no JSON: line {}, column {}", error.line(), error.column());
            faults.add("settings", "invalid_json", message);
            return None;
        }
    };
    let read = match platform.read(&json) {
        Ok(read) => read,
        Err(found) => {
            for fault in found {
                let field = match fault.field.as_str() {
                    "settings" => fault.field,
                    setting => format!("settings.{setting}"),
                };
                faults.add(field, fault.code, fault.message);
            }
            return None;
        }
    };
    // Where a base URL stands in, it is the one that is sent to.
    let stands_in = !sender
        .endpoint(platform, base_url, Reach::Public)
        .base_url
        .is_empty();
    let address = read.address().filter(|_| !stands_in);
    let address = address.and_then(|url| Url::parse(url).ok());
    if address.is_some_and(|url| !sender.may_lead_to(&url, Reach::Public)) {
        faults.add("settings.url", "address_not_public", NOT_PUBLIC);
    }
    Some(read)
}

/// A base URL: http or https, a path may be part of it.
pub fn read_base_url(sent: &str) -> Result<Url, &'static str> {
    match Url::parse(sent) {
        Ok(url)
            if sent.len() <= MOST_URL
                && matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none() =>
        {
            Ok(url)
        }
        _ => Err("must be an http or https URL without user, password, query and fragment"),
    }
}

/// A topic, or a topic and the platform's name for it: `purchase`, `lead=enquiry`.
pub fn read_topic(sent: &str) -> Result<(String, Option<String>), String> {
    let (topic, name) = match sent.split_once('=') {
        Some((topic, name)) => (topic, Some(name)),
        None => (sent, None),
    };
    let topic: Topic = topic
        .parse()
        .map_err(|unknown: UnknownTopic| unknown.to_string())?;
    let name = name
        .map(|name| match text::check(name, MOST_EVENT_NAME) {
            Ok(()) => Ok(name.to_owned()),
            Err(bad) => Err(bad.spec(MOST_EVENT_NAME).1),
        })
        .transpose()?;
    Ok((topic.as_str().to_owned(), name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::platform::config;
    use crate::platform::outbound::Outbound;

    const WHERE_NOBODY_IS_LET_IN: [&str; 8] = [
        "http://127.0.0.1:8090/x",
        "http://169.254.169.254/latest/meta-data",
        "http://2130706433/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[fd00::1]/",
        "http://localhost:9090/",
        "http://db.localhost./",
    ];

    fn sender(allowed: &[&str], platforms: BTreeMap<String, config::Platform>) -> Sender {
        let allowed: Vec<ipnet::IpNet> = allowed.iter().map(|net| net.parse().unwrap()).collect();
        Sender::new(Outbound::new(&allowed).unwrap(), platforms)
    }

    fn sealer() -> Sealer {
        let secrets = config::built_in().secrets;
        Sealer::new(&secrets, Some([0; 32])).unwrap()
    }

    fn made(
        (platform, settings): (Name, serde_json::Value),
        base_url: Option<&str>,
        reach: Reach,
        sender: &Sender,
    ) -> Result<Destination, Vec<String>> {
        let tenant = Tenant {
            property_id: Uuid::nil(),
            attribution_id: Uuid::nil(),
        };
        let wanted = Wanted {
            platform,
            name: "x".to_owned(),
            settings: settings.to_string().into(),
            base_url: base_url.map(|url| read_base_url(url).unwrap()),
            topics: Topics::new(),
            policy: Policy::Matched,
        };
        let clock = Clock::fixed(chrono::DateTime::UNIX_EPOCH);
        new_destination(tenant, wanted, reach, sender, &sealer(), &clock).map_err(of)
    }

    fn of(unfit: Unfit) -> Vec<String> {
        match unfit {
            Unfit::Faults(faults) => faults.iter().map(|f| format!("{} {}", f.field, f.code)).collect(),
            Unfit::Seal(error) => vec![error.to_string()],
        }
    }

    fn meta() -> (Name, serde_json::Value) {
        (Name::Meta, json!({ "pixel_id": "1", "access_token": "t" }))
    }

    fn webhook(url: &str) -> (Name, serde_json::Value) {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        (Name::Webhook, json!({ "url": url, "secret": secret }))
    }

    #[test]
    fn only_who_runs_the_service_names_a_private_base_url() {
        let plain = sender(&[], BTreeMap::new());
        for url in WHERE_NOBODY_IS_LET_IN {
            let refused = made(meta(), Some(url), Reach::Public, &plain).unwrap_err();
            assert_eq!(refused, ["base_url address_not_public"], "{url}");
            let taken = made(meta(), Some(url), Reach::Anywhere, &plain).unwrap();
            assert_eq!(taken.reach(), Reach::Anywhere, "{url}");
        }
        let public = made(meta(), Some("https://graph.example/x/"), Reach::Public, &plain).unwrap();
        assert_eq!(public.base_url.as_deref(), Some("https://graph.example/x"));
        assert_eq!(public.reach(), Reach::Public);
        let allowed = sender(&["127.0.0.0/8"], BTreeMap::new());
        let local = made(meta(), Some("http://127.0.0.1:8090"), Reach::Public, &allowed).unwrap();
        assert_eq!(local.reach(), Reach::Public);
    }

    #[test]
    fn a_webhooks_own_url_is_a_public_one_whoever_names_it() {
        let plain = sender(&[], BTreeMap::new());
        for url in WHERE_NOBODY_IS_LET_IN {
            for reach in [Reach::Public, Reach::Anywhere] {
                let refused = made(webhook(url), None, reach, &plain).unwrap_err();
                assert_eq!(refused, ["settings.url address_not_public"], "{url}");
            }
        }
        assert!(made(webhook("https://hooks.example/x"), None, Reach::Public, &plain).is_ok());
        // Where something stands in, nothing is sent to that URL.
        let stub = Some("http://127.0.0.1:8090/webhook");
        assert!(made(webhook("http://10.0.0.1/x"), stub, Reach::Anywhere, &plain).is_ok());
        let proxy = config::Platform {
            base_url: Some("http://10.0.0.9".to_owned()),
            version: None,
            token_url: None,
        };
        let configured = sender(&[], BTreeMap::from([("webhook".to_owned(), proxy)]));
        assert!(made(webhook("http://10.0.0.1/x"), None, Reach::Public, &configured).is_ok());
        assert_eq!(
            configured.endpoint(Name::Webhook, None, Reach::Public).reach,
            Reach::Anywhere
        );
    }

    #[test]
    fn changes_are_checked_like_something_new() {
        let plain = sender(&[], BTreeMap::new());
        let before = made(
            meta(),
            Some("http://127.0.0.1:8090/meta"),
            Reach::Anywhere,
            &plain,
        )
        .unwrap();
        let edit =
            |changes| changed_destination(&before, changes, Reach::Public, &plain, &sealer()).map_err(of);
        let base_url = |url: &str| Changes {
            base_url: Some(Some(read_base_url(url).unwrap())),
            ..Changes::default()
        };
        assert_eq!(
            edit(base_url("http://10.0.0.1/meta")).unwrap_err(),
            ["base_url address_not_public"]
        );
        assert!(
            edit(base_url("http://127.0.0.1:8090/meta")).is_ok(),
            "it stays as it is"
        );
        assert!(edit(base_url("https://graph.example")).is_ok());
        let settings = |text: &str| Changes {
            settings: Some(text.to_owned().into()),
            ..Changes::default()
        };
        assert_eq!(
            edit(settings(r#"{"pixel_id":"1"}"#)).unwrap_err(),
            ["settings.access_token required"]
        );
        assert_eq!(edit(settings("{")).unwrap_err(), ["settings invalid_json"]);
        let sealed = edit(settings(r#"{"pixel_id":"2","access_token":"new"}"#)).unwrap();
        let (after, fields) = before.edited(sealed);
        assert_eq!(fields, ["settings"]);
        assert!(after.settings(&sealer()).unwrap().expose_secret().contains("new"));
        assert_eq!(after.reach(), Reach::Anywhere);
    }

    #[test]
    fn names_of_events_are_checked_when_they_are_changed_too() {
        let plain = sender(&[], BTreeMap::new());
        let settings = json!({ "pixel_id": "1", "token": "t" });
        let before = made((Name::Snapchat, settings), None, Reach::Public, &plain).unwrap();
        let edit = |name: &str| {
            let changes = Changes {
                topics: Some(Topics::from([("lead".to_owned(), Some(name.to_owned()))])),
                ..Changes::default()
            };
            changed_destination(&before, changes, Reach::Public, &plain, &sealer()).map_err(of)
        };
        assert_eq!(edit("Enquiry").unwrap_err(), ["topics.lead unsupported_name"]);
        let topics = edit("start_trial").unwrap().topics.flatten().unwrap();
        assert_eq!(topics["lead"].as_deref(), Some("START_TRIAL"));
    }

    #[test]
    fn base_urls() {
        for good in ["http://a.example", "https://a.example:8443/x/y"] {
            assert!(read_base_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "ftp://a.example",
            "https://u:p@a.example",
            "https://a.example/?x=1",
            "https://a.example/#x",
        ] {
            assert!(read_base_url(bad).is_err(), "{bad}");
        }
    }
}
