//! What a platform may be told of one conversion.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::consent::Consent;
use crate::domain::conversion::{Money, field};
use crate::domain::identifiers::Field;
use crate::domain::json::{self, Kind, Object};
use crate::domain::money;
use crate::domain::topic::Topic;

/// One conversion, with everything that any platform's request may need. It has no `Debug`: most of it is personal.
#[derive(Clone)]
pub struct Parcel {
    /// Our id of the event.
    pub event_id: Uuid,
    /// The sender's id: what platforms tell copies by, the browser's included.
    pub conversion_id: String,
    /// What kind.
    pub topic: Topic,
    /// Name of a custom event.
    pub event_name: Option<String>,
    /// When it happened.
    pub event_time: DateTime<Utc>,
    /// What it was worth; of a refund, what was given back.
    pub money: Option<Money>,
    /// What was bought.
    pub order: Order,
    /// Who did it, in clear or hashed, as the sender gave it. Of a refund, also who bought.
    pub user_data: UserData,
    /// What the visitor agreed to.
    pub consent: Consent,
    /// The browser script's id of the visitor.
    pub visitor_id: Option<String>,
    /// The sender's id of the user.
    pub user_id: Option<String>,
    /// The visit that is credited. Of a refund, that of the purchase.
    pub session: Session,
    /// Of a refund.
    pub refund: Option<Refund>,
    /// Of a purchase, what the refunds that are known leave of its value; none where there are none.
    pub after_refunds: Option<Money>,
}

/// What a refund takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// `conversion_id` of the purchase.
    pub purchase_id: String,
    /// What is left of the purchase; none where the purchase is not known here.
    pub adjustment: Option<Adjustment>,
}

/// A purchase as a refund leaves it, for platforms that are told the new value instead of the difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adjustment {
    /// When the purchase happened.
    pub purchase_time: DateTime<Utc>,
    /// The purchase's value, less all refunds that are known in its currency; zero or more. A refund without a value gives all of it back.
    pub remaining: Money,
    /// 1 for the first refund of the purchase. Refunds of one purchase go in this order: the last one sent stands.
    pub sequence: u32,
}

/// The visit that is credited. IP and user agent are the visitor's, never those of the merchant's server.
#[derive(Clone, Default)]
pub struct Session {
    /// The landing page's URL, masked.
    pub landing_url: Option<String>,
    /// The page that sent the visitor, masked.
    pub referrer: Option<String>,
    /// Click ids of the journey, newest first.
    pub clicks: Vec<Click>,
    /// Platforms' browser cookies by name, e.g. `_fbp`.
    pub cookies: BTreeMap<String, String>,
    /// Address of the visitor.
    pub ip: Option<IpAddr>,
    /// Browser of the visitor.
    pub user_agent: Option<String>,
}

/// A click id.
#[derive(Clone)]
pub struct Click {
    /// Canonical name, e.g. `fbclid`.
    pub name: String,
    /// Its value, as the network made it.
    pub value: String,
    /// When the visitor landed with it.
    pub at: DateTime<Utc>,
}

impl Session {
    /// The newest click id of this name.
    pub fn click(&self, name: &str) -> Option<&Click> {
        self.clicks.iter().find(|click| click.name == name)
    }
}

impl Parcel {
    /// The order that it is about: of a refund, the purchase's.
    pub fn order_id(&self) -> &str {
        match &self.refund {
            Some(refund) => &refund.purchase_id,
            None => &self.conversion_id,
        }
    }
}

/// Identifiers of the person.
#[derive(Clone, Default)]
pub struct UserData(BTreeMap<Field, SecretString>);

impl UserData {
    /// Reads the personal fields of a conversion, as they are sealed: JSON text with `user_data` in it. What is no string is not there: the
    /// sender was warned.
    pub fn of_personal(personal: &str) -> Self {
        let mut user_data = Self::default();
        let Some(person) = object(personal).and_then(|all| field(&all, "user_data").and_then(inner)) else {
            return user_data;
        };
        user_data.take(
            &person,
            &[
                ("email", Field::Email),
                ("phone", Field::Phone),
                ("first_name", Field::FirstName),
                ("last_name", Field::LastName),
            ],
        );
        if let Some(address) = field(&person, "address").and_then(inner) {
            user_data.take(
                &address,
                &[
                    ("street", Field::Street),
                    ("city", Field::City),
                    ("region", Field::Region),
                    ("postal_code", Field::PostalCode),
                    ("country", Field::Country),
                ],
            );
        }
        user_data
    }

    /// Sets one identifier.
    pub fn set(&mut self, field: Field, text: impl Into<String>) {
        self.0.insert(field, SecretString::from(text.into()));
    }

    /// Takes from `other` what is missing here.
    pub fn fill_from(&mut self, other: &Self) {
        for (field, text) in &other.0 {
            self.0.entry(*field).or_insert_with(|| text.clone());
        }
    }

