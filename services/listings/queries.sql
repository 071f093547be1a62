-- name: add_inspection
insert into inspection (inspection_id, account, ts_ms, report) values ($1, $2, $3, $4)
on conflict (inspection_id) do nothing;

-- name: inspection
select account, ts_ms, report from inspection where inspection_id = $1;

-- name: insert_listing
insert into listing (listing_id, seller, state, kind, title, grade, hub, condition, price_micros, fee_micros, currency,
                     gpus, inspection_id, simulated, changed_ms)
values ($1, $2, 'LOCKING', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

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
