//! Events -> sessions. Pure, and the same events make the same sessions in whatever order they come: what is known of a session is laid open
//! again into the moments that made it, the new ones are put among them, and the timeline is cut anew.

/// Seconds without activity that end a session.
pub const INACTIVITY: i64 = 30 * 60;
/// Moments that a session keeps, at most. Beyond it the middle goes: only a late event that should have cut there is then placed less well.
const MOST_HITS: usize = 1000;

/// A moment of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// Unix seconds.
    pub at: i64,
    /// Whether a page was viewed.
    pub page_view: bool,
    /// Whether it brought the session's campaign once more.
    pub again: bool,
}

/// A session as it is stored.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// What brought the visitor, as a number that stands for campaign or click; none without them.
    pub campaign: Option<i64>,
    /// The other site that sent the visitor.
    pub referrer: Option<&'a str>,
    /// Its moments, oldest first; never empty. The first one is its start.
    pub hits: Vec<Hit>,
}

/// A new event.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Unix seconds.
    pub at: i64,
    /// Whether a page was viewed.
    pub page_view: bool,
    /// As in [`Known`].
    pub campaign: Option<i64>,
    /// As in [`Known`].
    pub referrer: Option<&'a str>,
}

/// What a session begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// A new event, by its place.
    Event(usize),
    /// The start of a known session, by its place.
    Known(usize),
    /// A later moment of a known session, which brought the same campaign.
    Within(usize),
}

/// A session as it is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The known session whose id it keeps.
    pub keeps: Option<usize>,
    /// Known sessions that became part of it.
    pub merged: Vec<usize>,
    /// All known sessions that have a moment in it.
    pub of_known: Vec<usize>,
    /// What it begins with.
    pub start: Start,
    /// Its moments, oldest first.
    pub hits: Vec<Hit>,
    /// New events in it, by their places.
    pub events: Vec<usize>,
}

/// A moment on the timeline.
#[derive(Debug, Clone, Copy)]
struct Mark<'a> {
    at: i64,
    page_view: bool,
    campaign: Option<i64>,
    referrer: Option<&'a str>,
    from: Start,
}

/// The visitor's sessions that are new or changed after the new events. `known` are all stored sessions from the one before the first event, if it reaches within [`INACTIVITY`] of it,
/// to the one after the last event: a session whose campaign changes may turn out to run on into the next.
pub fn plan(known: &[Known<'_>], events: &[Event<'_>]) -> Vec<Planned> {
    let mut marks: Vec<Mark<'_>> = known.iter().enumerate().flat_map(laid_open).collect();
    marks.extend(events.iter().enumerate().map(|(place, event)| Mark {
        at: event.at,
        page_view: event.page_view,
        campaign: event.campaign,
        referrer: event.referrer,
        from: Start::Event(place),
    }));
    // Within a second, what brought a campaign comes first, then what another site sent: the rest of that second belongs to it.
    let rank = |mark: &Mark<'_>| (mark.campaign.is_none(), mark.campaign, mark.referrer.is_none());
    marks.sort_by(|a, b| (a.at, rank(a), a.referrer).cmp(&(b.at, rank(b), b.referrer)));
    let planned = |marks: &[Mark<'_>]| {
        let mut starts = marks.iter().filter_map(start_of_known);
        let planned = Planned {
            keeps: starts.next(),
            merged: starts.collect(),
            of_known: of_known(marks),
            start: marks[0].from,
            hits: thinned(marks),
            events: marks.iter().filter_map(new_event).collect(),
        };
        let as_it_was = |place: usize| known[place].hits == planned.hits && planned.events.is_empty();
        (!planned.keeps.is_some_and(as_it_was)).then_some(planned)
    };
    cut(&marks).into_iter().filter_map(planned).collect()
}