    /// One identifier, as the sender gave it.
    pub fn get(&self, field: Field) -> Option<&str> {
        self.0.get(&field).map(|text| text.expose_secret())
    }

    fn take(&mut self, from: &Object<'_>, fields: &[(&str, Field)]) {
        for (name, into) in fields {
            if let Some(text) = field(from, name).and_then(json::string) {
                self.set(*into, text);
            }
        }
    }
}

/// What was bought, and what came on top.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    /// The products.
    pub products: Vec<Product>,
    /// Tax, in major units.
    pub tax: Option<Decimal>,
    /// Shipping, in major units.
    pub shipping: Option<Decimal>,
    /// The discount's code.
    pub discount_code: Option<String>,
    /// What kind of lead.
    pub lead_type: Option<String>,
}

/// A line of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Product {
    /// The sender's id.
    pub id: String,
    /// What people call it.
    pub name: Option<String>,
    /// Its brand.
    pub brand: Option<String>,
    /// Its category.
    pub category: Option<String>,
    /// Which variant.
    pub variant: Option<String>,
    /// How many; 1 where the sender was silent.
    pub quantity: u32,
    /// Of one, in major units.
    pub price: Option<Decimal>,
}

impl Order {
    /// Reads the fields of a conversion's payload. It was valid when it came; what is not is not there.
    pub fn of_payload(payload: &str) -> Self {
        let Some(payload) = object(payload) else {
            return Self::default();
        };
        let products = field(&payload, "products")
            .and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok())
            .unwrap_or_default();
        Self {
            products: products.into_iter().filter_map(product).collect(),
            tax: field(&payload, "tax").and_then(amount),
            shipping: field(&payload, "shipping").and_then(amount),
            discount_code: field(&payload, "discount_code").and_then(text),
            lead_type: field(&payload, "lead_type").and_then(text),
        }
    }
}

fn product(raw: &RawValue) -> Option<Product> {
    let product = inner(raw)?;
    let get = |name| field(&product, name);
    let id = get("id")?;
    Some(Product {
        // An integer id is read as its decimal text.
        id: match Kind::of(id) {
            Kind::Number => id.get().to_owned(),
            _ => text(id)?,
        },
        name: get("name").and_then(text),
        brand: get("brand").and_then(text),
        category: get("category").and_then(text),
        variant: get("variant_title").and_then(text),
        quantity: get("quantity").and_then(count).unwrap_or(1),
        price: get("price").and_then(amount),
    })
}

fn object(text: &str) -> Option<Object<'_>> {
    serde_json::from_str(text).ok()
}

fn inner(raw: &RawValue) -> Option<Object<'_>> {
    object(raw.get())
}

fn text(raw: &RawValue) -> Option<String> {
    json::string(raw)
        .filter(|text| !text.trim().is_empty())
        .map(|text| text.into_owned())
}

fn amount(raw: &RawValue) -> Option<Decimal> {
    match Kind::of(raw) {
        Kind::Number => money::parse(raw.get()).ok(),
        _ => money::parse(&json::string(raw)?).ok(),
    }
}

fn count(raw: &RawValue) -> Option<u32> {
    match Kind::of(raw) {
        Kind::Number => raw.get().parse().ok(),
        _ => json::string(raw)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_keep_their_digits() {
        let order = Order::of_payload(
            r#"{"tax":"1.90","shipping":4.50,"discount_code":"SPRING","products":[
                {"id":"A","name":"Shirt","quantity":"2","price":999999999999999.9999,"variant_title":"L"},
                {"product_id":7,"product_name":"Hat","price":null}, "nonsense", {"name":"no id"}]}"#,
        );
        assert_eq!(order.tax.unwrap().to_string(), "1.90");
        assert_eq!(order.shipping.unwrap().to_string(), "4.50");
        assert_eq!(order.products.len(), 2);
        let shirt = &order.products[0];
        assert_eq!((shirt.quantity, shirt.variant.as_deref()), (2, Some("L")));
        assert_eq!(shirt.price.unwrap().to_string(), "999999999999999.9999");
        let hat = &order.products[1];
        assert_eq!(
            (hat.id.as_str(), hat.name.as_deref(), hat.quantity),
            ("7", Some("Hat"), 1)
        );
        assert_eq!(Order::of_payload("[]"), Order::default());
    }

    #[test]
    fn user_data_is_read_where_it_is_text() {
        let data = UserData::of_personal(
            r#"{"email":"top@example.com","user_data":{"email":"jane@example.com","phone":5,"address":{"city":"Bonn","country":"de"}}}"#,
        );
        assert_eq!(data.get(Field::Email), Some("jane@example.com"));
        assert_eq!(data.get(Field::Phone), None);
        assert_eq!(data.get(Field::City), Some("Bonn"));
        assert!(UserData::of_personal("nonsense").get(Field::Email).is_none());
    }
}
