//! `deliveries`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::listing::{Delivery, Filter, Ledger, Replay, Span, delivery_id};
use super::plan::{Facts, Grounds};
use super::state::State;
use crate::attribution::UNITS;
use crate::destinations::Destination;
use crate::domain::consent::Consent;
use crate::domain::tenant::Tenant;
use crate::domain::topic::Topic;
use crate::platform::clock::id_at;

/// A conversion and one of its destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// The tenant.
    pub property_id: Uuid,
    /// The conversion.
    pub event_id: Uuid,
    /// The destination.
    pub destination_id: Uuid,
}

/// What the plan needs to know of conversions, by property and event.
pub async fn facts(
    conn: &mut PgConnection,
    events: &[(Uuid, Uuid)],
) -> Result<HashMap<(Uuid, Uuid), Facts>, sqlx::Error> {
    let mut known = known(conn, events).await?;
    let purchase_ids: Vec<(Uuid, Uuid)> = known
        .iter()
        .filter_map(|((property_id, _), (_, purchase_id))| Some((*property_id, (*purchase_id)?)))
        .collect();
    let purchases = match purchase_ids.is_empty() {
        true => HashMap::new(),
        false => self::known(conn, &purchase_ids).await?,
    };
    Ok(events
        .iter()
        .filter_map(|event| {
            let (mut facts, purchase_id) = known.remove(event)?;
            let purchase = purchase_id.and_then(|id| purchases.get(&(event.0, id)));
            if let Some((purchase, _)) = purchase {
                facts.grounds = facts.grounds.or_purchase(purchase.grounds.clone());
            }
            Some((*event, facts))
        })
        .collect())
}

/// As [`facts`], with nothing of the purchases of refunds but our ids of them.
async fn known(
    conn: &mut PgConnection,
    events: &[(Uuid, Uuid)],
) -> Result<HashMap<(Uuid, Uuid), (Facts, Option<Uuid>)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select c.property_id, c.event_id, c.topic, c.event_name, c.event_time, c.match_reason = 'matched' as "matched!",
               (c.payload->'consent')::text as consent,
               coalesce(c.session_consent, s.consent) as "session_consent?: Json<Consent>",
               p.unknown_consent_granted, l.click_id as "click_id?", b.event_id as "purchase_event_id?"
           from unnest($1::uuid[], $2::uuid[]) as w(property_id, event_id)
           cross join lateral (select * from conversions where property_id = w.property_id and event_id = w.event_id limit 1) c
           cross join lateral (select * from properties where property_id = w.property_id limit 1) p
           left join lateral (
               select consent from session_of(w.property_id, c.session_id) limit 1
           ) s on true
           left join lateral (
               select k.click_id from credits k
               where k.property_id = c.property_id and k.event_id = c.event_id and k.last_click = $3
               order by k.version desc limit 1
           ) l on true
           left join lateral (
               select event_id from conversions
               where property_id = c.property_id and attribution_id = c.attribution_id and topic = 'purchase' and conversion_id = c.purchase_id
               limit 1
           ) b on true"#,
        &events.iter().map(|(property_id, _)| *property_id).collect::<Vec<_>>(),
        &events.iter().map(|(_, event_id)| *event_id).collect::<Vec<_>>(),
        UNITS,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let told = row.consent.as_deref().map(Consent::of_flags).unwrap_or_default();
            let session = row.session_consent.map(|json| json.0).unwrap_or_default();
            let facts = Facts {
                topic: row.topic.parse().unwrap_or(Topic::Custom),
                event_name: row.event_name,
                event_time: row.event_time,
                grounds: Grounds {
                    consent: told.or(session),
                    matched: row.matched,
                    click_id: row.click_id,
                },
                unknown_consent_granted: row.unknown_consent_granted,
            };
            ((row.property_id, row.event_id), (facts, row.purchase_event_id))
        })
        .collect())
}

/// The refunds that are known of these conversions, where they are purchases; of each at most 1,000.
pub async fn refunds_of(
    conn: &mut PgConnection,
    events: &[(Uuid, Uuid)],
) -> Result<Vec<(Uuid, Uuid)>, sqlx::Error> {
    let rows = sqlx::query!(
        "select r.property_id, r.event_id
         from unnest($1::uuid[], $2::uuid[]) as w(property_id, event_id)
         cross join lateral (
             select attribution_id, conversion_id from conversions
             where property_id = w.property_id and event_id = w.event_id and topic = 'purchase' limit 1
         ) p
         cross join lateral (
             select property_id, event_id from conversions
             where property_id = w.property_id and attribution_id = p.attribution_id and topic = 'refund' and purchase_id = p.conversion_id
             limit 1000
         ) r",
        &events
            .iter()
            .map(|(property_id, _)| *property_id)
            .collect::<Vec<_>>(),
        &events.iter().map(|(_, event_id)| *event_id).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.property_id, row.event_id))
        .collect())
}

