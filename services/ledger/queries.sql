-- name: post_transfers
select post_transfers($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: forget_postings
select forget_postings();

-- name: forget_cursor
delete from cursor where consumer = $1;

-- name: seq
select coalesce((select seq from cursor where consumer = $1), 0);

-- name: balances
select owner, asset,
       sum(credits_posted - debits_posted) filter (where bucket = 'available') as available,
       sum(credits_posted - debits_posted) filter (where bucket = 'held') as held
from account
where bucket in ('available', 'held')
group by owner, asset
order by owner collate "C", asset collate "C";

-- name: balances_at
select a.owner, a.asset,
       sum(leg.amount) filter (where a.bucket = 'available') as available,
       sum(leg.amount) filter (where a.bucket = 'held') as held
from (
    select credit_account as account_id, amount from transfer where shard = $1 and seq <= $2
    union all
    select debit_account, -amount from transfer where shard = $1 and seq <= $2
) as leg
join account a using (account_id)
where a.bucket in ('available', 'held')
group by a.owner, a.asset
order by a.owner collate "C", a.asset collate "C";

-- name: delivered
select position_id, delivered_gpu_s, excused_gpu_s from delivered where position_id = any($1::bigint[]);

-- name: set_delivered
insert into delivered (position_id, delivered_gpu_s, excused_gpu_s)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[])
on conflict (position_id) do update
set delivered_gpu_s = excluded.delivered_gpu_s, excused_gpu_s = excluded.excused_gpu_s;

-- name: trial_balance
select asset, sum(debits_posted) as debits, sum(credits_posted) as credits, count(*) as accounts
from account
group by asset
order by asset collate "C";

-- name: bucket_totals
select asset, bucket, sum(credits_posted - debits_posted) as balance
from account
group by asset, bucket
order by asset collate "C", bucket;

-- name: unfolded
select a.owner, a.asset, a.bucket
from account a
left join (
    select account_id, sum(debit) as debits, sum(credit) as credits
    from (
        select debit_account as account_id, amount as debit, 0 as credit from transfer
        union all
        select credit_account, 0, amount from transfer
    ) as legs
    group by account_id
) as journal using (account_id)
where (a.debits_posted, a.credits_posted) is distinct from (coalesce(journal.debits, 0), coalesce(journal.credits, 0))
order by 1, 2, 3;

-- name: count
select count(*) from transfer;

-- name: statement
with mine as (select account_id, asset, bucket from account where owner = $1 and ($2::text is null or asset = $2)),
lines as (
    (
        select t.seq, t.leg, 0 as side, t.ts_ms, t.cause, t.reference, mine.asset, mine.bucket, t.amount
        from mine cross join lateral (
            select * from transfer
            where debit_account = mine.account_id and seq <= $3 and (seq, leg, 0) < ($3, $4, $5)
            order by seq desc, leg desc limit $6
        ) as t
    )
    union all
    (
        select t.seq, t.leg, 1, t.ts_ms, t.cause, t.reference, mine.asset, mine.bucket, t.amount
        from mine cross join lateral (
            select * from transfer
            where credit_account = mine.account_id and seq <= $3 and (seq, leg, 1) < ($3, $4, $5)
            order by seq desc, leg desc limit $6
        ) as t
    )
)
select * from lines order by seq desc, leg desc, side desc limit $6;

-- name: add_request
insert into request (transfer_id, caller, idempotency_key, kind, account, asset, amount, number)
values ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: request_by_key
select * from request where caller = $1 and idempotency_key = $2;

-- name: lock_request_key
select pg_advisory_xact_lock(hashtextextended($1 || '/' || $2, 0));

-- A transfer that the engine has already is the first end of this very request, which a lost database no longer knew.
-- name: close_requests
with ended as (
    select r.transfer_id, o.state, o.code, o.seq,
           case when o.code = 'transfer_exists' then (
               select min(t.seq) from transfer t
               where t.reference = 'transfer:' || r.transfer_id and t.amount = r.amount
           ) end as first_seq
    from request r
    join unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[])
         as o (transfer_id, number, state, code, seq)
      on r.transfer_id = o.transfer_id or r.number = o.number
    where r.state = 'pending'
)
update request
set state = case when first_seq is null then ended.state else 'posted' end,
    code = case when first_seq is null then ended.code end,
    seq = coalesce(first_seq, ended.seq)
from ended where request.transfer_id = ended.transfer_id;

-- name: note_mismatch
insert into mismatch (shard, seq, detail) values ($1, $2, $3) on conflict (shard) do nothing returning shard;

-- name: mismatch
select seq, detail from mismatch where shard = $1;

-- name: add_claims
insert into claim (seq, ts_ms, kind, claim_id, position_id, revision, debtor, creditor, asset, amount, owed)
select * from unnest(
    $1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::integer[], $7::text[], $8::text[],
    $9::text[], $10::bigint[], $11::bigint[]
);

-- name: pay_claims
update claim set owed = paid.owed, paid_ms = paid.ts_ms
from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as paid (claim_id, owed, ts_ms)
where claim.claim_id = paid.claim_id;

-- name: claims
select * from (
    (select * from claim where debtor = $1 and seq < $2 order by seq desc limit $3)
    union
    (select * from claim where creditor = $1 and seq < $2 order by seq desc limit $3)
) as both_parties
order by seq desc limit $3;
