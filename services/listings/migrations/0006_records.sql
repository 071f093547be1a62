-- The number of the record on `listings.records` that a row stands as, so that a lost or older database takes again what it
-- lacks. Inspections come again from another topic, perhaps later than the listings made on them.
create sequence record_seq;
alter table listing add column record_seq bigint not null default 0;
alter table step add column record_seq bigint not null default 0;
create unique index step_record on step (record_seq) where record_seq > 0;
alter table listing drop constraint listing_inspection_id_fkey;
