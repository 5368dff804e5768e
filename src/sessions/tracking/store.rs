//! `sessions` as events make them grow, and the visitors' links.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::timeline::{Hit, INACTIVITY};
use crate::domain::answers::{Answers, Times};
use crate::domain::consent::Consent;

/// Sessions of one visitor that are looked at around new events, at most. More of them are no person's.
const MOST_NEAR: i64 = 200;

/// A visitor's span of time.
#[derive(Debug)]
pub struct Span<'a> {
    /// The tenant.
    pub property_id: Uuid,
    /// The visitor.
    pub visitor_id: &'a str,
    /// Unix seconds of the first new event.
    pub first: i64,
    /// Unix seconds of the last one.
    pub last: i64,
}

/// A stored session, as far as the timeline needs it.
#[derive(Debug)]
pub struct Near {
    /// Place in the spans that were asked for.
    pub span: usize,
    /// Its id.
    pub session_id: String,
    /// What brought the visitor.
    pub campaign: Option<i64>,
    /// The other site that sent the visitor.
    pub referrer: Option<String>,
    /// Its moments.
    pub hits: Vec<Hit>,
    /// Page views, those of moments that are no longer kept too.
    pub page_views: i32,
    /// What its events told last.
    pub told: Told,
}

/// What changes in the course of a session.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// What the visitor answered.
    pub answers: Answers,
    /// Cookies of ad platforms.
    pub browser_ids: BTreeMap<String, String>,
}

/// Holds the visitors until the end of the transaction: nobody else changes their sessions meanwhile, here or on another instance. Taken in
/// the order of the keys, so that two who want the same visitors wait for each other in one direction only.
pub async fn lock_visitors(conn: &mut PgConnection, spans: &[Span<'_>]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"select pg_advisory_xact_lock(key) as "locked!: ()"
           from (select distinct hashtextextended(visitor_id, hashtextextended(property_id::text, 0)) as key
                 from unnest($1::uuid[], $2::text[]) as t(property_id, visitor_id) order by key) k"#,
        &properties(spans),
        &visitors(spans) as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}

fn properties(spans: &[Span<'_>]) -> Vec<Uuid> {
    spans.iter().map(|span| span.property_id).collect()
}

fn visitors<'a>(spans: &[Span<'a>]) -> Vec<&'a str> {
    spans.iter().map(|span| span.visitor_id).collect()
}

/// The sessions around each span: those that begin in it, the one that runs into it, and the next one after it.
pub async fn near(conn: &mut PgConnection, spans: &[Span<'_>]) -> Result<Vec<Near>, sqlx::Error> {
    let at = |seconds: i64| DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::UNIX_EPOCH);
    let rows = sqlx::query!(
        r#"select w.index as "index!", s.session_id as "session_id!", s.started_at as "started_at!", s.page_views as "page_views!",
               s.campaign_key, s.referrer, s.hits, s.consent as "consent: Json<Consent>", s.consent_at,
               s.consent_times as "consent_times: Json<Times>", s.browser_ids as "browser_ids: Json<BTreeMap<String, String>>"
           from unnest($1::bigint[], $2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[])
             as w(index, property_id, visitor_id, low, high)
           cross join lateral (
               (select session_id, started_at, page_views, campaign_key, referrer, hits, consent, consent_at, consent_times, browser_ids from sessions t
                where t.property_id = w.property_id and t.visitor_id = w.visitor_id and t.direct = false
                  and t.started_at between w.low and w.high order by t.started_at desc limit $6)
               union all
               (select session_id, started_at, page_views, campaign_key, referrer, hits, consent, consent_at, consent_times, browser_ids from sessions t
                where t.property_id = w.property_id and t.visitor_id = w.visitor_id and t.direct
                  and t.started_at between w.low and w.high order by t.started_at desc limit $6)
               union all
               (select session_id, started_at, page_views, campaign_key, referrer, hits, consent, consent_at, consent_times, browser_ids
                from (select * from sessions t where t.property_id = w.property_id and t.visitor_id = w.visitor_id and t.direct = false
                        and t.started_at < w.low order by t.started_at desc limit 1) before
                where before.last_seen_at >= w.low)
               union all
               (select session_id, started_at, page_views, campaign_key, referrer, hits, consent, consent_at, consent_times, browser_ids
                from (select * from sessions t where t.property_id = w.property_id and t.visitor_id = w.visitor_id and t.direct
                        and t.started_at < w.low order by t.started_at desc limit 1) before
                where before.last_seen_at >= w.low)
               union all
               (select session_id, started_at, page_views, campaign_key, referrer, hits, consent, consent_at, consent_times, browser_ids from sessions t
                where t.property_id = w.property_id and t.visitor_id = w.visitor_id and t.direct = false
                  and t.started_at > w.high order by t.started_at limit 1)
           ) s
           order by w.index, s.started_at"#,
        &(0..spans.len()).map(|index| index as i64).collect::<Vec<_>>(),
        &properties(spans),
        &visitors(spans) as &[&str],
        &spans.iter().map(|span| at(span.first - INACTIVITY)).collect::<Vec<_>>(),
        &spans.iter().map(|span| at(span.last + INACTIVITY)).collect::<Vec<_>>(),
        MOST_NEAR,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Near {
            span: usize::try_from(row.index).unwrap_or(usize::MAX),
            session_id: row.session_id,
            campaign: row.campaign_key,
            referrer: row.referrer,
            hits: unpacked(row.started_at, row.hits.as_deref()),
            page_views: row.page_views,
            told: Told {
                answers: Answers::stored(
                    row.consent.map(|json| json.0).unwrap_or_default(),
                    row.consent_at.unwrap_or(row.started_at),
                    row.consent_times.map(|json| json.0),
                ),
                browser_ids: row.browser_ids.map(|json| json.0).unwrap_or_default(),
            },
        })
        .collect())
}

