-- The cursor keeps the digest of its event's record: the chain before the event's command, which stood here, is the same
-- in two logs that differ only after it.
alter table cursor rename column link to event_sha256;
update cursor set event_sha256 = null;
