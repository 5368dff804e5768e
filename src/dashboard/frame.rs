//! What surrounds every page: navigation, the property, who is signed in.

use uuid::Uuid;

use super::failure::Failure;
use super::guard::Session;
use super::show::Plain;
use super::{Dashboard, assets};
use crate::platform::db;
use crate::streams::{Property, store};
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
    /// API tokens.
    ApiTokens,
    /// The property's own settings.
    Property,
    /// Who changed what.
    Log,
    /// Users.
    Users,
    /// One's own account.
    Account,
    /// All properties.
    Properties,
}

/// Properties that the navigation offers; all of them have a page.
const MOST_PROPERTIES: i64 = 20;

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
    /// The first of them, to choose from.
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
        // A page of no property keeps the navigation of the one that was looked at last.
        let wanted = property_id.or(session.property);
        let read = async {
            let mut conn = dashboard.pool.acquire().await?;
            let properties = store::properties_after(&mut conn, None, MOST_PROPERTIES).await?;
            let listed = properties
                .iter()
                .find(|property| wanted == Some(property.property_id));
            let property = match (listed, wanted) {
                (None, Some(id)) => store::find_property(&mut conn, id).await?,
                (listed, _) => listed.cloned(),
            };
            Ok((properties, property))
        };
        let (properties, property) = db::in_time(read).await?;
        if property_id.is_some() && property.is_none() {
            return Err(Failure::NotFound);
        }
        let property = property.or_else(|| properties.first().cloned());
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
        add(of_property("api-tokens"), "API tokens", Place::ApiTokens);
        add(of_property("settings"), "Property", Place::Property);
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
        "made_before" => {
            "It was made already, and its secret is not shown again. If nobody copied it, revoke it and make another."
        }
        "token_revoked" => "The token is revoked: requests with it are refused from now on.",
        "consent_granted" => "Unknown consent counts as granted from now on.",
        "consent_unknown" => "Nothing is sent from now on where consent is unknown.",
        "limit" => "The rate limit is changed, and holds at once.",
        "retention" => "It is kept so long from now on. What is past its time goes within an hour.",
        "renamed" => "The name is changed.",
        "lookback" => "The lookback is changed, for conversions from now on.",
        "created" => "It is made.",
        "changed" => "It is changed, and holds at once.",
        "password" => "The password is changed, and every other device is signed out.",
        "role" => "The role is changed. A password link that was open holds no more.",
        "removed" => "It is removed.",
        "replayed" => "They are queued again.",
        "paused" => "Nothing is sent to it until it goes on. Deliveries are kept.",
        "resumed" => "It goes on, with what was kept.",
        _ => return None,
    })
}
