//! Where credit goes: the group of a touch, and in which groups a conversion counts.

use std::collections::BTreeSet;

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

    /// As it looks to somebody who sees the dimensions of `set` only: channel 1, source 2, medium 4, campaign 8.
    fn seen_by(&self, set: usize) -> [Option<&str>; 4] {
        let all = [
            Some(self.channel),
            self.source.as_deref(),
            self.medium.as_deref(),
            self.campaign.as_deref(),
        ];
        let mut bit = 1;
        all.map(|text| {
            let seen = text.filter(|_| set & bit != 0);
            bit *= 2;
            seen
        })
    }
}

/// For each touch of a journey, the sets of dimensions under which it is the first of its group. Summed over any touches that a report puts into
/// one group, that is the number of conversions in it, each counted once.
pub fn firsts(journey: &[Place]) -> Vec<[i64; DIMENSION_SETS]> {
    let mut firsts = vec![[0; DIMENSION_SETS]; journey.len()];
    for set in 0..DIMENSION_SETS {
        let mut known = BTreeSet::new();
        for (place, first) in journey.iter().zip(&mut firsts) {
            if known.insert(place.seen_by(set)) {
                first[set] = 1;
            }
        }
    }
    firsts
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
        let firsts = firsts(&journey);
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
