-- A GPU's health as schemas/gpu_health.py carries it: what keeps it from new buyers without being a fault, and what its
-- counters of uncorrectable errors and of energy showed, so that a fault is kept over restarts of the agent.
alter table node_gpu
    add column degraded        text not null default '',
    add column ecc_uncorrected bigint,
    add column fault_energy_mj bigint,
    add column contained       boolean not null default false;
