//! What surrounds every page: navigation, the property, who is signed in.

use uuid::Uuid;

use super::failure::Failure;
use super::guard::Session;
use super::show::Plain;
use super::{Dashboard, assets};
use crate::platform::db;
use crate::streams::{self, Property};
use crate::users::Role;

/// A place in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// How things stand.
    Overview,
    /// Conversions.
    Conversions,
    /// Campaigns.
    Campaigns,
    /// Destinations.
    Destinations,
    /// Attribution IDs and what belongs to each.
    AttributionIds,
    /// Who changed what.
    Log,
    /// Users.
    Users,
    /// One's own account.
    Account,
}

/// A link of the navigation.
pub struct Link {
    /// Where to.
    pub path: String,
    /// What it says.
    pub label: &'static str,
    /// Whether this is the page.
    pub current: bool,
}

/// What surrounds a page.
pub struct Frame {
    /// Files.
    pub plain: Plain,
    /// Scripts, in order.
    pub scripts: [String; 3],
    /// Who is signed in.
    pub email: String,
    /// What that user may do.
    pub role: Role,
    /// What every form carries.
    pub csrf: String,
    /// The property that the page is about, or else the one that was looked at last, or the first one.
    pub property: Option<Property>,
    /// All of them.
    pub properties: Vec<Property>,
    /// The navigation.
    pub links: Vec<Link>,
    /// What was just done.
    pub said: Option<&'static str>,
}

impl Frame {
    /// The frame of a page; not found where there is no such property.
    pub async fn new(
        dashboard: &Dashboard,
        session: &Session,
        property_id: Option<Uuid>,
        place: Place,
    ) -> Result<Self, Failure> {
        let read = async { streams::store::list_properties(&mut *dashboard.pool.acquire().await?).await };
        let properties = db::in_time(read).await?;
        let property = match property_id {
            Some(id) => Some(
                properties
                    .iter()
                    .find(|property| property.property_id == id)
                    .ok_or(Failure::NotFound)?,
            ),
            None => properties
                .iter()
                .find(|property| session.property == Some(property.property_id))
                .or(properties.first()),
        };
        let property = property.cloned();
        Ok(Self {
            plain: Plain::new(),
            scripts: ["htmx.js", "sse.js", "dashboard.js"].map(assets::path),
            email: session.user.email.clone(),
            role: session.user.role,
            csrf: session.token.form_token(),
            links: links(property.as_ref(), session.user.role, place),
            property,
            properties,
            said: None,
        })
    }

    /// Whether settings can be changed by whoever looks.
    pub fn may_edit(&self) -> bool {
        self.role >= Role::Editor
    }

    /// With what was just done, told by a word of the query.
    pub fn saying(mut self, word: Option<&str>) -> Self {
        self.said = word.and_then(said);
        self
    }
}

fn links(property: Option<&Property>, role: Role, place: Place) -> Vec<Link> {
    let mut links = Vec::new();
    let mut add = |path: String, label, of: Place| {
        links.push(Link {
            path,
            label,
            current: of == place,
        });
    };
    if let Some(property) = property {
        let of_property = |page: &str| format!("/dashboard/properties/{}/{page}", property.property_id);
        add(of_property("overview"), "Overview", Place::Overview);
        add(of_property("conversions"), "Conversions", Place::Conversions);
        add(of_property("campaigns"), "Campaigns", Place::Campaigns);
        add(of_property("destinations"), "Destinations", Place::Destinations);
        add(
            of_property("attribution-ids"),
            "Attribution IDs",
            Place::AttributionIds,
        );
        add(of_property("log"), "Settings log", Place::Log);
    }
    if role >= Role::Owner {
        add("/dashboard/users".to_owned(), "Users", Place::Users);
    }
    links
}

/// What was done, by the word that a redirect carries: only our own words are shown.
fn said(word: &str) -> Option<&'static str> {
    Some(match word {
        "enabled" => "Webhooks are enabled.",
        "disabled" => "Webhooks are disabled: requests are refused from now on.",
        "revoked" => "The key is revoked: requests with it are refused from now on.",
        "limit" => "The rate limit is changed, and holds at once.",
        "renamed" => "The name is changed.",
        "lookback" => "The lookback is changed, for conversions from now on.",
        "created" => "It is made.",
        "changed" => "It is changed, and holds at once.",
        "password" => "The password is changed, and every other device is signed out.",
        "role" => "The role is changed.",
        "removed" => "It is removed.",
        "replayed" => "They are queued again.",
        "paused" => "Nothing is sent to it until it goes on. Deliveries are kept.",
        "resumed" => "It goes on, with what was kept.",
        _ => return None,
    })
}
