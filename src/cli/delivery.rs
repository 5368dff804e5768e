//! `trustdata delivery`

use std::process::ExitCode;

use serde::Serialize;
use uuid::Uuid;

use super::args::DeliveryCommand;
use super::output::{self, Row, time, time_or_dash};
use super::{CliError, connect_current, destination, stream};
use crate::audit::Actor;
use crate::destinations;
use crate::forwarding::listing::{Delivery, Filter, Ledger, Replay, Replayed, Span};
use crate::forwarding::{self, store};
use crate::platform::clock::Clock;
use crate::platform::config::Config;
use crate::platform::secrets::{Sealer, key_of_database};

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
        "to_be_planned",
        "total",
        "promised",
        "balanced",
        "complete",
        "since",
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
            self.to_be_planned,
            self.total,
            self.promised,
        ];
        let balanced = match self.difference {
            0 => "yes".to_owned(),
            difference => format!("no: {difference}"),
        };
        let complete = if self.complete { "yes" } else { "no" };
        let names = [
            self.destination_id.to_string(),
            self.destination.clone(),
            self.platform.clone(),
        ];
        names
            .into_iter()
            .chain(counts.map(|count| count.to_string()))
            .chain([balanced, complete.to_owned(), time_or_dash(self.since)])
            .collect()
    }
}

/// What a replay did, or would do.
#[derive(Serialize)]
struct Done {
    destination_id: Uuid,
    state: Replayed,
    count: i64,
    dry_run: bool,
}

impl Row for Done {
    const HEAD: &'static [&'static str] = &["destination_id", "state", "count", "dry_run"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.destination_id.to_string(),
            self.state.to_string(),
            self.count.to_string(),
            self.dry_run.to_string(),
        ]
    }
}

/// Does one of the delivery commands.
pub(super) async fn run(config: &Config, command: DeliveryCommand) -> Result<ExitCode, CliError> {
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
            let tenants = stream::tenants(&mut conn, attribution_id).await?;
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
            output::list(output.form(), &deliveries)?;
            Ok(ExitCode::SUCCESS)
        }
        DeliveryCommand::Ledger {
            attribution_id,
            destination,
            since,
            until,
            output,
        } => {
            let mut destinations = Vec::new();
            if let Some(id) = destination {
                destinations.push(destination::ever_there(&mut conn, id).await?);
            } else {
                for tenant in stream::tenants(&mut conn, attribution_id).await? {
                    let stream = Some(tenant.attribution_id);
                    destinations
                        .extend(destinations::store::all(&mut conn, tenant.property_id, stream, true).await?);
                }
            }
            let mut books = Vec::new();
            for destination in &destinations {
                books.push(forwarding::books(&mut conn, destination, Span { since, until }).await?);
            }
            output::list(output.form(), &books)?;
            Ok(match books.iter().all(|books| books.balanced) {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            })
        }
        DeliveryCommand::Replay {
            state,
            destination,
            code,
            since,
            until,
            dry_run,
            output,
        } => {
            let destination = destination::found(&mut conn, destination).await?;
            let which = Replay {
                state,
                code,
                since,
                until,
            };
            let clock = Clock::system();
            let count = match dry_run {
                true => forwarding::count_replay(&mut conn, &destination, &which, clock.now()).await?,
                false => {
                    forwarding::replay(&mut conn, &Actor::CommandLine, &destination, &which, &clock).await?
                }
            };
            let done = Done {
                destination_id: destination.destination_id,
                state,
                count,
                dry_run,
            };
            output::one(output.form(), &done)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
