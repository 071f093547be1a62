-- Everything here but accounts, keys and tokens is a view of the event log and can be dropped and rebuilt from it.
create table orders (
    order_id            bigint primary key,
    seq                 bigint not null unique,
    in_offset           bigint not null,
    parent_id           bigint,
    account             text not null,
    client_order_id     text,
    kind                text not null check (kind in ('limit', 'market', 'block', 'flex', 'capacity', 'resell')),
    contract            text,
    product             text not null,
    start_s             bigint,
    end_s               bigint,
    periods             integer,
    side                text not null check (side in ('buy', 'sell')),
    qty                 bigint not null,
    min_qty             bigint,
    price_micros        bigint,
    floor_curve_micros  bigint[],
    max_cost_micros     bigint,
    tif                 text not null,
    post_only           boolean not null,
    node                text,
    expires_ms          bigint,
    display_qty         bigint,
    stp                 text,
    created_ms          bigint not null,
    updated_ms          bigint not null,
    last_seq            bigint not null,
    remaining_qty       bigint not null,
    first_remaining     bigint not null,
    first_seq           bigint not null,
    status              text not null check (status in ('new', 'partially_filled', 'filled', 'canceled', 'expired')),
    reason              text,
    filled_qty          bigint not null,
    filled_micros       bigint not null,
    first_filled_qty    bigint not null,
    first_filled_micros bigint not null,
    why_reason          text,
    why_best_micros     bigint,
    why_missing         bigint,
    closed_offset       bigint,
    asks_open           integer not null,
    latest_s            bigint,
    begins_s            bigint,
    asked_digest        text
);
create index orders_of_account on orders (account, seq desc) where parent_id is null;
create index orders_of_parent on orders (parent_id, seq desc) where parent_id is not null;
create index orders_by_client_id on orders (account, client_order_id) where client_order_id is not null;
create index orders_open on orders (order_id) where status in ('new', 'partially_filled');

create table refusals (
    seq             bigint primary key,
    in_offset       bigint not null,
    account         text not null,
    client_order_id text not null,
    command         text not null,
    code            text not null,
    why_reason      text,
    why_best_micros bigint,
    why_missing     bigint,
    ts_ms           bigint not null
);
create index refusals_by_client_id on refusals (account, client_order_id, seq desc);
create index refusals_by_offset on refusals (in_offset);

create table fills (
    trade_id         bigint primary key,
    seq              bigint not null unique,
    in_offset        bigint not null,
    ts_ms            bigint not null,
    position_id      bigint not null,
    contract         text not null,
    price_micros     bigint not null,
    qty              bigint not null,
    taker_side       text,
    buyer            text not null,
    seller           text not null,
    buyer_order_id   bigint not null,
    seller_order_id  bigint not null,
    block_id         bigint,
    node             text not null,
    value_micros     bigint not null,
    buyer_fee_micros bigint not null
);
create index fills_of_buyer on fills (buyer, seq desc);
create index fills_of_seller on fills (seller, seq desc);
create index fills_by_offset on fills (in_offset);

create table positions (
    position_id       bigint primary key,
    seq               bigint not null unique,
    contract          text not null,
    buyer             text not null,
    operator          text not null,
    buyer_order_id    bigint not null,
    operator_order_id bigint not null,
    block_id          bigint,
    node              text not null,
    qty               bigint not null,
    price_micros      bigint not null,
    escrow_micros     bigint not null,
    bond_micros       bigint not null,
    period_s          bigint,
    opened_ms         bigint not null,
    updated_ms        bigint not null,
    last_seq          bigint not null,
    state             text not null,
    revision          integer not null,
    delivered_gpu_s   bigint,
    used_gpu_s        bigint,
    excused_gpu_s     bigint,
    index_micros      bigint,
    gross_micros      bigint,
    refund_micros     bigint,
    damages_micros    bigint,
    fee_micros        bigint,
    buyer_micros      bigint,
    operator_micros   bigint,
    meter_digest      text
);
create index positions_of_buyer on positions (buyer, seq desc);
create index positions_of_operator on positions (operator, seq desc);
create index positions_live on positions (position_id) where state not in ('SETTLED_FINAL', 'RESOLD');

create table balances (
    account          text not null,
    asset            text not null,
    available_micros bigint not null check (available_micros >= 0),
    held_micros      bigint not null check (held_micros >= 0),
    seq              bigint not null,
    primary key (account, asset)
);

create table products (
    product text primary key,
    terms   jsonb not null
);
