-- Until when, in the log's time, the venue was there for sellers and buyers, and when its last outage ended: no deadline
-- runs in one.
create table alive_mark (
    only_row boolean primary key default true check (only_row),
    at_ms    bigint not null,
    back_ms  bigint not null
);
