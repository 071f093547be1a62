-- name: save_orders
insert into orders select * from json_populate_recordset(null::orders, $1::json)
on conflict (order_id) do update set
    qty = excluded.qty,
    price_micros = excluded.price_micros,
    floor_curve_micros = excluded.floor_curve_micros,
    tif = excluded.tif,
    expires_ms = excluded.expires_ms,
    asked_digest = excluded.asked_digest,
    first_terms = excluded.first_terms,
    updated_ms = excluded.updated_ms,
    last_seq = excluded.last_seq,
    remaining_qty = excluded.remaining_qty,
    first_remaining = excluded.first_remaining,
    first_seq = excluded.first_seq,
    status = excluded.status,
    reason = excluded.reason,
    reduced_qty = excluded.reduced_qty,
    first_reason = excluded.first_reason,
    filled_qty = excluded.filled_qty,
    filled_micros = excluded.filled_micros,
    first_filled_qty = excluded.first_filled_qty,
    first_filled_micros = excluded.first_filled_micros,
    why_reason = excluded.why_reason,
    why_best_micros = excluded.why_best_micros,
    why_missing = excluded.why_missing,
    closed_offset = excluded.closed_offset,
    asks_open = excluded.asks_open,
    end_s = excluded.end_s,
    begins_s = excluded.begins_s,
    use_vouchers = excluded.use_vouchers,
    voucher_micros = excluded.voucher_micros;

-- name: save_refusals
insert into refusals select * from json_populate_recordset(null::refusals, $1::json)
on conflict (seq) do nothing;

-- name: save_replacements
insert into replacements select * from json_populate_recordset(null::replacements, $1::json)
on conflict (account, replace_id) do nothing;

-- name: save_fills
insert into fills select * from json_populate_recordset(null::fills, $1::json)
on conflict (trade_id) do nothing;

-- name: save_positions
insert into positions select * from json_populate_recordset(null::positions, $1::json)
on conflict (position_id) do update set
    updated_ms = excluded.updated_ms,
    last_seq = excluded.last_seq,
    qty = excluded.qty,
    escrow_micros = excluded.escrow_micros,
    bond_micros = excluded.bond_micros,
    state = excluded.state,
    revision = excluded.revision,
    delivered_gpu_s = excluded.delivered_gpu_s,
    used_gpu_s = excluded.used_gpu_s,
    excused_gpu_s = excluded.excused_gpu_s,
    index_micros = excluded.index_micros,
    gross_micros = excluded.gross_micros,
    refund_micros = excluded.refund_micros,
    damages_micros = excluded.damages_micros,
    fee_micros = excluded.fee_micros,
    buyer_micros = excluded.buyer_micros,
    operator_micros = excluded.operator_micros,
    meter_digest = excluded.meter_digest,
    voucher_micros = excluded.voucher_micros,
    voucher_used_micros = excluded.voucher_used_micros,
    payout_held_micros = excluded.payout_held_micros,
    payout_held_until_ms = excluded.payout_held_until_ms;

-- name: save_balances
insert into balances select * from json_populate_recordset(null::balances, $1::json)
on conflict (account, asset) do update set
    available_micros = excluded.available_micros,
    held_micros = excluded.held_micros,
    seq = excluded.seq;

-- name: save_rules
insert into rules select * from json_populate_recordset(null::rules, $1::json)
on conflict (account, product) do update set
    terms = excluded.terms,
    seq = excluded.seq;

-- name: save_products
insert into products select * from json_populate_recordset(null::products, $1::json)
on conflict (product) do update set
    terms = excluded.terms;

-- name: save_programmes
insert into programmes select * from json_populate_recordset(null::programmes, $1::json)
on conflict (programme) do nothing;

-- name: open_orders
select * from orders where status in ('new', 'partially_filled');

-- name: newest_order_id
select coalesce(max(order_id), 0) from orders;

-- name: all_client_ids
select account, client_order_id from orders where client_order_id is not null and parent_id is null
union all select account, client_order_id from refusals
union all select account, replace_id from replacements;

-- name: live_positions
select * from positions where state not in ('SETTLED_FINAL', 'RESOLD', 'ENDED');

-- name: all_balances
select * from balances;

-- name: all_rules
select * from rules;

-- name: all_products
select terms from products;

-- name: all_programmes
select terms from programmes;

-- name: order_by_id
select * from orders where account = $1 and order_id = $2;

