-- What a conversion's commit promised, kept with it: the books compare it with what became of its deliveries. Null: it came when its stream had
-- no destination, or before this was kept.
alter table conversions add column destination_ids uuid[];
comment on column conversions.destination_ids is 'the destinations that its stream had when it came';

-- Deliveries that can be sent again, by when they came to stand there.
create index deliveries_to_replay on deliveries (property_id, destination_id, state, settled_at) where state in ('dead', 'expired');
