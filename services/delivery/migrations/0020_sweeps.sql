-- When a challenge may leave (0: at once), and whether it belongs to a sweep whose nonces leave at one moment: null, it
-- does not; else whether this one did.
alter table challenge add column opens_ms bigint not null default 0, add column simultaneous boolean;

-- How many sweeps in a row found the node holding no request, and why and from when on it is to be proven again.
alter table node
    add column absences integer not null default 0,
    add column suspicion text not null default '',
    add column suspected_ms bigint not null default 0;
