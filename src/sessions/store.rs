//! `sessions` and `visitor_links`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Session;
use crate::domain::touch::Touch;
use crate::platform::secrets::Sealer;

/// Touches of one visitor id that are looked at, at most: the newest ones.
const MOST_TOUCHES: i64 = 50;
/// Other ids of one visitor that are looked at, at most.
const MOST_LINKED: i64 = 16;

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
    if wanted.is_empty() {
        return Ok(found);
    }
    let links = linked_ids(conn, wanted).await?;
    let mut places = by_visitor(wanted, &links);
    before(conn, &places, false, MOST_TOUCHES, &mut found).await?;
    let in_window = |place: &Place<'_>, touch: &Touch| touch.clicked_at >= wanted[place.index].window_start;
    places.retain(|place| !found[place.index].iter().any(|touch| in_window(place, touch)));
    if !places.is_empty() {
        before(conn, &places, true, 1, &mut found).await?;
    }
    places.retain(|place| !found[place.index].iter().any(|touch| in_window(place, touch)));
    if !places.is_empty() {
        after(conn, &places, &mut found).await?;
    }
    Ok(found)
}

/// One id of one wanted visitor.
struct Place<'a> {
    /// In `wanted`.
    index: usize,
    property_id: Uuid,
    visitor_id: &'a str,
    /// The end of the event's second: senders round, and a click within that second came before.
    before: DateTime<Utc>,
}

fn by_visitor<'a>(wanted: &[Wanted<'a>], links: &'a HashMap<usize, Vec<String>>) -> Vec<Place<'a>> {
    let ids = |index: usize, one: &Wanted<'a>| {
        let others = links.get(&index).into_iter().flatten().map(String::as_str);
        std::iter::once(one.visitor_id).chain(others)
    };
    let place = |index: usize, one: &Wanted<'_>, visitor_id: &'a str| Place {
        index,
        property_id: one.property_id,
        visitor_id,
        before: DateTime::from_timestamp(one.event_time.timestamp() + 1, 0).unwrap_or(one.event_time),
    };
    wanted
        .iter()
        .enumerate()
        .flat_map(|(index, one)| ids(index, one).map(move |visitor| place(index, one, visitor)))
        .collect()
}

/// Adds the newest `most` sessions up to the event, direct ones or others.
async fn before(
    conn: &mut PgConnection,
    places: &[Place<'_>],
    direct: bool,
    most: i64,
    found: &mut [Vec<Touch>],
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query!(
        r#"select w.index as "index!", s.session_id, s.started_at, s.source, s.medium, s.campaign, s.campaign_id, s.click_id
           from unnest($1::bigint[], $2::uuid[], $3::text[], $4::timestamptz[]) as w(index, property_id, visitor_id, before)
           cross join lateral (
               select session_id, started_at, source, medium, campaign, campaign_id, click_id from sessions t
               where t.property_id = w.property_id and t.visitor_id = w.visitor_id and t.direct = $5 and t.started_at < w.before
               order by t.started_at desc limit $6
           ) s"#,
        &places.iter().map(|place| place.index as i64).collect::<Vec<_>>(),
        &places.iter().map(|place| place.property_id).collect::<Vec<_>>(),
        &places.iter().map(|place| place.visitor_id).collect::<Vec<_>>() as &[&str],
        &places.iter().map(|place| place.before).collect::<Vec<_>>(),
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
        };
        add(found, row.index, touch);
    }
    Ok(())
}

