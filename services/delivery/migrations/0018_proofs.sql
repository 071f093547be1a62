-- How long a challenge's commit took by the venue's clock, less the round trip, and what was opened of it so far: GPU by
-- GPU, since one GPU's rows are megabytes.
alter table challenge add column seen_us bigint, add column trip_us bigint;

-- The second nonce, the digests that answered it, and how long that took, less the round trip.
alter table challenge add column residency bytea, add column digests bytea, add column residency_us bigint;

create table opened_gpu (
    challenge_id text not null references challenge,
    gpu_uuid     text not null,
    verdict      bytea not null,
    primary key (challenge_id, gpu_uuid)
);

-- A GPU's last proof, and how many verdicts in a row spoke of an odd speed or of an opening held back.
create table gpu_proof (
    gpu_uuid         text primary key,
    node_id          text not null references node,
    judged_ms        bigint not null,
    passed           boolean not null,
    reason           text not null,
    operations_per_s bigint not null,
    band             text not null
);
create index gpu_proof_node on gpu_proof (node_id);

alter table node add column doubts integer not null default 0;
