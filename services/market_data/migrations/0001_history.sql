-- History for everyone; every table here is rebuilt from the logs when it is dropped.
create table trade (
    seq          bigint primary key,
    ts_ms        bigint not null,
    trade_id     bigint not null unique,
    contract     text   not null,
    product      text   not null,
    price_micros bigint not null check (price_micros > 0),
    qty          bigint not null check (qty > 0),
    taker_side   text   check (taker_side in ('buy', 'sell'))
);
create index trade_by_contract on trade (contract, seq desc);
create index trade_by_product on trade (product, seq desc);

create table candle (
    sym          text    not null,
    interval     text    not null,
    start_ms     bigint  not null,
    end_ms       bigint  not null,
    open_micros  bigint  not null,
    high_micros  bigint  not null,
    low_micros   bigint  not null,
    close_micros bigint  not null,
    qty          bigint  not null check (qty > 0),
    turnover     numeric not null,
    trades       bigint  not null,
    seq          bigint  not null,
    primary key (sym, interval, start_ms)
);

create table index_value (
    contract      text primary key,
    product       text    not null,
    start_ms      bigint  not null,
    seq           bigint  not null,
    ts_ms         bigint  not null,
    index_micros  bigint  not null check (index_micros > 0),
    level         integer not null check (level between 1 and 5),
    method        text    not null,
    inputs_digest text    not null
);
create index index_value_by_product on index_value (product, start_ms desc);

-- What listings and delivery published, as everyone may see it.
create table relayed (
    channel text   not null check (channel in ('listings', 'delivery')),
    key     text   not null,
    seq     bigint not null,
    item    text   not null,
    primary key (channel, key)
);
create index relayed_by_seq on relayed (channel, seq desc);

-- A new schema reads the relayed topics from their start: its consumer group has a name of its own.
create table generation (id uuid not null default gen_random_uuid());
insert into generation default values;
