//! Webhooks go first: while many conversions wait to be committed, forwarding works at a bounded pace. What it does not do then it does after.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::platform::group_commit::Depth;

/// Conversions that wait or are being committed, from which on forwarding steps back. Below it the machine has time for both.
const BUSY: usize = 16;
/// How often is looked whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// After so long one batch is worked on all the same, of all that wait for their turn: forwarding slows down, and never stops.
const LONGEST: Duration = Duration::from_millis(250);

/// Whose turn it is.
pub struct Pace {
    waiting: Depth,
    turn: Mutex<()>,
}

impl Pace {
    /// Steps back for what waits there.
    pub fn new(waiting: Depth) -> Self {
        Self {
            waiting,
            turn: Mutex::new(()),
        }
    }

    /// Returns at once while there is little to commit, or else after a while, to one caller after the other. Told to stop, too.
    pub async fn step(&self, stop: &CancellationToken) {
        if self.waiting.events() < BUSY {
            return;
        }
        let wait = async {
            let _turn = self.turn.lock().await;
            let mut left = LONGEST;
            while self.waiting.events() >= BUSY && !left.is_zero() {
                tokio::time::sleep(LOOK_EVERY).await;
                left = left.saturating_sub(LOOK_EVERY);
            }
        };
        tokio::select! {
            () = wait => {}
            () = stop.cancelled() => {}
        }
    }
}
