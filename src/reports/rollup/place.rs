//! Where credit goes: the group of a touch, and in which groups a conversion counts.

use crate::domain::channel::Channel;

/// Ways to tell touches apart: each set of the four dimensions.
pub const DIMENSION_SETS: usize = 16;

/// What touches are grouped by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The channel.
    pub channel: &'static str,
    /// `utm_source` or what stands for it.
    pub source: Option<String>,
    /// `utm_medium` or what stands for it.
    pub medium: Option<String>,
    /// `utm_campaign`.
    pub campaign: Option<String>,
}

impl Place {
    /// The place of a touch.
    pub fn of(direct: bool, source: Option<&str>, medium: Option<&str>, campaign: Option<&str>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            channel: Channel::of_touch(direct, source, medium).as_str(),
            source: owned(source),
            medium: owned(medium),
            campaign: owned(campaign),
        }
    }

    /// The dimensions that are the same in both: channel 1, source 2, medium 4, campaign 8.
    fn same(&self, other: &Self) -> usize {
        usize::from(self.channel == other.channel)
            | usize::from(self.source == other.source) << 1
            | usize::from(self.medium == other.medium) << 2
            | usize::from(self.campaign == other.campaign) << 3
    }
}

/// For each touch of a journey, the sets of dimensions under which it is the first of its group. Summed over any touches that a report puts into
/// one group, that is the number of conversions in it, each counted once.
pub fn firsts<'a>(journey: impl Iterator<Item = &'a Place> + Clone) -> Vec<[i64; DIMENSION_SETS]> {
    let first = |(count, place): (usize, &Place)| {
        let mut first = [1; DIMENSION_SETS];
        for earlier in journey.clone().take(count) {
            let same = place.same(earlier);
            for (set, first) in first.iter_mut().enumerate() {
                // In one group with an earlier touch, where all that they are told apart by is the same.
                *first &= i64::from(set & same != set);
            }
        }
        first
    };
    journey.clone().enumerate().map(first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversion_counts_once_in_each_group() {
        let place =
            |source: &str, campaign: &str| Place::of(false, Some(source), Some("cpc"), Some(campaign));
        let journey = [
            place("google", "a"),
            place("google", "b"),
            place("bing", "a"),
            place("google", "a"),
        ];
        let firsts = firsts(journey.iter());
        let count = |set: usize, of: &dyn Fn(&Place) -> bool| -> i64 {
            let own = journey.iter().zip(&firsts).filter(|(place, _)| of(place));
            own.map(|(_, first)| first[set]).sum()
        };
        assert_eq!(count(0, &|_| true), 1);
        assert_eq!(count(2, &|place| place.source.as_deref() == Some("google")), 1);
        assert_eq!(count(2, &|place| place.source.as_deref() == Some("bing")), 1);
        assert_eq!(count(8, &|place| place.campaign.as_deref() == Some("a")), 1);
        assert_eq!(count(10, &|place| place.source.as_deref() == Some("google")), 2);
        assert_eq!(count(1, &|_| true), 1);
    }
}
