-- When a GPU last passed a proof, and what a failed one took back: time since the last passed one, which pays nothing more.
alter table gpu_proof add column passed_ms bigint;
update gpu_proof set passed_ms = judged_ms where passed;

create table disproven (
    challenge_id text not null,
    gpu_uuid     text not null,
    node_id      text not null references node,
    start_ms     bigint not null,
    end_ms       bigint not null,
    primary key (challenge_id, gpu_uuid)
);
create index disproven_node on disproven (node_id, end_ms);
