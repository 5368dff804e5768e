//! From an event's JSON to what happened: complete about what is wrong, and forgiving where a browser cannot know better.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::conversion::{BrowserConversion, digest};
use super::{ANONYMOUS, BrowserEvent, Kind};
use crate::domain::conversion::{Arrival, Told};
use crate::domain::faults::Fault;
use crate::domain::json::{self, Object};
use crate::domain::landing::{Landing, NotAPage};
use crate::domain::reader::{MAX_EVENT_NAME, MAX_ID, Reader, get};
use crate::domain::time::parse_event_time;
use crate::domain::topic::Topic;

/// Characters of a user agent that are kept.
const MOST_OF_USER_AGENT: usize = 1000;
/// How old a browser's event may say it is: a page that was asleep, a beacon that waited for a connection.
const MOST_BACK: TimeDelta = TimeDelta::hours(24);

/// Fields that mean something: those of a conversion, and the browser's own.
const KNOWN: [&str; 23] = [
    "attribution_id",
    "consent",
    "conversion_id",
    "currency",
    "discount",
    "discount_code",
    "event_name",
    "event_time",
    "lead_type",
    "lib",
    "lib_version",
    "new_visitor_id",
    "page_location",
    "previous_visitor_id",
    "products",
    "purchase_id",
    "shipping",
    "tax",
    "transaction_id",
    "user_data",
    "user_id",
    "value",
    "visitor_id",
];

/// Fields that tell of the browser and not of the conversion: they are read, and not kept with it.
const OF_BROWSER: [&str; 16] = [
    "adblock_detected",
    "adblock_platforms",
    "attribution_id",
    "browser_cookies",
    "browser_language",
    "event_time",
    "lib",
    "lib_version",
    "page_location",
    "page_referrer",
    "page_title",
    "raw_user_agent",
    "screen_resolution",
    "timezone",
    "timezone_offset",
    "viewport_resolution",
];

/// Reads one event. All faults at once, or the event.
pub fn parse(event: &RawValue, received_at: DateTime<Utc>) -> Result<BrowserEvent, Vec<Fault>> {
    let mut reader = Reader::tolerant(&KNOWN);
    let object = reader.object("", event);
    let event = object.and_then(|object| reader.browser_event(&object, received_at));
    reader.finish(event).map(|(event, _warnings)| event)
}

impl Reader {
    fn browser_event(&mut self, event: &Object<'_>, received_at: DateTime<Utc>) -> Option<BrowserEvent> {
        let name = self.required_name(event);
        let attribution_id = self.attribution_id(event);
        let consent = self.consent(event);
        let measured = consent.analytics == Some(true);
        let refused = consent.analytics == Some(false);
        // An id that the service makes is nobody's to claim: it is made anew from the request.
        let visitor_id = self
            .optional_id(event, "visitor_id", MAX_ID)
            .filter(|id| !refused && !id.starts_with(ANONYMOUS));
        let user_id = self.optional_id(event, "user_id", MAX_ID).filter(|_| measured);
        let at = believed(get(event, "event_time"), received_at);
        let landing = self.landing(event, name.as_deref(), measured);
        let told = Told {
            event_time: at,
            user_id,
            consent,
        };
        let kind = name.and_then(|name| self.kind(event, &name, told, received_at));
        let mut event = BrowserEvent {
            attribution_id: attribution_id?,
            at,
            visitor_id,
            landing: landing?,
            user_agent: user_agent(event),
            consent,
            browser_ids: BTreeMap::new(),
            kind: kind?,
        }
        .with_cookies(event);
        if let (Kind::IdentityLink { new, .. }, false) = (&event.kind, refused) {
            event.visitor_id = Some(new.clone());
        }
        Some(event)
    }

    fn required_name(&mut self, event: &Object<'_>) -> Option<String> {
        let Some(raw) = self.present(event, "event_name") else {
            self.faults.add("event_name", "required", "is required");
            return None;
        };
        let name = self.identifier("event_name", raw, MAX_EVENT_NAME)?;
        self.name_characters(name)
    }

