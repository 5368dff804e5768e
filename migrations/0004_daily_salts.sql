-- What makes the ids of visitors who have not agreed to be recognised: a salt a day, the same on every instance. It is no tenant's, so no
-- property leads its key; the ids hash the property in. It is deleted when its day is two days past, and with it every way to find out
-- whose such an id was.
create table daily_salts (
    day  date primary key,
    salt bytea not null
);
