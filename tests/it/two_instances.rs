//! Settings hold at once on every instance.

use sqlx::{PgConnection, PgPool};
use trustdata::platform::clock::Clock;
use trustdata::server::App;
use trustdata::settings::{Actor, StreamChange};
use trustdata::{keys, settings};

use crate::support::{Answer, TestApp, config_for, listen, now, purchase, until};

#[sqlx::test]
async fn a_change_on_one_holds_on_the_other(pool: PgPool) {
    let one = TestApp::start(pool.clone()).await;
    let other = App::start(&config_for(&pool.connect_options()), Clock::fixed(now()))
        .await
        .unwrap();
    let (address, _server) = listen(&other).await;
    let url = format!("http://{address}/webhooks/custom/{}/purchase", one.attribution_id);
    let send = async || {
        let request = one
            .http
            .post(&url)
            .bearer_auth(&one.token)
            .header("content-type", "application/json");
        Answer::of(request.body(purchase("1").to_string())).await
    };
    assert_eq!(send().await.header("ratelimit-policy"), "\"key\";q=1000000;w=60");
    let mut conn = pool.acquire().await.unwrap();

    keys::store::set_rate_limit(&mut conn, one.property_id, one.key_id, 2)
        .await
        .unwrap();
    until("the limit holds", async || {
        send().await.header("ratelimit-policy") == "\"key\";q=2;w=60"
    })
    .await;
    assert_eq!(send().await.status, 200);
    let limited = send().await;
    assert_eq!((limited.status.as_u16(), limited.code()), (429, "rate_limited"));
    assert_eq!(
        (limited.header("retry-after"), limited.header("ratelimit")),
        ("30", "\"key\";r=0;t=60")
    );

    open(&mut conn, &one, false).await;
    until("it is off", async || send().await.code() == "webhooks_disabled").await;
    open(&mut conn, &one, true).await;

    keys::store::revoke(&mut conn, one.property_id, one.key_id, now())
        .await
        .unwrap();
    until("the key is revoked", async || {
        send().await.code() == "revoked_key"
    })
    .await;
}

async fn open(conn: &mut PgConnection, app: &TestApp, webhooks_enabled: bool) {
    let change = StreamChange {
        webhooks_enabled: Some(webhooks_enabled),
        ..StreamChange::default()
    };
    let clock = Clock::fixed(now());
    settings::change_stream(conn, &Actor::System, app.attribution_id, change, &clock)
        .await
        .unwrap();
}
