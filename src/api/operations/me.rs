//! Who asks.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::extract::Json;
use crate::api::principal::{Anybody, Principal};

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// `token` or `user`.
    kind: &'static str,
    /// The token's name, or the user's email address.
    name: String,
    /// `read`, `write`; `viewer`, `editor`, `owner`.
    role: String,
    /// The one property that a token opens.
    property_id: Option<Uuid>,
}

/// Who asks
#[utoipa::path(get, path = "/me", tag = "Access", responses((status = 200, body = Me)))]
pub async fn show(Anybody(principal): Anybody) -> Json<Me> {
    Json(match principal {
        Principal::Token(token) => Me {
            kind: "token",
            name: token.name,
            role: token.scope.to_string(),
            property_id: Some(token.property_id),
        },
        Principal::User(user) => Me {
            kind: "user",
            name: user.email,
            role: user.role.to_string(),
            property_id: None,
        },
    })
}