/// A delivery as it is planned.
#[derive(Debug)]
pub struct NewDelivery {
    /// Of what, to where.
    pub pair: Pair,
    /// Where it stands.
    pub state: &'static str,
    /// Why it is not to be sent.
    pub reason: Option<&'static str>,
    /// Until when it may be sent.
    pub deliver_by: Option<DateTime<Utc>>,
}

/// Stores planned deliveries; one that is there stays.
pub async fn insert(
    conn: &mut PgConnection,
    deliveries: &[NewDelivery],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    if deliveries.is_empty() {
        return Ok(());
    }
    let column = Columns(deliveries);
    sqlx::query!(
        "insert into deliveries (property_id, event_id, destination_id, state, reason, deliver_by, created_at, due_at, settled_at)
         select property_id, event_id, destination_id, state, reason, deliver_by, $7::timestamptz, $7::timestamptz, case when state = 'queued' then null else $7::timestamptz end
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[])
           as t(property_id, event_id, destination_id, state, reason, deliver_by)
         on conflict do nothing",
        &column.of(|d| d.pair.property_id),
        &column.of(|d| d.pair.event_id),
        &column.of(|d| d.pair.destination_id),
        &column.of(|d| d.state) as &[&str],
        &column.of(|d| d.reason) as &[Option<&str>],
        &column.of(|d| d.deliver_by) as &[Option<DateTime<Utc>>],
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Plans anew what was suppressed.
pub async fn replan(
    conn: &mut PgConnection,
    deliveries: &[NewDelivery],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    if deliveries.is_empty() {
        return Ok(());
    }
    let column = Columns(deliveries);
    sqlx::query!(
        "update deliveries d set state = t.state, reason = t.reason, deliver_by = t.deliver_by, due_at = $7::timestamptz,
             settled_at = case when t.state = 'queued' then null else $7::timestamptz end
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[])
           as t(property_id, event_id, destination_id, state, reason, deliver_by)
         where d.property_id = t.property_id and d.event_id = t.event_id and d.destination_id = t.destination_id
           and d.state = 'suppressed' and (t.state, t.reason) is distinct from (d.state, d.reason)",
        &column.of(|d| d.pair.property_id),
        &column.of(|d| d.pair.event_id),
        &column.of(|d| d.pair.destination_id),
        &column.of(|d| d.state) as &[&str],
        &column.of(|d| d.reason) as &[Option<&str>],
        &column.of(|d| d.deliver_by) as &[Option<DateTime<Utc>>],
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deliveries of these conversions that are suppressed.
pub async fn suppressed(conn: &mut PgConnection, events: &[(Uuid, Uuid)]) -> Result<Vec<Pair>, sqlx::Error> {
    sqlx::query_as!(
        Pair,
        "select d.property_id, d.event_id, d.destination_id
         from unnest($1::uuid[], $2::uuid[]) as w(property_id, event_id)
         cross join lateral (
             select * from deliveries where property_id = w.property_id and event_id = w.event_id and state = 'suppressed' offset 0
         ) d",
        &events
            .iter()
            .map(|(property_id, _)| *property_id)
            .collect::<Vec<_>>(),
        &events.iter().map(|(_, event_id)| *event_id).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await
}

struct Columns<'a>(&'a [NewDelivery]);

impl<'a> Columns<'a> {
    fn of<T>(&self, value: impl Fn(&'a NewDelivery) -> T) -> Vec<T> {
        self.0.iter().map(value).collect()
    }
}

/// Destinations that have something due and are not paused, or were taken away with something open, each with its property; at most `most`,
/// and none of `but`. Whose oldest has waited longest comes first. Two look-ups for each. What is open at one that was taken away is closed when
/// its lane looks.
pub async fn with_something_due(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    but: &[Uuid],
    most: i64,
) -> Result<Vec<(Uuid, Uuid)>, sqlx::Error> {
    let rows = sqlx::query!(
        "select d.property_id, d.destination_id from destinations d
         left join lateral (
             select due_at from deliveries x where x.property_id = d.property_id and x.destination_id = d.destination_id
               and x.state = 'queued' and x.due_at <= $1 order by x.due_at limit 1
         ) q on true
         left join lateral (
             select due_at from deliveries x where x.property_id = d.property_id and x.destination_id = d.destination_id
               and x.later is not null and x.due_at <= $1 order by x.due_at limit 1
         ) l on true
         where (d.paused_at is null or d.removed_at is not null) and d.destination_id <> all($2)
           and (q.due_at is not null or l.due_at is not null)
         order by least(q.due_at, l.due_at) limit $3",
        now,
        but,
        most,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.property_id, row.destination_id))
        .collect())
}

/// How far behind destinations are.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// Since when the oldest delivery has been due, at those that are not paused.
    pub oldest: Option<DateTime<Utc>>,
    /// Destinations that are paused.
    pub paused: i64,
}

