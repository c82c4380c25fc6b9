-- The log's Merkle tree and its signed checkpoints (mintage/infra/seal).

-- Which log this is: a checkpoint of another one is recognised by it. A copy of the database is the same log.
create table log_identity (
    only_one boolean primary key default true check (only_one),
    id uuid not null default gen_random_uuid()
);
insert into log_identity default values;

-- What was signed. Every note is in a file outside the database as well.
create table seals (
    size bigint primary key,
    root bytea not null constraint seals_root check (length(root) = 32),
    note text not null,
    at timestamptz not null
);

-- The tree, 256 hashes to a tile; the last tile of each level is rewritten as it grows.
create table seal_tiles (
    level smallint not null,
    number bigint not null,
    hashes bytea not null,
    primary key (level, number)
);
-- Hashes do not get smaller by compressing them.
alter table seal_tiles alter column hashes set storage external;

create trigger log_identity_final before update or delete or truncate on log_identity
    for each statement execute function refuse_change();
create trigger seals_append_only before update or delete or truncate on seals
    for each statement execute function refuse_change();
