-- Visitors whose session a conversion waits for, for a day: written with a conversion that found none, and gone when it is matched or the day
-- is over. What changes a visitor's sessions or links makes its rows due in the same transaction, so that no crash loses the second look.
create table awaited_visitors (
    property_id    uuid not null,
    event_id       uuid not null,
    visitor_id     text not null,
    attribution_id uuid not null,
    activity_id    uuid,
    look_at        timestamptz not null,
    waits_until    timestamptz not null,
    primary key (property_id, event_id)
);
comment on column awaited_visitors.event_id is 'the conversion that waits';
comment on column awaited_visitors.activity_id is 'the audit row of the request that brought it, where it has one';
comment on column awaited_visitors.look_at is 'when to look again';
create index awaited_visitors_by_visitor on awaited_visitors (property_id, visitor_id);
create index awaited_visitors_due on awaited_visitors (property_id, look_at);

alter table conversions add column matched_late_at timestamptz;
comment on column conversions.matched_late_at is 'when the match was made, where it came after the conversion was recorded';
alter table activity add column matched_late_at timestamptz;
comment on column activity.matched_late_at is 'when a conversion of this request got its match, where that came after the answer';
