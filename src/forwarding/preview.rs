//! A dry run: what each destination would be sent, and what it would not and why.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::fan_out::{Target, planned};
use super::parcel::{Parcel, Refund, UserData};
use super::plan::{Facts, Planned};
use super::sources::store::{StoredConversion, Visit};
use super::sources::{self, assemble};
use super::state::{Reason, State};
use crate::destinations;
use crate::domain::conversion::Conversion;
use crate::domain::tenant::Tenant;
use crate::domain::touch::Touch;
use crate::platform::clock::Clock;
use crate::platform::db;
use crate::platform::secrets::Sealer;

/// What would become of a conversion at a destination.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Preview {
    /// The destination.
    pub destination_id: Uuid,
    /// Its name.
    pub destination: String,
    /// The platform.
    pub platform: String,
    /// `queued`: it would be sent; `suppressed` or `expired`: it would not.
    pub state: State,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The event as it would be sent, identifiers hashed; what would tell of the visitor in clear is masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// What would be left out of it, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Tells what forwarding would do.
#[derive(Clone)]
pub struct Previewer {
    pool: PgPool,
    sealer: Sealer,
    clock: Clock,
}

impl Previewer {
    /// Looks through `pool`.
    pub fn new(pool: PgPool, sealer: Sealer, clock: Clock) -> Self {
        Self { pool, sealer, clock }
    }

    /// What each of these destinations would get of a conversion that is credited to `journey`.
    pub async fn preview(
        &self,
        tenant: Tenant,
        destination_ids: &[Uuid],
        event_id: Uuid,
        conversion: &Conversion,
        journey: &[Touch],
    ) -> Result<Vec<Preview>, sqlx::Error> {
        let look = async {
            let mut conn = self.pool.acquire().await?;
            let wanted: Vec<(Uuid, Uuid)> = destination_ids
                .iter()
                .map(|destination_id| (tenant.property_id, *destination_id))
                .collect();
            let found = destinations::store::find(&mut conn, &wanted).await?;
            let sources = self
                .sources(&mut conn, tenant, event_id, conversion, journey)
                .await?;
            Ok((found, sources))
        };
        let (found, (facts, parcel)) = db::in_time(look).await?;
        let now = self.clock.now();
        let preview = |destination| {
            one(
                Target::new(destination, &self.sealer),
                &facts,
                parcel.as_ref(),
                now,
            )
        };
        Ok(found.into_iter().map(preview).collect())
    }

    async fn sources(
        &self,
        conn: &mut PgConnection,
        tenant: Tenant,
        event_id: Uuid,
        conversion: &Conversion,
        journey: &[Touch],
    ) -> Result<(Facts, Option<Parcel>), sqlx::Error> {
        let property_id = tenant.property_id;
        let clicks: Vec<(&str, DateTime<Utc>)> = journey
            .iter()
            .map(|touch| (touch.session_id.as_str(), touch.clicked_at))
            .collect();
        let mut visits = sources::store::visits_of_sessions(conn, property_id, event_id, &clicks).await?;
        let facts = Facts {
            topic: conversion.topic,
            event_name: conversion.event_name.clone(),
            event_time: conversion.event_time,
            consent: conversion.consent,
            session_consent: journey
                .last()
                .and_then(|touch| touch.consent_by_then)
                .or(visits.last().map(|visit| visit.consent))
                .unwrap_or_default(),
            matched: !journey.is_empty(),
            click_id: journey.last().and_then(|touch| touch.click_id.clone()),
            unknown_consent_granted: sources::store::unknown_consent_granted(conn, property_id).await?,
        };
        let as_stored = as_stored(tenant, event_id, conversion, journey);
        if !visits.is_empty() && sources::are_silent(&visits) {
            visits.splice(
                0..0,
                sources::store::browsers(conn, property_id, &[&as_stored]).await?,
            );
        }
        let (mut purchase, mut refund) = (None, None);
        if let Some(purchase_id) = &conversion.purchase_id {
            let refunds = [&as_stored];
            purchase = sources::store::purchases(conn, property_id, &refunds)
                .await?
                .into_iter()
                .next()
                .map(|(_, p)| p);
            // Those that are stored, and this one.
            let before = sources::store::refunded(conn, property_id, &refunds).await?;
            let (count, total) = before
                .first()
                .map_or((0, Decimal::ZERO), |(_, count, total)| (*count, *total));
            let total = total + conversion.money.map_or(Decimal::ZERO, |money| money.amount);
            refund = Some(Refund {
                purchase_id: purchase_id.clone(),
                adjustment: purchase
                    .as_ref()
                    .and_then(|purchase| sources::adjustment(purchase, count + 1, total)),
            });
        }
        if let Some(purchase) = &purchase {
            let of_purchase: Vec<Visit> =
                sources::store::visits(conn, property_id, &[purchase.event_id]).await?;
            if !of_purchase.is_empty() {
                visits = of_purchase;
            }
        }
        let personal = conversion.personal.as_deref().map(UserData::of_personal);
        let parcel = assemble(
            &as_stored,
            personal.unwrap_or_default(),
            purchase.as_ref(),
            refund,
            &visits,
            &self.sealer,
        );
        Ok((facts, parcel))
    }
}

/// The conversion as it would lie in the database.
fn as_stored(tenant: Tenant, event_id: Uuid, conversion: &Conversion, journey: &[Touch]) -> StoredConversion {
    StoredConversion {
        property_id: tenant.property_id,
        event_id,
        attribution_id: tenant.attribution_id,
        conversion_id: conversion.conversion_id.clone(),
        topic: conversion.topic.as_str().to_owned(),
        event_name: conversion.event_name.clone(),
        purchase_id: conversion.purchase_id.clone(),
        event_time: conversion.event_time,
        value: conversion.money.map(|money| money.amount),
        currency: conversion.money.map(|money| money.currency.code().to_owned()),
        visitor_id: conversion.visitor_id.clone(),
        user_id: conversion.user_id.clone(),
        payload: conversion.payload.clone(),
        personal_sealed: None,
        session_consent: journey.last().and_then(|touch| touch.consent_by_then).map(Json),
    }
}

fn one(target: Target, facts: &Facts, parcel: Option<&Parcel>, now: DateTime<Utc>) -> Preview {
    let plan = planned(facts, Some(&target), now);
    let Target {
        destination,
        platform,
    } = target;
    let mut preview = Preview {
        destination_id: destination.destination_id,
        destination: destination.name,
        platform: destination.platform,
        state: State::Queued,
        reason: None,
        payload: None,
        notes: Vec::new(),
    };
    match (plan, platform, parcel) {
        (Planned::Suppressed(reason), ..) => {
            preview.state = State::Suppressed;
            preview.reason = Some(reason.as_str());
        }
        (Planned::Expired, ..) => {
            preview.state = State::Expired;
            preview.reason = Some(Reason::TooOld.as_str());
        }
        (Planned::Queued { .. }, Some((name, platform)), Some(parcel)) => {
            let renamed = super::lane::renamed(&destination.topics, parcel);
            match platform.prepare_as(parcel, renamed, now) {
                Ok(event) => {
                    let json = serde_json::from_str(event.json()).unwrap_or_default();
                    preview.payload = Some(name.masked(json));
                    preview.notes = event
                        .notes
                        .iter()
                        .map(|note| format!("{}: {}", note.field, note.code))
                        .collect();
                }
                Err(unsendable) => {
                    preview.state = State::Suppressed;
                    preview.reason = Some(unsendable.code);
                }
            }
        }
        (Planned::Queued { .. }, ..) => preview.reason = Some(Reason::Unreadable.as_str()),
    }
    preview
}
