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
use crate::domain::faults::Fault;
use crate::domain::topic::Topic;
use crate::forwarding::listing::{Delivery, Filter, Ledger, Replay, Replayed, Span};
use crate::forwarding::platforms::Name;
use crate::forwarding::state::State as DeliveryState;
use crate::forwarding::{
    self, Changes, Tried, Unfit, Wanted as Asking, changed_destination, new_destination, read_base_url,
    read_topic, try_out,
};
use crate::platform::clock::MOMENTS;
use crate::platform::db;
use crate::platform::outbound::Reach;
use crate::platform::problem::Problem;
use crate::settings::{self, DestinationChange};

/// Whoever has a token, and not the machine, sends to public addresses alone.
const REACH: Reach = Reach::Public;

/// Which destinations are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct Listed {
    /// Those of this attribution ID alone.
    attribution_id: Option<Uuid>,
    /// Whether those that were taken away are listed, too.
    removed: bool,
}

/// Destinations of the property, oldest first
#[utoipa::path(get, path = "/destinations", tag = "Destinations", params(OfProperty, Listed, Wanted), responses((status = 200, body = Page<Destination>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    reader: Reader,
    Asked(listed): Asked<Listed>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Page<Destination>>, Problem> {
    let (limit, after) = (wanted.limit()?, wanted.after_id()?);
    let filter = store::Filter {
        property_id: reader.property_id,
        attribution_id: listed.attribution_id,
        removed: listed.removed,
        after,
        limit: i64::from(limit) + 1,
    };
    let read = async { store::list(&mut *api.pool.acquire().await?, &filter).await };
    let found = db::in_time(read).await.map_err(unavailable)?;
    Ok(Json(Page::of(found, limit, |one| [one.destination_id])))
}

/// A destination, one that was taken away too.
async fn ever_there(api: &Api, property_id: Uuid, destination_id: Uuid) -> Result<Destination, Problem> {
    let read = async {
        let mut conn = api.pool.acquire().await?;
        store::find(&mut conn, &[(property_id, destination_id)]).await
    };
    let found = db::in_time(read).await.map_err(unavailable)?.pop();
    found.ok_or_else(|| unknown("destination"))
}

/// A destination that is there.
async fn find(api: &Api, property_id: Uuid, destination_id: Uuid) -> Result<Destination, Problem> {
    let found = ever_there(api, property_id, destination_id).await?;
    match found.removed_at {
        None => Ok(found),
        Some(_) => Err(unknown("destination")),
    }
}

/// A destination, one that was taken away too
#[utoipa::path(get, path = "/destinations/{destination_id}", tag = "Destinations", params(("destination_id" = Uuid, Path), OfProperty), responses((status = 200, body = Destination)))]
pub async fn show(
    State(api): State<Arc<Api>>,
    reader: Reader,
    At(destination_id): At<Uuid>,
) -> Result<Json<Destination>, Problem> {
    ever_there(&api, reader.property_id, destination_id)
        .await
        .map(Json)
}

/// What a destination is made of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewDestination)]
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
    /// Where the platform is, in place of its own address: a public address, or one in the configuration's `forwarding.allowed_private_networks`.
    base_url: Option<String>,
    /// Topics sent, e.g. `purchase`, or `lead=enquiry` under a name of the platform's; all that it takes when left out.
    #[serde(default)]
    topics: Vec<String>,
    /// Which of the conversions that the visitor consented to are sent; `matched` when left out.
    #[schema(value_type = Option<Policy>)]
    policy: Option<String>,
}

fn read_topics(sent: &[String], faults: &mut Vec<Fault>) -> Topics {
    let mut topics = Topics::new();
    for (place, sent) in sent.iter().enumerate() {
        match read_topic(sent) {
            Ok((topic, name)) => drop(topics.insert(topic, name)),
            Err(message) => faults.push(fault(&format!("topics[{place}]"), "unknown_topic", message)),
        }
    }
    topics
}

fn read_url(sent: &str, faults: &mut Vec<Fault>) -> Option<Url> {
    read_base_url(sent)
        .map_err(|must| faults.push(fault("base_url", "not_a_url", must)))
        .ok()
}

fn read_policy(sent: &str, faults: &mut Vec<Fault>) -> Option<Policy> {
    sent.parse::<Policy>()
        .map_err(|unknown| faults.push(fault("policy", "unknown_policy", unknown.to_string())))
        .ok()
}

