-- What a replace under a name of its own left of its order: a repeat is answered with it, whatever came after.
create table replacements (
    account       text not null,
    replace_id    text not null,
    seq           bigint not null,
    in_offset     bigint not null,
    order_id      bigint not null,
    priority_kept boolean not null,
    left_as       jsonb not null,
    primary key (account, replace_id)
);
-- What was taken off orders that stand on; of those from before, `qty` is still what was asked for first.
alter table orders add column reduced_qty bigint not null default 0;
-- Why its own command took a part of an order off.
alter table orders add column first_reason text;
