-- Users are of the installation, not of a property: their tables are directories.

alter table users add column role text not null default 'owner' check (role in ('owner', 'editor', 'viewer'));
alter table users alter column role drop default;
-- Somebody who was invited has none yet.
alter table users alter column password_hash drop not null;

-- Somebody who is signed in on one device. The token is in the browser's cookie alone.
create table sign_ins (
    token_hash   bytea primary key,
    user_id      uuid not null references users on delete cascade,
    created_at   timestamptz not null,
    last_seen_at timestamptz not null,
    expires_at   timestamptz not null
);
create index sign_ins_of_user on sign_ins (user_id);
create index sign_ins_by_end on sign_ins (expires_at);

-- Links by which an invited user sets a password, once.
create table invitations (
    token_hash bytea primary key,
    user_id    uuid not null references users on delete cascade,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
create index invitations_of_user on invitations (user_id);
