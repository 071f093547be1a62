-- Where a reader of events stands, moved in the same transaction as its effects.
create table if not exists cursor (
    consumer    text primary key,
    shard       integer not null,
    seq         bigint not null check (seq >= 0),
    next_offset bigint not null check (next_offset >= 0),
    link        bytea
);

-- Privileged batches on their way to the command log; `number` is dense, so it is allocated under a lock in the transaction.
create table if not exists outbox (
    number   bigint primary key check (number > 0),
    commands text not null,
    sent     boolean not null default false
);
create index if not exists outbox_unsent on outbox (number) where not sent;
