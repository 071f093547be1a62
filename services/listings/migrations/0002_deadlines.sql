-- Every state that holds money has a deadline in the log's time; what an inspection period was is one of them.
alter table listing add column deadline_ms bigint;
update listing set state = 'RELEASING' where state = 'INSPECTING' and accepted;
update listing set deadline_ms = coalesce(inspect_until_ms, changed_ms + 432000000) where state = 'INSPECTING';
update listing set deadline_ms = changed_ms + 432000000 where state = 'FUNDED';
update listing set deadline_ms = changed_ms + 1209600000 where state in ('SHIPPED', 'REJECTED');
update listing set deadline_ms = changed_ms + 600000
where state in ('LOCKING', 'FUNDING', 'RELEASING', 'RETURNED', 'REFUNDED', 'WITHDRAWING');
drop index listing_inspecting;
alter table listing drop column accepted, drop column inspect_until_ms;
create index listing_deadline on listing (deadline_ms) where deadline_ms is not null;

-- The escrow that a request was about: a refusal of an older one says nothing about a newer.
alter table request add column escrow_id text;

-- What happened to a listing, who did it, and in whose words: for its two parties and the arbiter.
create table step (
    listing_id text not null references listing,
    number     bigint generated always as identity,
    name       text not null,
    by         text not null,
    ts_ms      bigint not null,
    state      text not null,
    words      text not null,
    primary key (listing_id, number)
);
