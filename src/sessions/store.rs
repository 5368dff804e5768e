//! `sessions` and `visitor_links`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Session;
use super::tracking::store::packed;
use crate::domain::channel::Channel;
use crate::domain::device::Device;
use crate::domain::touch::Touch;
use crate::platform::secrets::{self, Sealer};

/// Touches of one visitor id that are looked at, at most: the newest ones.
const MOST_TOUCHES: i64 = 50;
/// Whose touches are wanted, up to which time.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The tenant.
    pub property_id: Uuid,
    /// The visitor, by any of its ids.
    pub visitor_id: &'a str,
    /// When the conversion happened.
    pub event_time: DateTime<Utc>,
    /// From when on a touch counts.
    pub window_start: DateTime<Utc>,
}

/// The touches that can matter to each of `wanted`, in its order: of each id that the visitor goes by, the newest touches up to the event;
/// where none of them is in the window, the newest direct visit too, and the first session after the event, which tells a late click from
/// an unknown visitor. Each is one look-up for the batch, and asks for those alone who need it.
pub async fn touches(conn: &mut PgConnection, wanted: &[Wanted<'_>]) -> Result<Vec<Vec<Touch>>, sqlx::Error> {
    let mut found: Vec<Vec<Touch>> = vec![Vec::new(); wanted.len()];
    let mut places: Vec<usize> = (0..wanted.len()).collect();
    let in_window = |place: usize, touch: &Touch| touch.clicked_at >= wanted[place].window_start;
    for look_up in [LookUp::Touches, LookUp::Direct, LookUp::After] {
        places.retain(|place| !found[*place].iter().any(|touch| in_window(*place, touch)));
        if places.is_empty() {
            break;
        }
        match look_up {
            LookUp::Touches => before(conn, wanted, &places, false, MOST_TOUCHES, &mut found).await?,
            LookUp::Direct => before(conn, wanted, &places, true, 1, &mut found).await?,
            LookUp::After => after(conn, wanted, &places, &mut found).await?,
        }
    }
    Ok(found)
}

/// What is looked up, in this order, until something is in the window.
enum LookUp {
    Touches,
    Direct,
    After,
}

/// The end of the event's second: senders round, and a click within that second came before.
fn end_of(wanted: &Wanted<'_>) -> DateTime<Utc> {
    DateTime::from_timestamp(wanted.event_time.timestamp() + 1, 0).unwrap_or(wanted.event_time)
}

/// Adds the newest `most` sessions of each id up to the event, direct ones or others.
async fn before(
    conn: &mut PgConnection,
    wanted: &[Wanted<'_>],
    places: &[usize],
    direct: bool,
    most: i64,
    found: &mut [Vec<Touch>],
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query!(
        r#"select w.index as "index!", s.session_id, s.started_at, s.source, s.medium, s.campaign, s.campaign_id, s.click_id,
               starts_with(id, 'fp_') as "anonymous!"
           from unnest($1::bigint[], $2::uuid[], $3::text[], $4::timestamptz[]) as w(index, property_id, visitor_id, before)
           cross join lateral visitor_ids(w.property_id, w.visitor_id) as id
           cross join lateral (
               select session_id, started_at, source, medium, campaign, campaign_id, click_id from sessions t
               where t.property_id = w.property_id and t.visitor_id = id and t.direct = $5 and t.started_at < w.before
               order by t.started_at desc limit $6
           ) s"#,
        &places.iter().map(|place| *place as i64).collect::<Vec<_>>(),
        &places.iter().map(|place| wanted[*place].property_id).collect::<Vec<_>>(),
        &places.iter().map(|place| wanted[*place].visitor_id).collect::<Vec<_>>() as &[&str],
        &places.iter().map(|place| end_of(&wanted[*place])).collect::<Vec<_>>(),
        direct,
        most,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let touch = Touch {
            session_id: row.session_id,
            clicked_at: row.started_at,
            direct,
            source: row.source,
            medium: row.medium,
            campaign: row.campaign,
            campaign_id: row.campaign_id,
            click_id: row.click_id,
            anonymous: row.anonymous,
        };
        add(found, row.index, touch);
    }
    Ok(())
}

/// Adds the first session after the event.
async fn after(
    conn: &mut PgConnection,
    wanted: &[Wanted<'_>],
    places: &[usize],
    found: &mut [Vec<Touch>],
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query!(
        r#"select w.index as "index!", s.session_id as "session_id!", s.started_at as "started_at!", s.direct as "direct!"
           from unnest($1::bigint[], $2::uuid[], $3::text[], $4::timestamptz[]) as w(index, property_id, visitor_id, before)
           cross join lateral visitor_ids(w.property_id, w.visitor_id) as id
           cross join lateral (
               (select session_id, started_at, direct from sessions t
                where t.property_id = w.property_id and t.visitor_id = id and t.direct = false and t.started_at >= w.before
                order by t.started_at limit 1)
               union all
               (select session_id, started_at, direct from sessions t
                where t.property_id = w.property_id and t.visitor_id = id and t.direct and t.started_at >= w.before
                order by t.started_at limit 1)
           ) s"#,
        &places.iter().map(|place| *place as i64).collect::<Vec<_>>(),
        &places.iter().map(|place| wanted[*place].property_id).collect::<Vec<_>>(),
        &places.iter().map(|place| wanted[*place].visitor_id).collect::<Vec<_>>() as &[&str],
        &places.iter().map(|place| end_of(&wanted[*place])).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let touch = Touch {
            session_id: row.session_id,
            clicked_at: row.started_at,
            direct: row.direct,
            source: None,
            medium: None,
            campaign: None,
            campaign_id: None,
            click_id: None,
            anonymous: false,
        };
        add(found, row.index, touch);
    }
    Ok(())
}

fn add(found: &mut [Vec<Touch>], index: i64, touch: Touch) {
    if let Some(touches) = usize::try_from(index).ok().and_then(|index| found.get_mut(index)) {
        touches.push(touch);
    }
}

/// What happens to a session that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlreadyThere {
    /// It stays as it is.
    Stays,
    /// It becomes the new one.
    Replaced,
}

/// Stores sessions with the property that each stream belongs to. How many were written.
pub async fn insert(
    conn: &mut PgConnection,
    sessions: &[(Uuid, Session)],
    already_there: AlreadyThere,
    sealer: &Sealer,
) -> Result<u64, sqlx::Error> {
    let text =
        |of: fn(&Session) -> Option<&str>| sessions.iter().map(|(_, s)| of(s)).collect::<Vec<Option<&str>>>();
    let last_seen = |s: &Session| match s.hits.last() {
        Some(hit) => DateTime::from_timestamp(hit.at, 0).unwrap_or(s.started_at),
        None => s.started_at,
    };
    let sealed = sessions
        .iter()
        .map(|(property, s)| seal_client(*property, s, sealer))
        .collect::<Result<Vec<_>, _>>()?;
    let json = |value: Result<serde_json::Value, serde_json::Error>| {
        value.map_err(|error| sqlx::Error::Encode(error.into()))
    };
    let click_ids = sessions
        .iter()
        .map(|(_, s)| json(serde_json::to_value(&s.landing.click_ids)))
        .collect::<Result<Vec<_>, _>>()?;
    let consents = sessions
        .iter()
        .map(|(_, s)| json(serde_json::to_value(s.consent)))
        .collect::<Result<Vec<_>, _>>()?;
    let browser_ids = sessions
        .iter()
        .map(|(_, s)| json(serde_json::to_value(&s.browser_ids)))
        .collect::<Result<Vec<_>, _>>()?;
    let done = sqlx::query!(
        r#"insert into sessions (property_id, session_id, attribution_id, visitor_id, started_at, last_seen_at, direct, landing_url, referrer,
               source, medium, campaign, campaign_id, ad_group_id, keyword_id, creative_id, term, content, click_id, click_ids, consent,
               client_sealed, channel, device, campaign_key, page_views, hits, consent_at, browser_ids)
           select property_id, session_id, attribution_id, visitor_id, started_at, last_seen_at, direct, landing_url, referrer,
               source, medium, campaign, campaign_id, ad_group_id, keyword_id, creative_id, term, content, click_id, click_ids, consent,
               client_sealed, channel, device, campaign_key, page_views, hits::integer[], consent_at, browser_ids
           from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[], $6::boolean[], $7::text[], $8::text[], $9::text[],
               $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],
               $19::jsonb[], $20::jsonb[], $21::bytea[], $22::timestamptz[], $23::text[], $24::text[], $25::bigint[], $26::integer[],
               $27::text[], $28::timestamptz[], $29::jsonb[])
             as t(property_id, session_id, attribution_id, visitor_id, started_at, direct, landing_url, referrer, source, medium, campaign,
               campaign_id, ad_group_id, keyword_id, creative_id, term, content, click_id, click_ids, consent, client_sealed, last_seen_at,
               channel, device, campaign_key, page_views, hits, consent_at, browser_ids)
           on conflict (property_id, session_id) do update set
               started_at = excluded.started_at, last_seen_at = excluded.last_seen_at, direct = excluded.direct,
               landing_url = excluded.landing_url, referrer = excluded.referrer, source = excluded.source, medium = excluded.medium,
               campaign = excluded.campaign, campaign_id = excluded.campaign_id, ad_group_id = excluded.ad_group_id,
               keyword_id = excluded.keyword_id, creative_id = excluded.creative_id, term = excluded.term, content = excluded.content,
               click_id = excluded.click_id, click_ids = excluded.click_ids, consent = excluded.consent,
               client_sealed = excluded.client_sealed, channel = excluded.channel, device = excluded.device,
               campaign_key = excluded.campaign_key, page_views = excluded.page_views, hits = excluded.hits,
               consent_at = excluded.consent_at, browser_ids = excluded.browser_ids
           where $30"#,
        &sessions.iter().map(|(property, _)| *property).collect::<Vec<_>>(),
        &text(|s| Some(&s.session_id)) as &[Option<&str>],
        &sessions.iter().map(|(_, s)| s.attribution_id).collect::<Vec<_>>(),
        &text(|s| Some(&s.visitor_id)) as &[Option<&str>],
        &sessions.iter().map(|(_, s)| s.started_at).collect::<Vec<_>>(),
        &sessions.iter().map(|(_, s)| s.landing.is_direct()).collect::<Vec<_>>(),
        &text(|s| Some(&s.landing.url)) as &[Option<&str>],
        &text(|s| s.landing.referrer.as_deref()) as &[Option<&str>],
        &sessions.iter().map(|(_, s)| s.landing.source()).collect::<Vec<_>>() as &[Option<String>],
        &sessions.iter().map(|(_, s)| s.landing.medium()).collect::<Vec<_>>() as &[Option<String>],
        &text(|s| s.landing.campaign.campaign.as_deref()) as &[Option<&str>],
        &text(|s| s.landing.campaign.campaign_id.as_deref()) as &[Option<&str>],
        &text(|s| s.landing.campaign.ad_group_id.as_deref()) as &[Option<&str>],
        &text(|s| s.landing.campaign.keyword_id.as_deref()) as &[Option<&str>],
        &text(|s| s.landing.campaign.creative_id.as_deref()) as &[Option<&str>],
        &text(|s| s.landing.campaign.term.as_deref()) as &[Option<&str>],
        &text(|s| s.landing.campaign.content.as_deref()) as &[Option<&str>],
        &text(|s| s.landing.click_id().map(|id| id.name)) as &[Option<&str>],
        &click_ids,
        &consents,
        &sealed as &[Option<Vec<u8>>],
        &sessions.iter().map(|(_, s)| last_seen(s)).collect::<Vec<_>>(),
        &text(|s| Some(Channel::of(&s.landing).as_str())) as &[Option<&str>],
        &text(|s| s.device.map(Device::as_str)) as &[Option<&str>],
        &sessions.iter().map(|(_, s)| s.landing.campaign_key()).collect::<Vec<_>>() as &[Option<i64>],
        &sessions.iter().map(|(_, s)| s.page_views).collect::<Vec<_>>(),
        &sessions.iter().map(|(_, s)| (!s.hits.is_empty()).then(|| packed(&s.hits))).collect::<Vec<_>>() as &[Option<String>],
        &sessions.iter().map(|(_, s)| s.consent_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &browser_ids,
        already_there == AlreadyThere::Replaced,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// The visitor's address and browser, sealed for this session's row.
fn seal_client(
    property_id: Uuid,
    session: &Session,
    sealer: &Sealer,
) -> Result<Option<Vec<u8>>, sqlx::Error> {
    if session.client.ip.is_none() && session.client.user_agent.is_none() {
        return Ok(None);
    }
    let clear = serde_json::to_vec(&session.client).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let context = secrets::row(property_id, session.session_id.as_bytes());
    let sealed = sealer.seal(&clear, &context);
    sealed
        .map(Some)
        .map_err(|error| sqlx::Error::Encode(error.into()))
}