/// How far behind all destinations are. One look-up for each.
pub async fn due(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Due, sqlx::Error> {
    sqlx::query_as!(
        Due,
        r#"select min(q.due_at) as oldest, count(*) filter (where d.paused_at is not null) as "paused!" from destinations d
           left join lateral (
               select due_at from deliveries x where x.property_id = d.property_id and x.destination_id = d.destination_id
                 and x.state = 'queued' and x.due_at <= $1 and d.paused_at is null order by x.due_at limit 1
           ) q on true
           where d.removed_at is null"#,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Which of these destinations, by property and id, nothing is to be sent to: they are paused, or gone.
pub async fn out_of_use(
    conn: &mut PgConnection,
    destinations: &[(Uuid, Uuid)],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select w.destination_id as "destination_id!" from unnest($1::uuid[], $2::uuid[]) as w(property_id, destination_id)
           where not exists (
               select from destinations d where d.property_id = w.property_id and d.destination_id = w.destination_id
                 and d.paused_at is null and d.removed_at is null)"#,
        &destinations.iter().map(|(property_id, _)| *property_id).collect::<Vec<_>>(),
        &destinations.iter().map(|(_, destination_id)| *destination_id).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await
}

/// A delivery in a worker's hands.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The conversion.
    pub event_id: Uuid,
    /// Times that it was tried, this one too.
    pub attempts: i32,
    /// Until when it may be sent.
    pub deliver_by: DateTime<Utc>,
    /// The code of the try before.
    pub code: Option<String>,
}

/// How much is claimed, at most.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Deliveries.
    pub events: i64,
    /// Bytes that their conversions have together; one goes in any case.
    pub bytes: i64,
}

/// Takes what is due at a destination, as much as there is room for; it is lost to the worker at `until`, and due again. Where the oldest was in
/// the hands of one that never settled it, fewer are taken, the more often that happened: should it be at fault, it soon is alone.
pub async fn claim(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
    lease: Uuid,
    (now, until): (DateTime<Utc>, DateTime<Utc>),
    room: Room,
) -> Result<Vec<Claimed>, sqlx::Error> {
    sqlx::query_as!(
        Claimed,
        r#"with oldest as (
               select lease, attempts from deliveries
               where property_id = $1 and destination_id = $2 and state = 'queued' and due_at <= $4
               order by due_at limit 1
           ), due as (
               select property_id, event_id, destination_id, due_at from deliveries
               where property_id = $1 and destination_id = $2 and state = 'queued' and due_at <= $4
               order by due_at
               limit (select case when lease is null then $6::bigint else greatest($6::bigint >> least(2 * attempts, 62), 1) end from oldest)
               for update skip locked
           ), sized as (
               select due.*, sum(c.bytes) over (order by due.due_at, due.event_id) - c.bytes as bytes_before from due
               cross join lateral (
                   select coalesce(max(
                       case when pg_column_compression(payload) is null then pg_column_size(payload) else octet_length(payload::text) end
                           + coalesce(pg_column_size(personal_sealed), 0)), 0) as bytes
                   from conversions where property_id = $1 and event_id = due.event_id
               ) c
           )
           update deliveries d set lease = $3, due_at = $5, attempts = d.attempts + 1
           from sized
           where d.property_id = sized.property_id and d.event_id = sized.event_id and d.destination_id = sized.destination_id
             and sized.bytes_before < $7
           returning d.event_id, d.attempts, coalesce(d.deliver_by, $5) as "deliver_by!", d.code"#,
        property_id,
        destination_id,
        lease,
        now,
        until,
        room.events,
        room.bytes,
    )
    .fetch_all(conn)
    .await
}

