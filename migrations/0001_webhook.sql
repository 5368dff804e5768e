-- Tenant = property. `property_id` leads every key and index of a tenant's table. Three tables are directories, read to find out who the
-- tenant is: properties, streams, users. The tables of the ingest path carry no foreign keys: each would cost a look-up per row, and
-- their rows are written by one statement that has just read what it refers to.

create table properties (
    property_id uuid primary key,
    name        text not null,
    created_at  timestamptz not null
);

-- An attribution ID and its settings.
create table streams (
    attribution_id   uuid primary key,
    property_id      uuid not null references properties,
    name             text not null,
    webhooks_enabled boolean not null default false,
    lookback_days    smallint not null default 30 check (lookback_days between 1 and 90),
    created_at       timestamptz not null
);
create index streams_of_property on streams (property_id, created_at);

create table webhook_keys (
    property_id    uuid not null references properties,
    key_id         uuid not null,
    attribution_id uuid not null references streams,
    name           text not null,
    prefix         text not null,
    hash           text not null,
    rate_limit     integer not null default 60 check (rate_limit > 0),
    created_at     timestamptz not null,
    expires_at     timestamptz,
    revoked_at     timestamptz,
    last_used_at   timestamptz,
    primary key (property_id, key_id)
);
create index webhook_keys_by_prefix on webhook_keys (property_id, attribution_id, prefix);

create table users (
    user_id       uuid primary key,
    email         text not null,
    password_hash text not null,
    created_at    timestamptz not null
);
create unique index users_email_unique on users (lower(email));

-- A visit, or a click on an ad: where a conversion can come from.
create table sessions (
    property_id    uuid not null,
    session_id     text not null,
    attribution_id uuid not null,
    visitor_id     text not null,
    started_at     timestamptz not null,
    last_seen_at   timestamptz not null,
    page_views     integer not null default 1,
    direct         boolean not null,
    landing_url    text not null,
    referrer       text,
    source         text,
    medium         text,
    campaign       text,
    campaign_id    text,
    ad_group_id    text,
    keyword_id     text,
    creative_id    text,
    term           text,
    content        text,
    click_id       text,
    click_ids      jsonb,
    consent        jsonb,
    client_sealed  bytea,
    primary key (property_id, session_id)
);
comment on column sessions.click_id is 'name of the click id that tells the ad network, e.g. gclid; the values are in click_ids';
comment on column sessions.client_sealed is 'the visitor''s address and user agent, sealed';
-- Serves the matching: newest touches, and newest direct visit, of a visitor, each by one bounded range scan.
create index sessions_of_visitor on sessions (property_id, visitor_id, direct, started_at desc);

-- Two ids of one visitor; matching looks at the sessions of all of them.
create table visitor_links (
    property_id  uuid not null,
    from_visitor text not null,
    to_visitor   text not null,
    created_at   timestamptz not null,
    primary key (property_id, from_visitor)
);
create index visitor_links_back on visitor_links (property_id, to_visitor);

create table conversions (
    property_id    uuid not null,
    event_id       uuid not null,
    attribution_id uuid not null,
    topic          text not null,
    conversion_id  text not null,
    event_name     text,
    purchase_id    text,
    event_time     timestamptz not null,
    received_at    timestamptz not null,
    value          numeric,
    currency       text,
    visitor_id     text,
    user_id        text,
    match_reason   text not null,
    session_id     text,
    nearest_session_at timestamptz,
    lookback_days  smallint not null,
    payload        json not null,
    personal_sealed bytea,
    source         text not null,
    key_id         uuid,
    primary key (property_id, event_id),
    constraint conversions_once unique (property_id, attribution_id, topic, conversion_id)
);
comment on column conversions.payload is 'the event as sent, without personal data; json, not jsonb: kept to the byte, and nothing in it can be refused';
comment on column conversions.personal_sealed is 'user_data and other personal fields of the payload, sealed';

-- The journey of a conversion, a row a touch, as it was when the match was made; weights in millionths, each model sums to 1,000,000 per
-- version. A recompute adds a version and never edits one.
create table credits (
    property_id    uuid not null,
    event_id       uuid not null,
    version        smallint not null,
    position       smallint not null,
    session_id     text not null,
    clicked_at     timestamptz not null,
    direct         boolean not null,
    source         text,
    medium         text,
    campaign       text,
    campaign_id    text,
    click_id       text,
    last_click     integer not null,
    first_click    integer not null,
    linear         integer not null,
    time_decay     integer not null,
    position_based integer not null,
    primary key (property_id, event_id, version, position)
);

-- The audit row of each request that reached authentication.
create table activity (
    property_id     uuid not null,
    attribution_id  uuid not null,
    activity_id     uuid not null,
    at              timestamptz not null,
    status          text not null,
    topic           text not null,
    http_status     smallint not null,
    code            text,
    detail          text,
    key_id          uuid,
    key_name        text,
    session_matched boolean,
    duplicate       boolean not null default false,
    differs         text,
    dry_run         boolean not null default false,
    conversion_id   text,
    event_id        uuid,
    accepted        integer not null default 0,
    rejected        integer not null default 0,
    requests        integer not null default 1,
    -- Ids are UUIDv7: this one index serves the newest-first listing, its pages, and retention by age.
    primary key (property_id, attribution_id, activity_id)
);
comment on column activity.requests is 'how many refused requests this row stands for: more than one beyond the flood cap';

-- The key that seals personal data where the configuration names none.
create table sealing_keys (
    only_one   boolean primary key default true check (only_one),
    key        bytea not null,
    created_at timestamptz not null
);

-- Every change of a setting reaches every instance at commit, whoever made it. `last_used_at` is not a setting.
create function notify_settings_changed() returns trigger language plpgsql as $$
begin
    perform pg_notify('trustdata_settings', tg_argv[0] || ' ' || (to_jsonb(coalesce(new, old)) ->> tg_argv[1]));
    return null;
end $$;

create trigger streams_changed after insert or update or delete on streams
    for each row execute function notify_settings_changed('stream', 'attribution_id');
create trigger webhook_keys_changed after insert or delete or update of rate_limit, expires_at, revoked_at, name on webhook_keys
    for each row execute function notify_settings_changed('key', 'key_id');
