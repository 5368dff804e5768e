//! Destinations, and what became of conversions there.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{reading, stream};
use crate::api::Api;
use crate::api::extract::{Asked, At, Created, Json, Sent, check_name, fault, invalid};
use crate::api::page::{Page, Wanted};
use crate::api::principal::{OfProperty, Reader, Writer, unavailable, unknown};
use crate::destinations::{Destination, Policy, Topics, store};
use crate::domain::topic::Topic;
use crate::forwarding::listing::{Delivery, Filter, Ledger, Replay};
use crate::forwarding::platforms::Name;
use crate::forwarding::state::State as DeliveryState;
use crate::forwarding::{self, Tried, Unfit, Wanted as Asking, new_destination, read_topic, try_out};
use crate::platform::db;
use crate::platform::problem::Problem;
use crate::settings::{self, DestinationChange};

/// Destinations of the property
#[utoipa::path(get, path = "/destinations", tag = "Destinations", params(OfProperty), responses((status = 200, body = Page<Destination>)))]
pub async fn list(State(api): State<Arc<Api>>, reader: Reader) -> Result<Json<Page<Destination>>, Problem> {
    let read = async { store::of_property(&mut *api.pool.acquire().await?, reader.property_id).await };
    let data = db::in_time(read).await.map_err(unavailable)?;
    Ok(Json(Page {
        data,
        next_cursor: None,
    }))
}

async fn find(api: &Api, property_id: Uuid, destination_id: Uuid) -> Result<Destination, Problem> {
    let read = async {
        let mut conn = api.pool.acquire().await?;
        store::find(&mut conn, &[(property_id, destination_id)]).await
    };
    let found = db::in_time(read).await.map_err(unavailable)?.pop();
    found
        .filter(|one| one.removed_at.is_none())
        .ok_or_else(|| unknown("destination"))
}

/// A destination
#[utoipa::path(get, path = "/destinations/{destination_id}", tag = "Destinations", params(("destination_id" = Uuid, Path), OfProperty), responses((status = 200, body = Destination)))]
pub async fn show(
    State(api): State<Arc<Api>>,
    reader: Reader,
    At(destination_id): At<Uuid>,
) -> Result<Json<Destination>, Problem> {
    find(&api, reader.property_id, destination_id).await.map(Json)
}

/// What a destination is made of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct New {
    /// Whose conversions it gets.
    attribution_id: Uuid,
    /// `meta`, `google_data_manager`, `tiktok`, `ga4`, `microsoft`, `linkedin`, `pinterest`, `snapchat`, `reddit` or `webhook`.
    platform: String,
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Ids and credentials at the platform. They are sealed, and never shown again.
    #[schema(value_type = Object)]
    settings: Value,
    /// Where the platform is, in place of its own address.
    base_url: Option<String>,
    /// Topics sent, e.g. `purchase`, or `lead=enquiry` under a name of the platform's; all that it takes when left out.
    #[serde(default)]
    topics: Vec<String>,
    /// Which of the conversions that the visitor consented to are sent; `matched` when left out.
    #[schema(value_type = Option<Policy>)]
    policy: Option<String>,
}

fn asking(new: New) -> Result<Asking, Problem> {
    let mut faults = Vec::new();
    check_name("name", &new.name, &mut faults);
    let platform = new.platform.parse::<Name>();
    if let Err(unknown) = &platform {
        faults.push(fault("platform", "unknown_platform", unknown.to_string()));
    }
    let policy = new.policy.as_deref().unwrap_or("matched").parse::<Policy>();
    if let Err(unknown) = &policy {
        faults.push(fault("policy", "unknown_policy", unknown.to_string()));
    }
    let mut topics = Topics::new();
    for (place, sent) in new.topics.iter().enumerate() {
        match read_topic(sent) {
            Ok((topic, name)) => drop(topics.insert(topic, name)),
            Err(message) => faults.push(fault(&format!("topics[{place}]"), "unknown_topic", message)),
        }
    }
    let base_url = new.base_url.map(|text| Url::parse(&text).ok());
    let fits =
        |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
    if base_url
        .as_ref()
        .is_some_and(|url| !url.as_ref().is_some_and(fits))
    {
        let message = "must be an http or https URL without a query";
        faults.push(fault("base_url", "not_a_url", message));
    }
    match (platform, policy, faults.is_empty()) {
        (Ok(platform), Ok(policy), true) => Ok(Asking {
            platform,
            name: new.name,
            settings: new.settings.to_string().into(),
            base_url: base_url.flatten(),
            topics,
            policy,
        }),
        _ => Err(invalid(faults)),
    }
}

