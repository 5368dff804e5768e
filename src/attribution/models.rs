//! Journey -> weights, by five models. In millionths, so that each model sums to one to the digit.

use chrono::{DateTime, TimeDelta, Utc};

/// One whole conversion.
pub const UNITS: i32 = 1_000_000;

/// The credit halves with every week between click and conversion.
const HALF_LIFE: TimeDelta = TimeDelta::days(7);

/// A touch's share of a conversion under each model, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weights {
    /// All to the last touch.
    pub last_click: i32,
    /// All to the first touch.
    pub first_click: i32,
    /// Equal shares.
    pub linear: i32,
    /// Halving with every 7 days before the conversion.
    pub time_decay: i32,
    /// 40 % first, 40 % last, 20 % over the middle.
    pub position_based: i32,
}

/// The weights of the touches at `clicks`, oldest first, of a conversion at `event_time`. Each model sums to [`UNITS`] over a journey that
/// is not empty; what rounding leaves over goes to the largest remainders, the later touch first.
pub fn weigh(clicks: &[DateTime<Utc>], event_time: DateTime<Utc>) -> Vec<Weights> {
    let count = clicks.len();
    let last = count.saturating_sub(1);
    let only = |chosen: usize| {
        (0..count)
            .map(|i| f64::from(u8::from(i == chosen)))
            .collect::<Vec<_>>()
    };
    let models = [
        only(last),
        only(0),
        vec![1.0; count],
        clicks.iter().map(|click| decay(event_time - *click)).collect(),
        (0..count).map(|i| position_share(i, count)).collect(),
    ]
    .map(|shares| apportion(&shares));
    let [last_click, first_click, linear, time_decay, position_based] = models;
    (0..count)
        .map(|i| Weights {
            last_click: last_click[i],
            first_click: first_click[i],
            linear: linear[i],
            time_decay: time_decay[i],
            position_based: position_based[i],
        })
        .collect()
}

fn decay(age: TimeDelta) -> f64 {
    let lives = age.num_seconds().max(0) as f64 / HALF_LIFE.num_seconds() as f64;
    0.5f64.powf(lives)
}

fn position_share(index: usize, count: usize) -> f64 {
    match count {
        1 | 2 => 1.0,
        _ if index == 0 || index == count - 1 => 0.4,
        _ => 0.2 / (count - 2) as f64,
    }
}

/// Splits [`UNITS`] in proportion to `shares` by largest remainder.
fn apportion(shares: &[f64]) -> Vec<i32> {
    let total: f64 = shares.iter().sum();
    let exact: Vec<f64> = shares
        .iter()
        .map(|share| share / total * f64::from(UNITS))
        .collect();
    // Truncation is meant: `exact` lies between 0 and a million.
    let mut units: Vec<i32> = exact.iter().map(|exact| exact.floor() as i32).collect();
    let mut by_remainder: Vec<usize> = (0..shares.len()).collect();
    // What floats cannot tell apart is equal.
    let remainder = |i: usize| ((exact[i] - exact[i].floor()) * 1e6).round() as i64;
    by_remainder.sort_by_key(|i| (std::cmp::Reverse(remainder(*i)), std::cmp::Reverse(*i)));
    let left = UNITS - units.iter().sum::<i32>();
    for i in by_remainder
        .into_iter()
        .cycle()
        .take(usize::try_from(left).unwrap_or(0))
    {
        units[i] += 1;
    }
    units
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn weights(days_before: &[i64]) -> Vec<Weights> {
        let clicks: Vec<_> = days_before.iter().map(|days| at(-days * DAY)).collect();
        weigh(&clicks, at(0))
    }

    fn column(weights: &[Weights], model: impl Fn(&Weights) -> i32) -> Vec<i32> {
        weights.iter().map(model).collect()
    }

    #[test]
    fn by_hand() {
        let one = weights(&[3]);
        let whole = Weights {
            last_click: UNITS,
            first_click: UNITS,
            linear: UNITS,
            time_decay: UNITS,
            position_based: UNITS,
        };
        assert_eq!(one, [whole]);
        let two = weights(&[7, 0]);
        assert_eq!(column(&two, |w| w.last_click), [0, UNITS]);
        assert_eq!(column(&two, |w| w.first_click), [UNITS, 0]);
        assert_eq!(column(&two, |w| w.linear), [500_000, 500_000]);
        assert_eq!(column(&two, |w| w.time_decay), [333_333, 666_667]);
        assert_eq!(column(&two, |w| w.position_based), [500_000, 500_000]);
        let three = weights(&[14, 7, 0]);
        assert_eq!(column(&three, |w| w.linear), [333_333, 333_333, 333_334]);
        assert_eq!(column(&three, |w| w.time_decay), [142_857, 285_714, 571_429]);
        assert_eq!(column(&three, |w| w.position_based), [400_000, 200_000, 400_000]);
        let four = weights(&[9, 8, 7, 0]);
        assert_eq!(
            column(&four, |w| w.position_based),
            [400_000, 100_000, 100_000, 400_000]
        );
        assert!(weights(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn each_model_sums_to_one(mut ages in proptest::collection::vec(0i64..90 * DAY, 1..60)) {
            ages.sort_unstable_by(|a, b| b.cmp(a));
            let clicks: Vec<_> = ages.iter().map(|age| at(-age)).collect();
            let weights = weigh(&clicks, at(0));
            for model in [
                column(&weights, |w| w.last_click),
                column(&weights, |w| w.first_click),
                column(&weights, |w| w.linear),
                column(&weights, |w| w.time_decay),
                column(&weights, |w| w.position_based),
            ] {
                prop_assert_eq!(model.iter().sum::<i32>(), UNITS);
                prop_assert!(model.iter().all(|units| (0..=UNITS).contains(units)));
            }
            // Later touches never have less under time decay.
            let decay = column(&weights, |w| w.time_decay);
            prop_assert!(decay.windows(2).all(|pair| pair[0] <= pair[1] + 1));
            // Every touch is within a unit of its exact share, computed the slow way.
            let total: f64 = ages.iter().map(|age| 2f64.powf(-(*age as f64) / (7.0 * DAY as f64))).sum();
            for (age, units) in ages.iter().zip(decay) {
                let exact = 2f64.powf(-(*age as f64) / (7.0 * DAY as f64)) / total * 1e6;
                prop_assert!((exact - f64::from(units)).abs() < 1.001);
            }
        }
    }
}
