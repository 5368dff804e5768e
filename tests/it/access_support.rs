//! A property that has one of everything, and people who are to be kept out of it.

use chrono::TimeDelta;
use serde_json::{Value, json};
use trustdata::tokens::Scope;
use trustdata::users::Role;
use uuid::Uuid;

use crate::api::token;
use crate::dashboard::{PASSWORD, Person, make_user};
use crate::forwarding::{Double, destination};
use crate::support::TestApp;

/// The ids of what the app's property has.
pub struct Property<'a> {
    pub app: &'a TestApp,
    pub destination_id: Uuid,
    pub event_id: Uuid,
    pub activity_id: Uuid,
    pub token_id: Uuid,
    pub user_id: Uuid,
    /// Another property, which has nothing.
    pub another: Uuid,
    _platform: Double,
}

impl<'a> Property<'a> {
    pub async fn with_everything(app: &'a TestApp) -> Self {
        let platform = Double::start().await;
        let destination_id = destination(app, &platform.url, |_| {}).await;
        let sent = json!({ "conversion_id": "C-1", "value": 5, "currency": "EUR" });
        let answer = app.send("purchase", &sent).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        token(app, Scope::Read).await;
        let user_id = make_user(app, "bo@shop.example", Role::Viewer).await.user_id;
        let another = app.clock.new_id();
        sqlx::query("insert into properties (property_id, name, created_at) values ($1, 'Another', now())")
            .bind(another)
            .execute(&app.pool)
            .await
            .unwrap();
        let one = async |sql: &'static str| -> Uuid {
            let found = sqlx::query_scalar(sql).fetch_one(&app.pool).await;
            found.unwrap()
        };
        Self {
            app,
            destination_id,
            event_id: one("select event_id from conversions").await,
            activity_id: one("select activity_id from activity where not dry_run").await,
            token_id: one("select token_id from api_tokens").await,
            user_id,
            another,
            _platform: platform,
        }
    }

    /// A path with the ids of what is there in place of their names.
    pub fn at(&self, path: &str) -> String {
        [
            ("{property_id}", self.app.property_id),
            ("{id}", self.app.property_id),
            ("{attribution_id}", self.app.attribution_id),
            ("{key_id}", self.app.key_id),
            ("{destination_id}", self.destination_id),
            ("{event_id}", self.event_id),
            ("{activity_id}", self.activity_id),
            ("{token_id}", self.token_id),
            ("{user_id}", self.user_id),
        ]
        .iter()
        .fold(path.to_owned(), |path, (name, id)| {
            path.replace(name, &id.to_string())
        })
    }

    /// All that somebody could have changed. Activity is not among it: it is filed a moment later.
    pub async fn settings(&self) -> Vec<Value> {
        sqlx::query_scalar(
            "select to_jsonb(t) from properties t
             union all select to_jsonb(t) from streams t
             union all select to_jsonb(t) - 'last_used_at' from webhook_keys t
             union all select to_jsonb(t) - 'last_used_at' from api_tokens t
             union all select to_jsonb(t) from destinations t
             union all select to_jsonb(t) from users t
             union all select to_jsonb(t) from invitations t
             union all select to_jsonb(t) - 'last_seen_at' from sign_ins t
             union all select to_jsonb(t) from settings_log t
             union all select to_jsonb(t) from (select event_id from conversions) t
             order by 1",
        )
        .fetch_all(&self.app.pool)
        .await
        .unwrap()
    }

    /// Two who were signed in, and are no more: one went, the other stayed away too long.
    pub async fn former(&self) -> [Person; 2] {
        let gone = self.person("gone@shop.example").await;
        assert_eq!(gone.send("/dashboard/sign-out", &[]).await.status, 303);
        let late = self.person("late@shop.example").await;
        sqlx::query(
            "update sign_ins set last_seen_at = $1 where user_id = (select user_id from users where email = 'late@shop.example')",
        )
        .bind(self.app.clock.now() - TimeDelta::hours(12))
        .execute(&self.app.pool)
        .await
        .unwrap();
        [gone, late]
    }

    /// An owner who is signed in.
    pub async fn person(&self, email: &str) -> Person {
        make_user(self.app, email, Role::Owner).await;
        let mut person = Person::of(self.app);
        assert_eq!(person.sign_in(email, PASSWORD).await.status, 303);
        person
    }
}
