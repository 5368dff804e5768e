//! What a delivery is made of: from rows to parcels.

pub mod store;

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::parcel::{Adjustment, Click, Order, Parcel, Refund, Session, UserData};
use crate::domain::consent::Consent;
use crate::domain::conversion::Money;
use crate::platform::secrets::{self, Sealer};
use store::{StoredConversion, Visit};

/// The parcels of these conversions of one property; one that can no longer be read is not among them.
pub async fn parcels(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_ids: &[Uuid],
    sealer: &Sealer,
) -> Result<Vec<Parcel>, sqlx::Error> {
    let conversions = store::conversions(conn, property_id, event_ids).await?;
    let refunds: Vec<&StoredConversion> = conversions
        .iter()
        .filter(|conversion| conversion.purchase_id.is_some())
        .collect();
    let (mut purchases, mut refunded) = (HashMap::new(), HashMap::new());
    if !refunds.is_empty() {
        purchases.extend(store::purchases(conn, property_id, &refunds).await?);
        let told = store::refunded(conn, property_id, &refunds).await?;
        refunded.extend(
            told.into_iter()
                .map(|(id, sequence, total)| (id, (sequence, total))),
        );
    }
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
    let parcel = |conversion: &StoredConversion| {
        let purchase = purchases.get(&conversion.event_id);
        let adjustment = purchase.and_then(|purchase| {
            let (sequence, total) = refunded.get(&conversion.event_id)?;
            self::adjustment(purchase, *sequence, *total)
        });
        let refund = conversion.purchase_id.clone().map(|purchase_id| Refund {
            purchase_id,
            adjustment,
        });
        let own = visits.get(&conversion.event_id);
        let visits = match purchase {
            Some(purchase) => visits.get(&purchase.event_id).or(own),
            None => own,
        };
        parcel(
            conversion,
            purchase,
            refund,
            visits.map_or(&[], Vec::as_slice),
            sealer,
        )
    };
    Ok(conversions.iter().filter_map(parcel).collect())
}

/// Whether none of the visits tells of the visitor's browser.
pub fn are_silent(visits: &[Visit]) -> bool {
    visits.iter().all(|visit| visit.client_sealed.is_none())
}

fn parcel(
    conversion: &StoredConversion,
    purchase: Option<&StoredConversion>,
    refund: Option<Refund>,
    visits: &[Visit],
    sealer: &Sealer,
) -> Option<Parcel> {
    let user_data = user_data(conversion, sealer)?;
    assemble(conversion, user_data, purchase, refund, visits, sealer)
}

/// A parcel of its parts.
pub fn assemble(
    conversion: &StoredConversion,
    mut user_data: UserData,
    purchase: Option<&StoredConversion>,
    refund: Option<Refund>,
    visits: &[Visit],
    sealer: &Sealer,
) -> Option<Parcel> {
    if let Some(purchase) = purchase {
        user_data.fill_from(&self::user_data(purchase, sealer).unwrap_or_default());
    }
    let heard = [Some(conversion), purchase].into_iter().flatten();
    let heard = heard.filter_map(|told| told.session_consent.as_ref()).next();
    let heard = heard
        .map(|json| json.0)
        .or(visits.last().map(|last| last.consent));
    let consent = consent_of(&conversion.payload).or(heard.unwrap_or_default());
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
        refund,
    })
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

fn consent_of(payload: &str) -> Consent {
    #[derive(serde::Deserialize)]
    struct Told {
        consent: Option<Consent>,
    }
    // It was checked when it came; what cannot be read was not granted.
    let told: Option<Told> = serde_json::from_str(payload).ok();
    told.and_then(|told| told.consent).unwrap_or_default()
}

/// What is left of a purchase after its refunds, which are so many and gave back so much; none without a value, and nothing where more was given back than was paid.
pub fn adjustment(purchase: &StoredConversion, sequence: i64, total: Decimal) -> Option<Adjustment> {
    let paid = money(purchase)?;
    Some(Adjustment {
        purchase_time: purchase.event_time,
        remaining: Money {
            amount: (paid.amount - total).max(Decimal::ZERO),
            currency: paid.currency,
        },
        sequence: u32::try_from(sequence).unwrap_or(u32::MAX),
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
        let secrets = crate::platform::config::load(None).unwrap().secrets;
        let sealer = Sealer::new(&secrets, Some([7; 32])).unwrap();
        let session = session(Uuid::nil(), &[visit], &sealer);
        assert_eq!((session.landing_url, session.referrer), (None, None));
    }
}
