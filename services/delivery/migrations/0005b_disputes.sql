-- Disputes of settled positions; each side may open one. `overrides` are inputs that an arbiter gave, for every later
-- measurement of the position too.
create table dispute (
    dispute_id      text primary key,
    position_id     bigint not null references position,
    side            text not null check (side in ('buyer', 'operator')),
    account         text not null,
    idempotency_key text not null,
    reason          text not null,
    evidence        text not null,
    state           text not null check (state in ('OPEN', 'DECIDED', 'WITHDRAWN')),
    opened_ms       bigint not null,
    deadline_ms     bigint not null,
    revision        integer not null,
    engine_has      boolean not null default false,
    ruled           boolean not null default false,
    decided_by      text,
    decided_ms      bigint,
    decision_reason text not null default '',
    inputs          text,
    outcome         text not null default '',
    unique (position_id, side)
);
create index dispute_open on dispute (deadline_ms) where state = 'OPEN';
create index dispute_of_position on dispute (position_id);

alter table product add column final_ms bigint not null default 86400000;
