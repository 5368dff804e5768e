//! Puts moments into the sessions that they belong to, in one transaction.

use std::collections::BTreeMap;

use chrono::DateTime;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Moment;
use super::store::{self, Cut, Extended, Link, Merged, Near, Span, Told};
use super::timeline::{self, Event, Known, Planned, Start};
use crate::domain::answers::Answers;
use crate::domain::browser_event;
use crate::platform::clock::Clock;
use crate::platform::secrets::Sealer;
use crate::sessions::store::{AlreadyThere, insert};
use crate::sessions::{Session, awaited};

/// Writes what the moments make of their visitors' sessions; the caller commits.
pub async fn apply(
    conn: &mut PgConnection,
    moments: &[&Moment],
    clock: &Clock,
    sealer: &Sealer,
) -> Result<(), sqlx::Error> {
    let mut visitors: BTreeMap<(Uuid, &str), Vec<&Moment>> = BTreeMap::new();
    for moment in moments {
        let visitor = (moment.tenant.property_id, moment.visitor_id.as_str());
        visitors.entry(visitor).or_default().push(moment);
    }
    let spans: Vec<Span<'_>> = visitors.iter().map(span).collect();
    store::lock_visitors(conn, &spans).await?;
    let mut near: Vec<Vec<Near>> = spans.iter().map(|_| Vec::new()).collect();
    for session in store::near(conn, &spans).await? {
        if let Some(of_visitor) = near.get_mut(session.span) {
            of_visitor.push(session);
        }
    }
    let mut writes = Writes::default();
    for (((property_id, _), moments), near) in visitors.iter().zip(&near) {
        writes.add(*property_id, moments, near, clock);
    }
    for cut in &writes.cut {
        store::insert_cut(conn, cut).await?;
    }
    if !writes.begun.is_empty() {
        insert(conn, &writes.begun, AlreadyThere::Replaced, sealer).await?;
    }
    store::extend(conn, &writes.extended).await?;
    store::merge(conn, &writes.merged).await?;
    let links: Vec<Link<'_>> = moments.iter().filter_map(|moment| link(moment)).collect();
    store::link(conn, &links).await?;
    // A visit that goes on is no news to whoever waits for a session.
    let begun = writes
        .begun
        .iter()
        .map(|(property, session)| (*property, session.visitor_id.as_str()));
    let linked = links.iter().map(|link| (link.property_id, link.to));
    awaited::store::arrived(conn, &begun.chain(linked).collect::<Vec<_>>()).await
}

fn span<'a>((visitor, moments): (&(Uuid, &'a str), &Vec<&Moment>)) -> Span<'a> {
    let times = || moments.iter().map(|moment| moment.at.timestamp());
    Span {
        property_id: visitor.0,
        visitor_id: visitor.1,
        first: times().min().unwrap_or_default(),
        last: times().max().unwrap_or_default(),
    }
}

fn link(moment: &Moment) -> Option<Link<'_>> {
    Some(Link {
        property_id: moment.tenant.property_id,
        from: moment.formerly.as_deref()?,
        to: &moment.visitor_id,
        at: moment.at,
    })
}

/// What is to be written for a batch.
#[derive(Default)]
struct Writes {
    begun: Vec<(Uuid, Session)>,
    extended: Vec<Extended>,
    cut: Vec<Cut>,
    merged: Vec<Merged>,
}

impl Writes {
    /// Adds what the moments make of one visitor's sessions.
    fn add(&mut self, property_id: Uuid, moments: &[&Moment], near: &[Near], clock: &Clock) {
        let known: Vec<Known<'_>> = near.iter().map(known).collect();
        let events: Vec<Event<'_>> = moments.iter().map(|moment| event(moment)).collect();
        for planned in timeline::plan(&known, &events) {
            let mut merged = planned.merged.clone();
            let page_views = page_views(&planned, near);
            let told = told(&planned, near, moments);
            let kept_id = planned.keeps.map(|place| near[place].session_id.clone());
            let own_id = || clock.new_id().to_string();
            let session_id = match planned.start {
                Start::Known(place) => {
                    let session_id = near[place].session_id.clone();
                    self.extended.push(Extended {
                        property_id,
                        session_id: session_id.clone(),
                        hits: planned.hits,
                        page_views,
                        told,
                    });
                    session_id
                }
                Start::Event(place) => {
                    let session_id = kept_id.unwrap_or_else(own_id);
                    let session = begun(moments[place], session_id.clone(), planned, page_views, told);
                    self.begun.push((property_id, session));
                    session_id
                }
                Start::Within(place) => {
                    let session_id = own_id();
                    // Its id cannot be one that is there, so what begins within it goes.
                    merged.extend(planned.keeps);
                    self.cut.push(Cut {
                        property_id,
                        from: near[place].session_id.clone(),
                        session_id: session_id.clone(),
                        hits: planned.hits,
                        page_views,
                        told,
                    });
                    session_id
                }
            };
            self.merged.extend(merged.into_iter().map(|place| Merged {
                property_id,
                session_id: near[place].session_id.clone(),
                kept_id: session_id.clone(),
            }));
        }
    }
}

fn known(session: &Near) -> Known<'_> {
    Known {
        campaign: session.campaign,
        referrer: session.referrer.as_deref(),
        hits: session.hits.clone(),
    }
}

fn event(moment: &Moment) -> Event<'_> {
    Event {
        at: moment.at.timestamp(),
        page_view: moment.page_view,
        campaign: moment.landing.campaign_key(),
        referrer: moment.landing.referrer.as_deref(),
    }
}

/// Page views of the moments that are kept, and of those that are no longer kept.
fn page_views(planned: &Planned, near: &[Near]) -> i32 {
    let kept = planned.hits.iter().filter(|hit| hit.page_view).count();
    let no_longer_kept = planned.keeps.map_or(0, |place| {
        let of_known = near[place].hits.iter().filter(|hit| hit.page_view).count();
        near[place].page_views.saturating_sub(count(of_known)).max(0)
    });
    count(kept).saturating_add(no_longer_kept)
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// The newest of what the sessions that it is made of and the new moments tell. Where one session becomes two, both know all that it knew.
fn told(planned: &Planned, near: &[Near], moments: &[&Moment]) -> Told {
    let mut told = Told::default();
    for place in &planned.of_known {
        let known = &near[*place].told;
        told.answers.take(known.answers);
        browser_event::keep_newer(&mut told.browser_ids, &known.browser_ids);
    }
    for place in &planned.events {
        let moment = moments[*place];
        told.answers.take(Answers::given(moment.consent, moment.at));
        browser_event::keep_newer(&mut told.browser_ids, &moment.browser_ids);
    }
    if told.answers.consent().advertising != Some(true) {
        told.browser_ids.clear();
    }
    told
}

fn begun(moment: &Moment, session_id: String, planned: Planned, page_views: i32, told: Told) -> Session {
    Session {
        attribution_id: moment.tenant.attribution_id,
        session_id,
        visitor_id: moment.visitor_id.clone(),
        started_at: DateTime::from_timestamp(moment.at.timestamp(), 0).unwrap_or(moment.at),
        device: moment.device,
        hits: planned.hits,
        page_views,
        answers: told.answers,
        browser_ids: told.browser_ids,
        client: moment.client.clone(),
        landing: moment.landing.clone(),
    }
}