-- name: order_by_client_id
select * from orders where account = $1 and client_order_id = $2 order by seq desc limit 1;

-- name: replacement
select * from replacements where account = $1 and replace_id = $2;

-- name: refusal_by_client_id
select * from refusals where account = $1 and client_order_id = $2 order by seq desc limit 1;

-- name: refusal_by_offset
select * from refusals where account = $1 and in_offset = $2 and client_order_id = $3;

-- name: fills_of_command
select * from fills
where in_offset = $1
  and (buyer_order_id = $2 or seller_order_id = $2
       or seller_order_id in (select order_id from orders where parent_id = $2))
order by seq;

-- name: orders_of_account
select * from orders
where account = $1 and seq < $2 and parent_id is null
  and ($4::text is null or status = $4 or ($4 = 'open' and status in ('new', 'partially_filled')))
  and ($5::text is null or contract = $5) and ($6::text is null or product = $6) and ($7::text is null or side = $7)
  and $8::bigint is null
order by seq desc limit $3;

-- name: orders_of_node
select * from orders
where account = $1 and node = $9 and seq < $2 and parent_id is null
  and ($4::text is null or status = $4 or ($4 = 'open' and status in ('new', 'partially_filled')))
  and ($5::text is null or contract = $5) and ($6::text is null or product = $6) and ($7::text is null or side = $7)
  and $8::bigint is null
order by seq desc limit $3;

-- name: open_orders_of_node
select * from orders
where account = $1 and node = $9 and seq < $2 and parent_id is null
  and status in ('new', 'partially_filled') and $4 = 'open'
  and ($5::text is null or contract = $5) and ($6::text is null or product = $6) and ($7::text is null or side = $7)
  and $8::bigint is null
order by seq desc limit $3;

-- name: orders_of_parent
select * from orders
where account = $1 and seq < $2 and parent_id = $8::bigint
  and ($4::text is null or status = $4 or ($4 = 'open' and status in ('new', 'partially_filled')))
  and ($5::text is null or contract = $5) and ($6::text is null or product = $6) and ($7::text is null or side = $7)
order by seq desc limit $3;

-- name: ask_levels_of_account
select contract, price_micros, sum(remaining_qty)::bigint as qty from orders
where account = $1 and product = $2 and contract is not null
  and side = 'sell' and status in ('new', 'partially_filled')
group by contract, price_micros order by contract, price_micros;

-- name: fills_of_account
select * from (
    (select * from fills where buyer = $1 and seq < $2
       and ($4::text is null or contract = $4) and ($5::bigint is null or buyer_order_id = $5)
     order by seq desc limit $3)
    union
    (select * from fills where seller = $1 and seq < $2
       and ($4::text is null or contract = $4) and ($5::bigint is null or seller_order_id = $5)
     order by seq desc limit $3)
) as both_sides
order by seq desc limit $3;

-- name: positions_of_account
select * from (
    (select * from positions where buyer = $1 and seq < $2 and ($6::text is null or $6 = 'buyer')
       and ($4::text is null or contract = $4) and ($5::text is null or state = $5)
     order by seq desc limit $3)
    union
    (select * from positions where operator = $1 and seq < $2 and ($6::text is null or $6 = 'operator')
       and ($4::text is null or contract = $4) and ($5::text is null or state = $5)
     order by seq desc limit $3)
) as both_roles
order by seq desc limit $3;

-- name: positions_of_node
select * from positions
where node = $7 and seq < $2 and (buyer = $1 or operator = $1)
  and ($4::text is null or contract = $4) and ($5::text is null or state = $5)
  and ($6::text is null or (case $6 when 'buyer' then buyer else operator end) = $1)
order by seq desc limit $3;

-- name: open_positions_of_node
select * from positions
where node = $7 and seq < $2 and (buyer = $1 or operator = $1) and state = 'OPEN' and $5 = 'OPEN'
  and ($4::text is null or contract = $4)
  and ($6::text is null or (case $6 when 'buyer' then buyer else operator end) = $1)
order by seq desc limit $3;

-- name: all_node_marks
select node, simulated from node_marks;

-- name: mark_nodes
insert into node_marks select * from unnest($1::text[], $2::boolean[])
on conflict (node) do update set simulated = node_marks.simulated or excluded.simulated;

-- name: keep_key_records
insert into key_records (record) select * from unnest($1::bytea[]) on conflict (sha256(record)) do nothing;

-- name: all_key_records
select record from key_records order by number;