/// Adds the first session after the event.
async fn after(
    conn: &mut PgConnection,
    places: &[Place<'_>],
    found: &mut [Vec<Touch>],
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query!(
        r#"select w.index as "index!", s.session_id as "session_id!", s.started_at as "started_at!", s.direct as "direct!"
           from unnest($1::bigint[], $2::uuid[], $3::text[], $4::timestamptz[]) as w(index, property_id, visitor_id, before)
           cross join lateral (
               (select * from sessions t where t.property_id = w.property_id and t.visitor_id = w.visitor_id and not t.direct
                    and t.started_at >= w.before order by t.started_at limit 1)
               union all
               (select * from sessions d where d.property_id = w.property_id and d.visitor_id = w.visitor_id and d.direct
                    and d.started_at >= w.before order by d.started_at limit 1)
           ) s"#,
        &places.iter().map(|place| place.index as i64).collect::<Vec<_>>(),
        &places.iter().map(|place| place.property_id).collect::<Vec<_>>(),
        &places.iter().map(|place| place.visitor_id).collect::<Vec<_>>() as &[&str],
        &places.iter().map(|place| place.before).collect::<Vec<_>>(),
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

/// The other ids that visitors go by, by place in `wanted`; few have any.
async fn linked_ids(
    conn: &mut PgConnection,
    wanted: &[Wanted<'_>],
) -> Result<HashMap<usize, Vec<String>>, sqlx::Error> {
    let index: Vec<i64> = (0..wanted.len()).map(|index| index as i64).collect();
    let properties: Vec<Uuid> = wanted.iter().map(|one| one.property_id).collect();
    let visitors: Vec<&str> = wanted.iter().map(|one| one.visitor_id).collect();
    let rows = sqlx::query!(
        r#"select w.index as "index!", other.id as "id!"
           from unnest($1::bigint[], $2::uuid[], $3::text[]) as w(index, property_id, visitor_id)
           left join visitor_links up on up.property_id = w.property_id and up.from_visitor = w.visitor_id
           cross join lateral (
               select up.to_visitor as id where up.to_visitor is not null
               union all
               (select down.from_visitor from visitor_links down
                where down.property_id = w.property_id and down.to_visitor = coalesce(up.to_visitor, w.visitor_id) limit $4)
           ) other
           where other.id <> w.visitor_id"#,
        &index,
        &properties,
        &visitors as &[&str],
        MOST_LINKED,
    )
    .fetch_all(conn)
    .await?;
    let mut links: HashMap<usize, Vec<String>> = HashMap::new();
    for row in rows {
        if let Ok(i) = usize::try_from(row.index) {
            links.entry(i).or_default().push(row.id);
        }
    }
    Ok(links)
}

/// Stores sessions with the property that each stream belongs to; those that are there already stay as they are. How many are new.
pub async fn insert(
    conn: &mut PgConnection,
    sessions: &[(Uuid, Session)],
    sealer: &Sealer,
) -> Result<u64, sqlx::Error> {
    let text =
        |of: fn(&Session) -> Option<&str>| sessions.iter().map(|(_, s)| of(s)).collect::<Vec<Option<&str>>>();
    let times: Vec<DateTime<Utc>> = sessions.iter().map(|(_, s)| s.started_at).collect();
    let sealed = sessions
        .iter()
        .map(|(property, s)| seal_client(*property, s, sealer))
        .collect::<Result<Vec<_>, _>>()?;
    let json = |value: Result<serde_json::Value, serde_json::Error>| {
        value.map_err(|error| sqlx::Error::Encode(error.into()))
    };
    let click_ids = sessions
        .iter()
        .map(|(_, s)| json(serde_json::to_value(&s.click_ids)))
        .collect::<Result<Vec<_>, _>>()?;
    let consents = sessions
        .iter()
        .map(|(_, s)| json(serde_json::to_value(s.consent)))
        .collect::<Result<Vec<_>, _>>()?;
    let done = sqlx::query!(
        r#"insert into sessions (property_id, session_id, attribution_id, visitor_id, started_at, last_seen_at, direct, landing_url, referrer,
               source, medium, campaign, campaign_id, ad_group_id, keyword_id, creative_id, term, content, click_id, click_ids, consent,
               client_sealed)
           select property_id, session_id, attribution_id, visitor_id, started_at, started_at, direct, landing_url, referrer,
               source, medium, campaign, campaign_id, ad_group_id, keyword_id, creative_id, term, content, click_id, click_ids, consent,
               client_sealed
           from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[], $6::boolean[], $7::text[], $8::text[], $9::text[],
               $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],
               $19::jsonb[], $20::jsonb[], $21::bytea[])
             as t(property_id, session_id, attribution_id, visitor_id, started_at, direct, landing_url, referrer, source, medium, campaign,
               campaign_id, ad_group_id, keyword_id, creative_id, term, content, click_id, click_ids, consent, client_sealed)
           on conflict (property_id, session_id) do nothing"#,
        &sessions.iter().map(|(property, _)| *property).collect::<Vec<_>>(),
        &text(|s| Some(&s.session_id)) as &[Option<&str>],
        &sessions.iter().map(|(_, s)| s.attribution_id).collect::<Vec<_>>(),
        &text(|s| Some(&s.visitor_id)) as &[Option<&str>],
        &times,
        &sessions.iter().map(|(_, s)| s.direct).collect::<Vec<_>>(),
        &text(|s| Some(&s.landing.url)) as &[Option<&str>],
        &text(|s| s.landing.referrer.as_deref()) as &[Option<&str>],
        &text(|s| s.source.as_deref()) as &[Option<&str>],
        &text(|s| s.medium.as_deref()) as &[Option<&str>],
        &text(|s| s.landing.campaign.campaign.as_deref()) as &[Option<&str>],
        &text(|s| s.landing.campaign.campaign_id.as_deref()) as &[Option<&str>],
        &text(|s| s.landing.campaign.ad_group_id.as_deref()) as &[Option<&str>],
        &text(|s| s.landing.campaign.keyword_id.as_deref()) as &[Option<&str>],
        &text(|s| s.landing.campaign.creative_id.as_deref()) as &[Option<&str>],
        &text(|s| s.landing.campaign.term.as_deref()) as &[Option<&str>],
        &text(|s| s.landing.campaign.content.as_deref()) as &[Option<&str>],
        &text(|s| s.click_id.as_deref()) as &[Option<&str>],
        &click_ids,
        &consents,
        &sealed as &[Option<Vec<u8>>],
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
    let context = [property_id.as_bytes().as_slice(), session.session_id.as_bytes()].concat();
    let sealed = sealer.seal(&clear, &context);
    sealed
        .map(Some)
        .map_err(|error| sqlx::Error::Encode(error.into()))
}
