//! Valid events -> moments of visits, then conversions.

use axum::http::header;

use super::handler::Received;
use super::refusal::Refusal;
use super::visitor::Visitor;
use super::{cookie, count};
use crate::conversions::{Draft, Origin, Outcome, Source};
use crate::domain::browser_event::{BrowserEvent, Kind};
use crate::domain::conversion::Conversion;
use crate::domain::device::Device;
use crate::domain::landing::Landing;
use crate::domain::user_agent::UserAgent;
use crate::platform::last_noted::Note;
use crate::platform::marks::Recorded;
use crate::sessions::Client;
use crate::sessions::tracking::Moment;
use crate::streams::Stream;

/// Characters of a user agent that are looked at.
const MOST_OF_USER_AGENT: usize = 1000;

/// What became of one event.
#[derive(Debug)]
pub struct Taken {
    /// Whose it is.
    pub visitor_id: String,
    /// Whether the visitor agreed to be recognised.
    pub recognised: bool,
    /// False where the database refuses it for good; a crawler's visit is taken and not kept.
    pub stored: bool,
}

impl Received<'_> {
    /// Stores the events, all of this stream. First the visits, so that a conversion finds the page view that came with it.
    pub async fn record(
        &self,
        stream: &Stream,
        events: Vec<BrowserEvent>,
        array: bool,
    ) -> Result<(Vec<Taken>, Recorded), Refusal> {
        let (headers, site) = (self.headers, self.site.as_ref());
        let mut visitor = Visitor::of(self.collector, headers, site, self.client, stream.property_id);
        let (mut taken, mut moments, mut conversions) = (Vec::new(), Vec::new(), Vec::new());
        for (place, mut event) in events.into_iter().enumerate() {
            let user_agent = self.user_agent(&event);
            let visitor_id = visitor.id(&event, &user_agent).await?;
            let UserAgent { device, crawler } = UserAgent::read(&user_agent);
            taken.push(Taken {
                visitor_id: visitor_id.clone(),
                recognised: event.may_measure() && !crawler,
                stored: true,
            });
            // On another site's host they are of whatever else that host serves.
            for (name, value) in site.iter().flat_map(|_| cookie::all(headers)) {
                event.keep_cookie(name, value);
            }
            let (moment, conversion) = self.moment(stream, event, visitor_id, user_agent, device);
            // A crawler's visits are not kept; what somebody reports as a conversion is, whoever reports it.
            match crawler {
                true => count("bot", 1),
                false => moments.push((place, moment)),
            }
            conversions.extend(conversion.map(|conversion| (place, conversion)));
        }
        let (places, moments): (Vec<usize>, Vec<Moment>) = moments.into_iter().unzip();
        if !moments.is_empty() {
            let stored = self.collector.tracker.record(moments).await?;
            for (place, stored) in places.iter().zip(stored) {
                taken[*place].stored = stored;
            }
        }
        if taken.iter().any(|taken| taken.stored) {
            self.collector.last_seen.note(Note {
                property_id: stream.property_id,
                id: stream.attribution_id,
                at: self.received_at,
            });
        }
        conversions.retain(|(place, _)| taken[*place].stored);
        let (of_conversions, drafts): (Vec<usize>, Vec<Conversion>) = conversions.into_iter().unzip();
        let outcomes = self.convert(stream, drafts, array).await?;
        for (place, outcome) in of_conversions.into_iter().zip(&outcomes) {
            taken[place].stored = !matches!(outcome, Outcome::Unstorable);
        }
        count(
            "stored",
            places.iter().filter(|place| taken[**place].stored).count(),
        );
        Ok((taken, recorded(&outcomes)))
    }

    /// As the page's script saw it; what relays events for a page has one of its own.
    fn user_agent(&self, event: &BrowserEvent) -> String {
        let of_header = || {
            let header = self.headers.get(header::USER_AGENT)?.to_str().ok()?;
            Some(header.chars().take(MOST_OF_USER_AGENT).collect())
        };
        event.user_agent.clone().or_else(of_header).unwrap_or_default()
    }

    fn moment(
        &self,
        stream: &Stream,
        event: BrowserEvent,
        visitor_id: String,
        user_agent: String,
        device: Option<Device>,
    ) -> (Moment, Option<Conversion>) {
        let consent = event.consent;
        let landing = event.landing.clone().unwrap_or_else(|| self.page(&event));
        let agreed = consent.analytics == Some(true) || consent.advertising == Some(true);
        let client = match agreed {
            true => Client {
                ip: Some(self.client.to_string()),
                user_agent: Some(user_agent).filter(|text| !text.is_empty()),
            },
            false => Client::default(),
        };
        let page_view = event.kind == Kind::PageView;
        let (formerly, conversion) = match event.kind {
            Kind::IdentityLink { previous, .. } => (Some(previous), None),
            Kind::Conversion(conversion) => (None, Some(conversion.of(&visitor_id))),
            Kind::PageView | Kind::Interaction => (None, None),
        };
        let moment = Moment {
            tenant: stream.tenant(),
            visitor_id,
            at: event.at,
            page_view,
            landing,
            consent,
            device,
            client,
            browser_ids: event.browser_ids,
            formerly,
        };
        (moment, conversion)
    }

    /// The page of an event that does not tell it: where the request comes from, or else none.
    fn page(&self, event: &BrowserEvent) -> Landing {
        let told = [header::REFERER, header::ORIGIN].into_iter().find_map(|name| {
            let page = self.headers.get(name)?.to_str().ok()?;
            Landing::parse(page, None).ok()
        });
        match told {
            Some(page) if event.may_measure() => page,
            Some(page) => page.without_consent(),
            None => Landing::default(),
        }
    }

    async fn convert(
        &self,
        stream: &Stream,
        conversions: Vec<Conversion>,
        array: bool,
    ) -> Result<Vec<Outcome>, Refusal> {
        if conversions.is_empty() {
            return Ok(Vec::new());
        }
        let destination_ids = self.collector.destinations.of(stream.tenant()).await;
        let origin = Origin {
            tenant: stream.tenant(),
            lookback_days: stream.lookback_days,
            source: Source::Sdk,
            key_id: None,
            received_at: self.received_at,
            destination_ids: destination_ids.map_err(|error| Refusal::Unavailable(error.to_string()))?,
            activity_id: None,
        };
        let draft = |conversion| {
            let event_id = self.collector.clock.new_id();
            Draft::new(event_id, origin.clone(), conversion, &self.collector.sealer)
        };
        let drafts = conversions.into_iter().map(draft).collect::<Result<_, _>>();
        let drafts = drafts.map_err(|error| Refusal::Unavailable(error.to_string()))?;
        Ok(self.collector.recorder.record(drafts, array, None).await?)
    }
}

fn recorded(outcomes: &[Outcome]) -> Recorded {
    let duplicate = |outcome: &&Outcome| matches!(outcome, Outcome::Duplicate { .. });
    Recorded {
        accepted: outcomes
            .iter()
            .filter(|outcome| outcome.receipt().is_some())
            .count(),
        duplicates: outcomes.iter().filter(duplicate).count(),
    }
}
