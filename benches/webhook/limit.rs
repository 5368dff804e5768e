//! What Postgres itself can do: the service's statements, sent by pgbench.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::scratch::{Scratch, Tenants};

/// Rows of a transaction.
const ROWS: u32 = 200;

/// Conversions a second, with their credits and audit rows.
pub async fn rows_per_second(scratch: &Scratch, tenants: &Tenants, time: Duration) -> f64 {
    let bindir =
        output(Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/postgres")).arg("bindir")).await;
    let script = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("limit.sql");
    std::fs::write(&script, sql(tenants)).unwrap();
    let text = output(
        Command::new(format!("{}/pgbench", bindir.trim()))
            .args(["-n", "-M", "prepared", "-c", "2", "-j", "2", "-T"])
            .arg(time.as_secs().to_string())
            .arg("-f")
            .arg(&script)
            .arg(&scratch.url),
    )
    .await;
    let tps = text.lines().find_map(|line| {
        line.strip_prefix("tps = ")?
            .split(' ')
            .next()?
            .parse::<f64>()
            .ok()
    });
    tps.unwrap() * f64::from(ROWS)
}

async fn output(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).output().await.unwrap();
    if !done.status.success() {
        panic!("{}", String::from_utf8_lossy(&done.stderr));
    }
    String::from_utf8(done.stdout).unwrap()
}

/// Touches, conversions, credits, activity. Ids are made as the service's are: a time, so that they come in order, and a random rest.
fn sql(tenants: &Tenants) -> String {
    let tenant = &tenants.all[0];
    let (property, stream, key) = (tenant.property_id, tenant.attribution_id, tenant.key_id);
    let visitors = tenants.visitors();
    let id = "(lpad(to_hex((extract(epoch from clock_timestamp()) * 1000000)::bigint), 16, '0') || right(gen_random_uuid()::text, 12) \
              || lpad(to_hex(g), 4, '0'))::uuid";
    let session = "gen_random_uuid()::text";
    let payload = r#"{"conversion_id":"ORD-00-000-00000000-000","value":129.90,"currency":"EUR","visitor_id":"v-10000","user_id":"customer-10000","products":[{"id":"SKU-48213","name":"Trail running shoes, grey, size 42","brand":"Example","category":"Shoes","quantity":1,"price":129.90}]}"#;
    let payload = payload.replace(':', "' || chr(58) || '");
    let visitor = format!("'v-' || floor(random() * {visitors})::bigint as visitor_id");
    let statements = [
        format!(
            "select w.index, s.session_id, s.started_at, s.direct, s.source, s.medium, s.campaign, s.campaign_id, s.click_id, s.consent
             from (select g as index, '{property}'::uuid as property_id, {visitor},
                 now() as before from generate_series(1, {ROWS}) g offset 0) w
             cross join lateral visitor_ids(w.property_id, w.visitor_id, w.before) as i
             cross join lateral (
                 (select session_id, started_at, direct, source, medium, campaign, campaign_id, click_id, consent from sessions t
                  where t.property_id = w.property_id and t.visitor_id = i.id and t.direct = false and t.started_at < w.before
                    and t.started_at <= i.until
                  order by t.started_at desc limit 50)
                 union all
                 (select session_id, started_at, direct, source, medium, campaign, campaign_id, click_id, consent from sessions t
                  where t.property_id = w.property_id and t.visitor_id = i.id and t.direct and t.started_at < w.before
                    and t.started_at <= i.until
                  order by t.started_at desc limit 1)) s"
        ),
        "begin".to_owned(),
        format!(
            "insert into conversions (property_id, event_id, attribution_id, topic, conversion_id, event_time, received_at, value, currency,
                 visitor_id, user_id, match_reason, session_id, lookback_days, payload, personal_sealed, source, key_id)
             select '{property}', {id}, '{stream}', 'purchase', 'ORD-' || right(gen_random_uuid()::text, 19), now(), now(), 129.90, 'EUR',
                 'v-' || g, 'customer-' || g, 'matched', {session}, 30, ('{payload}')::json, decode(repeat('5a', 90), 'hex'), 'webhook', '{key}'
             from generate_series(1, {ROWS}) g on conflict on constraint conversions_once do nothing returning event_id"
        ),
        format!(
            "insert into credits (property_id, event_id, version, position, session_id, clicked_at, direct, source, medium, campaign,
                 campaign_id, click_id, last_click, first_click, linear, time_decay, position_based)
             select '{property}', event_id, 1, k, {session}, now(), false, 'google', 'cpc', 'spring-' || g % 40, '20000000001', 'gclid',
                 500000, 500000, 500000, 500000, 500000
             from (select g, {id} as event_id from generate_series(1, {ROWS}) g offset 0) e
             cross join lateral generate_series(1, 2 + g % 2) k"
        ),
        format!(
            "insert into activity (property_id, attribution_id, activity_id, at, status, topic, http_status, key_id, key_name,
                 session_matched, conversion_id, event_id, accepted)
             select '{property}', '{stream}', {id}, now(), 'accepted', 'purchase', 200, '{key}', 'production', true,
                 'ORD-' || right(gen_random_uuid()::text, 19), {id}, 1
             from generate_series(1, {ROWS}) g
             on conflict (property_id, attribution_id, activity_id) do update set requests = activity.requests + excluded.requests"
        ),
        "commit".to_owned(),
    ];
    statements.map(|statement| statement + ";\n").concat()
}
