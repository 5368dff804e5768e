//! How stubs are told to fail.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// What a stub does with its next requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Checks and answers: the default.
    Ok,
    /// Answers after `seconds`, with 504.
    Timeout,
    /// A fault of the platform's own: 500, in the platform's words.
    ServerError,
    /// Too many requests, in the platform's words.
    RateLimited,
    /// One event is refused in the platform's way: the one with `event_id`, else the first.
    Partial,
    /// A status of 200 over a failure.
    #[serde(rename = "error_in_200")]
    ErrorIn200,
    /// The access token is refused.
    TokenExpired,
    /// A page of HTML, as an edge in trouble sends it.
    Html,
    /// What became of a request, when it is asked: `later` says what.
    Later,
}

/// What a platform says later of a request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Later {
    /// The platform's word for where the request stands.
    pub status: String,
    /// Events that were not used, by the platform's reason.
    #[serde(default)]
    pub errors: BTreeMap<String, u64>,
    /// Events that were used with a remark, by the platform's reason.
    #[serde(default)]
    pub warnings: BTreeMap<String, u64>,
}

/// One order to one stub.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// The stub, by the first part of its path.
    pub platform: String,
    /// What it does.
    pub mode: Mode,
    /// For how many requests; 0 is until it is told otherwise.
    #[serde(default = "once")]
    pub times: u32,
    /// Of a timeout, how long.
    #[serde(default = "half_a_minute")]
    pub seconds: u64,
    /// Of `partial`, the event that is refused; requests without it are answered as usual, and not counted.
    #[serde(default)]
    pub event_id: Option<String>,
    /// Of `later`, what is said.
    #[serde(default)]
    pub later: Option<Later>,
}

fn once() -> u32 {
    1
}

fn half_a_minute() -> u64 {
    30
}

/// The orders in force.
#[derive(Default)]
pub(super) struct Control(Mutex<BTreeMap<String, Setting>>);

impl Control {
    /// Sets a stub's mode.
    pub(super) fn set(&self, setting: Setting) {
        let mut settings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if setting.mode == Mode::Ok {
            settings.remove(&setting.platform);
        } else {
            settings.insert(setting.platform.clone(), setting);
        }
    }

    /// The order for this request, where `concerns` says that it is meant; counts it.
    pub(super) fn take(&self, platform: &str, concerns: impl Fn(&Setting) -> bool) -> Option<Setting> {
        let mut settings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let setting = settings.get_mut(platform).filter(|setting| concerns(setting))?;
        let taken = setting.clone();
        match setting.times {
            0 => {}
            1 => {
                settings.remove(platform);
            }
            _ => setting.times -= 1,
        }
        Some(taken)
    }

    /// All orders in force.
    pub(super) fn all(&self) -> Vec<Setting> {
        let settings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        settings.values().cloned().collect()
    }
}
