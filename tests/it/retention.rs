//! Old activity goes, in every stream.

use std::time::Duration;

use sqlx::PgPool;

use crate::support::TestApp;

/// More streams than a page has, and one whose rows cannot be deleted.
#[sqlx::test]
async fn all_streams_are_swept_past_one_that_fails(pool: PgPool) {
    for statement in [
        "insert into properties values ('00000000-0000-7000-8000-000000000000', 'p', now())",
        "insert into streams (attribution_id, property_id, name, created_at)
         select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, '00000000-0000-7000-8000-000000000000', 's', now()
         from generate_series(1, 1100) n",
        "insert into activity (property_id, attribution_id, activity_id, at, status, topic, http_status)
         select property_id, attribution_id, '00000000-0000-7000-8000-000000000000', 'epoch', 'success', 'lead', 200 from streams",
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$",
        "create trigger refuse before delete on activity for each row
         when (old.attribution_id = '00000000-0000-7000-8000-000000000007') execute function refuse()",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    let app = TestApp::start(pool).await;
    for _ in 0..300 {
        if app.count("activity").await == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} rows are left", app.count("activity").await);
}
