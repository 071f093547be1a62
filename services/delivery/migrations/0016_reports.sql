-- The edge writes a report to `meter_report` itself, packed; how far the consumer of `meter.reports` has taken a node's
-- chain stands with the node. A chain that was moved goes on from there as well.
alter table node
    add column metered_seq  bigint not null default 0,
    add column metered_hash text   not null default repeat('0', 64);
update node n set metered_seq = r.seq, metered_hash = r.hash
from (select distinct on (node_id) node_id, seq, hash from meter_report order by node_id, seq desc) r
where r.node_id = n.node_id;
update node set metered_seq = base_seq, metered_hash = base_hash where base_seq > metered_seq;
alter table node drop column base_seq, drop column base_hash;

-- What was taken and not metered when the edge began to write reports itself; nothing is added any more.
delete from taken_report t using meter_report m where (m.node_id, m.seq) = (t.node_id, t.seq);

-- Reports that were committed together and may not be on the topic yet; a row goes when the broker has them.
create table report_batch (
    batch_id bigint generated always as identity primary key,
    node_ids text[] not null,
    seqs     bigint[] not null
);

-- Asked with every report.
create index lease_unstopped on lease (node_id) where start_answered_ms is not null and stop_answered_ms is null;

-- Rows that change with every report find room on their own page, so that no index has to follow.
alter table chain set (fillfactor = 60);
alter table node set (fillfactor = 70);
alter table gpu_history set (fillfactor = 70);
