-- Who changed which setting, and when. What concerns the installation, its users say, has the property of nobody: the nil id.
create table settings_log (
    property_id uuid not null,
    entry_id    uuid not null,
    at          timestamptz not null,
    actor_kind  text not null check (actor_kind in ('user', 'token', 'command_line', 'system')),
    actor       text not null,
    action      text not null,
    object_kind text not null,
    object_id   text not null,
    object_name text not null,
    change      jsonb,
    primary key (property_id, entry_id)
);
comment on column settings_log.entry_id is 'UUIDv7: the newest of a property are one range scan of the primary key';
comment on column settings_log.change is 'what was set, never a secret';

-- When a page last told of itself, to the minute: whether the script is in place.
create table stream_sightings (
    property_id    uuid not null,
    attribution_id uuid not null,
    last_seen_at   timestamptz not null,
    primary key (property_id, attribution_id)
);

-- Keys of the admin API, each for one property.
create table api_tokens (
    property_id  uuid not null references properties,
    token_id     uuid not null,
    name         text not null,
    prefix       text not null,
    token_hash   bytea not null,
    scope        text not null check (scope in ('read', 'write')),
    created_at   timestamptz not null,
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    primary key (property_id, token_id)
);
comment on column api_tokens.token_hash is 'SHA-256: 190 random bits need no slow hash';
-- A directory, read to find out who the tenant is.
create unique index api_tokens_by_hash on api_tokens (token_hash);
