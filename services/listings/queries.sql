-- name: set_node
insert into node (node, account, gpus) values ($1, $2, $3)
on conflict (node) do update set account = excluded.account, gpus = excluded.gpus;

-- name: node
select account, gpus from node where node = $1;

-- name: add_nonce
insert into inspection_nonce (nonce, account, expires_ms) values ($1, $2, $3);

-- name: burn_nonce
delete from inspection_nonce where nonce = $1 and account = $2 and expires_ms >= $3 returning nonce;

-- name: insert_listing
insert into listing (listing_id, seller, state, kind, title, grade, hub, condition, price_micros, fee_micros, currency,
                     gpus, inspection_id, inspection, simulated, changed_ms)
values ($1, $2, 'LOCKING', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15);

-- name: listing
select * from listing where listing_id = $1;

-- name: lock_listing
select * from listing where listing_id = $1 for update;

-- name: lock_listing_by_escrow
select * from listing where escrow_id = $1 for update;

-- name: update_listing
update listing
set state = $2, changed_ms = greatest(changed_ms, $3), note = $4, buyer = $5, escrow_id = $6, inspect_until_ms = $7,
    accepted = $8
where listing_id = $1;

-- name: page
select * from listing
where ($1::bigint is null or number < $1) and ($2::text is null or state = $2)
order by number desc limit $3;

-- name: overdue
select listing_id from listing
where state = 'INSPECTING' and not accepted and inspect_until_ms <= $1
order by inspect_until_ms, listing_id for update;

-- name: add_request
insert into request (number, listing_id, step) values ($1, $2, $3);

-- name: request
select listing_id, step from request where number = $1;

-- name: next_change
select nextval('change_seq');
