-- What the venue knew of the GPUs of an inspection when it published it; empty for those from before.
alter table inspection add column facts text not null default '';

-- What delivery said last of a node, so that nothing of a barred one is sold.
create table node_state (
    node  text primary key,
    seq   bigint not null,
    state text not null
);

alter table listing add column node text not null default '';
alter table listing add column inspected_ms bigint;
alter table listing add column difference text;
update listing set node = inspection.report::json ->> 'agent', inspected_ms = inspection.ts_ms
from inspection where inspection.inspection_id = listing.inspection_id;

-- Which GPUs a listing offers, to find one that is offered already.
create table listed_gpu (
    listing_id text not null references listing,
    uuid       text not null,
    serial     text not null,
    primary key (listing_id, uuid)
);
create index listed_gpu_by_uuid on listed_gpu (uuid);
create index listed_gpu_by_serial on listed_gpu (serial);
insert into listed_gpu
select listing_id, gpu ->> 'uuid', gpu ->> 'serial' from listing, json_array_elements(gpus::json) gpu
on conflict do nothing;
