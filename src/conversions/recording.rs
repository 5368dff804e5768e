//! What the recorder's writers commit: conversions, their credit, and the audit rows of the requests that brought them.

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::outcome::Outcome;
use super::record::Draft;
use super::steps::{Repeats, attribute_all, completed, enrich, find_repeats};
use super::store::{self, Journey, Row};
use crate::activity;
use crate::attribution::Attribution;
use crate::destinations::outbox::{self, Bell, Outgoing};
use crate::platform::group_commit::{Size, Work};
use crate::platform::secrets::Sealer;
use crate::sessions;
use crate::sessions::awaited::{Awaited, WAITS};

/// One request's events, which are committed together, and its audit row.
pub(super) struct Request {
    pub(super) drafts: Vec<Draft>,
    /// An array body, even of one event.
    pub(super) array: bool,
    pub(super) audit: Audit,
}

/// The audit row of a request.
pub(super) enum Audit {
    /// None is due.
    None,
    /// To be completed by the outcome.
    Due(activity::Entry),
    /// As it is to be stored.
    Complete(activity::Entry),
}

impl Request {
    /// The audit row, where the events were settled so.
    fn entry(&self, outcomes: &[Outcome]) -> Option<activity::Entry> {
        match &self.audit {
            Audit::None => None,
            Audit::Due(entry) => Some(completed(entry.clone(), &self.drafts, self.array, outcomes)),
            Audit::Complete(entry) => Some(entry.clone()),
        }
    }
}

/// Commits requests.
pub(super) struct Recording {
    pub(super) sealer: Sealer,
    pub(super) bell: Bell,
}

impl Work for Recording {
    type Job = Request;
    type Outcome = Vec<Outcome>;

    const NAME: &'static str = "conversions";

    fn size(request: &Request) -> Size {
        Size {
            events: request.drafts.len(),
            bytes: request.drafts.iter().map(Draft::bytes).sum(),
        }
    }

    async fn commit(
        &self,
        conn: &mut PgConnection,
        requests: &[&Request],
    ) -> Result<Vec<Vec<Outcome>>, sqlx::Error> {
        let drafts: Vec<&Draft> = requests.iter().flat_map(|request| &request.drafts).collect();
        let entries = |mut outcomes: &[Outcome]| {
            let entry = |request: &&Request| {
                let (own, others) = outcomes.split_at(request.drafts.len());
                outcomes = others;
                request.entry(own)
            };
            requests.iter().filter_map(entry).collect()
        };
        let mut outcomes = transact(conn, &drafts, entries, self).await?.into_iter();
        Ok(requests
            .iter()
            .map(|request| outcomes.by_ref().take(request.drafts.len()).collect())
            .collect())
    }

    fn parts(request: &Request) -> Vec<Request> {
        let part = |draft: &Draft| Request {
            drafts: vec![draft.clone()],
            array: request.array,
            audit: Audit::None,
        };
        request.drafts.iter().map(part).collect()
    }

    fn refused(_part: &Request) -> Vec<Outcome> {
        vec![Outcome::Unstorable]
    }

    fn joined(request: &Request, parts: Vec<Vec<Outcome>>) -> (Vec<Outcome>, Option<Request>) {
        let outcomes: Vec<Outcome> = parts.into_iter().flatten().collect();
        let rest = request.entry(&outcomes).map(|entry| Request {
            drafts: Vec::new(),
            array: request.array,
            audit: Audit::Complete(entry),
        });
        (outcomes, rest)
    }
}

/// Match, store, find the first of what was there, credit, audit; in one transaction but for the match, which needs none.
async fn transact(
    conn: &mut PgConnection,
    drafts: &[&Draft],
    entries: impl Fn(&[Outcome]) -> Vec<activity::Entry>,
    Recording { sealer, bell }: &Recording,
) -> Result<Vec<Outcome>, sqlx::Error> {
    let attributions = attribute_all(conn, drafts).await?;
    let mut order: Vec<usize> = (0..drafts.len()).collect();
    // Stable: of two with one identity the one that came first stands.
    order.sort_by_key(|place| drafts[*place].identity());
    let row = |place: &usize| Row {
        draft: drafts[*place],
        attribution: &attributions[*place],
    };
    let rows: Vec<Row<'_>> = order.iter().map(row).collect();

    let mut transaction = conn.begin().await?;
    let stored = match rows.is_empty() {
        true => Default::default(),
        false => store::insert(&mut transaction, &rows).await?,
    };
    let (fresh, repeats): (Vec<usize>, Vec<usize>) =
        (0..drafts.len()).partition(|place| stored.contains(&drafts[*place].event_id));
    let journeys: Vec<Journey<'_>> = fresh.iter().filter_map(|place| row(place).journey()).collect();
    store::insert_credits(&mut transaction, &journeys).await?;
    let waiting: Vec<Awaited> = fresh.iter().filter_map(|place| awaited(&row(place))).collect();
    sessions::awaited::store::insert(&mut transaction, &waiting).await?;
    let outgoing: Vec<Outgoing> = fresh
        .iter()
        .filter_map(|place| outgoing(drafts[*place]))
        .collect();
    let mut rings = !outgoing.is_empty();
    outbox::store::insert(&mut transaction, &outgoing).await?;
    let outcome = |(draft, attribution): (&&Draft, Attribution)| Outcome::recorded(draft, attribution);
    let mut outcomes: Vec<Outcome> = drafts.iter().zip(attributions).map(outcome).collect();
    if !repeats.is_empty() {
        let asked: Vec<&Draft> = repeats.iter().map(|place| drafts[*place]).collect();
        let Repeats { mut found, richer } = find_repeats(&mut transaction, &asked, sealer).await?;
        if !richer.is_empty() {
            let enriched = enrich(&mut transaction, &asked, &richer, sealer).await?;
            let again: Vec<Outgoing> = enriched.into_iter().map(|id| again(id, asked[0])).collect();
            rings |= !again.is_empty();
            outbox::store::insert(&mut transaction, &again).await?;
        }
        for (index, place) in repeats.iter().enumerate() {
            // The row that stood in the way was deleted since: the next try stores this one.
            outcomes[*place] = found.remove(&index).ok_or(sqlx::Error::RowNotFound)?;
        }
    }
    activity::store::insert(&mut transaction, &entries(&outcomes)).await?;
    transaction.commit().await?;
    if rings {
        bell.ring();
    }
    Ok(outcomes)
}

/// What is to be forwarded.
fn outgoing(draft: &Draft) -> Option<Outgoing> {
    Some(Outgoing {
        property_id: draft.origin.tenant.property_id,
        event_id: draft.event_id,
        destination_ids: draft.origin.destination_ids.as_deref()?.clone(),
        again: false,
        created_at: draft.origin.received_at,
    })
}

/// What its repeat knows more of: deliveries that were suppressed may have something to go by now.
fn again((property_id, event_id): (Uuid, Uuid), repeat: &Draft) -> Outgoing {
    Outgoing {
        property_id,
        event_id,
        destination_ids: Vec::new(),
        again: true,
        created_at: repeat.origin.received_at,
    }
}

/// Who waits for a touch of its visitor: whoever has none, or a direct visit alone.
fn awaited(row: &Row<'_>) -> Option<Awaited> {
    let Draft {
        event_id,
        origin,
        conversion,
        ..
    } = row.draft;
    let visitor_id = conversion.visitor_id.clone()?;
    (!row.attribution.is_by_touch()).then(|| Awaited {
        tenant: origin.tenant,
        event_id: *event_id,
        visitor_id,
        activity_id: origin.activity_id,
        waits_until: origin.received_at + WAITS,
    })
}