fn laid_open<'a>((place, session): (usize, &Known<'a>)) -> impl Iterator<Item = Mark<'a>> {
    session.hits.iter().enumerate().map(move |(index, hit)| Mark {
        at: hit.at,
        page_view: hit.page_view,
        campaign: session.campaign.filter(|_| index == 0 || hit.again),
        referrer: session.referrer.filter(|_| index == 0),
        from: if index == 0 {
            Start::Known(place)
        } else {
            Start::Within(place)
        },
    })
}

/// The marks of each session: a new one begins after inactivity, and with a campaign that is not the running one's.
fn cut<'m, 'a>(marks: &'m [Mark<'a>]) -> Vec<&'m [Mark<'a>]> {
    let mut sessions = Vec::new();
    let (mut first, mut running) = (0, marks.first().and_then(|mark| mark.campaign));
    for (place, pair) in marks.windows(2).enumerate() {
        let (last, mark) = (&pair[0], &pair[1]);
        let inactive = mark.at - last.at >= INACTIVITY;
        let other_campaign = mark.campaign.is_some() && mark.campaign != running;
        if inactive || other_campaign {
            sessions.push(&marks[first..=place]);
            (first, running) = (place + 1, mark.campaign);
        }
    }
    if !marks.is_empty() {
        sessions.push(&marks[first..]);
    }
    sessions
}

fn start_of_known(mark: &Mark<'_>) -> Option<usize> {
    match mark.from {
        Start::Known(place) => Some(place),
        _ => None,
    }
}

/// In order, each once.
fn of_known(marks: &[Mark<'_>]) -> Vec<usize> {
    let place = |mark: &Mark<'_>| match mark.from {
        Start::Known(place) | Start::Within(place) => Some(place),
        Start::Event(_) => None,
    };
    let mut places: Vec<usize> = marks.iter().filter_map(place).collect();
    places.sort_unstable();
    places.dedup();
    places
}

fn new_event(mark: &Mark<'_>) -> Option<usize> {
    match mark.from {
        Start::Event(place) => Some(place),
        _ => None,
    }
}

