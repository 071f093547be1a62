-- name: add_inspection
insert into inspection (inspection_id, account, ts_ms, report, facts) values ($1, $2, $3, $4, $5)
on conflict (inspection_id) do nothing;

-- name: inspection
select facts from inspection where inspection_id = $1;

-- name: report_of_inspection
select report from inspection where inspection_id = $1;

-- name: put_node_state
insert into node_state (node, seq, state, gpus, reason) values ($1, $2, $3, $4, $5)
on conflict (node) do update
set seq = excluded.seq, state = excluded.state, gpus = excluded.gpus, reason = excluded.reason
where node_state.seq < excluded.seq;

-- name: node_state
select state, gpus, reason from node_state where node = $1 and seq > $2;

-- name: lock_offers
select pg_advisory_xact_lock(hashtext(current_schema() || '.offers'));

-- name: offered_already
select g.uuid, g.serial, l.listing_id from listed_gpu g join listing l using (listing_id)
where l.state not in ('REFUSED', 'RELEASED', 'WITHDRAWN') and (g.uuid = any($1::text[]) or g.serial = any($2::text[]))
order by g.uuid limit 1;

-- name: add_listed_gpus
insert into listed_gpu select $1::text, * from unnest($2::text[], $3::text[]);

-- name: insert_listing
insert into listing (listing_id, seller, state, kind, title, grade, hub, condition, price_micros, fee_micros, currency,
                     gpus, inspection_id, simulated, changed_ms, deadline_ms, node, inspected_ms)
values ($1, $2, 'LOCKING', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17);

-- name: listing
select * from listing where listing_id = $1;

-- name: lock_listing
select * from listing where listing_id = $1 for update;

-- name: lock_overdue
select * from listing where deadline_ms <= $1
order by deadline_ms, state collate "C", listing_id collate "C" limit 1 for update;

-- name: update_listing
update listing set state = $2, changed_ms = $3, note = $4, buyer = $5, escrow_id = $6, deadline_ms = $7,
                   difference = $8
where listing_id = $1;

-- name: add_step
insert into step (listing_id, name, by, ts_ms, state, words, record_seq) values ($1, $2, $3, $4, $5, $6, $7)
on conflict (record_seq) where record_seq > 0 do nothing;

-- name: next_record
select nextval('record_seq');

-- name: set_record_seq
update listing set record_seq = $2 where listing_id = $1;

-- name: last_record
select greatest((select max(record_seq) from listing), (select max(record_seq) from step), 0);

-- name: listing_record_seq
select record_seq from listing where listing_id = $1 for update;

-- name: unrecorded
select listing_id from listing where record_seq = 0 order by number for update;

-- name: move_sequences
select setval('record_seq', greatest((select last_value from record_seq), $1)),
       setval('change_seq', greatest((select last_value from change_seq), $2));

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

-- name: alive_mark
select at_ms, back_ms from alive_mark;

-- name: set_alive_mark
insert into alive_mark (at_ms, back_ms) values ($1, $2)
on conflict (only_row) do update
set at_ms = greatest(alive_mark.at_ms, excluded.at_ms), back_ms = greatest(alive_mark.back_ms, excluded.back_ms);

-- name: lock_running
select * from listing where deadline_ms > $1 and state = any($2::text[]) order by listing_id collate "C" for update;

-- name: lock_listed_of_node
select * from listing where node = $1 and state = 'LISTED' order by listing_id collate "C" for update;
