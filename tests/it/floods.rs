//! What strangers send in masses is counted, and starves nobody.

use std::time::Duration;

use sqlx::PgPool;
use trustdata::activity::{self, Entry, Status};
use trustdata::platform::clock::id_at;
use uuid::Uuid;

use crate::support::{Answer, TestApp, now, purchase};

fn refused(stream: u128) -> Entry {
    Entry {
        property_id: Uuid::from_u128(1),
        attribution_id: Uuid::from_u128(stream),
        activity_id: id_at(now(), &rand::random()),
        at: now(),
        status: Status::AuthError,
        topic: "lead".to_owned(),
        http_status: 401,
        code: Some("invalid_key"),
        detail: None,
        key: None,
        session_matched: None,
        duplicate: false,
        differs: None,
        dry_run: false,
        conversion_id: None,
        event_id: None,
        accepted: 0,
        rejected: 0,
        requests: 1,
    }
}

/// More at once than the queue holds, and the same counts on both.
#[sqlx::test]
async fn two_instances_count_every_refusal_of_a_flood(pool: PgPool) {
    for round in 0..3 {
        let mut instances = Vec::new();
        for _ in 0..2 {
            let (filer, writing) = activity::start_filer(pool.clone(), 1);
            for place in 0..6000 {
                filer.file(refused(1000 * round + place % 300));
            }
            instances.push((filer, tokio::spawn(writing)));
        }
        for (filer, writing) in instances {
            drop(filer);
            writing.await.unwrap();
        }
    }
    let (requests, rows): (i64, i64) = sqlx::query_as("select sum(requests), count(*) from activity")
        .fetch_one(&pool)
        .await
        .unwrap();
    // A row of its own for each stream, on each instance, and the count.
    assert_eq!((requests, rows), (3 * 2 * 6000, 3 * 300 * 3));
}

/// Counts are added in one order everywhere: who waits for the first one holds none of the others.
#[sqlx::test]
async fn counts_are_written_in_order(pool: PgPool) {
    let (filer, writing) = activity::start_filer(pool.clone(), 0);
    let writing = tokio::spawn(writing);
    let file_all = || (0..50).for_each(|stream| filer.file(refused(stream)));
    let counted = async || {
        let sum = sqlx::query_scalar::<_, i64>("select coalesce(sum(requests), 0) from activity");
        sum.fetch_one(&pool).await.unwrap()
    };
    file_all();
    while counted().await < 50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut other = pool.begin().await.unwrap();
    let mut touch = async |statement: &'static str| {
        let touched = sqlx::query(statement).execute(&mut *other).await;
        touched.expect("nobody holds these rows")
    };
    touch("set local lock_timeout = '300ms'").await;
    touch("update activity set topic = 'a' where attribution_id = '00000000-0000-0000-0000-000000000000'")
        .await;
    file_all();
    tokio::time::sleep(Duration::from_millis(1000)).await;
    touch("update activity set topic = 'a'").await;
    other.commit().await.unwrap();
    drop(filer);
    writing.await.unwrap();
    assert_eq!(counted().await, 100);
}

#[sqlx::test]
async fn an_anonymous_flood_does_not_hide_the_merchants_own_errors(pool: PgPool) {
    let app = TestApp::start_with(pool, |config| config.activity.refused_per_minute = 3).await;
    for _ in 0..10 {
        Answer::of(app.http.post(app.webhook("lead")).body("{}")).await;
    }
    assert_eq!(
        app.send("lead", &serde_json::json!({ "value": 1 })).await.status,
        422
    );
    let rows = app.activity(5).await;
    assert_eq!(
        rows.iter()
            .filter(|row| row["status"] == "validation_error")
            .count(),
        1
    );
}

#[sqlx::test]
async fn made_up_attribution_ids_do_not_take_all_connections(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    // Look-ups hang, as they do on a database that is busy.
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("lock table streams in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let strangers: Vec<_> = (0..20)
        .map(|_| {
            let url = app.url(&format!("/webhooks/custom/{}/lead", Uuid::new_v4()));
            let request = app.http.post(url).body("{}");
            tokio::spawn(Answer::of(request))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(Answer::of(app.http.get(app.url("/readyz"))).await.status, 200);
    while strangers.iter().filter(|stranger| stranger.is_finished()).count() < 18 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    lock.rollback().await.unwrap();
    let mut told_to_wait = 0;
    for stranger in strangers {
        let answer = stranger.await.unwrap();
        match answer.status.as_u16() {
            404 => {}
            503 => told_to_wait += 1,
            other => panic!("{other}"),
        }
    }
    assert!(told_to_wait >= 18, "{told_to_wait} of those without a connection");
    assert_eq!(app.send("lead", &purchase("1")).await.status, 200);
}
