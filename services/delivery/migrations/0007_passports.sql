-- What a GPU's reports have shown so far, over all its nodes and owners: the venue's own record of its condition.
create table gpu_history (
    uuid                   text primary key,
    first_ms               bigint not null,
    last_ms                bigint not null,
    reports                bigint not null,
    reported_ms            bigint not null,
    throttled_ms           bigint not null,
    temperature_c_max      bigint,
    ecc_corrected          bigint,
    ecc_uncorrected        bigint,
    remapped_correctable   bigint,
    remapped_uncorrectable bigint,
    remap_failed           boolean not null,
    xids                   text not null,
    counters_went_back     boolean not null
);
