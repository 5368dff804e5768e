//! What a delivery is made of: from rows to parcels.

pub mod store;

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::parcel::{Adjustment, Click, Order, Parcel, Refund, Session, UserData};
use crate::domain::consent::Consent;
use crate::domain::conversion::Money;
use crate::domain::topic::Topic;
use crate::platform::db::{self, Failure};
use crate::platform::secrets::{self, Sealer};
use store::{Asked, Refunds, StoredConversion, Visit};

/// The parcels of these conversions of one property; one that can no longer be read is not among them, and stands in no other's way.
/// `restated`: purchases tell what refunds left of them.
pub async fn parcels(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_ids: &[Uuid],
    restated: bool,
    sealer: &Sealer,
) -> Result<Vec<Parcel>, sqlx::Error> {
    let error = match together(conn, property_id, event_ids, restated, sealer).await {
        Err(error) if db::failure(&error) == Failure::BadRow => error,
        read => return read,
    };
    let (left, right) = event_ids.split_at(event_ids.len() / 2);
    if left.is_empty() {
        tracing::error!(%error, event = ?right.first(), "a conversion cannot be read, and is not forwarded");
        return Ok(Vec::new());
    }
    let mut parcels = Box::pin(self::parcels(conn, property_id, left, restated, sealer)).await?;
    parcels.extend(Box::pin(self::parcels(conn, property_id, right, restated, sealer)).await?);
    Ok(parcels)
}

async fn together(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_ids: &[Uuid],
    restated: bool,
    sealer: &Sealer,
) -> Result<Vec<Parcel>, sqlx::Error> {
    let conversions = store::conversions(conn, property_id, event_ids).await?;
    let refunds: Vec<&StoredConversion> = conversions
        .iter()
        .filter(|conversion| conversion.purchase_id.is_some())
        .collect();
    let purchases: HashMap<Uuid, StoredConversion> = match refunds.is_empty() {
        true => HashMap::new(),
        false => store::purchases(conn, property_id, &refunds)
            .await?
            .into_iter()
            .collect(),
    };
    let asked: Vec<Asked<'_>> = conversions
        .iter()
        .filter_map(|of| match purchases.get(&of.event_id) {
            Some(purchase) => Some(Asked { of, purchase }),
            None => (restated && is_purchase(of)).then_some(Asked { of, purchase: of }),
        })
        .collect();
    let refunded: HashMap<Uuid, Refunds> = match asked.is_empty() {
        true => HashMap::new(),
        false => store::refunds(conn, property_id, &asked)
            .await?
            .into_iter()
            .collect(),
    };
    // A refund's visit is its purchase's.
    let purchase_ids = purchases
        .values()
        .map(|purchase: &StoredConversion| purchase.event_id);
    let travelled: Vec<Uuid> = event_ids.iter().copied().chain(purchase_ids).collect();
    let mut visits: HashMap<Uuid, Vec<Visit>> = HashMap::new();
    for visit in store::visits(conn, property_id, &travelled).await? {
        visits.entry(visit.event_id).or_default().push(visit);
    }
    let silent: Vec<&StoredConversion> = conversions
        .iter()
        .filter(|one| visits.get(&one.event_id).is_some_and(|visits| are_silent(visits)))
        .collect();
    if !silent.is_empty() {
        for browser in store::browsers(conn, property_id, &silent).await? {
            // The first: whatever the journey itself tells comes before it.
            visits.entry(browser.event_id).or_default().insert(0, browser);
        }
    }
    let of_event = |event_id: &Uuid| visits.get(event_id).map_or(&[][..], Vec::as_slice);
    let parcel = |conversion: &StoredConversion| {
        let sources = Sources {
            conversion,
            user_data: user_data(conversion, sealer)?,
            visits: of_event(&conversion.event_id),
            purchase: purchases
                .get(&conversion.event_id)
                .map(|purchase| (purchase, of_event(&purchase.event_id))),
            refunds: refunded.get(&conversion.event_id).copied().unwrap_or_default(),
        };
        assemble(sources, sealer)
    };
    Ok(conversions.iter().filter_map(parcel).collect())
}

