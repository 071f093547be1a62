-- Where a node's chain was moved to when neither side had the reports before: the meter goes on behind it.
alter table node
    add column base_seq  bigint not null default 0,
    add column base_hash text   not null default '';
