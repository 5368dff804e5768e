-- Where conversions are forwarded to, and what became of each.

create table destinations (
    property_id     uuid not null references properties,
    destination_id  uuid not null,
    attribution_id  uuid not null references streams,
    platform        text not null,
    name            text not null,
    settings_sealed bytea not null,
    base_url        text,
    topics          jsonb,
    policy          text not null default 'matched',
    created_at      timestamptz not null,
    paused_at       timestamptz,
    paused_reason   text,
    removed_at      timestamptz,
    primary key (property_id, destination_id)
);
comment on column destinations.settings_sealed is 'ids and credentials at the platform, sealed';
comment on column destinations.topics is 'topics sent, each with its event name or null for the platform''s own; null: all that the platform takes';
create index destinations_of_stream on destinations (property_id, attribution_id, created_at);

alter table properties add column unknown_consent_granted boolean not null default false;
comment on column properties.unknown_consent_granted is 'whether a conversion that nobody gave or refused consent for counts as granted';

-- Conversions that are still to be fanned out into deliveries: one row at commit time, however many destinations there are.
create table outbox (
    property_id     uuid not null,
    event_id        uuid not null,
    destination_ids uuid[] not null,
    again           boolean not null default false,
    created_at      timestamptz not null,
    primary key (property_id, event_id)
);
comment on column outbox.again is 'the conversion got its match late: deliveries that were suppressed for want of one are planned anew';

-- A row a conversion and destination: what is to be sent, what was, or why it is not.
create table deliveries (
    property_id    uuid not null,
    event_id       uuid not null,
    destination_id uuid not null,
    state          text not null,
    reason         text,
    attempts       integer not null default 0,
    created_at     timestamptz not null,
    due_at         timestamptz not null,
    deliver_by     timestamptz,
    lease          uuid,
    sent_at        timestamptz,
    settled_at     timestamptz,
    http_status    smallint,
    code           text,
    answer         text,
    request_id     text,
    payload_sealed bytea,
    notes          text[],
    later          text,
    primary key (property_id, event_id, destination_id)
);
comment on column deliveries.state is 'queued, sent, accepted, processed, suppressed, expired or dead';
comment on column deliveries.due_at is 'when to try; while a worker has it, when it counts as lost by that worker';
comment on column deliveries.lease is 'the claim under which a worker has it; settled under no other';
comment on column deliveries.payload_sealed is 'the event as it was sent, identifiers hashed as the platform wants them; sealed, for it has the visitor''s address';
comment on column deliveries.later is 'with what to ask the platform what became of it, until it is known';
create index deliveries_due on deliveries (property_id, destination_id, due_at) where state = 'queued';
create index deliveries_by_state on deliveries (property_id, destination_id, state, created_at);
create index deliveries_to_ask_about on deliveries (property_id, destination_id, due_at) where later is not null;

-- The refunds of a purchase, in their order.
create index refunds_of_purchase on conversions (property_id, attribution_id, purchase_id, event_time) where topic = 'refund';

create trigger destinations_changed after insert or update or delete on destinations
    for each row execute function notify_settings_changed('destination', 'attribution_id');
