-- The newest answer to each question of consent, sessions that became part of others, and links that count up to the moment they were made.

alter table sessions add column consent_times jsonb;
comment on column sessions.consent_times is 'when each answer in consent was given, in Unix seconds, in the order analytics, advertising, preferences, sale_of_data; null: all at consent_at';

alter table conversions add column session_consent jsonb;
comment on column conversions.session_consent is 'what the visitor had answered by then; null: what the credited session says';

-- A session that became part of another. What was recorded under its id finds the other one by it.
create table merged_sessions (
    property_id uuid not null,
    session_id  text not null,
    kept_id     text not null,
    primary key (property_id, session_id)
);
create index merged_sessions_by_kept on merged_sessions (property_id, kept_id);

-- The session of an id, or the one that it became part of. Plain SQL: the planner puts it into the query that calls it.
create function session_of(property uuid, session text) returns setof sessions language sql stable as $$
    select * from sessions s where s.property_id = property and s.session_id = session
    union all
    select kept.*
    from merged_sessions m
    cross join lateral (select * from sessions s where s.property_id = property and s.session_id = m.kept_id limit 1) kept
    where m.property_id = property and m.session_id = session
$$;

-- The newest links of a visitor come first.
create index visitor_links_newest on visitor_links (property_id, to_visitor, created_at desc);
drop index visitor_links_back;

-- All ids that a visitor goes by at a time, the one asked for first, and until when the sessions of each are the visitor's. An id that the
-- service made for a day is shared by all who look alike from outside: it is this visitor's up to the link, and somebody else's after it.
create function visitor_ids(property uuid, visitor text, seen_at timestamptz) returns table (id text, until timestamptz)
language sql stable as $$
    select visitor, 'infinity'::timestamptz
    union all
    select other.id, other.until
    from (values (1)) one
    left join visitor_links up on up.property_id = property and up.from_visitor = visitor and up.created_at >= seen_at
    cross join lateral (
        select up.to_visitor as id, 'infinity'::timestamptz as until where up.to_visitor is not null
        union all
        (select down.from_visitor, down.created_at from visitor_links down
         where down.property_id = property and down.to_visitor = coalesce(up.to_visitor, visitor)
         order by down.created_at desc limit 16)
    ) other
    where other.id <> visitor
$$;
drop function visitor_ids(uuid, text);
