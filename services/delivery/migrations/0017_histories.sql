-- Up to which report of a node its GPUs' histories are written: those behind it are gathered in memory for a while.
alter table node add column history_seq bigint not null default 0;
update node set history_seq = metered_seq;
