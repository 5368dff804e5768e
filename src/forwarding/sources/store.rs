//! What a delivery is made of: the conversion, and the visits that led to it. Tables of others, read only.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::domain::consent::Consent;

/// A conversion as it is stored.
#[derive(Debug, Clone)]
pub struct StoredConversion {
    /// The tenant.
    pub property_id: Uuid,
    /// Our id.
    pub event_id: Uuid,
    /// The stream.
    pub attribution_id: Uuid,
    /// The sender's id.
    pub conversion_id: String,
    /// The topic's name.
    pub topic: String,
    /// Name of a custom event.
    pub event_name: Option<String>,
    /// The purchase that a refund takes back.
    pub purchase_id: Option<String>,
    /// When it happened.
    pub event_time: DateTime<Utc>,
    /// What it was worth, in major units.
    pub value: Option<Decimal>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// The visitor.
    pub visitor_id: Option<String>,
    /// The sender's id of the user.
    pub user_id: Option<String>,
    /// The event without personal data, JSON text.
    pub payload: String,
    /// The personal part, sealed.
    pub personal_sealed: Option<Vec<u8>>,
    /// What the visitor had answered by then, where the credited session says something else.
    pub session_consent: Option<Json<Consent>>,
}

/// A visit of a conversion's journey.
#[derive(Debug, Clone)]
pub struct Visit {
    /// Our id of the conversion.
    pub event_id: Uuid,
    /// The session.
    pub session_id: String,
    /// When it began: the click.
    pub clicked_at: DateTime<Utc>,
    /// The landing page, masked.
    pub landing_url: String,
    /// Who sent the visitor.
    pub referrer: Option<String>,
    /// Click ids by name.
    pub click_ids: BTreeMap<String, String>,
    /// Cookies of ad platforms by name.
    pub browser_ids: BTreeMap<String, String>,
    /// What the visitor agreed to.
    pub consent: Consent,
    /// Address and browser, sealed.
    pub client_sealed: Option<Vec<u8>>,
}

/// The conversions of one property.
pub async fn conversions(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_ids: &[Uuid],
) -> Result<Vec<StoredConversion>, sqlx::Error> {
    sqlx::query_as!(
        StoredConversion,
        r#"select c.property_id, c.event_id, c.attribution_id, c.conversion_id, c.topic, c.event_name, c.purchase_id, c.event_time, c.value,
               c.currency, c.visitor_id, c.user_id, c.payload::text as "payload!", c.personal_sealed,
               c.session_consent as "session_consent: Json<Consent>"
           from unnest($2::uuid[]) as w(event_id)
           cross join lateral (select * from conversions where property_id = $1 and event_id = w.event_id limit 1) c"#,
        property_id,
        event_ids,
    )
    .fetch_all(conn)
    .await
}

/// The visits of their journeys, of the newest version of each, oldest first.
pub async fn visits(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_ids: &[Uuid],
) -> Result<Vec<Visit>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select k.event_id, s.session_id as "session_id!", k.clicked_at, s.landing_url as "landing_url!", s.referrer, s.click_ids as "click_ids: Json<BTreeMap<String, String>>",
               s.browser_ids as "browser_ids: Json<BTreeMap<String, String>>", s.consent as "consent: Json<Consent>", s.client_sealed
           from unnest($2::uuid[]) as w(event_id)
           cross join lateral (
               select * from credits
               where property_id = $1 and event_id = w.event_id
                   and version = (select max(version) from credits where property_id = $1 and event_id = w.event_id)
               offset 0
           ) k
           cross join lateral (select * from session_of($1, k.session_id) limit 1) s
           order by k.event_id, k.position"#,
        property_id,
        event_ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Visit {
            event_id: row.event_id,
            session_id: row.session_id,
            clicked_at: row.clicked_at,
            landing_url: row.landing_url,
            referrer: row.referrer,
            click_ids: row.click_ids.map(|json| json.0).unwrap_or_default(),
            browser_ids: row.browser_ids.map(|json| json.0).unwrap_or_default(),
            consent: row.consent.map(|json| json.0).unwrap_or_default(),
            client_sealed: row.client_sealed,
        })
        .collect())
}

