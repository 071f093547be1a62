-- How buyers get in: their public SSH keys, what they wished for a position, and the key of the server that lets them in.
create table ssh_key (
    account  text not null,
    key_id   text not null,
    line     text not null,
    added_ms bigint not null,
    primary key (account, key_id)
);

-- `key_ids` null: all keys of the account.
create table access_wish (
    position_id bigint primary key references position on delete cascade,
    key_ids     text[],
    image       text,
    script      text
);

alter table lease add column host_key text not null default '';

-- The venue at a lease's door: every try, and since when it has failed without a break.
create table door_probe (
    lease_id  text not null references lease,
    at_ms     bigint not null,
    reachable boolean not null,
    reason    text not null,
    primary key (lease_id, at_ms)
);
