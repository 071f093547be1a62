-- When this service was last known to be up, and when it could not take reports: nobody pays for that.
create table alive_mark (
    only_row boolean primary key default true check (only_row),
    at_ms    bigint not null
);

create table venue_outage (
    from_ms bigint not null,
    to_ms   bigint not null check (to_ms > from_ms),
    cause   text not null,
    primary key (from_ms, to_ms)
);
create index venue_outage_end on venue_outage (to_ms);

-- What operators declare: windows of maintenance, which count for what is traded after, and recalls in tier I.
create table maintenance (
    maintenance_id text primary key,
    node_id        text not null references node,
    start_ms       bigint not null,
    end_ms         bigint not null check (end_ms > start_ms),
    declared_ms    bigint not null
);
create index maintenance_node on maintenance (node_id, end_ms);

create table recall (
    recall_id   text primary key,
    position_id bigint not null,
    gpus        text[] not null,
    from_ms     bigint not null,
    declared_ms bigint not null
);
create index recall_position on recall (position_id);

-- When a position was traded, when it is due to be settled, which revision stands, and whether something has come since
-- that may change it.
alter table position add column traded_ms bigint;
alter table position add column due_ms bigint;
alter table position add column revision integer not null default 0;
alter table position add column final boolean not null default false;
alter table position add column changed_ms bigint;
create index position_changed on position (changed_ms) where changed_ms is not null and not final;
create index position_correctable on position (node_id) where state in ('reported', 'settled') and not final;

-- When the nonce of a live report was given out: no report after one of a time concerns what was before.
alter table meter_report add column nonce_issued_ms bigint;
