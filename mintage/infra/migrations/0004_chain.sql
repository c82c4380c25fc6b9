-- Each event's hash, which covers the one before it in its stream (mintage/infra/chain.py).
--
-- The shapes of stored events were free to change until now. A log with events of the old shapes is not carried over.
do $$
begin
    if exists (select from stored_events) then
        raise exception 'this log was made by a version from before stored events were frozen; begin with an empty database';
    end if;
end $$;
alter table stored_events add column hash bytea not null constraint stored_events_hash check (length(hash) = 32);