/// Whether none of the visits tells of the visitor's browser.
pub fn are_silent(visits: &[Visit]) -> bool {
    visits.iter().all(|visit| visit.client_sealed.is_none())
}

/// Whether refunds may take it back.
pub fn is_purchase(conversion: &StoredConversion) -> bool {
    conversion.topic == Topic::Purchase.as_str()
}

/// What a parcel is made of.
pub struct Sources<'a> {
    /// The conversion.
    pub conversion: &'a StoredConversion,
    /// Its personal part.
    pub user_data: UserData,
    /// Its journey.
    pub visits: &'a [Visit],
    /// Of a refund, the purchase that is known, with its journey.
    pub purchase: Option<(&'a StoredConversion, &'a [Visit])>,
    /// Of a refund, those of its purchase; of a purchase, its own.
    pub refunds: Refunds,
}

/// A parcel of its parts; none where its topic is none of ours.
pub fn assemble(sources: Sources<'_>, sealer: &Sealer) -> Option<Parcel> {
    let Sources {
        conversion,
        mut user_data,
        mut visits,
        purchase,
        refunds,
    } = sources;
    let mut consent = agreed(conversion, visits);
    if let Some((purchase, of_purchase)) = purchase {
        user_data.fill_from(&self::user_data(purchase, sealer).unwrap_or_default());
        consent = consent.or(agreed(purchase, of_purchase));
        if !of_purchase.is_empty() {
            visits = of_purchase;
        }
    }
    let refund = conversion.purchase_id.clone().map(|purchase_id| Refund {
        purchase_id,
        adjustment: purchase.and_then(|(purchase, _)| adjustment(purchase, &refunds)),
    });
    Some(Parcel {
        event_id: conversion.event_id,
        conversion_id: conversion.conversion_id.clone(),
        topic: conversion.topic.parse().ok()?,
        event_name: conversion.event_name.clone(),
        event_time: conversion.event_time,
        money: money(conversion),
        order: Order::of_payload(&conversion.payload),
        user_data,
        consent,
        visitor_id: conversion.visitor_id.clone(),
        user_id: conversion.user_id.clone(),
        session: session(conversion.property_id, visits, sealer),
        after_refunds: match is_purchase(conversion) && refunds.count > 0 {
            true => left(conversion, &refunds),
            false => None,
        },
        refund,
    })
}

/// What a conversion's visitor agreed to: the payload's word, or where it says nothing what the visitor had answered by then, which the visit that
/// is credited says unless it was stored.
pub fn agreed(conversion: &StoredConversion, visits: &[Visit]) -> Consent {
    let stored = conversion.session_consent.as_ref().map(|json| json.0);
    let heard = stored.or(visits.last().map(|last| last.consent));
    Consent::of_event(&conversion.payload).or(heard.unwrap_or_default())
}

fn money(conversion: &StoredConversion) -> Option<Money> {
    Some(Money {
        amount: conversion.value?,
        currency: conversion.currency.as_deref()?.parse().ok()?,
    })
}

/// The personal part; none where it is there and cannot be opened.
fn user_data(conversion: &StoredConversion, sealer: &Sealer) -> Option<UserData> {
    // None was sent, or what was is past its retention.
    let Some(sealed) = conversion
        .personal_sealed
        .as_ref()
        .filter(|sealed| !sealed.is_empty())
    else {
        return Some(UserData::default());
    };
    let context = secrets::row(conversion.property_id, conversion.event_id.as_bytes());
    let clear = sealer.open(sealed, &context).ok()?;
    Some(UserData::of_personal(std::str::from_utf8(&clear).ok()?))
}

