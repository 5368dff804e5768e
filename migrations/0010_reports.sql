-- Sums that reports are read from, and what they do not have in them yet.

-- Versions of credit that came to be: a row for each commit and property, written with it. It has no id of a row that another commit writes
-- too, so that commits never wait for each other here.
create table credit_changes (
    property_id uuid not null,
    -- A change that follows from another one has the higher id: its transaction began when the other was over.
    change_id   bigint generated always as identity,
    event_ids   uuid[] not null,
    versions    smallint[],
    primary key (property_id, change_id)
);
comment on column credit_changes.versions is 'the version that each conversion got; null: the first of each, with credit or without';

-- Sums of a day, by where the credit went. Arrays have an element a model, in the order last click, first click, linear, time decay,
-- position based.
create table report_days (
    property_id    uuid not null,
    day            date not null,
    attribution_id uuid not null,
    -- A digest of the columns up to `campaign`: these are longer than a key may be.
    group_id       uuid not null,
    topic          text not null,
    currency       text,
    channel        text,
    source         text,
    medium         text,
    campaign       text,
    touched        bigint[] not null check (array_length(touched, 1) = 16),
    credit         bigint[] not null check (array_length(credit, 1) = 5),
    gross          numeric[] not null check (array_length(gross, 1) = 5),
    refunds        numeric[] not null check (array_length(refunds, 1) = 5),
    primary key (property_id, day, attribution_id, group_id)
);
comment on column report_days.day is 'in UTC, of the conversion; of a refund, its own';
comment on column report_days.channel is 'null: nobody has the credit';
comment on column report_days.touched is 'conversions with such a touch: an element for each set of channel (1), source (2), medium (4) and campaign (8) that they are told apart by';
comment on column report_days.credit is 'millionths of a conversion';
comment on column report_days.gross is 'ten thousandths of the currency, times millionths';
comment on column report_days.refunds is 'as gross; where the credit of the purchase went';

-- Sums of an hour.
create table report_hours (
    property_id    uuid not null,
    hour           timestamptz not null,
    attribution_id uuid not null,
    topic          text not null,
    -- Empty where there is no value.
    currency       text not null,
    conversions    bigint not null,
    matched        bigint not null,
    gross          numeric not null,
    refunds        numeric not null,
    primary key (property_id, hour, attribution_id, topic, currency)
);
comment on column report_hours.gross is 'ten thousandths of the currency';

-- Which purchase and which version of its credit a refund is summed under; with neither, under nobody's.
create table report_refunds (
    property_id       uuid not null,
    event_id          uuid not null,
    purchase_event_id uuid,
    version           smallint,
    primary key (property_id, event_id)
);

-- What is there already is to be summed; later versions after the first ones.
insert into credit_changes (property_id, event_ids)
select property_id, array_agg(event_id)
from (select property_id, event_id, (row_number() over (partition by property_id order by event_id) - 1) / 1000 as part from conversions) numbered
group by property_id, part
order by property_id, part;

insert into credit_changes (property_id, event_ids, versions)
select property_id, array_agg(event_id), array_agg(version)
from (select property_id, event_id, version, (row_number() over (partition by property_id order by version, event_id) - 1) / 1000 as part
      from credits where version > 1 and position = 1) numbered
group by property_id, part
order by property_id, part;

-- Today's rows are written over and over: room on the page keeps that out of the index.
alter table report_days set (fillfactor = 70);
alter table report_hours set (fillfactor = 70);

-- Refused requests over time, without a look at those that were taken; those pay nothing for it.
create index activity_refused on activity (property_id, attribution_id, activity_id) include (at, status, requests)
    where status <> 'success' and not dry_run;
