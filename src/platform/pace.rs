//! Webhooks go first: while many conversions wait to be committed, work that nobody waits for keeps to a share of the time, and is done in
//! smaller parts. What it leaves then it does after.
//!
//! Each kind of work has a pace of its own, so that none takes turns from another. Those that share one go one at a time, and after each the
//! others wait a few times as long as that one took: however many there are, and however fast the machine is, they cost the same share.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// Conversions that wait or are being committed, from which on other work steps back. Below it the machine has time for both.
const RUSH: usize = 16;
/// How often is looked whether it is over; a pause lasts as long at least.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// A pause is so many times as long as the work before it: a tenth of the time is worked.
const PAUSE: u32 = 9;
/// A pause never lasts longer: other work slows down, and does not stop.
const LONGEST: Duration = Duration::from_secs(1);
/// Of what is taken at a time otherwise, one in so many is taken in a rush: nobody is held up for long.
const IN_A_RUSH: usize = 4;
/// So few are not worth a smaller part.
const FEW: usize = 32;

/// Whose turn it is.
pub struct Pace {
    waiting: Box<dyn Fn() -> usize + Send + Sync>,
    /// When the next one may begin, in a rush.
    next: Mutex<Instant>,
}

/// A turn; in a rush the pause begins where it ends.
pub struct Turn<'a>(Option<Part<'a>>);

struct Part<'a> {
    next: MutexGuard<'a, Instant>,
    begun: Instant,
}

impl Turn<'_> {
    /// Of what is taken otherwise, what should be taken now.
    pub fn of(&self, most: usize) -> usize {
        match self.0 {
            None => most,
            Some(_) => most.div_ceil(IN_A_RUSH).max(most.min(FEW)),
        }
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        *self.next = now + pause(now - self.begun);
    }
}

/// How long others wait after work that took so long.
fn pause(worked: Duration) -> Duration {
    (worked * PAUSE).clamp(LOOK_EVERY, LONGEST)
}

impl Pace {
    /// Steps back for as many conversions as `waiting` says.
    pub fn behind(waiting: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        Self {
            waiting: Box::new(waiting),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Steps back for nothing.
    pub fn free() -> Self {
        Self::behind(|| 0)
    }

    fn is_rush(&self) -> bool {
        (self.waiting)() >= RUSH
    }

    /// Returns at once while there is little to commit, or else when the pause is over, to one caller after the other.
    pub async fn turn(&self) -> Turn<'_> {
        if !self.is_rush() {
            return Turn(None);
        }
        let next = self.next.lock().await;
        while self.is_rush() {
            let begun = Instant::now();
            let left = next.saturating_duration_since(begun);
            if left.is_zero() {
                return Turn(Some(Part { next, begun }));
            }
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
        Turn(None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn pauses_are_in_proportion_within_bounds() {
        let millis = |worked| pause(Duration::from_millis(worked)).as_millis();
        assert_eq!([0, 1, 20, 100, 60_000].map(millis), [25, 25, 180, 900, 1000]);
    }

    #[tokio::test]
    async fn in_a_rush_one_goes_after_the_other_and_kinds_do_not_wait_for_each_other() {
        let waiting = Arc::new(AtomicUsize::new(RUSH));
        let pace = || {
            let waiting = Arc::clone(&waiting);
            Pace::behind(move || waiting.load(Ordering::Relaxed))
        };
        let (lanes, sums) = (pace(), pace());
        let first = lanes.turn().await;
        assert_eq!([1000, 100, 20].map(|most| first.of(most)), [250, 32, 20]);
        let mut second = Box::pin(lanes.turn());
        assert!(
            (&mut second).now_or_never().is_none(),
            "it is the first one's turn"
        );
        drop(sums.turn().await);
        drop(first);
        second.await;
        waiting.store(0, Ordering::Relaxed);
        let all = [lanes.turn().await, lanes.turn().await];
        assert!(all.iter().all(|turn| turn.of(1000) == 1000));
    }
}