/// A session that goes on.
#[derive(Debug)]
pub struct Extended {
    /// The tenant.
    pub property_id: Uuid,
    /// Which.
    pub session_id: String,
    /// Its moments; the first is the start that it had.
    pub hits: Vec<Hit>,
    /// Page views.
    pub page_views: i32,
    /// What its events told last.
    pub told: Told,
}

/// Writes what became of sessions that go on.
pub async fn extend(conn: &mut PgConnection, sessions: &[Extended]) -> Result<(), sqlx::Error> {
    if sessions.is_empty() {
        return Ok(());
    }
    let hits: Vec<String> = sessions.iter().map(|session| packed(&session.hits)).collect();
    sqlx::query!(
        r#"update sessions s set last_seen_at = t.last_seen_at, page_views = t.page_views, hits = t.hits::integer[], consent = t.consent,
               consent_at = t.consent_at, browser_ids = t.browser_ids, consent_times = t.consent_times
           from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::integer[], $5::text[], $6::jsonb[], $7::timestamptz[], $8::jsonb[], $9::jsonb[])
             as t(property_id, session_id, last_seen_at, page_views, hits, consent, consent_at, browser_ids, consent_times)
           where s.property_id = t.property_id and s.session_id = t.session_id"#,
        &sessions.iter().map(|session| session.property_id).collect::<Vec<_>>(),
        &sessions.iter().map(|session| session.session_id.as_str()).collect::<Vec<_>>() as &[&str],
        &sessions.iter().map(|session| last_seen_at(&session.hits)).collect::<Vec<_>>(),
        &sessions.iter().map(|session| session.page_views).collect::<Vec<_>>(),
        &hits,
        &sessions.iter().map(|session| Json(session.told.answers.consent())).collect::<Vec<_>>() as &[Json<Consent>],
        &sessions.iter().map(|session| session.told.answers.newest()).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &sessions.iter().map(|session| Json(&session.told.browser_ids)).collect::<Vec<_>>() as &[Json<&BTreeMap<String, String>>],
        &sessions.iter().map(|session| session.told.answers.times().map(Json)).collect::<Vec<_>>() as &[Option<Json<Times>>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A session that begins within another one, which was cut before it, with the campaign that the other began with.
#[derive(Debug)]
pub struct Cut {
    /// The tenant.
    pub property_id: Uuid,
    /// The other one.
    pub from: String,
    /// Its own id.
    pub session_id: String,
    /// Its moments.
    pub hits: Vec<Hit>,
    /// Page views.
    pub page_views: i32,
    /// What its events told last.
    pub told: Told,
}

/// Stores a session that was cut from another, before that one is changed. The visitor's address stays with the other: it is sealed for it.
pub async fn insert_cut(conn: &mut PgConnection, cut: &Cut) -> Result<(), sqlx::Error> {
    let started_at = cut.hits.first().map_or(0, |hit| hit.at);
    sqlx::query!(
        r#"insert into sessions (property_id, session_id, attribution_id, visitor_id, started_at, last_seen_at, direct, landing_url, referrer,
               source, medium, campaign, campaign_id, ad_group_id, keyword_id, creative_id, term, content, click_id, click_ids, consent,
               channel, device, campaign_key, page_views, hits, consent_at, consent_times, browser_ids)
           select property_id, $3, attribution_id, visitor_id, $4, $5, direct, landing_url, referrer,
               source, medium, campaign, campaign_id, ad_group_id, keyword_id, creative_id, term, content, click_id, click_ids, $8::jsonb,
               channel, device, campaign_key, $6, $7::text::integer[], $9::timestamptz, $10::jsonb, $11::jsonb
           from sessions where property_id = $1 and session_id = $2"#,
        cut.property_id,
        cut.from,
        cut.session_id,
        DateTime::from_timestamp(started_at, 0).unwrap_or(DateTime::UNIX_EPOCH),
        last_seen_at(&cut.hits),
        cut.page_views,
        packed(&cut.hits),
        Json(cut.told.answers.consent()) as Json<Consent>,
        cut.told.answers.newest(),
        cut.told.answers.times().map(Json) as Option<Json<Times>>,
        Json(&cut.told.browser_ids) as Json<&BTreeMap<String, String>>,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A session that became part of another.
#[derive(Debug)]
pub struct Merged {
    /// The tenant.
    pub property_id: Uuid,
    /// Which.
    pub session_id: String,
    /// The other one.
    pub kept_id: String,
}

/// Takes away sessions that became part of others; what was recorded under their ids leads to those.
pub async fn merge(conn: &mut PgConnection, merged: &[Merged]) -> Result<(), sqlx::Error> {
    if merged.is_empty() {
        return Ok(());
    }
    let properties: Vec<Uuid> = merged.iter().map(|one| one.property_id).collect();
    let ids: Vec<&str> = merged.iter().map(|one| one.session_id.as_str()).collect();
    let kept: Vec<&str> = merged.iter().map(|one| one.kept_id.as_str()).collect();
    sqlx::query!(
        "delete from sessions s using unnest($1::uuid[], $2::text[]) as t(property_id, session_id)
         where s.property_id = t.property_id and s.session_id = t.session_id",
        &properties,
        &ids as &[&str],
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "update merged_sessions m set kept_id = t.kept_id
         from unnest($1::uuid[], $2::text[], $3::text[]) as t(property_id, session_id, kept_id)
         where m.property_id = t.property_id and m.kept_id = t.session_id",
        &properties,
        &ids as &[&str],
        &kept as &[&str],
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into merged_sessions (property_id, session_id, kept_id)
         select * from unnest($1::uuid[], $2::text[], $3::text[])
         on conflict (property_id, session_id) do update set kept_id = excluded.kept_id",
        &properties,
        &ids as &[&str],
        &kept as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A visitor who agreed to be recognised: the id made for the time before, and the own one.
#[derive(Debug)]
pub struct Link<'a> {
    /// The tenant.
    pub property_id: Uuid,
    /// The id from before.
    pub from: &'a str,
    /// The own id.
    pub to: &'a str,
    /// When.
    pub at: DateTime<Utc>,
}

/// Stores links; an id that is linked already stays with the visitor that it has.
pub async fn link(conn: &mut PgConnection, links: &[Link<'_>]) -> Result<(), sqlx::Error> {
    if links.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into visitor_links (property_id, from_visitor, to_visitor, created_at)
         select * from (select * from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[])
             as t(property_id, from_visitor, to_visitor, created_at) order by property_id, from_visitor) t
         on conflict (property_id, from_visitor) do nothing",
        &links.iter().map(|link| link.property_id).collect::<Vec<_>>(),
        &links.iter().map(|link| link.from).collect::<Vec<_>>() as &[&str],
        &links.iter().map(|link| link.to).collect::<Vec<_>>() as &[&str],
        &links.iter().map(|link| link.at).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When the last of the moments was.
pub fn last_seen_at(hits: &[Hit]) -> DateTime<Utc> {
    let last = hits.last().map_or(0, |hit| hit.at);
    DateTime::from_timestamp(last, 0).unwrap_or(DateTime::UNIX_EPOCH)
}

/// The moments of a row; an imported session has its start alone.
fn unpacked(started_at: DateTime<Utc>, packed: Option<&[i32]>) -> Vec<Hit> {
    let start = started_at.timestamp();
    let hit = |packed: &i32| Hit {
        at: start + i64::from(packed >> 2),
        page_view: packed & 1 != 0,
        again: packed & 2 != 0,
    };
    match packed {
        Some(packed) if !packed.is_empty() => packed.iter().map(hit).collect(),
        _ => vec![Hit {
            at: start,
            page_view: true,
            again: false,
        }],
    }
}

/// The moments as they are stored, as an array's text: Postgres has no arrays of arrays of different lengths.
pub fn packed(hits: &[Hit]) -> String {
    use std::fmt::Write as _;
    let start = hits.first().map_or(0, |hit| hit.at);
    let mut text = String::with_capacity(2 + hits.len() * 4);
    for hit in hits {
        let seconds = i32::try_from(hit.at - start)
            .unwrap_or(i32::MAX >> 2)
            .min(i32::MAX >> 2);
        let packed = seconds << 2 | i32::from(hit.again) << 1 | i32::from(hit.page_view);
        let separator = if text.is_empty() { '{' } else { ',' };
        let _infallible = write!(text, "{separator}{packed}");
    }
    text.push('}');
    text
}
