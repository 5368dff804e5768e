//! People who may sign in, and what each may do.

pub mod password;
pub mod sign_ins;
pub mod store;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Characters of an email address, at most.
pub const MOST_EMAIL: usize = 254;

/// What a user may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See everything but secrets.
    Viewer,
    /// Change settings.
    Editor,
    /// Manage users.
    Owner,
}

/// A text that is no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be owner, editor or viewer")]
pub struct UnknownRole;

impl Role {
    /// All of them, the mightiest first.
    pub const ALL: [Self; 3] = [Self::Owner, Self::Editor, Self::Viewer];

    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or(UnknownRole)
    }
}

/// A user as listed: never the password.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct User {
    /// Its id.
    #[serde(rename = "id")]
    pub user_id: Uuid,
    /// The address that names the user.
    pub email: String,
    /// What the user may do.
    pub role: Role,
    /// Whether a password was never set.
    pub invited: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Whether a text can be an email address: one `@` with something on both sides, no space, nothing that is not shown.
pub fn is_email(text: &str) -> bool {
    let shown = |c: char| !c.is_whitespace() && !c.is_control();
    text.len() <= MOST_EMAIL
        && text.chars().all(shown)
        && text.split_once('@').is_some_and(|(name, host)| {
            let ends = host.starts_with('.') || host.ends_with('.');
            !name.is_empty() && !host.is_empty() && !host.contains('@') && !ends
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ranked() {
        assert!(Role::Owner > Role::Editor && Role::Editor > Role::Viewer);
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!("admin".parse::<Role>(), Err(UnknownRole));
    }

    #[test]
    fn addresses() {
        for good in ["a@b.example", "jane.doe+x@shop.example", "ö@ü.example"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "@b.example",
            "a@.b",
            "a b@c.example",
            "a@b@c.example",
            "a@b.\u{0}example",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
