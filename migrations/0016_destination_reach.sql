-- Where a destination's base URL may lead depends on who named it: whoever runs the service may send to any address, everybody else to public
-- ones alone. Of those that are there already the settings log tells.
alter table destinations add column base_url_anywhere boolean not null default false;
comment on column destinations.base_url_anywhere is 'the base URL was named on the command line, and may lead to any address, this machine''s too';

update destinations d set base_url_anywhere = true
where d.base_url is not null and exists (
    select from settings_log l
    where l.property_id = d.property_id and l.action = 'destination.created' and l.actor_kind = 'command_line'
      and l.object_id = d.destination_id::text);