/// A purchase as its refunds leave it; none without a value.
fn adjustment(purchase: &StoredConversion, refunds: &Refunds) -> Option<Adjustment> {
    Some(Adjustment {
        purchase_time: purchase.event_time,
        remaining: left(purchase, refunds)?,
        sequence: u32::try_from(refunds.sequence).unwrap_or(u32::MAX),
    })
}

/// What is left of a purchase: nothing where more was given back than was paid.
fn left(purchase: &StoredConversion, refunds: &Refunds) -> Option<Money> {
    let paid = money(purchase)?;
    Some(Money {
        amount: match refunds.whole {
            true => Decimal::ZERO,
            false => (paid.amount - refunds.total).max(Decimal::ZERO),
        },
        currency: paid.currency,
    })
}

/// The credited visit, which is the journey's last, with the click ids and cookies of all of it, the newest of each.
fn session(property_id: Uuid, visits: &[Visit], sealer: &Sealer) -> Session {
    let mut clicks: Vec<Click> = Vec::new();
    let mut cookies = BTreeMap::new();
    for visit in visits.iter().rev() {
        for (name, value) in &visit.click_ids {
            if !clicks.iter().any(|known| known.name == *name) {
                clicks.push(Click {
                    name: name.clone(),
                    value: value.clone(),
                    at: visit.clicked_at,
                });
            }
        }
        for (name, value) in &visit.browser_ids {
            cookies.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    let client = visits
        .iter()
        .rev()
        .find_map(|visit| client(property_id, visit, sealer))
        .unwrap_or_default();
    let last = visits.last();
    // An event that told no page left an empty one.
    let told = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    Session {
        landing_url: told(last.map(|visit| visit.landing_url.clone())),
        referrer: told(last.and_then(|visit| visit.referrer.clone())),
        clicks,
        cookies,
        ip: client.ip.and_then(|ip| ip.parse().ok()),
        user_agent: told(client.user_agent),
    }
}

fn client(property_id: Uuid, visit: &Visit, sealer: &Sealer) -> Option<crate::sessions::Client> {
    let sealed = visit.client_sealed.as_ref()?;
    let context = secrets::row(property_id, visit.session_id.as_bytes());
    serde_json::from_slice(&sealer.open(sealed, &context).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn what_is_empty_was_not_told() {
        let visit = Visit {
            event_id: Uuid::nil(),
            session_id: "s-1".to_owned(),
            clicked_at: DateTime::UNIX_EPOCH,
            landing_url: String::new(),
            referrer: Some(" ".to_owned()),
            click_ids: BTreeMap::new(),
            browser_ids: BTreeMap::new(),
            consent: Consent::default(),
            client_sealed: None,
        };
        let secrets = crate::platform::config::built_in().secrets;
        let sealer = Sealer::new(&secrets, Some([7; 32])).unwrap();
        let session = session(Uuid::nil(), &[visit], &sealer);
        assert_eq!((session.landing_url, session.referrer), (None, None));
    }

    #[test]
    fn what_refunds_leave() {
        let purchase = StoredConversion {
            property_id: Uuid::nil(),
            event_id: Uuid::nil(),
            attribution_id: Uuid::nil(),
            conversion_id: "o-1".to_owned(),
            topic: "purchase".to_owned(),
            event_name: None,
            purchase_id: None,
            event_time: chrono::DateTime::UNIX_EPOCH,
            value: Some(Decimal::from(100)),
            currency: Some("EUR".to_owned()),
            visitor_id: None,
            user_id: None,
            payload: String::new(),
            personal_sealed: None,
            session_consent: None,
        };
        let left = |total: i64, whole: bool| {
            let refunds = Refunds {
                count: 1,
                sequence: 1,
                total: Decimal::from(total),
                whole,
            };
            super::left(&purchase, &refunds).unwrap().amount
        };
        let table = [
            (left(0, false), 100),
            (left(30, false), 70),
            (left(100, false), 0),
            (left(130, false), 0),
            (left(30, true), 0),
        ];
        for (found, expected) in table {
            assert_eq!(found, Decimal::from(expected));
        }
    }
}
