//! `conversions` and `credits`.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::outcome::{Credit, Match, Receipt};
use super::record::{Content, Draft, Identity};
use crate::attribution::{Attribution, UNITS, Weights, weigh};
use crate::destinations::outbox::array_text;
use crate::domain::answers::Answers;
use crate::domain::consent::Consent;
use crate::domain::touch::Touch;

/// A conversion with its match.
pub struct Row<'a> {
    /// What was sent.
    pub draft: &'a Draft,
    /// What the look at the visitor's touches found.
    pub attribution: &'a Attribution,
}

/// Stores the conversions that are not there yet, and tells of them in `credit_changes`; the ids of those that were stored. Rows come in the order of their identity: writers
/// that share keys then wait for each other in one direction only, and never in a circle.
pub async fn insert(conn: &mut PgConnection, rows: &[Row<'_>]) -> Result<HashSet<Uuid>, sqlx::Error> {
    let text = |of: fn(&Draft) -> Option<&str>| {
        rows.iter()
            .map(|row| of(row.draft))
            .collect::<Vec<Option<&str>>>()
    };
    let id = |of: fn(&Draft) -> Uuid| rows.iter().map(|row| of(row.draft)).collect::<Vec<Uuid>>();
    let time = |of: fn(&Draft) -> DateTime<Utc>| rows.iter().map(|row| of(row.draft)).collect::<Vec<_>>();
    let stored = sqlx::query_scalar!(
        r#"with stored as (
           insert into conversions (property_id, event_id, attribution_id, topic, conversion_id, event_name, purchase_id, event_time, received_at,
               value, currency, visitor_id, user_id, match_reason, session_id, nearest_session_at, lookback_days, payload, personal_sealed,
               source, key_id, destination_ids, session_consent)
           select property_id, event_id, attribution_id, topic, conversion_id, event_name, purchase_id, event_time, received_at,
               value, currency, visitor_id, user_id, match_reason, session_id, nearest_session_at, lookback_days, payload::json, personal_sealed,
               source, key_id, destination_ids::uuid[], session_consent
           from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[],
               $10::numeric[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::timestamptz[], $17::smallint[], $18::text[],
               $19::bytea[], $20::text[], $21::uuid[], $22::text[], $23::jsonb[])
             as t(property_id, event_id, attribution_id, topic, conversion_id, event_name, purchase_id, event_time, received_at,
               value, currency, visitor_id, user_id, match_reason, session_id, nearest_session_at, lookback_days, payload, personal_sealed,
               source, key_id, destination_ids, session_consent)
           on conflict on constraint conversions_once do nothing
           returning property_id, event_id
           ), told as (
               insert into credit_changes (property_id, event_ids) select property_id, array_agg(event_id) from stored group by property_id
           )
           select event_id from stored"#,
        &id(|d| d.origin.tenant.property_id),
        &id(|d| d.event_id),
        &id(|d| d.origin.tenant.attribution_id),
        &text(|d| Some(d.conversion.topic.as_str())) as &[Option<&str>],
        &text(|d| Some(&d.conversion.conversion_id)) as &[Option<&str>],
        &text(|d| d.conversion.event_name.as_deref()) as &[Option<&str>],
        &text(|d| d.conversion.purchase_id.as_deref()) as &[Option<&str>],
        &time(|d| d.conversion.event_time),
        &time(|d| d.origin.received_at),
        &rows.iter().map(|row| row.draft.conversion.money.map(|money| money.amount)).collect::<Vec<_>>() as &[Option<Decimal>],
        &text(|d| d.conversion.money.map(|money| money.currency.code())) as &[Option<&str>],
        &text(|d| d.conversion.visitor_id.as_deref()) as &[Option<&str>],
        &text(|d| d.conversion.user_id.as_deref()) as &[Option<&str>],
        &rows.iter().map(|row| row.attribution.reason()).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.attribution.last_touch().map(|touch| touch.session_id.as_str())).collect::<Vec<_>>()
            as &[Option<&str>],
        &rows.iter().map(|row| row.attribution.nearest_session_at()).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &rows.iter().map(|row| row.draft.origin.lookback_days).collect::<Vec<_>>(),
        &text(|d| Some(&d.conversion.payload)) as &[Option<&str>],
        &rows.iter().map(|row| row.draft.personal_sealed.as_deref()).collect::<Vec<_>>() as &[Option<&[u8]>],
        &text(|d| Some(d.origin.source.as_str())) as &[Option<&str>],
        &rows.iter().map(|row| row.draft.origin.key_id).collect::<Vec<_>>() as &[Option<Uuid>],
        &rows.iter().map(|row| row.draft.origin.destination_ids.as_deref().map(|ids| array_text(ids))).collect::<Vec<_>>()
            as &[Option<String>],
        &rows.iter().map(|row| consent_by_then(row.attribution)).collect::<Vec<_>>() as &[Option<Json<Consent>>],
    )
    .fetch_all(conn)
    .await?;
    Ok(stored.into_iter().collect())
}