/// Moves the end of a lease, of all that is still under it. How many that are.
pub async fn move_end(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
    lease: Uuid,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "update deliveries set due_at = $5
         where property_id = $1 and destination_id = $2 and state = 'queued' and due_at = $4 and lease = $3",
        property_id,
        destination_id,
        lease,
        from,
        to,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Whether anything may be sent to a destination.
pub async fn is_in_use(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
) -> Result<bool, sqlx::Error> {
    Ok(out_of_use(conn, &[(property_id, destination_id)])
        .await?
        .is_empty())
}

/// What became of a delivery that was in a worker's hands.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The conversion.
    pub event_id: Uuid,
    /// Where it stands now.
    pub state: State,
    /// Why, where it is not taken.
    pub reason: Option<&'static str>,
    /// When to try again, where it is queued.
    pub due_at: Option<DateTime<Utc>>,
    /// When it was sent, where it was.
    pub sent_at: Option<DateTime<Utc>>,
    /// Whether the try does not count: it never came to sending.
    pub untried: bool,
    /// The answer's status.
    pub http_status: Option<i16>,
    /// The platform's code.
    pub code: Option<String>,
    /// The platform's words, cut short.
    pub answer: Option<String>,
    /// The platform's id of the request.
    pub request_id: Option<String>,
    /// With what to ask later what became of it.
    pub later: Option<String>,
    /// The event as it was sent, sealed.
    pub payload: Option<Vec<u8>>,
    /// What was left out of it, and why.
    pub notes: Vec<String>,
}

impl Settled {
    /// What came to stand there, with nothing to be said of it.
    pub fn new(event_id: Uuid, state: State) -> Self {
        Self {
            event_id,
            state,
            reason: None,
            due_at: None,
            sent_at: None,
            untried: false,
            http_status: None,
            code: None,
            answer: None,
            request_id: None,
            later: None,
            payload: None,
            notes: Vec::new(),
        }
    }
}

