//! A touch: one visit in a visitor's journey.

use chrono::{DateTime, Utc};

use super::answers::Answers;
use super::consent::Consent;

/// What matching needs to know of a session, and what a journey keeps of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// The session.
    pub session_id: String,
    /// When it began: the click.
    pub clicked_at: DateTime<Utc>,
    /// Neither campaign, nor click id, nor external referrer.
    pub direct: bool,
    /// `utm_source` or what stands for it.
    pub source: Option<String>,
    /// `utm_medium` or what stands for it.
    pub medium: Option<String>,
    /// `utm_campaign`.
    pub campaign: Option<String>,
    /// The network's id of the campaign.
    pub campaign_id: Option<String>,
    /// Name of the click id.
    pub click_id: Option<String>,
    /// Seen before the visitor agreed to be recognised, under an id of that day.
    pub anonymous: bool,
    /// What the visitor answered in it; nothing where that is not asked.
    pub answers: Answers,
    /// Of the credited touch: what the visitor had answered by then in all visits, where that is not what this one says.
    pub consent_by_then: Option<Consent>,
}
