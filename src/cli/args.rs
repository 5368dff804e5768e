//! What the command line takes.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::builder::RangedI64ValueParser;
use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand};
use url::Url;
use uuid::Uuid;

use super::output::Form;
use crate::destinations::Policy;
use crate::domain::text;
use crate::domain::topic::Topic;
use crate::forwarding::listing::Replayed;
use crate::forwarding::platforms::Name;
use crate::forwarding::state::State;
use crate::forwarding::{read_base_url, read_topic};
use crate::keys::{DEFAULT_RATE_LIMIT, MOST_RATE_LIMIT};
use crate::platform::clock::MOMENTS;
use crate::platform::config::Config;
use crate::streams::{KEEP_DAYS, KEEP_PERSONAL_DAYS};
use crate::stubs::WebhookKey;
use crate::tokens::Scope;
use crate::users::{Role, is_email};

/// Characters of a name, at most.
const MAX_NAME: usize = 200;

/// Examples, and the environment that every command reads.
macro_rules! help {
    ($($example:literal),+ $(,)?) => {
        concat!(
            "Examples:\n",
            $("  ", $example, "\n",)+
            "\nEnvironment:\n",
            "  DATABASE_URL              where Postgres is, e.g. postgres://user:password@host:5432/database\n",
            "  TRUSTDATA__SECTION__KEY   any setting, e.g. TRUSTDATA__SERVER__LISTEN=0.0.0.0:8080\n",
        )
    };
}

/// Self-hosted conversion tracking: matches a merchant's conversions to ad clicks and keeps the proof.
///
/// Start with `trustdata demo`, or: migrate, attribution-id create, attribution-id enable-webhooks, key create, serve.
#[derive(Debug, Parser)]
#[command(name = "trustdata", version, propagate_version = true, after_help = help!(
    "trustdata demo",
    "trustdata serve --config /etc/trustdata.toml",
    "trustdata attribution-id create --name \"My shop\" --json",
))]
pub(super) struct Args {
    /// A TOML file that overrides the defaults; the environment overrides it in turn.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the service: public listener, internal listener, background workers.
    #[command(after_help = help!("trustdata serve", "trustdata serve --listen 0.0.0.0:8080"))]
    Serve(Listeners),
    /// Bring the database up to date. `serve` does so too, unless database.migrate is false.
    #[command(after_help = help!("trustdata migrate"))]
    Migrate,
    /// Fill an empty database with a small shop, print a ready-to-paste curl, and serve.
    ///
    /// Run again, it keeps what is there and makes a fresh key.
    #[command(after_help = help!("trustdata demo", "trustdata demo --listen 127.0.0.1:8081"))]
    Demo(Listeners),
    /// Make and list properties: the tenants.
    #[command(subcommand, after_help = help!("trustdata property create --name \"My shop\"", "trustdata property list"))]
    Property(PropertyCommand),
    /// Make, list and set attribution IDs: the ids in the webhook's URL.
    #[command(subcommand, after_help = help!(
        "trustdata attribution-id create --name Website",
        "trustdata attribution-id list --json",
    ))]
    AttributionId(StreamCommand),
    /// Make, list, limit and revoke webhook keys.
    #[command(subcommand, after_help = help!("trustdata key create --attribution-id ID --name backend", "trustdata key list"))]
    Key(KeyCommand),
    /// Make, list, set, test, pause, resume and remove destinations: accounts at ad platforms that conversions are forwarded to.
    #[command(subcommand, after_help = help!(
        "trustdata destination create --attribution-id ID --platform meta --name \"Meta\" --settings meta.json",
        "trustdata destination list --json",
    ))]
    Destination(DestinationCommand),
    /// See what became of forwarded conversions, and send again what ended badly.
    #[command(subcommand, after_help = help!(
        "trustdata delivery list --state dead",
        "trustdata delivery replay --state dead --destination ID --dry-run",
    ))]
    Delivery(DeliveryCommand),
    /// Bring in sessions: the visits that conversions are matched to.
    #[command(subcommand, after_help = help!("trustdata session import sessions.ndjson"))]
    Session(SessionCommand),
    /// Make people who may sign in to the dashboard.
    #[command(subcommand, after_help = help!("trustdata user create --email ann@shop.example"))]
    User(UserCommand),
    /// Make, list and revoke tokens of the admin API.
    #[command(subcommand)]
    ApiToken(TokenCommand),
    /// See who changed which setting.
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Stand in for the ad platforms: check what is forwarded as strictly as their references say, and answer as documented.
    ///
    /// Needs no database. Each platform has a base URL of its own, http://ADDR/meta and so on: give it to `destination create --base-url`, or
    /// set forwarding.platforms.NAME.base_url and, for those with access tokens, token_url to the same with /token behind it. Webhooks are
    /// taken at http://ADDR/webhook/..., signed with --webhook-secret. Any other credentials will do, but for those that begin with "expired".
    ///
    /// POST /_control tells a stub to fail: {"platform":"meta","mode":"rate_limited","times":3}. `times` is 1 when left out, and 0 is until it
    /// is told otherwise. GET /_control shows what is set, GET /_requests the last 100 requests with their faults.
    ///
    /// Modes: ok, the default; timeout, an answer after `seconds` (30); server_error; rate_limited; partial, which refuses the event with
    /// `event_id`, else the first, in the platform's own way; error_in_200, a failure behind a status of 200; token_expired, until a fresh one
    /// is asked for; html, the page of an edge in trouble; later, what Google says when it is asked what became of a request:
    /// {"platform":"google_data_manager","mode":"later","later":{"status":"PARTIAL_SUCCESS","errors":{"CLICK_NOT_FOUND":1}}}.
    #[command(after_help = help!(
        "trustdata stub-platforms",
        "trustdata stub-platforms --listen 127.0.0.1:8090 --record requests.ndjson",
    ))]
    StubPlatforms(StubPlatforms),
    /// Check configuration, database, migrations, clock and workers; say what to mend.
    ///
    /// Exit code 1 when a check fails; a warning is no failure.
    #[command(after_help = help!("trustdata doctor", "trustdata doctor --json"))]
    Doctor(Output),
}

