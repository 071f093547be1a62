-- name: create_migration_table
create table if not exists migration (package text, name text, sha256 text not null, primary key (package, name));

-- name: read_cursor
select seq, next_offset, event_sha256 from cursor where consumer = $1;

-- name: create_cursor
insert into cursor (consumer, shard, seq, next_offset, event_sha256) values ($1, $2, 0, 0, null)
on conflict (consumer) do nothing;

-- name: advance_cursor
update cursor set seq = $4, next_offset = $5, event_sha256 = $6
where consumer = $1 and shard = $2 and seq = $3
returning seq;

-- name: lock_outbox
select pg_advisory_xact_lock(hashtext(current_schema() || '.outbox'));

-- name: enqueue
with known as (
    select number from outbox
    where md5(commands) = md5($1) and commands = $1
      and recovered_until > coalesce((select max(next_offset) from cursor), 0)
    order by number limit 1
), claimed as (
    update outbox set recovered_until = null where number = (select number from known) returning number
), made as (
    insert into outbox (number, commands)
    select coalesce(max(number), 0) + 1, $1 from outbox having not exists (select from known)
    returning number
)
select number from claimed union all select number from made;

-- name: unsent
select number, commands from outbox where not sent order by number limit $1;

-- name: mark_sent
with newly as (update outbox set sent = true where number = any($1::bigint[]) returning number)
insert into outbox_mark (number, log_offset) select max(number), $2 from newly having count(*) > 0
on conflict (one) do update set number = excluded.number, log_offset = excluded.log_offset;

-- name: create_outbox
create table if not exists outbox (
    number          bigint primary key check (number > 0),
    commands        text not null,
    sent            boolean not null default false,
    recovered_until bigint
);
create index if not exists outbox_unsent on outbox (number) where not sent;
create index if not exists outbox_recovered on outbox (md5(commands)) where recovered_until is not null;

-- name: log_known_until
select log_offset from outbox_mark
where number = 0 or exists (select from outbox where outbox.number = outbox_mark.number);

-- name: set_mark
insert into outbox_mark (number, log_offset) select coalesce(max(number) filter (where sent), 0), $1 from outbox
on conflict (one) do update set number = excluded.number, log_offset = excluded.log_offset;

-- name: rows_from
select number, commands from outbox where number >= $1 order by number;

-- name: move_away
update {table} set number = moved.new + $3
from unnest($1::bigint[], $2::bigint[]) as moved (old, new) where {table}.number = moved.old;

-- name: move_back
update {table} set number = number - $1 where number > $1;

-- name: set_sent
update outbox set sent = not (number = any($2::bigint[])) where number = any($1::bigint[] || $2::bigint[]);

-- name: put_recovered
insert into outbox (number, commands, sent, recovered_until)
select number, commands, true, $3 from unnest($1::bigint[], $2::text[]) as logged (number, commands);

-- name: publish
insert into publication (topic, key, value) values ($1, $2, $3);

-- name: publish_all
insert into publication (topic, key, value)
select $1, key, value from unnest($2::bytea[], $3::bytea[]) with ordinality as each (key, value, place) order by place;

-- name: unpublished
select id, topic, key, value from publication order by id limit $1;

-- name: forget_published
delete from publication where id = any($1::bigint[]);

-- name: lock_idempotency_key
select pg_advisory_xact_lock(hashtextextended(current_schema() || '.first_answer.' || $1 || ' ' || $2, 0));

-- name: first_answer
select request, status, answer from first_answer where account = $1 and key = $2;

-- name: keep_first_answer
insert into first_answer (account, key, request, status, answer) values ($1, $2, $3, $4, $5);

-- name: restore_first_answer
insert into first_answer (account, key, request, status, answer) values ($1, $2, $3, $4, $5)
on conflict (account, key) do nothing;

-- name: forget_first_answers
with old as (
    select account, key from first_answer where kept_at < now() - make_interval(days => $1) order by kept_at limit $2
    for update skip locked
), gone as (
    delete from first_answer f using old where (f.account, f.key) = (old.account, old.key) returning 1
)
select count(*) from gone;

-- name: note_taken
insert into taken select $1, * from unnest($2::integer[], $3::bigint[])
on conflict (topic, kafka_partition) do update set next_offset = excluded.next_offset;

-- name: taken
select kafka_partition, next_offset from taken where topic = $1;
