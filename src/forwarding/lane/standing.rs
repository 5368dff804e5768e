//! What is known of a destination from one lane of its own to the next.

use std::time::Duration;

use crate::destinations::Destination;
use crate::forwarding::retry::Breaker;
use crate::forwarding::sender::Token;

/// How long a destination is remembered to which nothing is sent.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// How a destination stands. Times are the clock's ticks, which only go forward.
#[derive(Default)]
pub struct Standing {
    /// Whether it works.
    pub breaker: Breaker,
    /// The access token, where its platform wants one.
    pub token: Option<Token>,
    /// Settings and base URL that all of this is about.
    about: Option<(Vec<u8>, Option<String>)>,
    rests_until: u64,
    says_nothing_until: u64,
    used_at: u64,
}

impl Standing {
    /// Whoever changes credentials or place wants them used at once: what was known of others is forgotten.
    pub fn notice(&mut self, destination: &Destination) {
        let found = (destination.settings_sealed.clone(), destination.base_url.clone());
        if self.about.as_ref().is_some_and(|about| *about != found) {
            *self = Self::default();
        }
        self.about = Some(found);
    }

    /// Leaves it alone for a while.
    pub fn rest(&mut self, now: u64, wait: Duration) {
        self.rests_until = now.saturating_add(nanos(wait));
    }

    /// Whether it is left alone.
    pub fn is_resting(&self, now: u64) -> bool {
        now < self.rests_until
    }

    /// Does not ask it for a while what became of what it got.
    pub fn ask_no_more(&mut self, now: u64, wait: Duration) {
        self.says_nothing_until = now.saturating_add(nanos(wait));
    }

    /// Whether it may be asked.
    pub fn may_be_asked(&self, now: u64) -> bool {
        now >= self.says_nothing_until
    }

    /// Whether a lane has something of this to go on with.
    pub fn is_worth_keeping(&self, now: u64) -> bool {
        let known = self.token.is_some() || self.breaker.is_failing();
        self.is_resting(now)
            || !self.may_be_asked(now)
            || known && now < self.used_at.saturating_add(nanos(REMEMBERED))
    }

    /// A lane was there.
    pub fn used(&mut self, now: u64) {
        self.used_at = now;
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_or_rests_is_remembered_for_a_while() {
        let (second, hour) = (nanos(Duration::from_secs(1)), nanos(REMEMBERED));
        let mut standing = Standing::default();
        standing.used(second);
        assert!(!standing.is_worth_keeping(second), "nothing is known");
        standing.breaker.failed();
        assert!(standing.is_worth_keeping(hour) && !standing.is_worth_keeping(hour + second));
        standing.rest(second, REMEMBERED * 2);
        assert!(standing.is_resting(2 * hour) && !standing.is_resting(2 * hour + second));
        assert!(standing.is_worth_keeping(2 * hour));
        let mut standing = Standing::default();
        standing.ask_no_more(second, REMEMBERED);
        assert!(
            standing.is_worth_keeping(hour) && !standing.may_be_asked(hour) && !standing.is_resting(hour)
        );
        assert!(standing.may_be_asked(hour + second) && !standing.is_worth_keeping(hour + second));
    }
}
