-- Requests also fund programmes, take their budget back, and issue vouchers.
alter table request drop constraint request_kind_check;
alter table request add constraint request_kind_check check (kind in (
    'deposit', 'withdrawal', 'shard_transfer', 'fund', 'defund', 'issue'
));
