//! Destinations, streams and keys, with a few index entries each of what goes on there.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Trouble, Unhealthy};
use crate::destinations::open_settings;
use crate::platform::secrets::Sealer;

/// Destinations, streams and keys of a property that are looked at.
const MOST: i64 = 200;
/// Deliveries of a destination that are counted.
const MOST_COUNTED: i64 = 1000;

fn found(trouble: Trouble, attribution_id: Uuid, id: Uuid, name: &str) -> Unhealthy {
    Unhealthy {
        trouble,
        attribution_id,
        id,
        name: name.to_owned(),
        at: None,
        deliveries: None,
        reason: None,
        advice: trouble.advice(),
    }
}

/// Destinations that are paused, cannot be read with this sealer, have refused since `refused_since`, or have something waiting since before `waiting_since`.
pub async fn destinations(
    conn: &mut PgConnection,
    property_id: Uuid,
    sealer: &Sealer,
    refused_since: DateTime<Utc>,
    waiting_since: DateTime<Utc>,
) -> Result<Vec<Unhealthy>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select d.attribution_id, d.destination_id, d.name, d.settings_sealed, d.paused_at, d.paused_reason,
               dead.count as "dead!", queued.count as "queued!",
               queued.oldest as "oldest?"
           from (select * from destinations where property_id = $1 and removed_at is null order by destination_id limit $4) d
           cross join lateral (
               select count(*) from (
                   select from deliveries x where x.property_id = $1 and x.destination_id = d.destination_id and x.state = 'dead'
                     and x.created_at >= $2 limit $5) x
           ) dead
           cross join lateral (
               select count(*), min(created_at) as oldest from (
                   select created_at from deliveries x where x.property_id = $1 and x.destination_id = d.destination_id and x.state = 'queued'
                     and x.created_at < $3 order by created_at limit $5) x
           ) queued"#,
        property_id,
        refused_since,
        waiting_since,
        MOST,
        MOST_COUNTED,
    )
    .fetch_all(conn)
    .await?;
    let mut all = Vec::new();
    for row in rows {
        let found = |trouble| found(trouble, row.attribution_id, row.destination_id, &row.name);
        if row.paused_at.is_some() {
            all.push(Unhealthy {
                at: row.paused_at,
                reason: row.paused_reason.clone(),
                ..found(Trouble::DestinationPaused)
            });
        }
        if let Err(error) = open_settings(&row.settings_sealed, property_id, row.destination_id, sealer) {
            all.push(Unhealthy {
                reason: Some(error.to_string()),
                ..found(Trouble::DestinationUnreadable)
            });
        }
        if row.dead > 0 {
            all.push(Unhealthy {
                deliveries: Some(row.dead),
                ..found(Trouble::DestinationRefuses)
            });
        }
        // Of a paused one it is known why.
        if row.queued > 0 && row.paused_at.is_none() {
            all.push(Unhealthy {
                at: row.oldest,
                deliveries: Some(row.queued),
                ..found(Trouble::DestinationBehind)
            });
        }
    }
    Ok(all)
}

/// Streams without a request or a page view since `since`; those that never had any are not missing any.
pub async fn streams(
    conn: &mut PgConnection,
    property_id: Uuid,
    since: DateTime<Utc>,
) -> Result<Vec<Unhealthy>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select s.attribution_id, s.name, s.webhooks_enabled, last.at as "last_request?", seen.last_seen_at as "last_seen?"
           from (select * from streams where property_id = $1 order by created_at limit $2) s
           left join lateral (
               select at from activity a where a.property_id = $1 and a.attribution_id = s.attribution_id order by a.activity_id desc limit 1
           ) last on true
           left join stream_sightings seen on seen.property_id = $1 and seen.attribution_id = s.attribution_id"#,
        property_id,
        MOST,
    )
    .fetch_all(conn)
    .await?;
    let mut all = Vec::new();
    for row in rows {
        let found = |trouble, at| Unhealthy {
            at,
            ..found(trouble, row.attribution_id, row.attribution_id, &row.name)
        };
        let long_ago = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at < since);
        if row.webhooks_enabled && long_ago(row.last_request) {
            all.push(found(Trouble::NoWebhooks, row.last_request));
        }
        if long_ago(row.last_seen) {
            all.push(found(Trouble::NoPageViews, row.last_seen));
        }
    }
    Ok(all)
}

/// Keys in force that end between two moments.
pub async fn keys(
    conn: &mut PgConnection,
    property_id: Uuid,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Unhealthy>, sqlx::Error> {
    let rows = sqlx::query!(
        "select attribution_id, key_id, name, expires_at from webhook_keys
         where property_id = $1 and revoked_at is null and expires_at > $2 and expires_at < $3 order by expires_at limit $4",
        property_id,
        now,
        until,
        MOST,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Unhealthy {
            at: row.expires_at,
            ..found(Trouble::KeyExpires, row.attribution_id, row.key_id, &row.name)
        })
        .collect())
}
