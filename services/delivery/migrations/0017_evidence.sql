-- Disputes, renters' chains and tries at doors come again from `meter.reports` before the positions and leases that they
-- belong to, which come with the event log.
alter table dispute drop constraint dispute_position_id_fkey;
alter table renter_meter drop constraint renter_meter_lease_id_fkey;
alter table door_probe drop constraint door_probe_lease_id_fkey;

-- Since when a GPU is its node's: what comes again in another order does not take it back.
alter table node_gpu add column since_ms bigint not null default 0;

alter table lease_answer add column host_key text not null default '';
