//! An endpoint of the user's own, signed by Standard Webhooks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::body::{number, rfc3339};
use super::settings::{Fields, Shape};
use super::{Answer, Draft, Event, Limits, NoTrial, Platform, Request, Sending, Spec, Unsendable, Verdict};
use crate::domain::identifiers::{Field, Rules};
use crate::domain::topic::Topic;

pub(super) const SPEC: Spec = Spec {
    name: "webhook",
    title: "the webhook",
    base_url: "",
    version: "",
    token_url: None,
    limits: Limits {
        // The signature is of one message.
        events: 1,
        bytes: 1_000_000,
        max_age: None,
    },
    rules: Rules::WEBHOOK,
    // What the visitor agreed to is in the message.
    limited_use: true,
    click_ids: &[],
    secrets: &["secret"],
    clear: &["ip", "user_agent", "country"],
};

const URL: Shape = Shape {
    holds: |text| {
        text.len() <= 2048
            && url::Url::parse(text).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && url.username().is_empty()
                    && url.password().is_none()
                    && url.fragment().is_none()
            })
    },
    must: "must be an http or https URL without user, password and fragment",
};

/// Bytes of an answer that are read: it says nothing that counts.
const MOST_ANSWER: usize = 64 << 10;

struct Settings {
    url: String,
    /// Keyed once, copied for each message.
    mac: Hmac<Sha256>,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Option<impl Platform + use<>> {
    let url = fields.text("url", &URL);
    let secret = fields.secret("secret")?;
    let mac = key(&secret).and_then(|key| Hmac::<Sha256>::new_from_slice(&key).ok());
    if mac.is_none() {
        let must = "must be whsec_ and 24 to 64 bytes in base64: echo whsec_$(openssl rand -base64 32)";
        fields.fault("secret", "invalid", must);
    }
    Some(Settings { url: url?, mac: mac? })
}

/// The key in a secret.
fn key(secret: &secrecy::SecretString) -> Option<Vec<u8>> {
    use secrecy::ExposeSecret as _;
    let encoded = secret.expose_secret().strip_prefix("whsec_")?;
    let key = STANDARD.decode(encoded).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}

impl Platform for Settings {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn address(&self) -> Option<&str> {
        Some(&self.url)
    }

    fn event_name(&self, topic: Topic, _custom: Option<&str>) -> Result<String, Unsendable> {
        Ok(format!("conversion.{topic}"))
    }

    fn rename(&self, _topic: Topic, name: &str) -> Result<String, Unsendable> {
        Ok(name.to_owned())
    }

    fn event(&self, draft: &mut Draft<'_>) -> Result<Value, Unsendable> {
        let parcel = draft.parcel;
        let products: Vec<Value> = draft
            .products()
            .iter()
            .map(|product| {
                json!({
                    "id": product.id,
                    "name": product.name,
                    "brand": product.brand,
                    "category": product.category,
                    "variant_title": product.variant,
                    "quantity": product.quantity,
                    "price": product.price.map(number),
                })
            })
            .collect();
        let clicks: Vec<Value> = parcel
            .session
            .clicks
            .iter()
            .take(20)
            .map(|click| json!({ "name": click.name, "value": click.value, "clicked_at": rfc3339(click.at) }))
            .collect();
        let refund = parcel.refund.as_ref().map(|refund| {
            let adjustment = refund.adjustment;
            json!({
                "purchase_id": refund.purchase_id,
                "remaining_value": adjustment.map(|adjustment| number(adjustment.remaining.amount)),
                "sequence": adjustment.map(|adjustment| adjustment.sequence),
            })
        });
        let user_data = json!({
            "sha256_email": draft.id(Field::Email),
            "sha256_phone": draft.id(Field::Phone),
            "sha256_first_name": draft.id(Field::FirstName),
            "sha256_last_name": draft.id(Field::LastName),
            "sha256_city": draft.id(Field::City),
            "sha256_region": draft.id(Field::Region),
            "sha256_postal_code": draft.id(Field::PostalCode),
            "country": draft.id(Field::Country),
            "sha256_user_id": draft.id(Field::ExternalId),
        });
        Ok(json!({
            "type": draft.name,
            "timestamp": rfc3339(draft.at),
            "data": {
                "event_id": parcel.event_id.to_string(),
                "conversion_id": parcel.conversion_id,
                "topic": parcel.topic.as_str(),
                "event_name": parcel.event_name,
                "event_time": rfc3339(parcel.event_time),
                "value": draft.value(),
                "currency": draft.currency(),
                "tax": parcel.order.tax.map(number),
                "shipping": parcel.order.shipping.map(number),
                "discount_code": parcel.order.discount_code,
                "lead_type": parcel.order.lead_type,
                "products": products,
                "refund": refund,
                "visitor_id": parcel.visitor_id,
                "consent": parcel.consent,
                "user_data": user_data,
                "session": {
                    "landing_url": draft.page(),
                    "referrer": draft.referrer(),
                    "clicks": clicks,
                    "ip": draft.ip(),
                    "user_agent": draft.user_agent(),
                },
            },
        }))
    }

    fn request(&self, sending: &Sending<'_>, events: &[Event]) -> Request {
        let (id, body) = match events.first() {
            Some(event) => (event.event_id.to_string(), event.json().to_owned()),
            None => (String::new(), String::new()),
        };
        let timestamp = sending.now.timestamp().to_string();
        let signature = self.sign(&id, &timestamp, &body);
        Request::json(self.url_at(sending.endpoint.base()), body)
            .answered_within(MOST_ANSWER)
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
    }

    fn trial(&self, sending: &Sending<'_>, event: &Event, _code: Option<&str>) -> Result<Request, NoTrial> {
        Ok(self.request(sending, std::slice::from_ref(event)))
    }

    fn verdict(&self, answer: &Answer<'_>, _events: &[Event]) -> Verdict {
        match answer.status {
            200..300 => Verdict::accepted(None),
            // Gone for good; a redirect is not followed, since it may lead anywhere.
            410 | 300..400 => Verdict::configuration(answer.http_code(), None),
            // Whatever is wrong over there may be mended.
            _ => Verdict::retry(answer.http_code(), answer.retry_after()),
        }
    }
}

impl Settings {
    /// The URL that was set; where the operator names another base, its path and query there.
    fn url_at(&self, base: &str) -> String {
        match url::Url::parse(&self.url) {
            Ok(url) if !base.is_empty() => format!("{base}{}", &url[url::Position::BeforePath..]),
            _ => self.url.clone(),
        }
    }

    fn sign(&self, id: &str, timestamp: &str, body: &str) -> String {
        let mut mac = self.mac.clone();
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_base() {
        let settings = Settings {
            url: "https://hooks.shop.example/a/b?c=d".to_owned(),
            mac: Hmac::new_from_slice(&[0; 32]).unwrap(),
        };
        assert_eq!(settings.url_at(""), settings.url);
        assert_eq!(
            settings.url_at("http://127.0.0.1:8090/webhook"),
            "http://127.0.0.1:8090/webhook/a/b?c=d"
        );
    }

    /// The example of the specification's reference libraries.
    #[test]
    fn signature() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let settings = Settings {
            url: String::new(),
            mac: Hmac::new_from_slice(&key).unwrap(),
        };
        let signature = settings.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
