-- An event's hash is its leaf in the log's Merkle tree from here on (mintage/infra/chain.py), and was not before: a log
-- that was hashed in the other way is not carried over.
do $$
begin
    if exists (select from stored_events) then
        raise exception 'this log was made by a version that hashed events in another way; begin with an empty database';
    end if;
end $$;
