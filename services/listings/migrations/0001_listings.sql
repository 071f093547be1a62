-- Inspection reports that delivery checked and published, whole, as the agents signed them.
create table inspection (
    inspection_id text primary key,
    account       text not null,
    ts_ms         bigint not null,
    report        text not null
);

create table listing (
    listing_id       text primary key,
    number           bigint generated always as identity unique,
    seller           text not null,
    buyer            text,
    state            text not null,
    kind             text not null,
    title            text not null,
    grade            text not null,
    hub              text not null,
    condition        text not null,
    price_micros     bigint not null check (price_micros > 0),
    fee_micros       bigint not null check (fee_micros >= 0),
    currency         text not null,
    gpus             text not null,
    inspection_id    text not null references inspection,
    simulated        boolean not null,
    escrow_id        text,
    note             text not null default '',
    changed_ms       bigint not null,
    inspect_until_ms bigint,
    accepted         boolean not null default false
);
create index listing_by_escrow on listing (escrow_id) where escrow_id is not null;
create index listing_inspecting on listing (inspect_until_ms) where state = 'INSPECTING' and not accepted;

-- Which step of which listing a privileged batch belongs to, so that the engine's refusal finds its way back.
create table request (
    number     bigint primary key,
    listing_id text not null references listing,
    step       text not null
);

create sequence change_seq;