/// What the visitor had answered by then, where the credited session says something else.
fn consent_by_then(attribution: &Attribution) -> Option<Json<Consent>> {
    attribution.last_touch()?.consent_by_then.map(Json)
}

/// The journey of a conversion, and the version of its credit that it makes.
pub struct Journey<'a> {
    /// The tenant.
    pub property_id: Uuid,
    /// The conversion.
    pub event_id: Uuid,
    /// When it happened.
    pub event_time: DateTime<Utc>,
    /// From 1.
    pub version: i16,
    /// Oldest first.
    pub touches: &'a [Touch],
}

impl<'a> Row<'a> {
    /// The journey of a conversion that was stored just now; none without a match.
    pub fn journey(&self) -> Option<Journey<'a>> {
        match self.attribution {
            Attribution::Matched(touches) => Some(Journey {
                property_id: self.draft.origin.tenant.property_id,
                event_id: self.draft.event_id,
                event_time: self.draft.conversion.event_time,
                version: 1,
                touches,
            }),
            Attribution::Unmatched(_) => None,
        }
    }
}

/// Stores versions of credit, a row a touch.
pub async fn insert_credits(conn: &mut PgConnection, journeys: &[Journey<'_>]) -> Result<(), sqlx::Error> {
    let mut credits: Vec<(&Journey<'_>, i16, &Touch, Weights)> = Vec::with_capacity(journeys.len() * 3);
    for journey in journeys {
        let clicks: Vec<DateTime<Utc>> = journey.touches.iter().map(|touch| touch.clicked_at).collect();
        let weights = weigh(&clicks, journey.event_time);
        credits.extend(
            journey
                .touches
                .iter()
                .zip(weights)
                .zip(1i16..)
                .map(|((touch, weights), position)| (journey, position, touch, weights)),
        );
    }
    if credits.is_empty() {
        return Ok(());
    }
    let text = |of: fn(&Touch) -> Option<&str>| {
        credits
            .iter()
            .map(|(_, _, touch, _)| of(touch))
            .collect::<Vec<Option<&str>>>()
    };
    let units = |of: fn(&Weights) -> i32| {
        credits
            .iter()
            .map(|(_, _, _, weights)| of(weights))
            .collect::<Vec<i32>>()
    };
    sqlx::query!(
        r#"insert into credits (property_id, event_id, version, position, session_id, clicked_at, direct, source, medium, campaign, campaign_id,
               click_id, last_click, first_click, linear, time_decay, position_based)
           select property_id, event_id, version, position, session_id, clicked_at, direct, source, medium, campaign, campaign_id,
               click_id, last_click, first_click, linear, time_decay, position_based
           from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::text[], $5::timestamptz[], $6::boolean[], $7::text[], $8::text[], $9::text[],
               $10::text[], $11::text[], $12::integer[], $13::integer[], $14::integer[], $15::integer[], $16::integer[], $17::smallint[])
             as t(property_id, event_id, position, session_id, clicked_at, direct, source, medium, campaign, campaign_id, click_id,
               last_click, first_click, linear, time_decay, position_based, version)"#,
        &credits.iter().map(|(journey, ..)| journey.property_id).collect::<Vec<_>>(),
        &credits.iter().map(|(journey, ..)| journey.event_id).collect::<Vec<_>>(),
        &credits.iter().map(|(_, position, ..)| *position).collect::<Vec<_>>(),
        &text(|touch| Some(&touch.session_id)) as &[Option<&str>],
        &credits.iter().map(|(_, _, touch, _)| touch.clicked_at).collect::<Vec<_>>(),
        &credits.iter().map(|(_, _, touch, _)| touch.direct).collect::<Vec<_>>(),
        &text(|touch| touch.source.as_deref()) as &[Option<&str>],
        &text(|touch| touch.medium.as_deref()) as &[Option<&str>],
        &text(|touch| touch.campaign.as_deref()) as &[Option<&str>],
        &text(|touch| touch.campaign_id.as_deref()) as &[Option<&str>],
        &text(|touch| touch.click_id.as_deref()) as &[Option<&str>],
        &units(|w| w.last_click),
        &units(|w| w.first_click),
        &units(|w| w.linear),
        &units(|w| w.time_decay),
        &units(|w| w.position_based),
        &credits.iter().map(|(journey, ..)| journey.version).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Tells of versions that came after the first, in the transaction that stores them.
pub async fn insert_changes(conn: &mut PgConnection, journeys: &[Journey<'_>]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into credit_changes (property_id, event_ids, versions)
         select property_id, array_agg(event_id), array_agg(version)
         from unnest($1::uuid[], $2::uuid[], $3::smallint[]) as t(property_id, event_id, version)
         group by property_id",
        &journeys
            .iter()
            .map(|journey| journey.property_id)
            .collect::<Vec<_>>(),
        &journeys
            .iter()
            .map(|journey| journey.event_id)
            .collect::<Vec<_>>(),
        &journeys.iter().map(|journey| journey.version).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A conversion that stands, as far as a repeat needs to know it.
pub struct First {
    /// Place in the identities that were asked for.
    pub index: usize,
    /// The tenant.
    pub property_id: Uuid,
    /// The door that it came through.
    pub via: String,
    /// What was stored.
    pub receipt: Receipt,
    /// The payload, without personal data.
    pub payload: String,
    /// The personal data, unless retention has taken it.
    pub personal_sealed: Option<Vec<u8>>,
}

impl First {
    /// What it says.
    pub fn content(&self) -> Content<'_> {
        Content {
            property_id: self.property_id,
            event_id: self.receipt.event_id,
            payload: &self.payload,
            personal_sealed: self.personal_sealed.as_deref(),
        }
    }
}

/// The conversions that stand under these identities, with the newest version of their credit.
pub async fn find(conn: &mut PgConnection, identities: &[Identity<'_>]) -> Result<Vec<First>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select w.index as "index!", c.property_id, c.source as via, c.event_id, c.event_time, c.match_reason, c.nearest_session_at, c.lookback_days,
               c.payload::text as "payload!", c.personal_sealed, l.touches as "touches?", l.session_id as "session_id?",
               l.clicked_at as "clicked_at?", l.direct as "direct?", l.source, l.medium, l.campaign, l.campaign_id, l.click_id
           from unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::text[], $5::text[])
                as w(index, property_id, attribution_id, topic, conversion_id)
           join conversions c on c.property_id = w.property_id and c.attribution_id = w.attribution_id and c.topic = w.topic
                and c.conversion_id = w.conversion_id
           left join lateral (
               select k.*, k.position as touches from credits k
               where k.property_id = c.property_id and k.event_id = c.event_id and k.last_click = $6
               order by k.version desc limit 1
           ) l on true"#,
        &(0..identities.len()).map(|index| index as i64).collect::<Vec<_>>(),
        &identities.iter().map(|(tenant, ..)| tenant.property_id).collect::<Vec<_>>(),
        &identities.iter().map(|(tenant, ..)| tenant.attribution_id).collect::<Vec<_>>(),
        &identities.iter().map(|(_, topic, _)| *topic).collect::<Vec<_>>() as &[&str],
        &identities.iter().map(|(_, _, conversion_id)| *conversion_id).collect::<Vec<_>>() as &[&str],
        UNITS,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let credit = match (row.touches, row.session_id, row.clicked_at, row.direct) {
                (Some(touches), Some(session_id), Some(clicked_at), Some(direct)) => Some(Credit {
                    // Last click credits the last touch, whose position is therefore their number.
                    touches: usize::try_from(touches).unwrap_or(0),
                    touch: Touch {
                        session_id,
                        clicked_at,
                        direct,
                        source: row.source,
                        medium: row.medium,
                        campaign: row.campaign,
                        campaign_id: row.campaign_id,
                        click_id: row.click_id,
                        anonymous: false,
                        answers: Answers::default(),
                        consent_by_then: None,
                    },
                }),
                _ => None,
            };
            First {
                index: usize::try_from(row.index).unwrap_or(usize::MAX),
                property_id: row.property_id,
                via: row.via,
                receipt: Receipt {
                    event_id: row.event_id,
                    matched: Match {
                        reason: row.match_reason.into(),
                        credit,
                        nearest_session_at: row.nearest_session_at,
                        event_time: row.event_time,
                        lookback_days: row.lookback_days,
                    },
                },
                payload: row.payload,
                personal_sealed: row.personal_sealed,
            }
        })
        .collect())
}

