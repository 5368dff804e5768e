//! A dry run: what each destination would be sent, and what it would not and why.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::fan_out::{Target, planned};
use super::parcel::{Parcel, UserData};
use super::plan::{Facts, Grounds, Planned};
use super::sources::store::{Asked, Refunds, StoredConversion, Visit};
use super::sources::{self, Sources, assemble};
use super::state::{Reason, State};
use super::store;
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
        let as_stored = as_stored(tenant, event_id, conversion, journey);
        let mut facts = Facts {
            topic: conversion.topic,
            event_name: conversion.event_name.clone(),
            event_time: conversion.event_time,
            grounds: Grounds {
                consent: sources::agreed(&as_stored, &visits),
                matched: !journey.is_empty(),
                click_id: journey.last().and_then(|touch| touch.click_id.clone()),
            },
            unknown_consent_granted: sources::store::unknown_consent_granted(conn, property_id).await?,
        };
        if !visits.is_empty() && sources::are_silent(&visits) {
            let browsers = sources::store::browsers(conn, property_id, &[&as_stored]).await?;
            visits.splice(0..0, browsers);
        }
        let purchase = match conversion.purchase_id {
            Some(_) => sources::store::purchases(conn, property_id, &[&as_stored]).await?,
            None => Vec::new(),
        };
        let purchase = purchase.into_iter().next().map(|(_, purchase)| purchase);
        let mut of_purchase: Vec<Visit> = Vec::new();
        if let Some(purchase) = &purchase {
            of_purchase = sources::store::visits(conn, property_id, &[purchase.event_id]).await?;
            let known = store::facts(conn, &[(property_id, purchase.event_id)]).await?;
            if let Some(known) = known.into_values().next() {
                facts.grounds = facts.grounds.or_purchase(known.grounds);
            }
        }
        let asked = Asked {
            of: &as_stored,
            purchase: purchase.as_ref().unwrap_or(&as_stored),
        };
        let refunds = match purchase.is_some() || sources::is_purchase(&as_stored) {
            true => sources::store::refunds(conn, property_id, &[asked]).await?,
            false => Vec::new(),
        };
        let mut refunds = refunds
            .first()
            .map_or_else(Refunds::default, |(_, refunds)| *refunds);
        if let Some(purchase) = &purchase {
            // Those that are stored, and this one.
            refunds.sequence += 1;
            match (as_stored.value, as_stored.currency == purchase.currency) {
                (None, _) => refunds.whole = true,
                (Some(value), true) => refunds.total += value,
                (Some(_), false) => {}
            }
        }
        let personal = conversion.personal.as_deref().map(UserData::of_personal);
        let parcel = assemble(
            Sources {
                conversion: &as_stored,
                user_data: personal.unwrap_or_default(),
                visits: &visits,
                purchase: purchase
                    .as_ref()
                    .map(|purchase| (purchase, of_purchase.as_slice())),
                refunds,
            },
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