/// Of each conversion, the visitor's newest visit up to it, where it tells of the browser: the consent that lets it be kept may have come after
/// the click. Its click ids are not among the journey's.
pub async fn browsers(
    conn: &mut PgConnection,
    property_id: Uuid,
    conversions: &[&StoredConversion],
) -> Result<Vec<Visit>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select distinct on (w.event_id) w.event_id as "event_id!", s.session_id as "session_id!", s.started_at as "started_at!",
               s.landing_url as "landing_url!", s.browser_ids as "browser_ids: Json<BTreeMap<String, String>>",
               s.consent as "consent: Json<Consent>", s.client_sealed
           from unnest($2::uuid[], $3::text[], $4::timestamptz[]) as w(event_id, visitor_id, event_time)
           cross join lateral visitor_ids($1, w.visitor_id, w.event_time) as i
           cross join lateral (
               (select * from sessions t
                where t.property_id = $1 and t.visitor_id = i.id and t.direct = false and t.started_at <= least(w.event_time, i.until)
                order by t.started_at desc limit 1)
               union all
               (select * from sessions t
                where t.property_id = $1 and t.visitor_id = i.id and t.direct and t.started_at <= least(w.event_time, i.until)
                order by t.started_at desc limit 1)
           ) s
           where s.client_sealed is not null
           order by w.event_id, s.started_at desc"#,
        property_id,
        &conversions.iter().map(|one| one.event_id).collect::<Vec<_>>(),
        &conversions.iter().map(|one| one.visitor_id.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &conversions.iter().map(|one| one.event_time).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Visit {
            event_id: row.event_id,
            session_id: row.session_id,
            clicked_at: row.started_at,
            landing_url: row.landing_url,
            referrer: None,
            click_ids: BTreeMap::new(),
            browser_ids: row.browser_ids.map(|json| json.0).unwrap_or_default(),
            consent: row.consent.map(|json| json.0).unwrap_or_default(),
            client_sealed: row.client_sealed,
        })
        .collect())
}

/// Sessions as the visits of one conversion's journey, which has these clicks.
pub async fn visits_of_sessions(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_id: Uuid,
    clicks: &[(&str, DateTime<Utc>)],
) -> Result<Vec<Visit>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select s.session_id, w.clicked_at as "clicked_at!", s.landing_url, s.referrer, s.click_ids as "click_ids: Json<BTreeMap<String, String>>",
               s.browser_ids as "browser_ids: Json<BTreeMap<String, String>>", s.consent as "consent: Json<Consent>", s.client_sealed
           from unnest($2::text[], $3::timestamptz[]) with ordinality as w(session_id, clicked_at, position)
           join sessions s on s.property_id = $1 and s.session_id = w.session_id
           order by w.position"#,
        property_id,
        &clicks.iter().map(|(session_id, _)| *session_id).collect::<Vec<_>>() as &[&str],
        &clicks.iter().map(|(_, clicked_at)| *clicked_at).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Visit {
            event_id,
            session_id: row.session_id,
            clicked_at: row.clicked_at,
            landing_url: row.landing_url,
            referrer: row.referrer,
            click_ids: row.click_ids.map(|json| json.0).unwrap_or_default(),
            browser_ids: row.browser_ids.map(|json| json.0).unwrap_or_default(),
            consent: row.consent.map(|json| json.0).unwrap_or_default(),
            client_sealed: row.client_sealed,
        })
        .collect())
}

/// Whether a property takes unknown consent for granted.
pub async fn unknown_consent_granted(
    conn: &mut PgConnection,
    property_id: Uuid,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        "select unknown_consent_granted from properties where property_id = $1",
        property_id
    )
    .fetch_one(conn)
    .await
}