/// A conversion that waits for a touch.
pub struct Waiting {
    /// The tenant.
    pub property_id: Uuid,
    /// Our id of it.
    pub event_id: Uuid,
    /// When it happened.
    pub event_time: DateTime<Utc>,
    /// The window that held when it came.
    pub lookback_days: i16,
    /// Whether it has a match, to a direct visit.
    pub direct: bool,
    /// The version that its next credit has: the first look's was nobody's, or the direct visit's.
    pub next_version: i16,
}

/// Those of the conversions that have no match, or one to a direct visit.
pub async fn find_waiting(
    conn: &mut PgConnection,
    ids: &[(Uuid, Uuid)],
) -> Result<Vec<Waiting>, sqlx::Error> {
    sqlx::query_as!(
        Waiting,
        r#"select c.property_id, c.event_id, c.event_time, c.lookback_days, c.match_reason = 'matched' as "direct!",
               (greatest(1, k.version) + 1)::smallint as "next_version!"
           from unnest($1::uuid[], $2::uuid[]) as w(property_id, event_id)
           join conversions c on c.property_id = w.property_id and c.event_id = w.event_id
           left join lateral (
               select k.version, k.direct from credits k where k.property_id = c.property_id and k.event_id = c.event_id
               order by k.version desc, k.position desc limit 1
           ) k on true
           where c.match_reason <> 'matched' or k.direct"#,
        &ids.iter().map(|(property_id, _)| *property_id).collect::<Vec<_>>(),
        &ids.iter().map(|(_, event_id)| *event_id).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await
}

/// What a second look found, of each conversion.
pub async fn update_matches(
    conn: &mut PgConnection,
    looks: &[(&Waiting, &Attribution)],
    at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let attributions = || looks.iter().map(|(_, attribution)| *attribution);
    sqlx::query!(
        "update conversions c set match_reason = t.match_reason, session_id = t.session_id, nearest_session_at = t.nearest_session_at,
             session_consent = t.session_consent, matched_late_at = case when t.session_id is null then null else $6::timestamptz end
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $7::jsonb[])
           as t(property_id, event_id, match_reason, session_id, nearest_session_at, session_consent)
         where c.property_id = t.property_id and c.event_id = t.event_id",
        &looks.iter().map(|(c, _)| c.property_id).collect::<Vec<_>>(),
        &looks.iter().map(|(c, _)| c.event_id).collect::<Vec<_>>(),
        &attributions().map(Attribution::reason).collect::<Vec<_>>() as &[&str],
        &attributions()
            .map(|a| a.last_touch().map(|touch| touch.session_id.as_str()))
            .collect::<Vec<_>>() as &[Option<&str>],
        &attributions().map(Attribution::nearest_session_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        at,
        &attributions().map(consent_by_then).collect::<Vec<_>>() as &[Option<Json<Consent>>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The personal data, as it is now, of those conversions that came after `since`; held until the end of the transaction, and in the order of the
/// keys, so that two who want the same wait for each other in one direction only.
pub async fn hold_personal(
    conn: &mut PgConnection,
    ids: &[(Uuid, Uuid)],
    since: DateTime<Utc>,
) -> Result<Vec<(Uuid, Uuid, Option<Vec<u8>>)>, sqlx::Error> {
    let rows = sqlx::query!(
        "select c.property_id, c.event_id, c.personal_sealed from conversions c
         join unnest($1::uuid[], $2::uuid[]) as w(property_id, event_id) on c.property_id = w.property_id and c.event_id = w.event_id
         where c.received_at > $3
         order by c.property_id, c.event_id for update of c",
        &ids.iter().map(|(property_id, _)| *property_id).collect::<Vec<_>>(),
        &ids.iter().map(|(_, event_id)| *event_id).collect::<Vec<_>>(),
        since,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.property_id, row.event_id, row.personal_sealed))
        .collect())
}

/// Keeps richer personal data of conversions: tenant, our id, sealed.
pub async fn update_personal(
    conn: &mut PgConnection,
    richer: &[(Uuid, Uuid, Vec<u8>)],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update conversions c set personal_sealed = t.personal_sealed
         from unnest($1::uuid[], $2::uuid[], $3::bytea[]) as t(property_id, event_id, personal_sealed)
         where c.property_id = t.property_id and c.event_id = t.event_id",
        &richer
            .iter()
            .map(|(property_id, ..)| *property_id)
            .collect::<Vec<_>>(),
        &richer
            .iter()
            .map(|(_, event_id, _)| *event_id)
            .collect::<Vec<_>>(),
        &richer
            .iter()
            .map(|(.., sealed)| sealed.clone())
            .collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