/// Add a destination
#[utoipa::path(post, path = "/destinations", tag = "Destinations", params(OfProperty), request_body = New, responses((status = 201, body = Destination)))]
pub async fn create(
    State(api): State<Arc<Api>>,
    writer: Writer,
    Sent(new): Sent<New>,
) -> Result<Created<Destination>, Problem> {
    let attribution_id = new.attribution_id;
    let asking = asking(new)?;
    let stream = stream(&api, writer.property_id, attribution_id).await?;
    let made = new_destination(stream.tenant(), asking, &api.sealer, &api.clock);
    let made = made.map_err(|unfit| match unfit {
        Unfit::Settings(mut faults) => {
            for fault in &mut faults {
                fault.field = format!("settings.{}", fault.field);
            }
            invalid(faults)
        }
        Unfit::Seal(error) => Problem::internal().caused_by(error),
    })?;
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    settings::create_destination(&mut conn, &writer.principal.actor(), &made, &api.clock)
        .await
        .map_err(unavailable)?;
    Ok(Created(made))
}

async fn changed(
    api: &Api,
    writer: &Writer,
    destination_id: Uuid,
    change: DestinationChange,
) -> Result<Json<Destination>, Problem> {
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    let (actor, property_id) = (writer.principal.actor(), writer.property_id);
    let changed =
        settings::change_destination(&mut conn, &actor, property_id, destination_id, change, &api.clock)
            .await
            .map_err(unavailable)?;
    changed.map(Json).ok_or_else(|| unknown("destination"))
}

/// Send nothing to a destination until it is resumed; deliveries are kept
#[utoipa::path(post, path = "/destinations/{destination_id}/pause", tag = "Destinations", params(("destination_id" = Uuid, Path), OfProperty), responses((status = 200, body = Destination)))]
pub async fn pause(
    State(api): State<Arc<Api>>,
    writer: Writer,
    At(destination_id): At<Uuid>,
) -> Result<Json<Destination>, Problem> {
    changed(&api, &writer, destination_id, DestinationChange::Pause).await
}

/// Go on with a paused destination
#[utoipa::path(post, path = "/destinations/{destination_id}/resume", tag = "Destinations", params(("destination_id" = Uuid, Path), OfProperty), responses((status = 200, body = Destination)))]
pub async fn resume(
    State(api): State<Arc<Api>>,
    writer: Writer,
    At(destination_id): At<Uuid>,
) -> Result<Json<Destination>, Problem> {
    changed(&api, &writer, destination_id, DestinationChange::Resume).await
}

/// Take a destination away, with its credentials: as it was
#[utoipa::path(delete, path = "/destinations/{destination_id}", tag = "Destinations", params(("destination_id" = Uuid, Path), OfProperty), responses((status = 200, body = Destination)))]
pub async fn remove(
    State(api): State<Arc<Api>>,
    writer: Writer,
    At(destination_id): At<Uuid>,
) -> Result<Json<Destination>, Problem> {
    changed(&api, &writer, destination_id, DestinationChange::Remove).await
}

/// What a destination is tried out with.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Trial {
    /// What the made-up event is: `purchase` when left out, `lead`, `signup`, `refund`, `subscription` or `custom`.
    topic: Option<String>,
    /// Code of the platform's test tool, for those that want one: Meta, TikTok, Reddit.
    #[schema(max_length = 200)]
    code: Option<String>,
}

/// Send a made-up event in the platform's own validation or test mode; nothing is counted
#[utoipa::path(post, path = "/destinations/{destination_id}/test", tag = "Destinations", params(("destination_id" = Uuid, Path), OfProperty), request_body = Trial, responses((status = 200, body = Tried)))]
pub async fn test(
    State(api): State<Arc<Api>>,
    writer: Writer,
    At(destination_id): At<Uuid>,
    Sent(trial): Sent<Trial>,
) -> Result<Json<Tried>, Problem> {
    let topic = trial.topic.as_deref().unwrap_or("purchase").parse::<Topic>();
    let topic = topic.map_err(|bad| invalid(vec![fault("topic", "unknown_topic", bad.to_string())]))?;
    let code = trial.code.as_deref();
    if code.is_some_and(|code| code.is_empty() || code.len() > 200) {
        return Err(invalid(vec![fault(
            "code",
            "bad_text",
            "must have 1 to 200 bytes",
        )]));
    }
    let destination = find(&api, writer.property_id, destination_id).await?;
    let tried = try_out(
        destination,
        topic,
        code,
        &api.sender,
        &api.sealer,
        api.clock.now(),
    )
    .await;
    tried.map(Json).map_err(|not| {
        Problem::new(
            StatusCode::CONFLICT,
            "not_tried",
            "Not tried",
            format!("Nothing was sent: {not}."),
        )
    })
}

