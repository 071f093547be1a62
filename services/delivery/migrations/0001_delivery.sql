-- Nodes and their GPUs, as enrolment and reports made them. `registered_gpus` is what the engine was told last.
create table node (
    node_id         text primary key,
    account         text not null,
    label           text not null,
    hub             text not null,
    grade           text not null,
    public_key      text not null,
    simulated       boolean not null,
    boot_id         text not null,
    enrolled_ms     bigint not null,
    level           text not null check (level in ('T0', 'T1', 'T2', 'T3')),
    state           text not null check (state in ('enrolled', 'active', 'quarantined', 'lost', 'banned')),
    reason          text not null,
    registered_gpus text[] not null,
    last_live_ms    bigint,
    beat_live_ms    bigint not null,
    admitted        boolean not null default false
);

create table node_gpu (
    uuid       text primary key,
    node_id    text not null references node,
    serial     text not null,
    inventory  text not null,
    fault      text not null,
    fault_boot text not null,
    listing_id text,
    sold_to    text
);
create index node_gpu_node on node_gpu (node_id);
create unique index node_gpu_serial on node_gpu (serial) where serial <> 'unknown';

create table burnt_token (
    token_id text primary key,
    node_id  text not null
);

create table escrow (
    escrow_id  text primary key,
    listing_id text not null,
    buyer      text not null
);

-- The edge's view of a node's chain: what was taken, what waits for its predecessor, which nonces were given out.
create table chain (
    node_id         text primary key references node,
    seq             bigint not null,
    hash            text not null,
    boot_id         text not null,
    mono_end_ms     bigint not null,
    received_ms     bigint not null,
    nonce           text not null,
    nonce_issued_ms bigint not null,
    recent_nonces   text[] not null,
    queued_nonce    text not null,
    offset_min_ms   bigint
);

create table taken_report (
    node_id text not null,
    seq     bigint not null,
    hash    text not null,
    primary key (node_id, seq)
);

create table waiting_report (
    node_id text not null,
    seq     bigint not null,
    hash    text not null,
    record  bytea not null,
    primary key (node_id, seq)
);

-- The meter's records: every report as it stood on meter.reports, in its node's order.
create table meter_report (
    node_id     text not null,
    seq         bigint not null,
    hash        text not null,
    received_ms bigint not null,
    record      bytea not null,
    primary key (node_id, seq)
);
create index meter_report_received on meter_report (node_id, received_ms);

create table challenge (
    challenge_id text primary key,
    node_id      text not null references node,
    cause        text not null,
    lease_id     text,
    issued_ms    bigint not null,
    deadline_ms  bigint not null,
    asked        bytea not null,
    state        text not null check (state in ('issued', 'committed', 'judged', 'applied')),
    secret       bytea,
    committed_ms bigint,
    commitment   bytea,
    opening      bytea,
    verdict      bytea
);
create index challenge_open on challenge (node_id) where state in ('issued', 'committed');

-- What the event log says: products' terms, positions by trade, and where each stands between gate and receipt.
create table product (
    product   text primary key,
    grade     text not null,
    hub       text not null,
    currency  text not null,
    period_ms bigint not null,
    gate_ms   bigint not null
);

create table position (
    position_id bigint primary key,
    contract    text not null,
    product     text not null,
    node_id     text not null,
    buyer       text not null,
    operator    text not null,
    qty         integer not null check (qty > 0),
    block_id    bigint,
    start_ms    bigint not null,
    end_ms      bigint not null,
    state       text not null check (state in ('open', 'locked', 'metered', 'reported', 'settled')),
    gpus        text[] not null,
    lease_id    text,
    offered_ms  bigint,
    metered_ms  bigint,
    wait_seq    bigint
);
create index position_contract on position (contract);
create index position_block on position (block_id, node_id) where block_id is not null;
create index position_metered on position (position_id) where state = 'metered';

create table lease (
    lease_id          text primary key,
    node_id           text not null references node,
    contract          text not null,
    buyer             text not null,
    block_id          bigint,
    gpus              text[] not null,
    position_ids      bigint[] not null,
    starts_ms         bigint not null,
    ends_ms           bigint not null,
    told_ends_ms      bigint not null,
    state             text not null check (state in ('pending', 'ready', 'started', 'failed', 'ended')),
    reason            text not null default '',
    access_ms         bigint,
    released_ms       bigint,
    start_answered_ms bigint,
    stop_answered_ms  bigint,
    endpoint          text not null default '',
    credential        bytea
);
create index lease_running on lease (node_id) where state in ('pending', 'ready', 'started');
create index lease_block on lease (block_id, node_id) where block_id is not null;

create table settlement (
    position_id bigint not null references position,
    revision    integer not null,
    digest      text not null,
    inputs      bytea not null,
    outcome     bytea not null,
    primary key (position_id, revision)
);

create table receipt (
    position_id bigint not null references position,
    revision    integer not null,
    buyer       text not null,
    operator    text not null,
    document    bytea not null,
    primary key (position_id, revision)
);
create index receipt_buyer on receipt (buyer, position_id desc);
create index receipt_operator on receipt (operator, position_id desc);

create table inspection (
    inspection_id text primary key,
    account       text not null,
    received_ms   bigint not null,
    report        bytea not null,
    published     boolean not null default false
);

create table inspection_nonce (
    nonce      text primary key,
    account    text not null,
    expires_ms bigint not null,
    used_by    text
);

-- The sequence of delivery.events, without holes: allocated in the transaction of the change told of.
create table delivery_sequence (
    only_row boolean primary key default true check (only_row),
    seq      bigint not null
);
insert into delivery_sequence (seq) values (0);
