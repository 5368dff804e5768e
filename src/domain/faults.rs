//! What is wrong with an input: all of it at once.

use serde::Serialize;

/// Faults listed for one event, at most; the rest are counted.
pub const MOST_LISTED: usize = 100;

/// One thing that is wrong, or that was noticed, at one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Path of the field, e.g. `products[0].quantity`.
    pub field: String,
    /// Stable, for programs.
    pub code: &'static str,
    /// For people. Never holds the value that was sent.
    pub message: String,
}

/// Something wrong that the event survives: same shape as a fault.
pub type Warning = Fault;

/// The first faults in a line, for a list.
pub fn in_short(faults: &[Fault]) -> String {
    const SHOWN: usize = 5;
    let named: Vec<String> = faults
        .iter()
        .take(SHOWN)
        .map(|fault| format!("{}: {}", fault.field, fault.code))
        .collect();
    let rest = faults.len().saturating_sub(SHOWN);
    let more = if rest > 0 {
        format!(" and {rest} more")
    } else {
        String::new()
    };
    named.join(", ") + &more
}

/// A growing list of faults, bounded.
#[derive(Debug, Default)]
pub struct Faults {
    listed: Vec<Fault>,
    omitted: usize,
}

impl Faults {
    /// Adds one.
    pub fn add(&mut self, field: impl Into<String>, code: &'static str, message: impl Into<String>) {
        if self.listed.len() < MOST_LISTED {
            self.listed.push(Fault {
                field: field.into(),
                code,
                message: message.into(),
            });
        } else {
            self.omitted += 1;
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// The list; where faults were left out, its last entry says how many.
    pub fn into_vec(self) -> Vec<Fault> {
        let mut listed = self.listed;
        if self.omitted > 0 {
            let message = format!("{} more fault(s) are not listed", self.omitted);
            listed.push(Fault {
                field: String::new(),
                code: "more_faults",
                message,
            });
        }
        listed
    }
}
