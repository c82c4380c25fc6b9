-- States of sign-ins with Google that were used: each counts once.
create table google_states (
    id uuid primary key,
    created_at timestamptz not null
);
create index google_states_created on google_states (created_at);
