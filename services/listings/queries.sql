-- name: add_inspection
insert into inspection (inspection_id, account, ts_ms, report) values ($1, $2, $3, $4)
on conflict (inspection_id) do nothing;

-- name: inspection
select account, ts_ms, report from inspection where inspection_id = $1;

-- name: insert_listing
insert into listing (listing_id, seller, state, kind, title, grade, hub, condition, price_micros, fee_micros, currency,
                     gpus, inspection_id, simulated, changed_ms, deadline_ms)
values ($1, $2, 'LOCKING', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15);

-- name: listing
select * from listing where listing_id = $1;

-- name: lock_listing
select * from listing where listing_id = $1 for update;

-- name: lock_overdue
select * from listing where deadline_ms <= $1
order by deadline_ms, state collate "C", listing_id collate "C" limit 1 for update;

-- name: update_listing
update listing set state = $2, changed_ms = $3, note = $4, buyer = $5, escrow_id = $6, deadline_ms = $7
where listing_id = $1;

-- name: add_step
insert into step (listing_id, name, by, ts_ms, state, words) values ($1, $2, $3, $4, $5, $6);

-- name: steps
select name, by, ts_ms, state, words from step where listing_id = $1 order by number;

-- name: page
select * from listing
where ($1::bigint is null or number < $1) and ($2::text is null or state = $2)
order by number desc limit $3;

-- name: add_request
insert into request (number, listing_id, step, escrow_id) values ($1, $2, $3, $4);

-- name: request
select listing_id, step, escrow_id from request where number = $1;

-- name: next_change
select nextval('change_seq');
