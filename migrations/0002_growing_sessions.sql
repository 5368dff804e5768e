-- Sessions that grow with their visitors' events, and what reports and forwarding want to know of them.
alter table sessions
    add column channel      text,
    add column device       text,
    -- What brought the visitor, as a number; the same campaign again does not begin a session.
    add column campaign_key bigint,
    -- Its moments, as seconds since started_at * 4 + flags (1: a page view, 2: the campaign again); none for an imported one.
    add column hits         integer[],
    add column consent_at   timestamptz,
    add column browser_ids  jsonb;
comment on column sessions.browser_ids is 'cookies of ad platforms, kept with the visitor''s consent to advertising';
-- A session is rewritten with each of its events: room on the page keeps that out of the indexes.
alter table sessions set (fillfactor = 85);

-- All ids that a visitor goes by, the one asked for first. Plain SQL: the planner puts it into the query that calls it.
create function visitor_ids(property uuid, visitor text) returns setof text language sql stable as $$
    select visitor
    union all
    select other.id
    from (values (1)) one
    left join visitor_links up on up.property_id = property and up.from_visitor = visitor
    cross join lateral (
        select up.to_visitor as id where up.to_visitor is not null
        union all
        (select down.from_visitor from visitor_links down
         where down.property_id = property and down.to_visitor = coalesce(up.to_visitor, visitor) limit 16)
    ) other
    where other.id <> visitor
$$;