    fn attribution_id(&mut self, event: &Object<'_>) -> Option<Uuid> {
        let Some(raw) = self.present(event, "attribution_id") else {
            self.faults.add("attribution_id", "required", "is required");
            return None;
        };
        let Some(text) = json::string(raw) else {
            self.wrong_type("attribution_id", "a string", raw);
            return None;
        };
        let id = Uuid::try_parse(text.trim()).ok();
        if id.is_none() {
            self.faults.add("attribution_id", "not_a_uuid", "must be a UUID");
        }
        id
    }

    /// None is a fault; a page that was not told is none within.
    fn landing(&mut self, event: &Object<'_>, name: Option<&str>, measured: bool) -> Option<Option<Landing>> {
        let Some(raw) = self.present(event, "page_location") else {
            if name != Some("page_view") {
                return Some(None);
            }
            self.faults
                .add("page_location", "required", "is required for a page_view");
            return None;
        };
        let Some(page) = json::string(raw) else {
            self.wrong_type("page_location", "a string", raw);
            return None;
        };
        let referrer = get(event, "page_referrer").and_then(json::string);
        match Landing::parse(&page, referrer.as_deref()) {
            Ok(landing) if measured => Some(Some(landing)),
            Ok(landing) => Some(Some(landing.without_consent())),
            Err(NotAPage) => {
                self.faults
                    .add("page_location", "not_a_page", NotAPage.to_string());
                None
            }
        }
    }

    fn kind(
        &mut self,
        event: &Object<'_>,
        name: &str,
        told: Told,
        received_at: DateTime<Utc>,
    ) -> Option<Kind> {
        let has_id = get(event, "conversion_id").is_some_and(|raw| raw.get() != "\"\"");
        let topic = match name {
            "page_view" => return Some(Kind::PageView),
            "identity_link" => return self.identity_link(event, told.consent.analytics),
            "purchase" => Topic::Purchase,
            "refund" => Topic::Refund,
            "generate_lead" => Topic::Lead,
            "sign_up" => Topic::Signup,
            _ if has_id => Topic::Custom,
            _ => return Some(Kind::Interaction),
        };
        // An order has a number, and one that is made up here would count twice beside the shop's own. Leads and accounts often have none.
        let id_is_made = !has_id && matches!(topic, Topic::Lead | Topic::Signup);
        // The time as it was sent, believed or not: what is sent again says the same.
        let sent_at =
            get(event, "event_time").map_or_else(|| received_at.to_rfc3339(), |raw| raw.get().to_owned());
        let made_id = id_is_made.then(|| digest(&[name, &sent_at]));
        let arrival = Arrival {
            received_at,
            idempotency_key: made_id.as_ref().map(String::as_bytes),
        };
        let event = of_conversion(event, topic, &told, id_is_made);
        let conversion = self.conversion(&event, Some(topic), arrival, Some(told))?;
        Some(Kind::Conversion(Box::new(BrowserConversion::new(
            conversion, id_is_made,
        ))))
    }

    /// Only an id that the server made can be taken over, and only by one that it did not make: nobody welds two visitors together.
    fn identity_link(&mut self, event: &Object<'_>, analytics: Option<bool>) -> Option<Kind> {
        let previous = self.linked(event, "previous_visitor_id", true);
        let new = self.linked(event, "new_visitor_id", false);
        if analytics == Some(false) {
            self.faults.add(
                "consent.analytics",
                "no_consent",
                "must not be false where a visitor is to be recognised",
            );
        }
        Some(Kind::IdentityLink {
            previous: previous?,
            new: new?,
        })
    }

    fn linked(&mut self, event: &Object<'_>, name: &str, anonymous: bool) -> Option<String> {
        let Some(raw) = self.present(event, name) else {
            self.faults
                .add(name, "required", "is required for an identity_link");
            return None;
        };
        let id = self.identifier(name, raw, MAX_ID)?;
        if id.starts_with(ANONYMOUS) == anonymous {
            return Some(id);
        }
        let (code, message) = match anonymous {
            true => (
                "not_anonymous",
                "must be an id that this service made: it begins with fp_",
            ),
            false => (
                "anonymous",
                "must not be an id that this service made: it begins with fp_",
            ),
        };
        self.faults.add(name, code, message);
        None
    }
}

impl BrowserEvent {
    fn with_cookies(mut self, event: &Object<'_>) -> Self {
        let cookies = get(event, "browser_cookies").map(RawValue::get);
        let cookies: Option<Object<'_>> = cookies.and_then(|text| serde_json::from_str(text).ok());
        for (name, value) in cookies.iter().flat_map(|cookies| &cookies.fields) {
            if let Some(value) = json::string(value) {
                self.keep_cookie(name, &value);
            }
        }
        self
    }
}

