//! The webhook's answer in the words of the last page.

use serde::Deserialize;
use serde_json::Value;

use crate::platform::outbound::Answer;

/// What the page says of it.
pub struct Verdict {
    pub matched: bool,
    pub headline: &'static str,
    pub text: String,
    /// Names as in the answer.
    pub facts: Vec<(&'static str, String)>,
    /// The answer itself, indented.
    pub raw: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Taken {
    session_matched: bool,
    attribution: Attribution,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attribution {
    reason: String,
    campaign: Option<String>,
    source: Option<String>,
    medium: Option<String>,
    click_id: Option<String>,
    clicked_at: Option<String>,
    touches: Option<u64>,
    nearest_session_days: Option<i64>,
    lookback_days: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: String,
    title: String,
    detail: String,
}

impl Verdict {
    /// In words; no answer is a verdict as well.
    pub fn of(answer: Option<Answer>) -> Self {
        let Some(answer) = answer else {
            return Self {
                matched: false,
                headline: "No answer",
                text: "The webhook could not be reached. A shop sends the order again, with the same conversion_id.".to_owned(),
                facts: Vec::new(),
                raw: None,
            };
        };
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let mut verdict = if answer.status == 200 {
            Self::taken(Taken::deserialize(&body).unwrap_or_default())
        } else {
            Self::refused(answer.status, Refusal::deserialize(&body).unwrap_or_default())
        };
        verdict.raw = serde_json::to_string_pretty(&body).ok();
        verdict
    }

    fn taken(taken: Taken) -> Self {
        let of = taken.attribution;
        let campaign = of.campaign.as_deref();
        let text = match (of.reason.as_str(), campaign, of.source.as_deref()) {
            ("matched", Some(campaign), _) => {
                format!("The campaign {campaign} gets the credit for this order.")
            }
            ("matched", None, Some("direct")) => {
                "The visitor is known, and came directly each time: no ad gets the credit.".to_owned()
            }
            ("matched", None, _) => {
                "The visit that led here gets the credit; it named no campaign.".to_owned()
            }
            ("no_visitor_id", ..) => {
                "The order came without a visitor id: the page's script had not run, or was blocked."
                    .to_owned()
            }
            ("unknown_visitor", ..) => {
                "No session of this visitor is known yet. When one turns up, the order is looked at again."
                    .to_owned()
            }
            ("outside_lookback", ..) => format!(
                "The visitor's last session is {} days old; only {} days count.",
                of.nearest_session_days.unwrap_or_default(),
                of.lookback_days.unwrap_or_default(),
            ),
            _ => String::new(),
        };
        let facts = [
            ("session_matched", Some(taken.session_matched.to_string())),
            ("reason", Some(of.reason)),
            ("campaign", of.campaign),
            ("source", of.source),
            ("medium", of.medium),
            ("click_id", of.click_id),
            ("clicked_at", of.clicked_at),
            ("touches", of.touches.map(|touches| touches.to_string())),
        ];
        Self {
            matched: taken.session_matched,
            headline: if taken.session_matched {
                "Matched"
            } else {
                "Not matched"
            },
            text,
            facts: present(facts),
            raw: None,
        }
    }

    fn refused(status: u16, refusal: Refusal) -> Self {
        let facts = [
            ("status", Some(status.to_string())),
            ("code", Some(refusal.code)),
            ("title", Some(refusal.title)),
        ];
        Self {
            matched: false,
            headline: "Refused",
            text: refusal.detail,
            facts: present(facts),
            raw: None,
        }
    }
}

fn present<const N: usize>(facts: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
    facts
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn verdict(status: u16, body: &str) -> Verdict {
        Verdict::of(Some(Answer {
            status,
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec().into(),
            cut: false,
        }))
    }

    #[test]
    fn each_answer_has_its_words() {
        let taken = |attribution: Value| {
            let matched = attribution["reason"] == "matched";
            verdict(
                200,
                &json!({ "session_matched": matched, "attribution": attribution }).to_string(),
            )
        };
        let ad =
            taken(json!({ "reason": "matched", "campaign": "spring", "source": "google", "touches": 2 }));
        assert!(ad.matched && ad.text.contains("spring"));
        assert!(ad.facts.contains(&("touches", "2".to_owned())));
        assert!(
            taken(json!({ "reason": "matched", "source": "direct" }))
                .text
                .contains("directly")
        );
        let old =
            taken(json!({ "reason": "outside_lookback", "nearest_session_days": 40, "lookback_days": 30 }));
        assert!(!old.matched && old.text.contains("40 days"));
        assert!(
            taken(json!({ "reason": "no_visitor_id" }))
                .text
                .contains("without a visitor id")
        );
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_no_failure() {
        for body in [
            "",
            "<html>",
            "[1]",
            "{\"session_matched\":\"yes\"}",
            "{\"attribution\":null}",
        ] {
            assert!(!verdict(200, body).matched);
            assert_eq!(verdict(502, body).headline, "Refused");
        }
        assert_eq!(Verdict::of(None).headline, "No answer");
    }
}
