//! `sessions` and `visitor_links`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::Session;
use super::tracking::store::packed;
use crate::domain::answers::{Answers, Times};
use crate::domain::channel::Channel;
use crate::domain::consent::Consent;
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

impl Wanted<'_> {
    /// Whether a session that began then is of the journey's window.
    pub fn has_in_window(&self, began: DateTime<Utc>) -> bool {
        began >= self.window_start && began < self.end()
    }

    /// The end of the event's second: senders round, and a click within that second came before.
    fn end(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.event_time.timestamp() + 1, 0).unwrap_or(self.event_time)
    }
}

/// The touches that can matter to each of `wanted`, in its order: of each id that the visitor goes by, the newest touches and the newest direct
/// visit up to the event; where none of them is in the window, the first session after the event too, which tells a late click from an unknown
/// visitor. Each is one look-up for the batch, and asks for those alone who need it.
pub async fn touches(conn: &mut PgConnection, wanted: &[Wanted<'_>]) -> Result<Vec<Vec<Touch>>, sqlx::Error> {
    let mut found: Vec<Vec<Touch>> = vec![Vec::new(); wanted.len()];
    if wanted.is_empty() {
        return Ok(found);
    }
    before(conn, wanted, &mut found).await?;
    let without = |place: &usize| {
        let in_window = |touch: &Touch| wanted[*place].has_in_window(touch.clicked_at);
        !found[*place].iter().any(in_window)
    };
    let places: Vec<usize> = (0..wanted.len()).filter(without).collect();
    if !places.is_empty() {
        after(conn, wanted, &places, &mut found).await?;
    }
    Ok(found)
}

/// Adds the newest sessions of each id up to the event, with what the visitor answered in them.
async fn before(
    conn: &mut PgConnection,
    wanted: &[Wanted<'_>],
    found: &mut [Vec<Touch>],
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query!(
        r#"select w.index as "index!", s.session_id as "session_id!", s.started_at as "started_at!", s.direct as "direct!", s.source, s.medium,
               s.campaign, s.campaign_id, s.click_id, starts_with(i.id, 'fp_') as "anonymous!", s.consent::text as consent,
               s.consent_at, s.consent_times::text as consent_times
           from unnest($1::bigint[], $2::uuid[], $3::text[], $4::timestamptz[]) as w(index, property_id, visitor_id, before)
           cross join lateral visitor_ids(w.property_id, w.visitor_id, w.before - interval '1 second') as i
           cross join lateral (
               (select session_id, started_at, direct, source, medium, campaign, campaign_id, click_id, consent, consent_at, consent_times
                from sessions t
                where t.property_id = w.property_id and t.visitor_id = i.id and t.direct = false and t.started_at < w.before
                  and t.started_at <= i.until
                order by t.started_at desc limit $5)
               union all
               (select session_id, started_at, direct, source, medium, campaign, campaign_id, click_id, consent, consent_at, consent_times
                from sessions t
                where t.property_id = w.property_id and t.visitor_id = i.id and t.direct and t.started_at < w.before
                  and t.started_at <= i.until
                order by t.started_at desc limit 1)
           ) s"#,
        &(0..wanted.len()).map(|place| place as i64).collect::<Vec<_>>(),
        &wanted.iter().map(|one| one.property_id).collect::<Vec<_>>(),
        &wanted.iter().map(|one| one.visitor_id).collect::<Vec<_>>() as &[&str],
        &wanted.iter().map(Wanted::end).collect::<Vec<_>>(),
        MOST_TOUCHES,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        // What cannot be read was not granted, and costs nobody a conversion.
        let consent = row.consent.as_deref().map(Consent::of_flags).unwrap_or_default();
        let times = row
            .consent_times
            .and_then(|times| serde_json::from_str(&times).ok());
        let touch = Touch {
            session_id: row.session_id,
            clicked_at: row.started_at,
            direct: row.direct,
            source: row.source,
            medium: row.medium,
            campaign: row.campaign,
            campaign_id: row.campaign_id,
            click_id: row.click_id,
            anonymous: row.anonymous,
            answers: Answers::stored(consent, row.consent_at.unwrap_or(row.started_at), times),
            consent_by_then: None,
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
           cross join lateral visitor_ids(w.property_id, w.visitor_id, w.before - interval '1 second') as i
           cross join lateral (
               (select session_id, started_at, direct from sessions t
                where t.property_id = w.property_id and t.visitor_id = i.id and t.direct = false and t.started_at >= w.before
                  and t.started_at <= i.until
                order by t.started_at limit 1)
               union all
               (select session_id, started_at, direct from sessions t
                where t.property_id = w.property_id and t.visitor_id = i.id and t.direct and t.started_at >= w.before
                  and t.started_at <= i.until
                order by t.started_at limit 1)
           ) s"#,
        &places.iter().map(|place| *place as i64).collect::<Vec<_>>(),
        &places.iter().map(|place| wanted[*place].property_id).collect::<Vec<_>>(),
        &places.iter().map(|place| wanted[*place].visitor_id).collect::<Vec<_>>() as &[&str],
        &places.iter().map(|place| wanted[*place].end()).collect::<Vec<_>>(),
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
            answers: Answers::default(),
            consent_by_then: None,
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
        .map(|(_, s)| json(serde_json::to_value(s.answers.consent())))
        .collect::<Result<Vec<_>, _>>()?;
    let browser_ids = sessions
        .iter()
        .map(|(_, s)| json(serde_json::to_value(&s.browser_ids)))
        .collect::<Result<Vec<_>, _>>()?;
    let done = sqlx::query!(
        r#"insert into sessions (property_id, session_id, attribution_id, visitor_id, started_at, last_seen_at, direct, landing_url, referrer,
               source, medium, campaign, campaign_id, ad_group_id, keyword_id, creative_id, term, content, click_id, click_ids, consent,
               client_sealed, channel, device, campaign_key, page_views, hits, consent_at, browser_ids, consent_times)
           select property_id, session_id, attribution_id, visitor_id, started_at, last_seen_at, direct, landing_url, referrer,
               source, medium, campaign, campaign_id, ad_group_id, keyword_id, creative_id, term, content, click_id, click_ids, consent,
               client_sealed, channel, device, campaign_key, page_views, hits::integer[], consent_at, browser_ids, consent_times
           from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[], $6::boolean[], $7::text[], $8::text[], $9::text[],
               $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],
               $19::jsonb[], $20::jsonb[], $21::bytea[], $22::timestamptz[], $23::text[], $24::text[], $25::bigint[], $26::integer[],
               $27::text[], $28::timestamptz[], $29::jsonb[], $31::jsonb[])
             as t(property_id, session_id, attribution_id, visitor_id, started_at, direct, landing_url, referrer, source, medium, campaign,
               campaign_id, ad_group_id, keyword_id, creative_id, term, content, click_id, click_ids, consent, client_sealed, last_seen_at,
               channel, device, campaign_key, page_views, hits, consent_at, browser_ids, consent_times)
           on conflict (property_id, session_id) do update set
               started_at = excluded.started_at, last_seen_at = excluded.last_seen_at, direct = excluded.direct,
               landing_url = excluded.landing_url, referrer = excluded.referrer, source = excluded.source, medium = excluded.medium,
               campaign = excluded.campaign, campaign_id = excluded.campaign_id, ad_group_id = excluded.ad_group_id,
               keyword_id = excluded.keyword_id, creative_id = excluded.creative_id, term = excluded.term, content = excluded.content,
               click_id = excluded.click_id, click_ids = excluded.click_ids, consent = excluded.consent,
               client_sealed = excluded.client_sealed, channel = excluded.channel, device = excluded.device,
               campaign_key = excluded.campaign_key, page_views = excluded.page_views, hits = excluded.hits,
               consent_at = excluded.consent_at, browser_ids = excluded.browser_ids, consent_times = excluded.consent_times
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
        &sessions.iter().map(|(_, s)| s.answers.newest()).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &browser_ids,
        already_there == AlreadyThere::Replaced,
        &sessions.iter().map(|(_, s)| s.answers.times().map(Json)).collect::<Vec<_>>() as &[Option<Json<Times>>],
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
