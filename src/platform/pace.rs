//! Webhooks go first: while many conversions wait to be committed, work that nobody waits for takes turns, and is done in smaller parts. What it
//! leaves then it does after.

use std::time::Duration;

use tokio::sync::Mutex;

use super::group_commit::Depth;

/// Conversions that wait or are being committed, from which on other work steps back. Below it the machine has time for both.
const RUSH: usize = 16;
/// How often is looked whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// After so long one part is worked on all the same, of all that wait for their turn: the other work slows down, and never stops.
const LONGEST: Duration = Duration::from_millis(250);
/// Of what is taken at a time otherwise, one in so many is taken in a rush: nobody is held up for long.
const IN_A_RUSH: usize = 4;

/// Whose turn it is.
pub struct Pace {
    waiting: Option<Depth>,
    turn: Mutex<()>,
}

/// How much of its work the one whose turn it is should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// There is time.
    Whole,
    /// Others wait.
    Part,
}

impl Turn {
    /// Of what is taken otherwise, what should be taken now.
    pub fn of(self, most: usize) -> usize {
        match self {
            Self::Whole => most,
            Self::Part => most.div_ceil(IN_A_RUSH),
        }
    }
}

impl Pace {
    /// Steps back for what waits there.
    pub fn behind(waiting: Depth) -> Self {
        Self {
            waiting: Some(waiting),
            turn: Mutex::new(()),
        }
    }

    /// Steps back for nothing.
    pub fn free() -> Self {
        Self {
            waiting: None,
            turn: Mutex::new(()),
        }
    }

    fn is_rush(&self) -> bool {
        self.waiting
            .as_ref()
            .is_some_and(|waiting| waiting.events() >= RUSH)
    }

    /// Returns at once while there is little to commit, or else after a while, to one caller after the other.
    pub async fn turn(&self) -> Turn {
        if !self.is_rush() {
            return Turn::Whole;
        }
        let _one = self.turn.lock().await;
        let mut left = LONGEST;
        while self.is_rush() {
            if left.is_zero() {
                return Turn::Part;
            }
            tokio::time::sleep(LOOK_EVERY).await;
            left = left.saturating_sub(LOOK_EVERY);
        }
        Turn::Whole
    }
}
