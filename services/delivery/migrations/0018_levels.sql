-- What a node runs, as its last message says; '' before the first that was looked at.
alter table node add column software text not null default '';

-- What freezes a node's level, with what was seen; lifted ones stay as the node's history.
create table level_hold (
    hold_id bigint generated always as identity primary key,
    node_id text not null,
    reason text not null,
    detail text not null,
    since_ms bigint not null,
    lifted_ms bigint
);
create unique index level_hold_open on level_hold (node_id, reason) where lifted_ms is null;
create index level_hold_node on level_hold (node_id, since_ms);

-- What people of the venue passed on besides the digest book.
create table driver_digest (
    driver_version text not null,
    library_sha256 text not null,
    source text not null,
    added_by text not null,
    added_ms bigint not null,
    primary key (driver_version, library_sha256)
);