/// Settles deliveries that are still in the worker's hands. How many were. What was tried has the last answer's code and words, and no earlier's.
pub async fn settle(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
    lease: Uuid,
    settled: &[Settled],
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    if settled.is_empty() {
        return Ok(0);
    }
    let notes = |settled: &Settled| (!settled.notes.is_empty()).then(|| settled.notes.join("\n"));
    // Postgres takes no text with NUL in it, and what a platform says must not keep its answer from being noted.
    let said = |text: &Option<String>| text.as_ref().map(|text| text.replace('\0', ""));
    let done = sqlx::query!(
        r#"update deliveries d set state = t.state, reason = t.reason, due_at = coalesce(t.due_at, d.due_at), lease = null,
               sent_at = coalesce(t.sent_at, d.sent_at), attempts = d.attempts - t.untried::int,
               settled_at = case when t.state = 'queued' then null else $16::timestamptz end,
               http_status = case when t.untried then coalesce(t.http_status, d.http_status) else t.http_status end,
               code = case when t.untried then coalesce(t.code, d.code) else t.code end,
               answer = case when t.untried then coalesce(t.answer, d.answer) else t.answer end,
               request_id = coalesce(t.request_id, d.request_id), payload_sealed = coalesce(t.payload, d.payload_sealed),
               notes = coalesce(string_to_array(t.notes, E'\n'), d.notes), later = t.later
           from unnest($4::uuid[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[], $9::boolean[], $10::smallint[], $11::text[],
               $12::text[], $13::text[], $14::bytea[], $15::text[], $17::text[])
             as t(event_id, state, reason, due_at, sent_at, untried, http_status, code, answer, request_id, payload, notes, later)
           cross join lateral (
               select ctid as place from deliveries
               where property_id = $1 and destination_id = $2 and event_id = t.event_id and lease = $3 and state = 'queued'
               limit 1
           ) mine
           where d.ctid = mine.place and d.lease = $3 and d.state = 'queued'"#,
        property_id,
        destination_id,
        lease,
        &settled.iter().map(|s| s.event_id).collect::<Vec<_>>(),
        &settled.iter().map(|s| s.state.as_str()).collect::<Vec<_>>() as &[&str],
        &settled.iter().map(|s| s.reason).collect::<Vec<_>>() as &[Option<&str>],
        &settled.iter().map(|s| s.due_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &settled.iter().map(|s| s.sent_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &settled.iter().map(|s| s.untried).collect::<Vec<_>>(),
        &settled.iter().map(|s| s.http_status).collect::<Vec<_>>() as &[Option<i16>],
        &settled.iter().map(|s| said(&s.code)).collect::<Vec<_>>() as &[Option<String>],
        &settled.iter().map(|s| said(&s.answer)).collect::<Vec<_>>() as &[Option<String>],
        &settled.iter().map(|s| said(&s.request_id)).collect::<Vec<_>>() as &[Option<String>],
        &settled.iter().map(|s| s.payload.as_deref()).collect::<Vec<_>>() as &[Option<&[u8]>],
        &settled.iter().map(notes).collect::<Vec<_>>() as &[Option<String>],
        now,
        &settled.iter().map(|s| said(&s.later)).collect::<Vec<_>>() as &[Option<String>],
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Suppresses a bounded number of what is queued at a destination and in no worker's hands; how many.
pub async fn suppress_queued(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "update deliveries d set state = 'suppressed', reason = $3, settled_at = $4, lease = null
         where d.property_id = $1 and d.destination_id = $2 and d.state = 'queued' and (d.lease is null or d.due_at <= $4) and d.event_id in (
             select event_id from deliveries where property_id = $1 and destination_id = $2 and state = 'queued'
               and (lease is null or due_at <= $4)
             order by due_at limit 5000)",
        property_id,
        destination_id,
        reason,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// The newest deliveries that a filter lets through. Each destination and state is one bounded look-up.
pub async fn list(
    conn: &mut PgConnection,
    attribution_ids: &[Tenant],
    filter: &Filter,
) -> Result<Vec<Delivery>, sqlx::Error> {
    let states: Vec<&str> = match filter.state {
        Some(state) => vec![state.as_str()],
        None => State::ALL.map(State::as_str).to_vec(),
    };
    let rows = sqlx::query_as!(
        Row,
        r#"select x.property_id, x.event_id, c.conversion_id, c.topic, d.name as destination, d.destination_id, d.platform, x.state, x.reason,
               x.attempts, x.created_at, x.due_at, x.deliver_by, x.sent_at, x.settled_at, x.http_status, x.code, x.answer, x.request_id,
               x.payload_sealed, x.notes
           from unnest($1::uuid[], $2::uuid[]) as w(property_id, attribution_id)
           join destinations d on d.property_id = w.property_id and d.attribution_id = w.attribution_id
             and ($3::uuid is null or d.destination_id = $3)
           cross join unnest($4::text[]) as s(state)
           cross join lateral (
               select * from deliveries x where x.property_id = d.property_id and x.destination_id = d.destination_id and x.state = s.state
                 and ($6::timestamptz is null or x.created_at <= $6 and (x.created_at, x.event_id, x.destination_id) < ($6, $7, $8))
               order by x.created_at desc, x.event_id desc limit $5
           ) x
           join conversions c on c.property_id = x.property_id and c.event_id = x.event_id
           order by x.created_at desc, x.event_id desc, x.destination_id desc limit $5"#,
        &attribution_ids.iter().map(|tenant| tenant.property_id).collect::<Vec<_>>(),
        &attribution_ids.iter().map(|tenant| tenant.attribution_id).collect::<Vec<_>>(),
        filter.destination_id,
        &states as &[&str],
        filter.limit,
        filter.before.map(|(at, ..)| at),
        filter.before.map(|(_, event_id, _)| event_id),
        filter.before.map(|(.., destination_id)| destination_id),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Delivery::from).collect())
}

/// All deliveries of conversions that go by this id, the sender's or ours.
pub async fn of_conversion(
    conn: &mut PgConnection,
    attribution_ids: &[Tenant],
    conversion_id: &str,
) -> Result<Vec<Delivery>, sqlx::Error> {
    let topics: Vec<&str> = Topic::ALL.map(Topic::as_str).to_vec();
    let rows = sqlx::query_as!(
        Row,
        r#"with wanted as (
               select c.property_id, c.event_id, c.conversion_id, c.topic
               from unnest($1::uuid[], $2::uuid[]) as w(property_id, attribution_id)
               cross join unnest($3::text[]) as t(topic)
               join conversions c on c.property_id = w.property_id and c.attribution_id = w.attribution_id and c.topic = t.topic
                 and c.conversion_id = $4
               union
               select c.property_id, c.event_id, c.conversion_id, c.topic
               from unnest($1::uuid[]) as w(property_id)
               join conversions c on c.property_id = w.property_id and c.event_id = $5
           )
           select x.property_id, x.event_id, c.conversion_id as "conversion_id!", c.topic as "topic!", d.name as destination,
               d.destination_id, d.platform, x.state, x.reason, x.attempts, x.created_at, x.due_at, x.deliver_by, x.sent_at, x.settled_at,
               x.http_status, x.code, x.answer, x.request_id, x.payload_sealed, x.notes
           from wanted c
           join deliveries x on x.property_id = c.property_id and x.event_id = c.event_id
           join destinations d on d.property_id = x.property_id and d.destination_id = x.destination_id
           order by x.event_id, d.created_at, d.destination_id"#,
        &attribution_ids.iter().map(|tenant| tenant.property_id).collect::<Vec<_>>(),
        &attribution_ids.iter().map(|tenant| tenant.attribution_id).collect::<Vec<_>>(),
        &topics as &[&str],
        conversion_id,
        Uuid::try_parse(conversion_id).ok(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Delivery::from).collect())
}

/// All deliveries of one conversion, by our id of it alone.
pub async fn of_event(
    conn: &mut PgConnection,
    property_id: Uuid,
    event_id: Uuid,
) -> Result<Vec<Delivery>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select x.property_id, x.event_id, c.conversion_id, c.topic, d.name as destination, d.destination_id, d.platform, x.state, x.reason,
               x.attempts, x.created_at, x.due_at, x.deliver_by, x.sent_at, x.settled_at, x.http_status, x.code, x.answer, x.request_id,
               x.payload_sealed, x.notes
           from deliveries x
           join conversions c on c.property_id = x.property_id and c.event_id = x.event_id
           join destinations d on d.property_id = x.property_id and d.destination_id = x.destination_id
           where x.property_id = $1 and x.event_id = $2
           order by d.created_at, d.destination_id"#,
        property_id,
        event_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Delivery::from).collect())
}

/// A delivery's row with the names that go with it.
struct Row {
    property_id: Uuid,
    event_id: Uuid,
    conversion_id: String,
    topic: String,
    destination: String,
    destination_id: Uuid,
    platform: String,
    state: String,
    reason: Option<String>,
    attempts: i32,
    created_at: DateTime<Utc>,
    due_at: DateTime<Utc>,
    deliver_by: Option<DateTime<Utc>>,
    sent_at: Option<DateTime<Utc>>,
    settled_at: Option<DateTime<Utc>>,
    http_status: Option<i16>,
    code: Option<String>,
    answer: Option<String>,
    request_id: Option<String>,
    payload_sealed: Option<Vec<u8>>,
    notes: Option<Vec<String>>,
}

impl From<Row> for Delivery {
    fn from(row: Row) -> Self {
        Self {
            id: delivery_id(row.event_id, row.destination_id),
            property_id: row.property_id,
            event_id: row.event_id,
            conversion_id: row.conversion_id,
            topic: row.topic,
            destination: row.destination,
            destination_id: row.destination_id,
            platform: row.platform,
            due_at: (row.state == State::Queued.as_str()).then_some(row.due_at),
            state: row.state,
            reason: row.reason,
            attempts: row.attempts,
            created_at: row.created_at,
            deliver_by: row.deliver_by,
            sent_at: row.sent_at,
            settled_at: row.settled_at,
            http_status: row.http_status,
            code: row.code,
            answer: row.answer,
            request_id: row.request_id,
            payload_sealed: row.payload_sealed,
            payload: None,
            notes: row.notes,
        }
    }
}

/// The books of a destination, of the conversions that came in within a span, the newest first as far as `most` of its property reach. Both
/// sides of them in one statement, and so at one moment: what the commits promised, and what became of it.
pub async fn ledger(
    conn: &mut PgConnection,
    destination: &Destination,
    span: Span,
    most: i64,
) -> Result<Ledger, sqlx::Error> {
    // Ids are in the order of time: the primary key finds a span.
    let edge = |at: DateTime<Utc>| id_at(at, &[0; 8]);
    let row = sqlx::query!(
        r#"with looked as materialized (
               select event_id, attribution_id, received_at, destination_ids from conversions
               where property_id = $1 and event_id >= coalesce($4, '00000000-0000-0000-0000-000000000000'::uuid)
                 and event_id < coalesce($5, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
               order by event_id desc limit $6
           )
           select (select count(*) from looked) as "looked!", (select min(received_at) from looked) as oldest,
               count(*) filter (where coalesce($2 = any(c.destination_ids), x.state is not null)) as "promised!",
               count(*) filter (where x.state is null and o.waits) as "to_be_planned!",
               count(*) filter (where x.state = 'queued') as "queued!", count(*) filter (where x.state = 'sent') as "sent!",
               count(*) filter (where x.state = 'accepted') as "accepted!", count(*) filter (where x.state = 'processed') as "processed!",
               count(*) filter (where x.state = 'suppressed') as "suppressed!", count(*) filter (where x.state = 'expired') as "expired!",
               count(*) filter (where x.state = 'dead') as "dead!"
           from looked c
           left join lateral (
               select state from deliveries where property_id = $1 and event_id = c.event_id and destination_id = $2 limit 1
           ) x on true
           left join lateral (
               select true as waits from outbox
               where x.state is null and property_id = $1 and event_id = c.event_id and $2 = any(destination_ids) limit 1
           ) o on true
           where c.attribution_id = $3"#,
        destination.property_id,
        destination.destination_id,
        destination.attribution_id,
        span.since.map(edge),
        span.until.map(edge),
        most,
    )
    .fetch_one(conn)
    .await?;
    let complete = row.looked < most;
    let states =
        row.queued + row.sent + row.accepted + row.processed + row.suppressed + row.expired + row.dead;
    let total = states + row.to_be_planned;
    Ok(Ledger {
        destination_id: destination.destination_id,
        destination: destination.name.clone(),
        platform: destination.platform.clone(),
        removed_at: destination.removed_at,
        since: if complete { span.since } else { row.oldest },
        until: span.until,
        complete,
        promised: row.promised,
        to_be_planned: row.to_be_planned,
        queued: row.queued,
        sent: row.sent,
        accepted: row.accepted,
        processed: row.processed,
        suppressed: row.suppressed,
        expired: row.expired,
        dead: row.dead,
        total,
        difference: row.promised - total,
        balanced: row.promised == total,
    })
}

/// Deliveries of a destination that a replay would take up: those that may still be sent, or may because `anew` is until when.
pub async fn count_replay(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
    replay: &Replay,
    anew: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from deliveries
           where property_id = $1 and destination_id = $2 and state = $6 and state in ('dead', 'expired') and ($3::text is null or code = $3)
             and settled_at >= coalesce($4, '-infinity'::timestamptz) and settled_at < coalesce($5, 'infinity'::timestamptz)
             and coalesce($7, deliver_by) > $8"#,
        property_id,
        destination_id,
        replay.code,
        replay.since,
        replay.until,
        replay.state.as_str(),
        anew,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Queues up to `most` of these deliveries again, as if they were new; how many.
pub async fn revive(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
    replay: &Replay,
    anew: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "update deliveries d set state = 'queued', reason = null, attempts = 0, due_at = $8, settled_at = null, lease = null,
             deliver_by = coalesce($7, d.deliver_by)
         where d.property_id = $1 and d.destination_id = $2 and d.state = $6 and d.event_id in (
             select event_id from deliveries
             where property_id = $1 and destination_id = $2 and state = $6 and state in ('dead', 'expired') and ($3::text is null or code = $3)
               and settled_at >= coalesce($4, '-infinity'::timestamptz) and settled_at < coalesce($5, 'infinity'::timestamptz)
               and coalesce($7, deliver_by) > $8
             order by settled_at limit $9)",
        property_id,
        destination_id,
        replay.code,
        replay.since,
        replay.until,
        replay.state.as_str(),
        anew,
        now,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// A refund, as far as it depends on its purchase.
#[derive(Debug, Clone, Copy)]
pub struct OfRefund {
    /// When the refund came.
    pub received_at: DateTime<Utc>,
    /// What became of its purchase at the destination; none where it is not known, or was never to go there.
    pub purchase: Option<State>,
}

/// What became of the purchases of refunds at a destination, by the refund's id.
pub async fn purchases_of(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
    refunds: &[Uuid],
) -> Result<HashMap<Uuid, OfRefund>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select r.event_id, r.received_at, d.state as "state?"
           from unnest($3::uuid[]) as w(event_id)
           cross join lateral (select * from conversions where property_id = $1 and event_id = w.event_id limit 1) r
           left join lateral (
               select event_id from conversions
               where property_id = $1 and attribution_id = r.attribution_id and topic = 'purchase' and conversion_id = r.purchase_id
               limit 1
           ) p on true
           left join lateral (
               select state from deliveries where property_id = $1 and event_id = p.event_id and destination_id = $2 limit 1
           ) d on true"#,
        property_id,
        destination_id,
        refunds,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let refund = OfRefund {
                received_at: row.received_at,
                purchase: row.state.and_then(|state| state.parse().ok()),
            };
            (row.event_id, refund)
        })
        .collect())
}

