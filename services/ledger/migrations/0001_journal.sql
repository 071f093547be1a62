-- Accounts and transfers of the venue. Amounts are in the asset's smallest unit: micro-units of money, GPU-milliseconds.
-- A user's account is a debt of the venue, so its balance is credits − debits; what came from outside stands against it.
create table account (
    account_id     bigint generated always as identity primary key,
    owner          text not null,
    asset          text not null,
    bucket         text not null
        check (bucket in ('available', 'held', 'external', 'contracted', 'delivered', 'excused', 'undelivered')),
    debits_posted  numeric(38) not null default 0 check (debits_posted >= 0),
    credits_posted numeric(38) not null default 0 check (credits_posted >= 0),
    unique (owner, asset, bucket),
    constraint no_negative_balance check (
        case when bucket in ('external', 'contracted')
            then debits_posted >= credits_posted
            else credits_posted >= debits_posted
        end
    )
);

-- Append-only. The identity is the cause: the event's sequence, and the transfer's place in it.
create table transfer (
    shard          smallint not null,
    seq            bigint not null check (seq > 0),
    leg            integer not null check (leg >= 0),
    ts_ms          bigint not null,
    cause          text not null,
    reference      text not null,
    debit_account  bigint not null,
    credit_account bigint not null check (credit_account <> debit_account),
    amount         bigint not null check (amount > 0),
    primary key (shard, seq, leg)
);
create index transfer_debit on transfer (debit_account, seq);
create index transfer_credit on transfer (credit_account, seq);

-- GPU-seconds of each position as last settled, so that a correction posts the difference.
create table delivered (
    position_id     bigint primary key,
    delivered_gpu_s bigint not null,
    excused_gpu_s   bigint not null
);

-- Deposits and withdrawals asked for over HTTP; not a view of the events, and kept when those are read again.
create table request (
    transfer_id     text primary key,
    caller          text not null,
    idempotency_key text not null,
    kind            text not null check (kind in ('deposit', 'withdrawal')),
    account         text not null,
    asset           text not null,
    amount          bigint not null check (amount > 0),
    number          bigint not null unique,
    state           text not null default 'pending' check (state in ('pending', 'posted', 'refused')),
    code            text,
    seq             bigint,
    unique (caller, idempotency_key)
);

-- At most one row a shard: where the ledger and the engine differed. While it is there nothing is posted.
create table mismatch (
    shard       smallint primary key,
    seq         bigint not null,
    detail      text not null,
    noticed_at  timestamptz not null default now()
);

-- Only this role writes accounts and transfers, and only through the functions below, whoever is connected.
-- same effect as 0c072fe91690449bc705da2163034c3858eef2e4082cab600907cd20edc6db48
do $$
begin
    if not exists (select from pg_roles where rolname = 'hourbook_ledger_poster') then
        create role hourbook_ledger_poster nologin;
    end if;
exception when duplicate_object or unique_violation then
    null;
end
$$;
grant hourbook_ledger_poster to current_user;

create function refuse_other_writers() returns trigger language plpgsql as $$
begin
    if current_user <> 'hourbook_ledger_poster' then
        raise exception '% of % is for post_transfers() alone', tg_op, tg_table_name
            using errcode = 'insufficient_privilege';
    end if;
    return null;
end
$$;
create trigger posted_only before insert or update or delete or truncate on account
    for each statement execute function refuse_other_writers();
create trigger posted_only before insert or update or delete or truncate on transfer
    for each statement execute function refuse_other_writers();

-- Inserts the transfers and folds them into their accounts: one call a batch, inside the transaction of the cursor.
create function post_transfers(
    of_shard integer, seqs bigint[], legs integer[], ts bigint[], causes text[], references_ text[], assets text[],
    debit_owners text[], debit_buckets text[], credit_owners text[], credit_buckets text[], amounts bigint[]
) returns integer language plpgsql security definer set search_path from current as $$
declare
    inserted integer;
begin
    insert into account (owner, asset, bucket)
    select * from (
        select * from unnest(debit_owners, assets, debit_buckets)
        union
        select * from unnest(credit_owners, assets, credit_buckets)
    ) as wanted (owner, asset, bucket)
    where not exists (
        select from account a where (a.owner, a.asset, a.bucket) = (wanted.owner, wanted.asset, wanted.bucket)
    )
    order by 1, 2, 3;

    with posted as (
        insert into transfer (shard, seq, leg, ts_ms, cause, reference, debit_account, credit_account, amount)
        select of_shard, row.seq, row.leg, row.ts_ms, row.cause, row.reference, debit.account_id, credit.account_id,
               row.amount
        from unnest(seqs, legs, ts, causes, references_, assets, debit_owners, debit_buckets, credit_owners,
                    credit_buckets, amounts)
             as row (seq, leg, ts_ms, cause, reference, asset, debit_owner, debit_bucket, credit_owner, credit_bucket,
                     amount)
        join account debit on (debit.owner, debit.asset, debit.bucket) = (row.debit_owner, row.asset, row.debit_bucket)
        join account credit
            on (credit.owner, credit.asset, credit.bucket) = (row.credit_owner, row.asset, row.credit_bucket)
        returning debit_account, credit_account, amount
    ), folded as (
        select account_id, sum(debit) as debits, sum(credit) as credits
        from (
            select debit_account as account_id, amount as debit, 0 as credit from posted
            union all
            select credit_account, 0, amount from posted
        ) as legs
        group by account_id
    ), moved as (
        update account
        set debits_posted = debits_posted + folded.debits, credits_posted = credits_posted + folded.credits
        from folded
        where account.account_id = folded.account_id
    )
    select count(*) into inserted from posted;

    if inserted <> cardinality(seqs) then
        raise exception 'posted % of % transfers', inserted, cardinality(seqs);
    end if;
    return inserted;
end
$$;

-- Forgets everything that the events can bring back.
create function forget_postings() returns void language plpgsql security definer set search_path from current as $$
begin
    truncate account, transfer, delivered, mismatch restart identity;
end
$$;

do $$
begin
    execute format('grant usage, create on schema %I to hourbook_ledger_poster', current_schema());
end
$$;
grant select, insert, update, truncate on account to hourbook_ledger_poster;
grant select, insert, truncate on transfer to hourbook_ledger_poster;
grant truncate on delivered, mismatch to hourbook_ledger_poster;
alter table account owner to hourbook_ledger_poster;
alter function post_transfers owner to hourbook_ledger_poster;
alter function forget_postings owner to hourbook_ledger_poster;
