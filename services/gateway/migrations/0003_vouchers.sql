-- What orders and positions draw on vouchers, and the programmes.
alter table orders add column use_vouchers boolean not null default false;
alter table orders add column voucher_micros bigint not null default 0;
alter table positions add column voucher_micros bigint not null default 0;
alter table positions add column voucher_used_micros bigint not null default 0;

create table programmes (
    programme text primary key,
    terms     jsonb not null
);
