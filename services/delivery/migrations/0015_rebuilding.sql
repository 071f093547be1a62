-- Up to which offset of `meter.reports` this schema has every record, by partition: one that comes from an older backup,
-- or is new, reads again what it lacks.
create table report_mark (
    kafka_partition integer primary key,
    next_offset     bigint not null
);

-- What hooks answered for leases that this schema does not have yet: they come again with the event log.
create table lease_answer (
    lease_id    text not null,
    action      text not null check (action in ('start', 'stop')),
    node_id     text not null,
    received_ms bigint not null,
    ok          boolean not null,
    endpoint    text not null,
    primary key (lease_id, action)
);