#[derive(Debug, ClapArgs)]
pub(super) struct Listeners {
    /// Address of webhooks and health; overrides server.listen.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Address of the metrics; overrides server.internal_listen.
    #[arg(long, value_name = "ADDR")]
    internal_listen: Option<SocketAddr>,
}

impl Listeners {
    /// The configuration with these addresses in place of its own.
    pub(super) fn apply(self, mut config: Config) -> Config {
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        config.server.internal_listen = self.internal_listen.unwrap_or(config.server.internal_listen);
        config
    }
}

#[derive(Debug, ClapArgs)]
pub(super) struct StubPlatforms {
    /// Address to listen on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    pub(super) listen: SocketAddr,
    /// A file that each request is appended to, a line of JSON each: platform, path, body, verdict, faults. Tokens are left out.
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// The secret that webhooks to http://ADDR/webhook/... are signed with.
    #[arg(long, value_name = "SECRET", default_value = WebhookKey::DEFAULT)]
    pub(super) webhook_secret: WebhookKey,
}

#[derive(Debug, Clone, Copy, ClapArgs)]
pub(super) struct Output {
    /// Print JSON: an object for one, an array for a list.
    #[arg(long)]
    json: bool,
}

impl Output {
    pub(super) fn form(self) -> Form {
        if self.json { Form::Json } else { Form::Text }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum PropertyCommand {
    /// Make a property.
    #[command(after_help = help!("trustdata property create --name \"My shop\" --json"))]
    Create {
        /// What people call it.
        #[arg(long, value_parser = name)]
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// List the properties, oldest first.
    #[command(after_help = help!("trustdata property list --json"))]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Change a property.
    #[command(after_help = help!("trustdata property set ID --unknown-consent granted"))]
    Set {
        /// The property.
        property_id: Uuid,
        /// What people call it.
        #[arg(long, value_parser = name)]
        name: Option<String>,
        /// What a consent that nobody told counts as when conversions are forwarded. Denied unless set; granting it is for you to answer for.
        #[arg(long, value_enum)]
        unknown_consent: Option<UnknownConsent>,
        /// Days that audit rows are kept.
        #[arg(long, value_name = "DAYS", value_parser = days(KEEP_DAYS))]
        keep_activity_days: Option<i16>,
        /// Days that personal data is kept after the last delivery; a visitor's address and browser, after the lookback.
        #[arg(long, value_name = "DAYS", value_parser = days(KEEP_PERSONAL_DAYS))]
        keep_personal_days: Option<i16>,
        /// Days that sessions are kept after the lookback.
        #[arg(long, value_name = "DAYS", value_parser = days(KEEP_DAYS))]
        keep_sessions_days: Option<i16>,
        #[command(flatten)]
        output: Output,
    },
}

/// A number of days among those allowed.
fn days(allowed: RangeInclusive<i16>) -> RangedI64ValueParser<i16> {
    clap::value_parser!(i16).range(i64::from(*allowed.start())..=i64::from(*allowed.end()))
}

/// What a consent that nobody told counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum UnknownConsent {
    /// Conversions are forwarded.
    Granted,
    /// They are not.
    Denied,
}

/// `trustdata api-token`
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token of the admin API. It is shown once.
    #[command(after_help = help!("trustdata api-token create --property ID --name Backup --scope read --json"))]
    Create {
        /// The property that it opens; may be left out while there is only one.
        #[arg(long, value_name = "ID")]
        property: Option<Uuid>,
        /// What people call it.
        #[arg(long, value_parser = name)]
        name: String,
        /// What it may do: read, or write (read and change).
        #[arg(long)]
        scope: Scope,
        /// Days after which it stops working; without it, it never does.
        #[arg(long, value_name = "D", value_parser = clap::value_parser!(i64).range(1..=36_500))]
        expires_in_days: Option<i64>,
        #[command(flatten)]
        output: Output,
    },
    /// List a property's tokens, newest first.
    #[command(after_help = help!("trustdata api-token list --json"))]
    List {
        /// The property; may be left out while there is only one.
        #[arg(long, value_name = "ID")]
        property: Option<Uuid>,
        #[command(flatten)]
        output: Output,
    },
    /// Revoke a token, at once.
    #[command(after_help = help!("trustdata api-token revoke TOKEN_ID"))]
    Revoke {
        /// The token's id.
        token_id: Uuid,
        #[command(flatten)]
        output: Output,
    },
}

/// `trustdata settings`
#[derive(Debug, Subcommand)]
pub(super) enum SettingsCommand {
    /// Show who changed what, newest first.
    #[command(after_help = help!("trustdata settings log", "trustdata settings log --property ID --json"))]
    Log {
        /// Of this property; without it, of users and what else is nobody's.
        #[arg(long, value_name = "ID")]
        property: Option<Uuid>,
        /// Entries, at most.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum StreamCommand {
    /// Make an attribution ID. A property is made when none is named and none exists.
    #[command(after_help = help!(
        "trustdata attribution-id create --name Website",
        "trustdata attribution-id create --name Website --property ID --json",
    ))]
    Create {
        /// What people call it.
        #[arg(long, value_parser = name)]
        name: String,
        /// The property that it belongs to; may be left out while there is at most one.
        #[arg(long, value_name = "ID")]
        property: Option<Uuid>,
        #[command(flatten)]
        output: Output,
    },
    /// List the attribution IDs, oldest first.
    #[command(after_help = help!("trustdata attribution-id list"))]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Let the webhook take requests, at once on every instance.
    #[command(after_help = help!("trustdata attribution-id enable-webhooks ID"))]
    EnableWebhooks {
        /// The attribution ID.
        #[arg(value_name = "ID")]
        attribution_id: Uuid,
        #[command(flatten)]
        output: Output,
    },
    /// Close the webhook: requests are answered 404.
    #[command(after_help = help!("trustdata attribution-id disable-webhooks ID"))]
    DisableWebhooks {
        /// The attribution ID.
        #[arg(value_name = "ID")]
        attribution_id: Uuid,
        #[command(flatten)]
        output: Output,
    },
    /// Change a setting; it holds for future conversions.
    #[command(after_help = help!("trustdata attribution-id set ID --lookback-days 30"))]
    Set {
        /// The attribution ID.
        #[arg(value_name = "ID")]
        attribution_id: Uuid,
        /// Days from a click within which a conversion is credited to it, 1 to 90.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i16).range(1..=90))]
        lookback_days: i16,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key and print it whole, once.
    #[command(after_help = help!(
        "trustdata key create --attribution-id ID --name backend",
        "trustdata key create --attribution-id ID --name backend --rate-limit 600 --expires-in-days 90 --json",
    ))]
    Create {
        /// The one attribution ID that the key opens.
        #[arg(long, value_name = "ID")]
        attribution_id: Uuid,
        /// What people call it.
        #[arg(long, value_parser = name)]
        name: String,
        /// Requests a minute.
        #[arg(long, value_name = "N", default_value_t = DEFAULT_RATE_LIMIT, value_parser = rate_limit())]
        rate_limit: i32,
        /// Days until it stops working by itself; without it, never.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(1..=36_500))]
        expires_in_days: Option<i64>,
        #[command(flatten)]
        output: Output,
    },
    /// List the keys, oldest first; never their secrets.
    #[command(after_help = help!("trustdata key list", "trustdata key list --attribution-id ID --json"))]
    List {
        /// Only the keys of this attribution ID.
        #[arg(long, value_name = "ID")]
        attribution_id: Option<Uuid>,
        #[command(flatten)]
        output: Output,
    },
    /// Revoke a key, at once on every instance and for good.
    #[command(after_help = help!("trustdata key revoke KEY_ID"))]
    Revoke {
        /// Id of the key, as `key list` shows it.
        key_id: Uuid,
        #[command(flatten)]
        output: Output,
    },
    /// Set a key's requests a minute, at once on every instance.
    #[command(after_help = help!("trustdata key set-rate-limit KEY_ID 600"))]
    SetRateLimit {
        /// Id of the key, as `key list` shows it.
        key_id: Uuid,
        /// Requests a minute.
        #[arg(value_name = "N", value_parser = rate_limit())]
        rate_limit: i32,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum DestinationCommand {
    /// Make a destination. Its settings are sealed, and never shown again.
    ///
    /// Settings, a JSON object, by platform: meta {pixel_id, access_token, test_event_code?, ldu_state?}; google_data_manager
    /// {operating_account_id, login_account_id?, conversion_actions {topic: id}, client_id, client_secret, refresh_token}; tiktok {pixel_code,
    /// access_token, page_url?, max_age_days?}; ga4 {measurement_id, api_secret}; microsoft {tag_id, token}; linkedin {conversion_rules {topic:
    /// id}, access_token}, or client_id, client_secret and refresh_token in place of the token; pinterest {ad_account_id, token}; snapchat
    /// {pixel_id, token, lead_event?, custom_event?}; reddit {pixel_id, token}; webhook {url, secret}.
    #[command(after_help = help!(
        "trustdata destination create --attribution-id ID --platform meta --name Meta --settings meta.json --json",
        "trustdata destination create --attribution-id ID --platform ga4 --name GA4 --settings - --topic purchase --topic lead=enquiry",
    ))]
    Create {
        /// The attribution ID whose conversions it gets.
        #[arg(long, value_name = "ID")]
        attribution_id: Uuid,
        /// The platform.
        #[arg(long)]
        platform: Name,
        /// What people call it.
        #[arg(long, value_parser = name)]
        name: String,
        /// A file with its settings as JSON; `-` for standard input.
        #[arg(long, value_name = "FILE")]
        settings: PathBuf,
        /// Where the platform is, in place of its own address; any address, this machine's too.
        #[arg(long, value_name = "URL", value_parser = base_url)]
        base_url: Option<Url>,
        /// A topic to send, with the event name if it is not to be the platform's own; without any, all that the platform takes.
        #[arg(long = "topic", value_name = "TOPIC[=EVENT]", value_parser = read_topic)]
        topics: Vec<(String, Option<String>)>,
        /// Which of the consented conversions it gets: all, those matched to a session, or those whose credited click is the platform's own.
        #[arg(long, default_value_t = Policy::Matched)]
        policy: Policy,
        #[command(flatten)]
        output: Output,
    },
    /// Change a destination: what is not named stays. Paused, it stays paused.
    ///
    /// Settings are replaced whole, since none of them is ever shown: name them all, as for `create`. They hold from the next request on, also
    /// for what waits already.
    #[command(
        group = ArgGroup::new("what").required(true).multiple(true)
            .args(["name", "settings", "base_url", "own_address", "topics", "all_topics", "policy"]),
        after_help = help!(
            "trustdata destination set DESTINATION_ID --settings meta.json && trustdata destination resume DESTINATION_ID",
            "trustdata destination set DESTINATION_ID --name \"Meta, Spain\" --topic purchase --topic lead=enquiry --policy own_click",
        ),
    )]
    Set {
        /// Id of the destination.
        destination_id: Uuid,
        /// What people call it.
        #[arg(long, value_parser = name)]
        name: Option<String>,
        /// A file with its settings as JSON, all of them; `-` for standard input.
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
        /// Where the platform is, in place of its own address; any address, this machine's too.
        #[arg(long, value_name = "URL", value_parser = base_url)]
        base_url: Option<Url>,
        /// Send to the platform's own address again.
        #[arg(long, conflicts_with = "base_url")]
        own_address: bool,
        /// A topic to send, with the event name if it is not to be the platform's own; these alone from now on.
        #[arg(long = "topic", value_name = "TOPIC[=EVENT]", value_parser = read_topic)]
        topics: Vec<(String, Option<String>)>,
        /// Send all topics that the platform takes.
        #[arg(long, conflicts_with = "topics")]
        all_topics: bool,
        /// Which of the consented conversions it gets.
        #[arg(long)]
        policy: Option<Policy>,
        #[command(flatten)]
        output: Output,
    },
    /// List the destinations, oldest first; never their credentials.
    #[command(after_help = help!("trustdata destination list --attribution-id ID --json"))]
    List {
        /// Only those of this attribution ID.
        #[arg(long, value_name = "ID")]
        attribution_id: Option<Uuid>,
        /// Those that were taken away, too.
        #[arg(long)]
        removed: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Send nothing for now; what is to be sent is kept.
    #[command(after_help = help!("trustdata destination pause DESTINATION_ID"))]
    Pause {
        /// Id of the destination.
        destination_id: Uuid,
        #[command(flatten)]
        output: Output,
    },
    /// Send a made-up event in the platform's own validation or test mode, and say what came of it.
    ///
    /// Nothing is counted: a platform without such a mode is sent nothing. Exit code 0 when the event was taken, 1 when it was not.
    #[command(after_help = help!(
        "trustdata destination test DESTINATION_ID",
        "trustdata destination test DESTINATION_ID --code TEST12345 --topic lead --json",
    ))]
    Test {
        /// Id of the destination.
        destination_id: Uuid,
        /// What the event is.
        #[arg(long, default_value_t = Topic::Purchase)]
        topic: Topic,
        /// Code of the platform's test tool, for those that want one: Meta, TikTok, Reddit.
        #[arg(long)]
        code: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Send again, what was kept too.
    #[command(after_help = help!("trustdata destination resume DESTINATION_ID"))]
    Resume {
        /// Id of the destination.
        destination_id: Uuid,
        #[command(flatten)]
        output: Output,
    },
    /// Take a destination away, and its credentials; what is to be sent is not, its deliveries stay to be seen.
    #[command(after_help = help!("trustdata destination remove DESTINATION_ID"))]
    Remove {
        /// Id of the destination.
        destination_id: Uuid,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum DeliveryCommand {
    /// List deliveries, newest first.
    #[command(after_help = help!("trustdata delivery list --state dead --json", "trustdata delivery list --conversion ORD-12345"))]
    List {
        /// Only those of this attribution ID.
        #[arg(long, value_name = "ID")]
        attribution_id: Option<Uuid>,
        /// Only those that stand here: queued, sent, accepted, processed, suppressed, expired or dead.
        #[arg(long)]
        state: Option<State>,
        /// Only those of this conversion, by the sender's id or ours.
        #[arg(long, value_name = "ID")]
        conversion: Option<String>,
        /// Only those to this destination.
        #[arg(long, value_name = "ID")]
        destination: Option<Uuid>,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// The books: what each destination was promised, by what is kept with the conversions, against what became of it, by state.
    ///
    /// Removed destinations are in them. One that does not balance lost something, or has what it was never promised. At most 250,000
    /// conversions are looked at for each, the newest ones: `complete` says whether that was all, and `since` how far it went. Exit code 1 when
    /// one does not balance.
    #[command(after_help = help!(
        "trustdata delivery ledger --json",
        "trustdata delivery ledger --destination ID --since 2026-11-01T00:00:00Z --until 2026-11-02T00:00:00Z",
    ))]
    Ledger {
        /// Only the destinations of this attribution ID.
        #[arg(long, value_name = "ID")]
        attribution_id: Option<Uuid>,
        /// Only this destination.
        #[arg(long, value_name = "ID", conflicts_with = "attribution_id")]
        destination: Option<Uuid>,
        /// Only conversions that came in at this time or later, e.g. 2026-11-01T00:00:00Z.
        #[arg(long, value_name = "TIME", value_parser = moment)]
        since: Option<DateTime<Utc>>,
        /// Only conversions that came in before this time.
        #[arg(long, value_name = "TIME", value_parser = moment)]
        until: Option<DateTime<Utc>>,
        #[command(flatten)]
        output: Output,
    },
    /// Send deliveries of a destination again that are dead or expired. With --dry-run it only counts them.
    ///
    /// What is past the platform's maximum age by now is left out. Expired ones are for platforms that have none: your own webhook.
    #[command(after_help = help!(
        "trustdata delivery replay --state dead --destination ID --dry-run",
        "trustdata delivery replay --state dead --destination ID --code 100 --since 2026-11-01T10:00:00Z --until 2026-11-01T12:00:00Z",
    ))]
    Replay {
        /// Which deliveries: dead or expired.
        #[arg(long)]
        state: Replayed,
        /// The destination.
        #[arg(long, value_name = "ID")]
        destination: Uuid,
        /// Only those with this code of the platform.
        #[arg(long)]
        code: Option<String>,
        /// Only those that came to stand there at this time or later, e.g. 2026-11-01T00:00:00Z.
        #[arg(long, value_name = "TIME", value_parser = moment)]
        since: Option<DateTime<Utc>>,
        /// Only those that came to stand there before this time.
        #[arg(long, value_name = "TIME", value_parser = moment)]
        until: Option<DateTime<Utc>>,
        /// Count them, and send nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// Import sessions from NDJSON, a line a session. Run again after a failure, nothing is there twice.
    ///
    /// Fields: attribution_id, visitor_id, started_at, landing_url; optional: session_id, referrer, ip, user_agent, consent, source, medium,
    /// campaign, click_ids. Campaign fields and click ids are read from landing_url; explicit ones win. Bad lines are named and counted, the
    /// others are stored; exit code 1 when there were bad ones.
    #[command(after_help = help!("trustdata session import sessions.ndjson", "zcat sessions.ndjson.gz | trustdata session import - --json"))]
    Import {
        /// The file; `-` for standard input.
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Make a dashboard user. The password is asked for.
    #[command(after_help = help!(
        "trustdata user create --email ann@shop.example",
        "pass show trustdata | trustdata user create --email ann@shop.example --password-stdin",
    ))]
    Create {
        /// The address to sign in with.
        #[arg(long, value_parser = email)]
        email: String,
        /// What the user may do: owner, editor (change settings), viewer (look).
        #[arg(long, default_value_t = Role::Owner)]
        role: Role,
        /// Read the password from the first line of standard input.
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        output: Output,
    },
    /// List the users.
    #[command(after_help = help!("trustdata user list --json"))]
    List {
        #[command(flatten)]
        output: Output,
    },
}

fn base_url(sent: &str) -> Result<Url, String> {
    read_base_url(sent).map_err(|must| format!("{must}, such as https://graph.example"))
}

/// A time that Postgres has, too.
fn moment(sent: &str) -> Result<DateTime<Utc>, String> {
    match sent.parse::<DateTime<Utc>>() {
        Ok(at) if MOMENTS.contains(&at.timestamp()) => Ok(at),
        _ => Err("expected a time such as 2026-11-01T00:00:00Z, in the years 1970 to 9999".to_owned()),
    }
}

fn rate_limit() -> clap::builder::RangedI64ValueParser<i32> {
    clap::value_parser!(i32).range(1..=i64::from(MOST_RATE_LIMIT))
}

fn name(sent: &str) -> Result<String, String> {
    let name = sent.trim();
    match text::check(name, MAX_NAME) {
        Ok(()) => Ok(name.to_owned()),
        Err(bad) => Err(bad.spec(MAX_NAME).1),
    }
}

/// Catches slips, not every bad address: only a mail tells.
fn email(sent: &str) -> Result<String, String> {
    match is_email(sent) {
        true => Ok(sent.to_owned()),
        false => Err("expected an address such as ann@shop.example".to_owned()),
    }
}