/// The time that a browser tells, unless its clock lies.
fn believed(sent: Option<&RawValue>, received_at: DateTime<Utc>) -> DateTime<Utc> {
    let sent = sent.and_then(|raw| parse_event_time(raw, received_at).ok());
    sent.filter(|at| (received_at - MOST_BACK..=received_at).contains(at))
        .unwrap_or(received_at)
}

fn user_agent(event: &Object<'_>) -> Option<String> {
    let sent = get(event, "raw_user_agent").and_then(json::string)?;
    let kept: String = sent.chars().take(MOST_OF_USER_AGENT).collect();
    (!kept.trim().is_empty()).then_some(kept)
}

/// The event's fields as far as they tell of the conversion, and may be kept.
fn of_conversion<'a>(event: &Object<'a>, topic: Topic, told: &Told, id_is_made: bool) -> Object<'a> {
    let keeps = |name: &str| match name {
        "event_name" => topic == Topic::Custom,
        "user_id" => told.user_id.is_some(),
        "visitor_id" => told.consent.analytics != Some(false),
        // Empty, or it would have been taken.
        "conversion_id" | "transaction_id" => !id_is_made,
        _ => !OF_BROWSER.contains(&name),
    };
    let fields = event.fields.iter().filter(|(name, _)| keeps(name));
    Object {
        fields: fields.cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "0193a5d0-0000-7000-8000-000000000001";

    fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-11-01T10:00:00Z")
            .unwrap()
            .to_utc()
    }

    /// An event of this name, with these fields besides.
    fn event(name: &str, fields: Value) -> Result<BrowserEvent, Vec<Fault>> {
        let mut event = json!({ "event_name": name, "attribution_id": ID });
        for (field, value) in fields.as_object().unwrap() {
            event[field] = value.clone();
        }
        parse(&RawValue::from_string(event.to_string()).unwrap(), now())
    }

    fn faults(name: &str, fields: Value) -> Vec<String> {
        let told = fields.to_string();
        let faults = event(name, fields).expect_err(&told);
        faults
            .into_iter()
            .map(|fault| format!("{} {}", fault.field, fault.code))
            .collect()
    }

    fn converted(name: &str, fields: Value) -> crate::domain::conversion::Conversion {
        match event(name, fields).unwrap().kind {
            Kind::Conversion(conversion) => conversion.of("v-1"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_tell_the_kind() {
        let money = json!({ "conversion_id": "1", "value": 5, "currency": "EUR" });
        let table = [
            ("purchase", money.clone(), Topic::Purchase, None),
            ("generate_lead", json!({ "transaction_id": 7 }), Topic::Lead, None),
            ("sign_up", json!({ "conversion_id": "1" }), Topic::Signup, None),
            ("refund", json!({ "conversion_id": "1" }), Topic::Refund, None),
            ("begin_checkout", money, Topic::Custom, Some("begin_checkout")),
        ];
        for (name, fields, topic, event_name) in table {
            let conversion = converted(name, fields);
            assert_eq!(
                (conversion.topic, conversion.event_name.as_deref()),
                (topic, event_name),
                "{name}"
            );
        }
        for name in ["view_item", "login", "a.b-c_D9"] {
            assert_eq!(event(name, json!({})).unwrap().kind, Kind::Interaction, "{name}");
        }
        let page = json!({ "page_location": "https://shop.example/", "conversion_id": "1" });
        assert_eq!(event("page_view", page).unwrap().kind, Kind::PageView);
    }

    #[test]
    fn all_faults_at_once() {
        let empty = parse(&RawValue::from_string("{}".to_owned()).unwrap(), now()).unwrap_err();
        let codes: Vec<_> = empty
            .iter()
            .map(|fault| (fault.field.as_str(), fault.code))
            .collect();
        assert_eq!(
            codes,
            [("event_name", "required"), ("attribution_id", "required")]
        );
        assert_eq!(
            faults(
                "purchase",
                json!({ "attribution_id": "x", "visitor_id": "v".repeat(257), "page_location": "javascript:alert(1)", "value": -1,
                        "consent": { "analytics": "yes" }, "products": [{}] }),
            ),
            [
                "attribution_id not_a_uuid",
                "consent.analytics wrong_type",
                "visitor_id too_long",
                "page_location not_a_page",
                "conversion_id required",
                "value negative",
                "currency required",
                "products[0].id required",
            ]
        );
        for name in ["", "a b", "é", &"x".repeat(65)] {
            let fault = &event(name, json!({})).unwrap_err()[0];
            assert_eq!(fault.field, "event_name", "{name}");
        }
        assert_eq!(faults("refund", json!({})), ["conversion_id required"]);
        assert_eq!(faults("page_view", json!({})), ["page_location required"]);
        for page in [json!(""), json!(null)] {
            assert_eq!(
                faults("page_view", json!({ "page_location": page })),
                ["page_location required"]
            );
        }
        let long = format!("https://shop.example/{}", "x".repeat(8192));
        for page in [json!("ftp://x/"), json!("/cart"), json!(long), json!(7)] {
            assert_eq!(
                faults("login", json!({ "page_location": page })).len(),
                1,
                "{page}"
            );
        }
        for id in ["a\u{0}b", "a\nb", "\u{7f}"] {
            assert_eq!(faults("login", json!({ "visitor_id": id })).len(), 1);
        }
    }

    #[test]
    fn what_a_browser_cannot_help_is_no_fault() {
        let told = r#"{"event_name":"page_view","attribution_id":"ID","page_location":"https://shop.example/%zz?utm_source=%ff",
            "page_referrer":5,"page_title":"cut \ud83d","raw_user_agent":[],"browser_cookies":"x","event_time":{},"x\u0000":1,"y":"\u0000",
            "timezone":null,"consent":{}}"#
            .replace("ID", ID);
        let event = parse(&RawValue::from_string(told).unwrap(), now()).unwrap();
        assert_eq!(
            (event.at, event.user_agent, event.consent),
            (now(), None, crate::domain::consent::Consent::default())
        );
    }

    #[test]
    fn times_are_believed_for_a_day_back() {
        let seconds = now().timestamp();
        let table = [
            (json!(seconds), 0),
            (json!(seconds - 3600), -3600),
            (json!((seconds - 60).to_string()), -60),
            (json!("2026-11-01T09:59:00Z"), -60),
            (json!(seconds - 86_400), -86_400),
            (json!(seconds - 86_401), 0),
            (json!(seconds + 1), 0),
            (json!(seconds + 315_360_000), 0),
            (json!(seconds - 315_360_000), 0),
            (json!(seconds * 1000), 0),
            (json!(-1), 0),
            (json!(1e300), 0),
            (json!("soon"), 0),
            (json!(true), 0),
            (json!(null), 0),
        ];
        for (sent, offset) in table {
            let event = event("login", json!({ "event_time": sent })).unwrap();
            assert_eq!((event.at - now()).num_seconds(), offset, "{sent}");
        }
    }

    #[test]
    fn consent_decides_what_is_taken() {
        let fields = |analytics: Value, advertising: Value| {
            json!({ "visitor_id": "v-9", "user_id": "u-1", "conversion_id": "1", "page_referrer": "https://news.example/a?b=c",
                    "page_location": "https://shop.example/?utm_source=x&gclid=secret",
                    "consent": { "analytics": analytics, "advertising": advertising },
                    "browser_cookies": { "_fbp": "fb.1", "_fbc": "", "_ttp": 5, "_ga": "x".repeat(513), "other": "y" } })
        };
        let table = [
            (json!(true), Some("v-9"), Some("u-1"), true),
            (json!(null), Some("v-9"), None, false),
            (json!(false), None, None, false),
        ];
        for (analytics, visitor, user, click_id) in table {
            let event = event("sign_up", fields(analytics.clone(), json!(null))).unwrap();
            let landing = event.landing.unwrap();
            assert_eq!(event.visitor_id.as_deref(), visitor, "{analytics}");
            assert_eq!(landing.click_ids.contains_key("gclid"), click_id, "{analytics}");
            assert_eq!(landing.url.contains("secret"), click_id, "{analytics}");
            assert!(event.browser_ids.is_empty());
            let Kind::Conversion(conversion) = event.kind else {
                panic!("no conversion");
            };
            let conversion = conversion.of("fp_1");
            assert_eq!(conversion.user_id.as_deref(), user, "{analytics}");
            let kept = conversion.payload + &conversion.personal.unwrap_or_default();
            assert_eq!(kept.contains("u-1"), user.is_some(), "{kept}");
            assert_eq!(kept.contains("v-9"), visitor.is_some(), "{kept}");
            assert!(!kept.contains("secret") && !kept.contains("fb.1"), "{kept}");
        }
        let event = event("login", fields(json!(null), json!(true))).unwrap();
        assert_eq!(
            event.browser_ids,
            BTreeMap::from([("_fbp".to_owned(), "fb.1".to_owned())])
        );
        let many: serde_json::Map<String, Value> =
            (0..1000).map(|n| (format!("_ga_{n}"), json!("x"))).collect();
        let crowd = json!({ "consent": { "advertising": true }, "browser_cookies": many });
        assert_eq!(super::tests::event("login", crowd).unwrap().browser_ids.len(), 16);
    }

    #[test]
    fn a_conversion_is_what_the_webhook_would_make_of_it() {
        let fields = json!({ "conversion_id": "O-1", "value": "99.00", "currency": "eur", "event_time": now().timestamp() - 60,
                             "page_location": "https://shop.example/", "page_title": "Thanks", "lib": "trustdata.js", "coupon": "x" });
        let conversion = converted("purchase", fields);
        assert_eq!(conversion.conversion_id, "O-1");
        assert_eq!(conversion.visitor_id.as_deref(), Some("v-1"));
        assert_eq!((conversion.event_time - now()).num_seconds(), -60);
        assert_eq!(
            serde_json::from_str::<Value>(&conversion.payload).unwrap(),
            json!({ "conversion_id": "O-1", "value": "99.00", "currency": "eur" })
        );
        assert_eq!(conversion.personal.as_deref(), Some(r#"{"coupon":"x"}"#));
    }

    #[test]
    fn a_lead_without_an_id_gets_one_that_a_repeat_gets_too() {
        let id = |name: &str, at: i64, visitor: &str| match event(
            name,
            json!({ "event_time": at, "conversion_id": "" }),
        )
        .unwrap()
        .kind
        {
            Kind::Conversion(conversion) => conversion.of(visitor).conversion_id,
            other => panic!("{other:?}"),
        };
        let first = id("generate_lead", 1, "v-1");
        assert_eq!(first.len(), 37);
        assert_eq!(first, id("generate_lead", 1, "v-1"));
        for other in [
            id("sign_up", 1, "v-1"),
            id("generate_lead", 2, "v-1"),
            id("generate_lead", 1, "v-2"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn only_an_id_of_ours_is_taken_over() {
        let link = |previous: Value, new: Value| {
            event(
                "identity_link",
                json!({ "previous_visitor_id": previous, "new_visitor_id": new, "visitor_id": "v-3" }),
            )
        };
        let good = link(json!("fp_1"), json!("v-1")).unwrap();
        assert_eq!(good.visitor_id.as_deref(), Some("v-1"));
        for (previous, new) in [
            (json!("v-1"), json!("v-2")),
            (json!("v-1"), json!("fp_1")),
            (json!("fp_1"), json!("fp_2")),
            (json!(null), json!("v-1")),
            (json!("fp_1"), json!("")),
            (json!("fp_1"), json!("v".repeat(257))),
            (json!(["fp_1"]), json!("v-1")),
        ] {
            assert!(link(previous.clone(), new.clone()).is_err(), "{previous} {new}");
        }
        let refused = json!({ "previous_visitor_id": "fp_1", "new_visitor_id": "v-1", "consent": { "analytics": false } });
        assert_eq!(faults("identity_link", refused), ["consent.analytics no_consent"]);
    }

    #[test]
    fn what_is_known_of_a_conversion_is_known_here() {
        for name in crate::domain::conversion::KNOWN {
            assert!(KNOWN.contains(&name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(name in "[a-z_]{0,12}|purchase|identity_link|page_view|sign_up", field in proptest::sample::select(KNOWN.to_vec()), value in ".{0,20}") {
            for value in [json!(value), json!({ "a": value }), json!([value])] {
                let mut told = json!({ "event_name": name, "attribution_id": ID });
                told[field] = value;
                let _ = parse(&RawValue::from_string(told.to_string()).unwrap(), now());
            }
        }
    }
}
