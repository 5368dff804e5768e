//! What a door tells the layer that counts and logs its answers.

/// Marks an answer whose events were committed, for the metrics: how many, and how many of them were repeats.
#[derive(Debug, Clone, Copy)]
pub struct Recorded {
    /// Events taken.
    pub accepted: usize,
    /// Of these, repeats.
    pub duplicates: usize,
}

/// Marks an answer that refuses and is no problem document, for the metrics and the log: its code.
#[derive(Debug, Clone, Copy)]
pub struct RefusedAs(pub &'static str);
