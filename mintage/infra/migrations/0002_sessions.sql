-- Who signs in by other means has no password.
alter table credentials alter column password_hash drop not null;

-- Whose a mailed code is, if it is anybody's: an erasure finds it by that, whatever address it was mailed to.
alter table verification_codes add column user_id uuid;
create index verification_codes_user on verification_codes (user_id);

-- Tokens that were ended before their time; kept until they would have expired anyway.
create table ended_tokens (
    token_id uuid primary key,
    user_id uuid not null,
    created_at timestamptz not null
);
create index ended_tokens_user on ended_tokens (user_id);
create index ended_tokens_created on ended_tokens (created_at);
