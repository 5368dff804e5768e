//! The end of the service, while somebody looks at a page that keeps itself current.

use std::process::Stdio;
use std::time::Duration;

use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use trustdata::users::Role;

use crate::dashboard::{PASSWORD, make_user};
use crate::support::{TestApp, config_for, free_port, signal};

#[sqlx::test]
async fn an_open_page_does_not_hold_up_the_end(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    make_user(&app, "ann@shop.example", Role::Owner).await;
    let database =
        secrecy::ExposeSecret::expose_secret(&config_for(&pool.connect_options()).database.url).to_owned();
    let address = format!("127.0.0.1:{}", free_port().await);
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_trustdata"))
        .arg("serve")
        .env("TRUSTDATA__DATABASE__URL", database)
        .env("TRUSTDATA__SERVER__LISTEN", &address)
        .env(
            "TRUSTDATA__SERVER__INTERNAL_LISTEN",
            format!("127.0.0.1:{}", free_port().await),
        )
        // What waits for it comes too late.
        .env("TRUSTDATA__SERVER__SHUTDOWN_GRACE", "10m")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains("serving") {
            break;
        }
    }
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let http = http.build().unwrap();
    let form = [("email", "ann@shop.example"), ("password", PASSWORD)];
    let signed_in = http
        .post(format!("http://{address}/dashboard/sign-in"))
        .form(&form)
        .send()
        .await
        .unwrap();
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap();
    let (cookie, _) = cookie.split_once(';').unwrap();
    let page = format!(
        "http://{address}/dashboard/properties/{}/attribution-ids/{}/activity/live",
        app.property_id, app.attribution_id
    );
    let mut page = http.get(page).header("cookie", cookie).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let first = page.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("event: activity"));
    signal("TERM", &child.id().unwrap().to_string());
    let ended = tokio::time::timeout(Duration::from_secs(30), child.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(0));
}