fn asking(new: New) -> Result<Asking, Problem> {
    let mut faults = Vec::new();
    check_name("name", &new.name, &mut faults);
    let platform = new.platform.parse::<Name>();
    if let Err(unknown) = &platform {
        faults.push(fault("platform", "unknown_platform", unknown.to_string()));
    }
    let policy = read_policy(new.policy.as_deref().unwrap_or("matched"), &mut faults);
    let topics = read_topics(&new.topics, &mut faults);
    let base_url = new.base_url.and_then(|sent| read_url(&sent, &mut faults));
    match (platform, policy, faults.is_empty()) {
        (Ok(platform), Some(policy), true) => Ok(Asking {
            platform,
            name: new.name,
            settings: new.settings.to_string().into(),
            base_url,
            topics,
            policy,
        }),
        _ => Err(invalid(faults)),
    }
}

fn unfit(unfit: Unfit) -> Problem {
    match unfit {
        Unfit::Faults(faults) => invalid(faults),
        Unfit::Seal(error) => Problem::internal().caused_by(error),
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
    let made = new_destination(
        stream.tenant(),
        asking,
        REACH,
        &api.sender,
        &api.sealer,
        &api.clock,
    );
    let made = made.map_err(unfit)?;
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    settings::create_destination(&mut conn, &writer.principal.actor(), &made, &api.clock)
        .await
        .map_err(unavailable)?;
    Ok(Created(made))
}

/// What is to be otherwise with a destination; what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = DestinationChange)]
pub struct Change {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// Ids and credentials at the platform: all of them, for those that were there are replaced. They are sealed, and never shown again. They
    /// hold from the next request on, also for what waits; a destination that is paused stays so.
    #[schema(value_type = Option<Object>)]
    settings: Option<Value>,
    /// Where the platform is, in place of its own address: a public address, or one in the configuration's `forwarding.allowed_private_networks`.
    /// Null: its own address.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    base_url: Option<Option<String>>,
    /// Topics sent, e.g. `purchase`, or `lead=enquiry` under a name of the platform's; none: all that it takes.
    topics: Option<Vec<String>>,
    /// Which of the conversions that the visitor consented to are sent.
    #[schema(value_type = Option<Policy>)]
    policy: Option<String>,
}

/// A null that was sent is something else than nothing.
fn given<'de, D: serde::Deserializer<'de>>(sent: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(sent).map(Some)
}

fn changing(change: Change) -> Result<Changes, Problem> {
    let mut faults = Vec::new();
    if let Some(name) = &change.name {
        check_name("name", name, &mut faults);
    }
    let changes = Changes {
        policy: change.policy.and_then(|policy| read_policy(&policy, &mut faults)),
        topics: change.topics.map(|topics| read_topics(&topics, &mut faults)),
        base_url: change
            .base_url
            .map(|sent| sent.and_then(|sent| read_url(&sent, &mut faults))),
        settings: change.settings.map(|settings| settings.to_string().into()),
        name: change.name,
    };
    match faults.is_empty() {
        true => Ok(changes),
        false => Err(invalid(faults)),
    }
}

/// Change a destination: its name, credentials, address, topics, policy
#[utoipa::path(patch, path = "/destinations/{destination_id}", tag = "Destinations", params(("destination_id" = Uuid, Path), OfProperty), request_body = Change, responses((status = 200, body = Destination)))]
pub async fn change(
    State(api): State<Arc<Api>>,
    writer: Writer,
    At(destination_id): At<Uuid>,
    Sent(change): Sent<Change>,
) -> Result<Json<Destination>, Problem> {
    let changes = changing(change)?;
    let before = find(&api, writer.property_id, destination_id).await?;
    let edit = changed_destination(&before, changes, REACH, &api.sender, &api.sealer).map_err(unfit)?;
    let mut conn = api.pool.acquire().await.map_err(unavailable)?;
    let (actor, property_id) = (writer.principal.actor(), writer.property_id);
    let edited = settings::edit_destination(&mut conn, &actor, property_id, destination_id, edit, &api.clock);
    let edited = edited.await.map_err(unavailable)?;
    edited.map(Json).ok_or_else(|| unknown("destination"))
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
#[schema(as = DestinationTrial)]
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

/// Of which conversions the books are.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct Within {
    /// Those that came in at or after.
    since: Option<DateTime<Utc>>,
    /// Those that came in before.
    until: Option<DateTime<Utc>>,
}

fn check_moments(since: Option<DateTime<Utc>>, until: Option<DateTime<Utc>>) -> Result<(), Problem> {
    let out_of_range = |at: &Option<DateTime<Utc>>| at.is_some_and(|at| !MOMENTS.contains(&at.timestamp()));
    let faults: Vec<Fault> = [("since", since), ("until", until)]
        .iter()
        .filter(|(_, at)| out_of_range(at))
        .map(|(field, _)| fault(field, "out_of_range", "must be in the years 1970 to 9999"))
        .collect();
    match faults.is_empty() {
        true => Ok(()),
        false => Err(invalid(faults)),
    }
}

/// The books of a destination, one that was taken away too: what it was promised against what became of it, for the newest 250,000 conversions of the property at most
#[utoipa::path(get, path = "/destinations/{destination_id}/ledger", tag = "Deliveries", params(("destination_id" = Uuid, Path), OfProperty, Within), responses((status = 200, body = Ledger)))]
pub async fn ledger(
    State(api): State<Arc<Api>>,
    reader: Reader,
    At(destination_id): At<Uuid>,
    Asked(within): Asked<Within>,
) -> Result<Json<Ledger>, Problem> {
    let Within { since, until } = within;
    check_moments(since, until)?;
    let destination = ever_there(&api, reader.property_id, destination_id).await?;
    let mut conn = reading(&api).await?;
    let books = forwarding::books(&mut conn, &destination, Span { since, until }).await;
    books.map(Json).map_err(unavailable)
}

/// Which deliveries are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// `queued`, `sent`, `accepted`, `processed`, `suppressed`, `expired` or `dead`; all when left out.
    #[param(value_type = Option<DeliveryState>)]
    state: Option<String>,
}

