-- The log and what lies beside it. Read models bring their own tables (mintage/projections).

-- The table of the eventsourcing library's recorder, made by us: positions are given out under the log's lock
-- without a gap, a command is stored once, and nothing here is ever null, changed or removed.
create table stored_events (
    originator_id text not null,
    originator_version bigint not null,
    topic text not null,
    state bytea not null,
    notification_id bigint not null,
    -- The first event of each command carries its id.
    command_id uuid constraint stored_events_command unique,
    primary key (originator_id, originator_version)
);
create unique index stored_events_notification_id_idx on stored_events (notification_id);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the log is append-only';
end $$;
create trigger stored_events_append_only before update or delete on stored_events
    for each row execute function refuse_change();
create trigger stored_events_never_emptied before truncate on stored_events
    for each statement execute function refuse_change();

-- Folded states: a shortcut that costs nothing to lose.
create table snapshots (
    stream text primary key,
    version bigint not null,
    shape integer not null,
    state bytea not null
) with (fillfactor = 50);

-- Each person's key, wrapped by the master key. Deleting a row is erasing a person.
create table person_keys (
    user_id uuid primary key,
    wrapped_key bytea not null
);

create table credentials (
    user_id uuid primary key,
    password_hash text not null
);

create table verification_codes (
    id uuid primary key,
    email text not null,
    code text not null,
    type text not null constraint verification_codes_type check (type in ('verification', 'password_reset')),
    expires_at timestamptz not null,
    used boolean not null default false,
    attempts integer not null default 0,
    created_at timestamptz not null
);
create index verification_codes_email on verification_codes (email, type, created_at desc);

-- Replies kept under the callers' Idempotency-Keys.
create table receipts (
    user_id uuid not null,
    path text not null,
    key text not null,
    digest bytea not null,
    body bytea,
    task_id uuid,
    created_at timestamptz not null,
    constraint receipts_pkey primary key (user_id, path, key)
);
create index receipts_created on receipts (created_at);

-- How far each followed read model has read the log.
create table checkpoints (
    name text primary key,
    position bigint not null
);
