-- A copy of keys.events, from which the topic is mended where Kafka was put back to an older copy.
create table key_records (
    number bigint generated always as identity primary key,
    record bytea not null
);
create unique index key_records_once on key_records (sha256(record));