/// These were taken: refunds of theirs that wait for them, or gave up waiting, are due.
pub async fn wake_refunds(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
    taken: &[Uuid],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    if taken.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update deliveries d set state = 'queued', reason = null, due_at = $4, settled_at = null
         from unnest($3::uuid[]) as w(event_id)
         cross join lateral (
             select attribution_id, conversion_id from conversions where property_id = $1 and event_id = w.event_id and topic = 'purchase' limit 1
         ) p
         cross join lateral (
             select event_id from conversions
             where property_id = $1 and attribution_id = p.attribution_id and topic = 'refund' and purchase_id = p.conversion_id
             limit 1000
         ) r
         cross join lateral (
             select ctid as place from deliveries
             where property_id = $1 and event_id = r.event_id and destination_id = $2
                 and (state = 'queued' and lease is null or state = 'suppressed' and reason in ('purchase_not_delivered', 'unknown_purchase'))
             limit 1
         ) waiting
         where d.ctid = waiting.place and d.lease is null and d.state in ('queued', 'suppressed')",
        property_id,
        destination_id,
        taken,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A request that the platform is to be asked about.
#[derive(Debug, Clone)]
pub struct Asked {
    /// With what to ask.
    pub later: String,
    /// Its events, and when each happened.
    pub events: Vec<(Uuid, DateTime<Utc>)>,
}

/// Requests of which the platform is due to be asked what became of them, at most `most`; asked again at `until` if nobody settles them. The
/// events of a request are due together, so that one look-up in the same index finds them all.
pub async fn claim_later(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
    (now, until): (DateTime<Utc>, DateTime<Utc>),
    most: i64,
) -> Result<Vec<Asked>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with asked as (
               select distinct due_at, later from (
                   select due_at, later from deliveries
                   where property_id = $1 and destination_id = $2 and later is not null and due_at <= $3
                   order by due_at limit 2000
               ) first
               order by due_at, later limit $5
           ), due as (
               select x.property_id, x.event_id, x.destination_id from asked
               cross join lateral (
                   select property_id, event_id, destination_id from deliveries
                   where property_id = $1 and destination_id = $2 and later is not null and due_at = asked.due_at and later = asked.later
                   for update skip locked
               ) x
           ), claimed as (
               update deliveries d set due_at = $4 from due
               where d.property_id = due.property_id and d.event_id = due.event_id and d.destination_id = due.destination_id
               returning d.event_id, d.later
           )
           select claimed.event_id, claimed.later as "later!", c.event_time
           from claimed
           cross join lateral (select event_time from conversions where property_id = $1 and event_id = claimed.event_id limit 1) c"#,
        property_id,
        destination_id,
        now,
        until,
        most,
    )
    .fetch_all(conn)
    .await?;
    let mut requests: HashMap<String, Vec<(Uuid, DateTime<Utc>)>> = HashMap::new();
    for row in rows {
        requests
            .entry(row.later)
            .or_default()
            .push((row.event_id, row.event_time));
    }
    Ok(requests
        .into_iter()
        .map(|(later, events)| Asked { later, events })
        .collect())
}

