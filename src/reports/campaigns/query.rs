//! What a campaign report is asked for.

use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::sums::Sums;
use crate::domain::topic::Topic;
use crate::reports::model::{Model, Window};
use crate::reports::rollup::{DayKey, DaySums};

/// What rows are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The way in, as marketers count them.
    Channel,
    /// `utm_source` or what stands for it.
    Source,
    /// `utm_medium` or what stands for it.
    Medium,
    /// `utm_campaign`.
    Campaign,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Channel, Self::Source, Self::Medium, Self::Campaign];

    /// As in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Source => "source",
            Self::Medium => "medium",
            Self::Campaign => "campaign",
        }
    }

    /// Its bit in a set of dimensions.
    fn bit(self) -> usize {
        1 << self as usize
    }
}

/// No such dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("reports are grouped by channel, source, medium and campaign")]
pub struct BadDimension;

impl FromStr for Dimension {
    type Err = BadDimension;

    fn from_str(text: &str) -> Result<Self, BadDimension> {
        Self::ALL
            .into_iter()
            .find(|dimension| dimension.as_str() == text)
            .ok_or(BadDimension)
    }
}

/// Credit of these places only. An empty text stands for touches that have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The channel.
    pub channel: Option<String>,
    /// The source.
    pub source: Option<String>,
    /// The medium.
    pub medium: Option<String>,
    /// The campaign.
    pub campaign: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Query {
    /// The tenant.
    pub property_id: Uuid,
    /// One stream; none: all of the property.
    pub attribution_id: Option<Uuid>,
    /// The days.
    pub window: Window,
    /// One topic; none: all.
    pub topic: Option<Topic>,
    /// Credit of some places only.
    pub filter: Filter,
    pub(super) group_by: Vec<Dimension>,
    pub(super) models: Vec<Model>,
}

impl Query {
    /// Last click over all streams and topics, by campaign.
    pub fn new(property_id: Uuid, window: Window) -> Self {
        Self {
            property_id,
            attribution_id: None,
            window,
            topic: None,
            filter: Filter::default(),
            group_by: vec![Dimension::Campaign],
            models: vec![Model::LastClick],
        }
    }

    /// Rows are told apart by these; by none, there is one row, and nobody's.
    pub fn group_by(mut self, dimensions: &[Dimension]) -> Self {
        let is_asked = |dimension: &Dimension| dimensions.contains(dimension);
        self.group_by = Dimension::ALL.into_iter().filter(is_asked).collect();
        self
    }

    /// By these models, the first of which orders the rows; by last click where there are none.
    pub fn models(mut self, models: &[Model]) -> Self {
        self.models.clear();
        for model in models {
            if !self.models.contains(model) {
                self.models.push(*model);
            }
        }
        if self.models.is_empty() {
            self.models.push(Model::LastClick);
        }
        self
    }

    /// Whether rows are told apart by it.
    pub(super) fn is_by(&self, dimension: Dimension) -> bool {
        self.group_by.contains(&dimension)
    }

    /// The set of dimensions that are the same within the whole report.
    pub(super) fn filtered(&self) -> usize {
        let Filter {
            channel,
            source,
            medium,
            campaign,
        } = &self.filter;
        let asked = [channel, source, medium, campaign].map(Option::is_some);
        let bits = Dimension::ALL.into_iter().zip(asked).filter(|(_, asked)| *asked);
        bits.map(|(dimension, _)| dimension.bit()).sum()
    }

    /// The set of dimensions that are the same within a row.
    pub(super) fn told_apart(&self) -> usize {
        let bits = self.group_by.iter().map(|dimension| dimension.bit());
        bits.fold(self.filtered(), |set, bit| set | bit)
    }

    /// A day's sums by the models that are asked for, with conversions as they count under a set of dimensions.
    pub(super) fn seen(&self, sums: &DaySums, set: usize) -> Sums {
        let mut seen = Sums {
            touched: sums.touched[set],
            ..Sums::default()
        };
        for place in self.models.iter().map(|model| model.index()) {
            seen.credit[place] = sums.credit[place];
            seen.gross[place] = sums.gross[place];
            seen.refunds[place] = sums.refunds[place];
        }
        seen
    }

    /// Whether what is summed under this key is asked for.
    pub(super) fn asks_for(&self, key: &DayKey) -> bool {
        let place = key.place.as_ref();
        let told = [
            place.map(|place| place.channel),
            place.and_then(|place| place.source.as_deref()),
            place.and_then(|place| place.medium.as_deref()),
            place.and_then(|place| place.campaign.as_deref()),
        ];
        let Filter {
            channel,
            source,
            medium,
            campaign,
        } = &self.filter;
        let fits = |(wanted, told): (&Option<String>, Option<&str>)| {
            wanted
                .as_deref()
                .is_none_or(|wanted| wanted == told.unwrap_or_default())
        };
        self.window.contains(key.day)
            && self.attribution_id.is_none_or(|id| id == key.attribution_id)
            && self.topic.is_none_or(|topic| topic.as_str() == key.topic)
            && [channel, source, medium, campaign].into_iter().zip(told).all(fits)
            // Nobody's credit is of no place.
            && (place.is_some() || self.filter == Filter::default())
    }

    /// The row of what is summed under this key.
    pub(super) fn group(&self, key: &DayKey) -> GroupKey {
        let by = |dimension: Dimension, text: Option<&str>| {
            text.filter(|_| self.is_by(dimension)).map(str::to_owned)
        };
        let place = key.place.as_ref();
        GroupKey {
            attributed: place.is_some(),
            channel: by(Dimension::Channel, place.map(|place| place.channel)),
            source: by(Dimension::Source, place.and_then(|place| place.source.as_deref())),
            medium: by(Dimension::Medium, place.and_then(|place| place.medium.as_deref())),
            campaign: by(
                Dimension::Campaign,
                place.and_then(|place| place.campaign.as_deref()),
            ),
            currency: key.currency.clone(),
        }
    }
}

/// What a row is told apart by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupKey {
    pub(super) attributed: bool,
    pub(super) channel: Option<String>,
    pub(super) source: Option<String>,
    pub(super) medium: Option<String>,
    pub(super) campaign: Option<String>,
    pub(super) currency: Option<String>,
}

impl GroupKey {
    /// All rows of a currency.
    pub(super) fn total(currency: Option<String>) -> Self {
        Self {
            attributed: true,
            channel: None,
            source: None,
            medium: None,
            campaign: None,
            currency,
        }
    }
}