/// The books of a destination: what each state holds; together they are all conversions that it was to get
#[utoipa::path(get, path = "/destinations/{destination_id}/ledger", tag = "Deliveries", params(("destination_id" = Uuid, Path), OfProperty), responses((status = 200, body = Ledger)))]
pub async fn ledger(
    State(api): State<Arc<Api>>,
    reader: Reader,
    At(destination_id): At<Uuid>,
) -> Result<Json<Ledger>, Problem> {
    let destination = find(&api, reader.property_id, destination_id).await?;
    let mut conn = reading(&api).await?;
    let books = forwarding::store::ledger(&mut conn, destination.tenant())
        .await
        .map_err(unavailable)?;
    let own = books
        .into_iter()
        .find(|books| books.destination_id == destination_id);
    own.map(Json).ok_or_else(|| unknown("destination"))
}

/// Which deliveries are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// `queued`, `sent`, `accepted`, `processed`, `suppressed`, `expired` or `dead`; all when left out.
    #[param(value_type = Option<DeliveryState>)]
    state: Option<String>,
}

/// Deliveries to a destination, newest first
#[utoipa::path(get, path = "/destinations/{destination_id}/deliveries", tag = "Deliveries", params(("destination_id" = Uuid, Path), OfProperty, Which, Wanted), responses((status = 200, body = Page<Delivery>)))]
pub async fn deliveries(
    State(api): State<Arc<Api>>,
    reader: Reader,
    At(destination_id): At<Uuid>,
    Asked(which): Asked<Which>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Page<Delivery>>, Problem> {
    let (limit, after) = (wanted.limit()?, wanted.after::<2>()?);
    let state = which
        .state
        .map(|state| state.parse::<DeliveryState>())
        .transpose();
    let state = state.map_err(|bad| invalid(vec![fault("state", "unknown_state", bad.to_string())]))?;
    let destination = find(&api, reader.property_id, destination_id).await?;
    let filter = Filter {
        state,
        destination_id: Some(destination_id),
        before: after.map(|[at, event_id]| (moment(at), event_id, destination_id)),
        limit: i64::from(limit) + 1,
    };
    let mut conn = reading(&api).await?;
    let found = forwarding::store::list(&mut conn, &[destination.tenant()], &filter)
        .await
        .map_err(unavailable)?;
    Ok(Json(Page::of(found, limit, |one| {
        [as_id(one.created_at), one.event_id]
    })))
}

/// A moment, to the microsecond, in the form of an id.
fn as_id(at: DateTime<Utc>) -> Uuid {
    Uuid::from_u128(u128::from(at.timestamp_micros().unsigned_abs()))
}

fn moment(id: Uuid) -> DateTime<Utc> {
    let micros = i64::try_from(id.as_u128()).unwrap_or(0);
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// Which dead deliveries are taken up again; all of the destination when everything is left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Again {
    /// Those alone that died with this code.
    #[schema(max_length = 200)]
    code: Option<String>,
    /// Planned at or after.
    since: Option<DateTime<Utc>>,
    /// Planned before.
    until: Option<DateTime<Utc>>,
    /// Count them only.
    dry_run: bool,
}

/// What a replay took up.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replayed {
    /// How many.
    count: i64,
    /// Whether they were only counted.
    dry_run: bool,
}

/// Send dead deliveries again, or count them
#[utoipa::path(post, path = "/destinations/{destination_id}/replay", tag = "Deliveries", params(("destination_id" = Uuid, Path), OfProperty), request_body = Again, responses((status = 200, body = Replayed)))]
pub async fn replay(
    State(api): State<Arc<Api>>,
    writer: Writer,
    At(destination_id): At<Uuid>,
    Sent(again): Sent<Again>,
) -> Result<Json<Replayed>, Problem> {
    if again
        .code
        .as_ref()
        .is_some_and(|code| code.len() > 200 || code.contains('\0'))
    {
        return Err(invalid(vec![fault(
            "code",
            "bad_text",
            "must have at most 200 bytes, and no NUL",
        )]));
    }
    for (field, at) in [("since", again.since), ("until", again.until)] {
        // Postgres knows other times than we do.
        if at.is_some_and(|at| !(0..=253_402_300_799).contains(&at.timestamp())) {
            return Err(invalid(vec![fault(
                field,
                "out_of_range",
                "must be in the years 1970 to 9999",
            )]));
        }
    }
    find(&api, writer.property_id, destination_id).await?;
    let which = Replay {
        code: again.code,
        since: again.since,
        until: again.until,
    };
    let mut conn = reading(&api).await?;
    let count = match again.dry_run {
        true => forwarding::store::count_dead(&mut conn, writer.property_id, destination_id, &which).await,
        false => {
            let now = api.clock.now();
            forwarding::replay(&mut conn, writer.property_id, destination_id, &which, now).await
        }
    };
    Ok(Json(Replayed {
        count: count.map_err(unavailable)?,
        dry_run: again.dry_run,
    }))
}