fn thinned(marks: &[Mark<'_>]) -> Vec<Hit> {
    let hit = |(index, mark): (usize, &Mark<'_>)| Hit {
        at: mark.at,
        page_view: mark.page_view,
        again: index > 0 && mark.campaign.is_some(),
    };
    let mut hits: Vec<Hit> = marks.iter().enumerate().map(hit).collect();
    if hits.len() > MOST_HITS {
        hits.drain(1..=hits.len() - MOST_HITS);
    }
    hits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(at: i64, campaign: Option<i64>) -> Event<'static> {
        Event {
            at,
            page_view: true,
            campaign,
            referrer: None,
        }
    }

    /// Start, end, campaign, page views of each session, and who sent the visitor where it was no campaign.
    type Told = (i64, i64, Option<i64>, usize, Option<&'static str>);

    /// All events at once, in order: what anybody would write down first.
    fn oracle(events: &[Event<'static>]) -> Vec<Told> {
        let mut events = events.to_vec();
        events.sort_by_key(|event| {
            let (campaign, referrer) = (event.campaign, event.referrer);
            (
                event.at,
                campaign.is_none(),
                campaign,
                referrer.is_none(),
                referrer,
            )
        });
        let mut told: Vec<Told> = Vec::new();
        for event in events {
            match told.last_mut() {
                Some((_, end, campaign, views, _))
                    if event.at - *end < INACTIVITY
                        && (event.campaign.is_none() || event.campaign == *campaign) =>
                {
                    *end = event.at;
                    *views += usize::from(event.page_view);
                }
                _ => {
                    let views = usize::from(event.page_view);
                    let referrer = event.referrer.filter(|_| event.campaign.is_none());
                    told.push((event.at, event.at, event.campaign, views, referrer));
                }
            }
        }
        told
    }

    /// Sessions by id, as a database would hold them.
    #[derive(Default)]
    struct Stored(std::collections::BTreeMap<u32, Known<'static>>, u32);

    impl Stored {
        fn take(&mut self, events: &[Event<'static>]) {
            let low = events.iter().map(|event| event.at).min().unwrap() - INACTIVITY;
            let high = events.iter().map(|event| event.at).max().unwrap() + INACTIVITY;
            let start = |known: &Known<'_>| known.hits[0].at;
            let next = self.0.values().map(start).filter(|at| *at > high).min();
            let near: Vec<(u32, Known<'static>)> = self
                .0
                .iter()
                .filter(|(_, known)| {
                    let reaches = known.hits.last().unwrap().at >= low;
                    reaches && start(known) <= high || Some(start(known)) == next
                })
                .map(|(id, known)| (*id, known.clone()))
                .collect();
            let known: Vec<Known<'_>> = near.iter().map(|(_, known)| known.clone()).collect();
            for session in plan(&known, events) {
                for place in session.merged {
                    self.0.remove(&near[place].0);
                }
                let (campaign, referrer) = match session.start {
                    Start::Event(place) => (events[place].campaign, events[place].referrer),
                    Start::Known(place) | Start::Within(place) => {
                        (known[place].campaign, near[place].1.referrer)
                    }
                };
                let id = session.keeps.map_or_else(
                    || {
                        self.1 += 1;
                        self.1
                    },
                    |place| near[place].0,
                );
                self.0.insert(
                    id,
                    Known {
                        campaign,
                        referrer,
                        hits: session.hits,
                    },
                );
            }
        }

        fn told(&self) -> Vec<Told> {
            let mut told: Vec<Told> = self
                .0
                .values()
                .map(|known| {
                    let views = known.hits.iter().filter(|hit| hit.page_view).count();
                    (
                        known.hits[0].at,
                        known.hits.last().unwrap().at,
                        known.campaign,
                        views,
                        known.referrer.filter(|_| known.campaign.is_none()),
                    )
                })
                .collect();
            told.sort_unstable();
            told
        }
    }

    #[test]
    fn a_late_event_joins_two_sessions_or_cuts_one() {
        let mut stored = Stored::default();
        stored.take(&[event(0, None)]);
        stored.take(&[event(2400, None)]);
        assert_eq!(
            stored.told(),
            [(0, 0, None, 1, None), (2400, 2400, None, 1, None)]
        );
        stored.take(&[event(1200, None)]);
        assert_eq!(stored.told(), [(0, 2400, None, 3, None)]);
        stored.take(&[event(1500, Some(7))]);
        assert_eq!(
            stored.told(),
            [(0, 1200, None, 2, None), (1500, 2400, Some(7), 2, None)]
        );
    }

    #[test]
    fn the_same_campaign_again_is_the_same_session() {
        let mut stored = Stored::default();
        stored.take(&[event(0, Some(1)), event(60, Some(1)), event(90, Some(2))]);
        assert_eq!(
            stored.told(),
            [(0, 60, Some(1), 2, None), (90, 90, Some(2), 1, None)]
        );
    }

    #[test]
    fn a_session_keeps_its_id_when_its_start_moves() {
        let known = [Known {
            campaign: None,
            referrer: None,
            hits: vec![Hit {
                at: 100,
                page_view: true,
                again: false,
            }],
        }];
        let plan = plan(&known, &[event(50, None)]);
        assert_eq!(plan[0].keeps, Some(0));
        assert_eq!(plan[0].start, Start::Event(0));
    }

    proptest! {
        #[test]
        fn any_order_and_any_batches_make_the_same_sessions(
            events in proptest::collection::vec(
                (0i64..20_000, proptest::option::weighted(0.3, 1i64..4), any::<bool>(), proptest::sample::select(vec![None, Some("a"), Some("b")])),
                1..40,
            ),
            batch in 1usize..6,
        ) {
            // Some share a second.
            let event = |(at, campaign, page_view, referrer)| Event { at: at / 40 * 40, page_view, campaign, referrer };
            let events: Vec<Event<'_>> = events.into_iter().map(event).collect();
            let mut stored = Stored::default();
            for events in events.chunks(batch) {
                stored.take(events);
            }
            prop_assert_eq!(stored.told(), oracle(&events));
        }
    }
}
