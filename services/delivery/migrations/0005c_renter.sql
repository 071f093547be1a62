-- The renter's own meter of a lease: its key, where its chain stands, and its reports.
create table renter_meter (
    lease_id        text primary key references lease,
    public_key      text not null,
    seq             bigint not null,
    hash            text not null,
    boot_id         text not null,
    mono_end_ms     bigint not null,
    received_ms     bigint not null,
    nonce           text not null,
    nonce_issued_ms bigint not null,
    recent_nonces   text[] not null,
    queued_nonce    text not null,
    offset_min_ms   bigint
);

create table renter_report (
    lease_id    text not null references renter_meter,
    seq         bigint not null,
    hash        text not null,
    received_ms bigint not null,
    record      bytea not null,
    primary key (lease_id, seq)
);

-- The venue itself opens a dispute where two meters differ; what it settled then is kept for the receipt.
alter table dispute drop constraint dispute_side_check;
alter table dispute add constraint dispute_side_check check (side in ('buyer', 'operator', 'venue'));
alter table settlement add column disputed_gpu_s bigint not null default 0;
alter table settlement add column disputed_used_gpu_s bigint not null default 0;
