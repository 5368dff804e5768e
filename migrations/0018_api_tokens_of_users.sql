-- Who made a token. What a user made ends when the user may make none any more.
alter table api_tokens add column created_by text, add column user_id uuid;
comment on column api_tokens.created_by is 'as the settings log names it: an email address, a token''s prefix, the command line';
comment on column api_tokens.user_id is 'the user, where it was one; not a reference, because the row outlives the user';

update api_tokens t set created_by = l.actor, user_id = u.user_id
from settings_log l left join users u on l.actor_kind = 'user' and lower(u.email) = lower(l.actor) and u.created_at <= l.at
where l.property_id = t.property_id and l.action = 'api_token.created' and l.object_id = t.token_id::text;
update api_tokens set created_by = 'unknown' where created_by is null;
alter table api_tokens alter column created_by set not null;

-- A directory, read when a user may do less or is removed.
create index api_tokens_of_user on api_tokens (user_id) where revoked_at is null;
