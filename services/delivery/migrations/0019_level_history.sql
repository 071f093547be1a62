-- What each settled position came to, by its last revision: levels and reputation are made of it.
create table delivery_fact (
    position_id bigint primary key,
    node_id text not null,
    at_ms bigint not null,
    contracted_gpu_s bigint not null,
    excused_gpu_s bigint not null,
    delivered_gpu_s bigint not null,
    disputed_gpu_s bigint not null,
    is_two_sided boolean not null
);
create index delivery_fact_node on delivery_fact (node_id, at_ms);

-- Since when a node is proven, or fell last; null where it is not. When its level is looked at next.
alter table node add column standing_ms bigint;
alter table node add column level_due_ms bigint not null default 0;
alter table node add column audited_until_ms bigint;
