//! `trustdata delivery`

use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::args::{DeliveryCommand, ReplayState};
use super::output::{self, Row, time, time_or_dash};
use super::{CliError, connect_current, destination};
use crate::domain::tenant::Tenant;
use crate::forwarding::listing::{Delivery, Filter, Ledger, Replay};
use crate::forwarding::{self, store};
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::platform::secrets::{Sealer, key_of_database};
use crate::streams;

impl Row for Delivery {
    const HEAD: &'static [&'static str] = &[
        "id",
        "conversion_id",
        "topic",
        "destination",
        "platform",
        "state",
        "reason",
        "attempts",
        "created_at",
        "settled_at",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.conversion_id.clone(),
            self.topic.clone(),
            self.destination.clone(),
            self.platform.clone(),
            self.state.clone(),
            self.reason.clone().unwrap_or_else(|| "-".to_owned()),
            self.attempts.to_string(),
            time(self.created_at),
            time_or_dash(self.settled_at),
        ]
    }
}

impl Row for Ledger {
    const HEAD: &'static [&'static str] = &[
        "destination_id",
        "destination",
        "platform",
        "queued",
        "sent",
        "accepted",
        "processed",
        "suppressed",
        "expired",
        "dead",
        "total",
    ];

    fn cells(&self) -> Vec<String> {
        let counts = [
            self.queued,
            self.sent,
            self.accepted,
            self.processed,
            self.suppressed,
            self.expired,
            self.dead,
            self.total,
        ];
        let names = [
            self.destination_id.to_string(),
            self.destination.clone(),
            self.platform.clone(),
        ];
        names
            .into_iter()
            .chain(counts.map(|count| count.to_string()))
            .collect()
    }
}

/// What a replay did, or would do.
#[derive(Serialize)]
struct Replayed {
    destination_id: Uuid,
    count: i64,
    dry_run: bool,
}

impl Row for Replayed {
    const HEAD: &'static [&'static str] = &["destination_id", "count", "dry_run"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.destination_id.to_string(),
            self.count.to_string(),
            self.dry_run.to_string(),
        ]
    }
}

/// Does one of the delivery commands.
pub(super) async fn run(config: &Config, command: DeliveryCommand) -> Result<(), CliError> {
    let mut conn = connect_current(config).await?;
    match command {
        DeliveryCommand::List {
            attribution_id,
            state,
            conversion,
            destination,
            limit,
            output,
        } => {
            let tenants = tenants(&mut conn, attribution_id).await?;
            let deliveries = match conversion {
                Some(id) => {
                    let of_database = key_of_database(&mut conn, Clock::system().now()).await?;
                    let sealer = Sealer::new(&config.secrets, Some(of_database))?;
                    let mut all = store::of_conversion(&mut conn, &tenants, &id).await?;
                    all.iter_mut().for_each(|delivery| delivery.open(&sealer));
                    let wanted = |delivery: &Delivery| {
                        state.is_none_or(|state| delivery.state == state.as_str())
                            && destination.is_none_or(|id| delivery.destination_id == id)
                    };
                    all.into_iter().filter(wanted).collect()
                }
                None => {
                    let filter = Filter {
                        state,
                        destination_id: destination,
                        before: None,
                        limit,
                    };
                    store::list(&mut conn, &tenants, &filter).await?
                }
            };
            output::list(output.form(), &deliveries)
        }
        DeliveryCommand::Ledger {
            attribution_id,
            output,
        } => {
            let mut books = Vec::new();
            for tenant in tenants(&mut conn, attribution_id).await? {
                books.extend(store::ledger(&mut conn, tenant).await?);
            }
            output::list(output.form(), &books)
        }
        DeliveryCommand::Replay {
            state: ReplayState::Dead,
            destination,
            code,
            since,
            until,
            dry_run,
            output,
        } => {
            let property_id = destination::property_of(&mut conn, destination).await?;
            let replay = Replay { code, since, until };
            let count = match dry_run {
                true => store::count_dead(&mut conn, property_id, destination, &replay).await?,
                false => {
                    let now = Clock::system().now();
                    forwarding::replay(&mut conn, property_id, destination, &replay, now).await?
                }
            };
            output::one(
                output.form(),
                &Replayed {
                    destination_id: destination,
                    count,
                    dry_run,
                },
            )
        }
    }
}

/// The streams that a command is about: one, or all.
async fn tenants(conn: &mut PgConnection, attribution_id: Option<Uuid>) -> Result<Vec<Tenant>, CliError> {
    let streams = streams::store::list_streams(conn).await?;
    Ok(streams
        .iter()
        .filter(|stream| attribution_id.is_none_or(|id| stream.attribution_id == id))
        .map(streams::Stream::tenant)
        .collect())
}