/// What the platform said later of events of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The conversions.
    pub event_ids: Vec<Uuid>,
    /// Where they stand now.
    pub state: State,
    /// Why, where they were not used.
    pub reason: Option<&'static str>,
    /// The platform's code.
    pub code: Option<String>,
    /// With what to ask once more.
    pub later: Option<String>,
    /// When to ask, or to send, again.
    pub due_at: Option<DateTime<Utc>>,
}

/// Settles what the platform said later.
pub async fn settle_later(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
    told: &Told,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update deliveries d set state = $4, reason = $5, code = coalesce($6, d.code), later = $7, due_at = coalesce($8, d.due_at),
             settled_at = case when $4 = 'queued' then null else $9::timestamptz end
         from unnest($3::uuid[]) as w(event_id)
         cross join lateral (
             select ctid as place from deliveries
             where property_id = $1 and destination_id = $2 and event_id = w.event_id and later is not null
             limit 1
         ) asked
         where d.ctid = asked.place and d.later is not null",
        property_id,
        destination_id,
        &told.event_ids,
        told.state.as_str(),
        told.reason,
        told.code,
        told.later,
        told.due_at,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Nobody is to be asked any more what became of what a destination got, a bounded number of them; how many.
pub async fn forget_later(
    conn: &mut PgConnection,
    property_id: Uuid,
    destination_id: Uuid,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "update deliveries d set later = null
         where d.property_id = $1 and d.destination_id = $2 and d.later is not null and d.event_id in (
             select event_id from deliveries where property_id = $1 and destination_id = $2 and later is not null
             order by due_at limit 5000)",
        property_id,
        destination_id,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
