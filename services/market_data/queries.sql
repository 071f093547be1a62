-- name: insert_trades
insert into trade (seq, ts_ms, trade_id, contract, product, price_micros, qty, taker_side)
select * from unnest(
    $1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[]
);

-- name: upsert_candles
insert into candle (
    sym, interval, start_ms, end_ms, open_micros, high_micros, low_micros, close_micros, qty, turnover, trades, seq
)
select * from unnest(
    $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
    $9::bigint[], $10::numeric[], $11::bigint[], $12::bigint[]
)
on conflict (sym, interval, start_ms) do update set
    high_micros = excluded.high_micros, low_micros = excluded.low_micros, close_micros = excluded.close_micros,
    qty = excluded.qty, turnover = excluded.turnover, trades = excluded.trades, seq = excluded.seq;

-- name: insert_indexes
insert into index_value (contract, product, start_ms, seq, ts_ms, index_micros, level, method, inputs_digest)
select * from unnest(
    $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::integer[], $8::text[], $9::text[]
);

-- name: select_trades
select seq, ts_ms, trade_id, contract, price_micros, qty, taker_side from trade
where ($1::text is null or contract = $1) and ($2::text is null or product = $2) and seq < $3
order by seq desc limit $4;

-- name: select_candles
select sym, interval, start_ms, end_ms, open_micros, high_micros, low_micros, close_micros, qty, turnover, trades, seq
from candle where sym = $1 and interval = $2 and start_ms >= $3 and start_ms < $4
order by start_ms desc limit $5;

-- name: select_indexes
select contract, seq, ts_ms, index_micros, level, method, inputs_digest from index_value
where product = $1 and start_ms < $2 order by start_ms desc limit $3;

-- name: put_relayed
insert into relayed (channel, key, seq, item)
select $1, * from unnest($2::text[], $3::bigint[], $4::text[])
on conflict (channel, key) do update set seq = excluded.seq, item = excluded.item where relayed.seq < excluded.seq;

-- name: recent_relayed
select key, seq, item from (
    select key, seq, item from relayed where channel = $1 order by seq desc limit $2
) as newest order by seq;

-- name: generation
select id::text from generation;