/// The purchase of each refund, by the refund's id.
pub async fn purchases(
    conn: &mut PgConnection,
    property_id: Uuid,
    refunds: &[&StoredConversion],
) -> Result<Vec<(Uuid, StoredConversion)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select w.refund_id as "refund_id!", c.property_id, c.event_id, c.attribution_id, c.conversion_id, c.topic, c.event_name,
               c.purchase_id, c.event_time, c.value, c.currency, c.visitor_id, c.user_id, c.payload::text as "payload!", c.personal_sealed,
               c.session_consent as "session_consent: Json<Consent>"
           from unnest($2::uuid[], $3::uuid[], $4::text[]) as w(refund_id, attribution_id, purchase_id)
           cross join lateral (
               select * from conversions
               where property_id = $1 and attribution_id = w.attribution_id and topic = 'purchase' and conversion_id = w.purchase_id
               limit 1
           ) c"#,
        property_id,
        &refunds.iter().map(|refund| refund.event_id).collect::<Vec<_>>(),
        &refunds.iter().map(|refund| refund.attribution_id).collect::<Vec<_>>(),
        &refunds.iter().map(|refund| refund.purchase_id.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let purchase = StoredConversion {
                property_id: row.property_id,
                event_id: row.event_id,
                attribution_id: row.attribution_id,
                conversion_id: row.conversion_id,
                topic: row.topic,
                event_name: row.event_name,
                purchase_id: row.purchase_id,
                event_time: row.event_time,
                value: row.value,
                currency: row.currency,
                visitor_id: row.visitor_id,
                user_id: row.user_id,
                payload: row.payload,
                personal_sealed: row.personal_sealed,
                session_consent: row.session_consent,
            };
            (row.refund_id, purchase)
        })
        .collect())
}

/// Whose refunds are asked for.
#[derive(Debug)]
pub struct Asked<'a> {
    /// A refund, or the purchase itself.
    pub of: &'a StoredConversion,
    /// The purchase.
    pub purchase: &'a StoredConversion,
}

/// The refunds of a purchase that are known by now: whichever is told last, in whatever order tries come, then tells the platform the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refunds {
    /// How many.
    pub count: i64,
    /// How many up to the refund that asks, itself too.
    pub sequence: i64,
    /// What they gave back in the purchase's currency. Currencies are not converted: what came back in another one is not in here.
    pub total: Decimal,
    /// One of them has no value: it gave back whatever was left.
    pub whole: bool,
}

/// The refunds of purchases, by the id of the one that asks.
pub async fn refunds(
    conn: &mut PgConnection,
    property_id: Uuid,
    asked: &[Asked<'_>],
) -> Result<Vec<(Uuid, Refunds)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select w.event_id as "event_id!", r.count as "count!", r.sequence as "sequence!", r.total as "total!", r.whole as "whole!"
           from unnest($2::uuid[], $3::timestamptz[], $4::uuid[], $5::text[], $6::text[])
             as w(event_id, event_time, attribution_id, purchase_id, currency)
           cross join lateral (
               select count(*) as count, count(*) filter (where (c.event_time, c.event_id) <= (w.event_time, w.event_id)) as sequence,
                   coalesce(sum(c.value) filter (where c.currency = w.currency), 0) as total, coalesce(bool_or(c.value is null), false) as whole
               from conversions c
               where c.property_id = $1 and c.attribution_id = w.attribution_id and c.topic = 'refund' and c.purchase_id = w.purchase_id
           ) r"#,
        property_id,
        &asked.iter().map(|asked| asked.of.event_id).collect::<Vec<_>>(),
        &asked.iter().map(|asked| asked.of.event_time).collect::<Vec<_>>(),
        &asked.iter().map(|asked| asked.purchase.attribution_id).collect::<Vec<_>>(),
        &asked.iter().map(|asked| asked.purchase.conversion_id.as_str()).collect::<Vec<_>>() as &[&str],
        &asked.iter().map(|asked| asked.purchase.currency.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let refunds = Refunds {
                count: row.count,
                sequence: row.sequence,
                total: row.total,
                whole: row.whole,
            };
            (row.event_id, refunds)
        })
        .collect())
}
