-- What corrections took back and the debtor did not have: paid by the guarantee, or owed until his credits pay it.
create table claim (
    seq         bigint primary key,
    ts_ms       bigint not null,
    kind        text not null check (kind in ('guarantee', 'claim')),
    claim_id    bigint unique,
    position_id bigint not null,
    revision    integer not null,
    debtor      text not null,
    creditor    text not null,
    asset       text not null,
    amount      bigint not null check (amount > 0),
    owed        bigint not null check (owed between 0 and amount),
    paid_ms     bigint
);
create index claim_debtor on claim (debtor, seq);
create index claim_creditor on claim (creditor, seq);

create or replace function forget_postings() returns void
language plpgsql security definer set search_path from current as $$
begin
    truncate account, transfer, delivered, mismatch, claim restart identity;
end
$$;
grant truncate on claim to hourbook_ledger_poster;
