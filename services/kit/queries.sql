-- name: create_migration_table
create table if not exists migration (package text, name text, sha256 text not null, primary key (package, name));

-- name: read_cursor
select seq, next_offset, link from cursor where consumer = $1;

-- name: create_cursor
insert into cursor (consumer, shard, seq, next_offset, link) values ($1, $2, 0, 0, null)
on conflict (consumer) do nothing;

-- name: advance_cursor
update cursor set seq = $4, next_offset = $5, link = $6
where consumer = $1 and shard = $2 and seq = $3
returning seq;

-- name: lock_outbox
select pg_advisory_xact_lock(hashtext(current_schema() || '.outbox'));

-- name: enqueue
insert into outbox (number, commands)
select coalesce(max(number), 0) + 1, $1 from outbox
returning number;

-- name: unsent
select number, commands from outbox where not sent order by number limit $1;

-- name: mark_sent
update outbox set sent = true where number = any($1::bigint[]);

-- name: publish
insert into publication (topic, key, value) values ($1, $2, $3);

-- name: unpublished
select id, topic, key, value from publication order by id limit $1;

-- name: forget_published
delete from publication where id = any($1::bigint[]);
