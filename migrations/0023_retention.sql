-- What is kept for how long, by property. Conversions, their credit and what became of their deliveries are kept.
alter table properties
    add column keep_activity_days smallint not null default 30 check (keep_activity_days between 1 and 3650),
    add column keep_personal_days smallint not null default 30 check (keep_personal_days between 7 and 3650),
    add column keep_sessions_days smallint not null default 60 check (keep_sessions_days between 1 and 3650);
comment on column properties.keep_personal_days is 'days that personal data is kept after the last delivery; a visitor''s address and browser, after the lookback';
comment on column properties.keep_sessions_days is 'days that sessions are kept after the lookback';

-- Sessions and links by age. Neither column changes with a visit's events, so that these still need no index entry.
create index sessions_by_start on sessions (property_id, started_at);
create index visitor_links_by_age on visitor_links (property_id, created_at);
create index deliveries_with_payload on deliveries (property_id, settled_at) where payload_sealed is not null;

-- How far each property was gone through.
create table retention_progress (
    property_id       uuid primary key,
    personal_through  uuid not null,
    clients_through_at timestamptz not null,
    clients_through   text not null
);
comment on column retention_progress.personal_through is 'conversions up to this one were looked at';
comment on column retention_progress.clients_through_at is 'sessions up to this start, and this id among those of one start, have no address and browser any more';

-- Conversions that were gone past, because a delivery of theirs was not over.
create table personal_kept (
    property_id uuid not null,
    event_id    uuid not null,
    look_at     timestamptz not null,
    primary key (property_id, event_id)
);
create index personal_kept_due on personal_kept (property_id, look_at);

comment on column conversions.personal_sealed is 'user_data and other personal fields of the payload, sealed; empty: there were some, and they were deleted';
