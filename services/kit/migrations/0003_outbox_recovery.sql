-- A batch found in the command log that this outbox did not have; until the events up to here are read again, the same
-- commands decided anew are that batch.
alter table outbox add column if not exists recovered_until bigint;
create index if not exists outbox_recovered on outbox (md5(commands)) where recovered_until is not null;

-- Up to where the command log is known to hold nothing of this source beyond the batch `number`.
create table if not exists outbox_mark (
    one        boolean primary key default true check (one),
    number     bigint not null,
    log_offset bigint not null
);