/// Deliveries to a destination, one that was taken away too, newest first
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
    let destination = ever_there(&api, reader.property_id, destination_id).await?;
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

/// Which deliveries are taken up again; all dead ones of the destination when everything is left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Replay)]
pub struct Again {
    /// Those that stand here: `dead` when left out.
    #[schema(value_type = Option<Replayed>)]
    state: Option<String>,
    /// Those alone with this code of the platform.
    #[schema(max_length = 200)]
    code: Option<String>,
    /// That came to stand there at or after.
    since: Option<DateTime<Utc>>,
    /// That came to stand there before.
    until: Option<DateTime<Utc>>,
    /// Count them only.
    dry_run: bool,
}

/// What a replay took up.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReplayResult)]
pub struct Done {
    /// Where they stood.
    state: Replayed,
    /// How many.
    count: i64,
    /// Whether they were only counted.
    dry_run: bool,
}

/// Send dead or expired deliveries again, or count them; what is past the platform's maximum age is left out
#[utoipa::path(post, path = "/destinations/{destination_id}/replay", tag = "Deliveries", params(("destination_id" = Uuid, Path), OfProperty), request_body = Again, responses((status = 200, body = Done)))]
pub async fn replay(
    State(api): State<Arc<Api>>,
    writer: Writer,
    At(destination_id): At<Uuid>,
    Sent(again): Sent<Again>,
) -> Result<Json<Done>, Problem> {
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
    let state = again.state.as_deref().map(str::parse::<Replayed>).transpose();
    let state = state.map_err(|bad| invalid(vec![fault("state", "unknown_state", bad.to_string())]))?;
    check_moments(again.since, again.until)?;
    let destination = find(&api, writer.property_id, destination_id).await?;
    let which = Replay {
        state: state.unwrap_or_default(),
        code: again.code,
        since: again.since,
        until: again.until,
    };
    let mut conn = reading(&api).await?;
    let count = match again.dry_run {
        true => forwarding::count_replay(&mut conn, &destination, &which, api.clock.now()).await,
        false => {
            let actor = writer.principal.actor();
            forwarding::replay(&mut conn, &actor, &destination, &which, &api.clock).await
        }
    };
    Ok(Json(Done {
        state: which.state,
        count: count.map_err(unavailable)?,
        dry_run: again.dry_run,
    }))
}
