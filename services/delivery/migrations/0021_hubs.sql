-- What the beacon of its hub measured of a node last.
create table hub_trip (
    node_id text primary key,
    hub text not null,
    trip_us bigint not null,
    measured_ms bigint not null
);
