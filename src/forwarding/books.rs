//! The books: what destinations were promised, against what became of it.

use sqlx::PgConnection;

use super::listing::{Ledger, Span};
use super::store;
use crate::destinations::Destination;

/// Conversions of a property that are looked at for one destination's books: some seconds' worth.
const MOST: i64 = 250_000;

/// The books of a destination, one that was taken away too, of the conversions that came in within a span.
pub async fn books(
    conn: &mut PgConnection,
    destination: &Destination,
    span: Span,
) -> Result<Ledger, sqlx::Error> {
    store::ledger(conn, destination, span, MOST).await
}
