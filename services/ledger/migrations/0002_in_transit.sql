-- Money between two shards: what one shard let go and the other has not taken in yet. Its sign depends on which of them
-- this ledger posts, so either is right; over all shards it is never negative.
alter table account drop constraint account_bucket_check;
alter table account add constraint account_bucket_check check (bucket in (
    'available', 'held', 'external', 'in_transit', 'contracted', 'delivered', 'excused', 'undelivered'
));
alter table account drop constraint no_negative_balance;
alter table account add constraint no_negative_balance check (
    case
        when bucket = 'in_transit' then true
        when bucket in ('external', 'contracted') then debits_posted >= credits_posted
        else credits_posted >= debits_posted
    end
);
alter table request drop constraint request_kind_check;
alter table request add constraint request_kind_check check (kind in ('deposit', 'withdrawal', 'shard_transfer'));
