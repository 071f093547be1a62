-- name: next_sequence
update delivery_sequence set seq = seq + 1
returning seq, coalesce((select simulated from node where node_id = $1), false);

-- name: sequence_now
select seq from delivery_sequence;

-- name: set_sequence
update delivery_sequence set seq = greatest(seq, $1);

-- name: report_marks
select kafka_partition, next_offset from report_mark;

-- name: note_report_ends
insert into report_mark select * from unnest($1::integer[], $2::bigint[])
on conflict (kafka_partition) do update set next_offset = greatest(report_mark.next_offset, excluded.next_offset);

-- name: keep_lease_answer
insert into lease_answer (lease_id, action, node_id, received_ms, ok, endpoint, host_key)
select $1, $2, $3, $4, $5, $6, $7 where not exists (select 1 from lease where lease_id = $1)
on conflict do nothing;

-- name: lease_answers
select action, received_ms, ok, endpoint, host_key from lease_answer where lease_id = $1 and node_id = $2;

-- name: take_answers
update lease set state = $2, access_ms = $3, released_ms = $4, start_answered_ms = $3, stop_answered_ms = $4,
                 endpoint = $5, reason = $6, host_key = $7
where lease_id = $1;

-- name: find_node
select n.*, (select min(period_ms) from product p where (p.grade, p.hub) = (n.grade, n.hub)) as period_ms
from node n where node_id = $1;

-- name: lock_node
select n.*, (select min(period_ms) from product p where (p.grade, p.hub) = (n.grade, n.hub)) as period_ms
from node n where node_id = $1 for no key update;

-- name: nodes_page
select n.*, (select min(period_ms) from product p where (p.grade, p.hub) = (n.grade, n.hub)) as period_ms
from node n where node_id > $1 and ($3::text is null or account = $3) order by node_id limit $2;

-- name: insert_node
insert into node (node_id, account, label, hub, grade, public_key, simulated, boot_id, enrolled_ms, level, state,
                  reason, registered_gpus, beat_live_ms)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'T0', 'enrolled', 'challenge_pending', '{}', 0);

-- name: burn_token
insert into burnt_token (token_id, node_id) values ($1, $2) on conflict (token_id, node_id) do nothing;

-- name: nodes_of_token
select count(*) from burnt_token where token_id = $1;

-- name: lock_enrolments
select pg_advisory_xact_lock(hashtext('hourbook delivery enrolments'));

-- name: gpu_holders
select g.uuid, g.serial, g.node_id, g.sold_to, n.account, n.state from node_gpu g join node n using (node_id)
where g.uuid = any($1::text[]) or g.serial = any($2::text[]);

-- name: silent_holders
select distinct n.node_id from node_gpu g join node n using (node_id)
where (g.uuid = any($1::text[]) or g.serial = any($2::text[])) and g.sold_to is null and n.account = $3
  and greatest(n.last_live_ms, n.enrolled_ms) < $4 and n.node_id <> $5
order by n.node_id;

-- name: drop_renamed
delete from node_gpu where serial = any($2::text[]) and not uuid = any($1::text[]);

-- name: free_gpus
update node_gpu set sold_to = $2 where uuid = any($1::text[]) and listing_id is null;

-- name: is_in_use
select exists (select 1 from position where node_id = $1 and state in ('open', 'locked', 'metered'))
    or exists (select 1 from lease where node_id = $1 and state in ('pending', 'ready', 'started'));

-- name: gpus_in_use
select distinct uuid from unnest($2::text[]) as uuid
where exists (select 1 from lease l where l.node_id = $1 and l.state in ('pending', 'ready', 'started')
              and uuid = any(l.gpus))
   or exists (select 1 from position p where p.node_id = $1 and p.state = 'locked' and uuid = any(p.gpus))
order by uuid;

-- name: void_challenges
update challenge set state = 'applied' where node_id = $1 and state in ('issued', 'committed');

-- name: put_gpu
insert into node_gpu (uuid, node_id, serial, inventory, fault, fault_boot, since_ms) values ($1, $2, $3, $4, '', $5, $6)
on conflict (uuid) do update
set since_ms = excluded.since_ms, node_id = excluded.node_id, serial = excluded.serial, inventory = excluded.inventory, listing_id = null,
    sold_to = null, fault = case when node_gpu.fault in ('gpu_lost', 'meter_blind') then '' else node_gpu.fault end
where node_gpu.since_ms <= excluded.since_ms;

-- name: gpus_of_nodes
select node_id, uuid, serial, inventory, fault, fault_boot, degraded, ecc_uncorrected, fault_energy_mj, contained, listing_id,
       sold_to
from node_gpu where node_id = any($1::text[]) order by uuid collate "C";

-- name: fitness_of_node
-- A GPU that is for sale and that the engine has not at this node stays out: the engine takes it back after the sale.
select uuid, fault, fault_boot, degraded, ecc_uncorrected, fault_energy_mj, contained
from node_gpu g join node n using (node_id)
where node_id = $1 and sold_to is null and (listing_id is null or uuid = any(n.registered_gpus));

-- name: set_gpu_health
update node_gpu
set fault_boot = $2, fault = $3, degraded = $4, ecc_uncorrected = $5, fault_energy_mj = $6, contained = $7
where uuid = $1;

-- name: set_node_state
update node set state = $2, level = $3, reason = $4, registered_gpus = $5, beat_live_ms = 0, level_due_ms = 0,
                standing_ms = case when $3 = 'T0' then null else standing_ms end
where node_id = $1;

-- name: set_node_admitted
update node set admitted = true where node_id = $1 and not admitted returning node_id;

-- name: nodes_to_beat
select n.node_id, n.last_live_ms, p.period_ms
from node n
left join (select grade, hub, min(period_ms) as period_ms from product group by grade, hub) p using (grade, hub)
where state = 'active' and last_live_ms > beat_live_ms and (beat_live_ms = 0 or $1) order by node_id for no key update of n;

-- name: note_beats
update node set beat_live_ms = new.live_ms from unnest($1::text[], $2::bigint[]) as new (node_id, live_ms)
where node.node_id = new.node_id;

-- Those in doubt, or out for absence, come back by a sweep: `nodes_to_return`.
-- name: nodes_to_challenge
select n.*, (select min(period_ms) from product p where (p.grade, p.hub) = (n.grade, n.hub)) as period_ms
from node n
where n.state in ('enrolled', 'active', 'lost') and n.last_live_ms > $1
  and n.doubts = 0 and n.absences < $3
  and not exists (select 1 from lease l where l.node_id = n.node_id and l.state in ('pending', 'ready', 'started'))
  and not exists (select 1 from challenge c where c.node_id = n.node_id and c.prover is null
                  and (c.state <> 'applied' or c.issued_ms > $2))
  and n.registered_gpus <> (select coalesce(array_agg(g.uuid order by g.uuid collate "C"), '{}') from node_gpu g
                            where g.node_id = n.node_id and g.fault = '' and g.degraded = '' and g.sold_to is null
                              and (g.listing_id is null or g.uuid = any(n.registered_gpus)))
order by n.node_id for no key update;

-- name: nodes_to_return
select n.*, (select min(period_ms) from product p where (p.grade, p.hub) = (n.grade, n.hub)) as period_ms
from node n
where n.state in ('enrolled', 'active', 'lost') and n.last_live_ms > $1
  and (n.doubts > 0 or n.absences >= $2 and n.node_id = any($3::text[]))
  and not exists (select 1 from lease l where l.node_id = n.node_id and l.state in ('pending', 'ready', 'started'))
  and not exists (select 1 from challenge c where c.node_id = n.node_id and c.prover is null and c.state <> 'applied')
  and n.registered_gpus <> (select coalesce(array_agg(g.uuid order by g.uuid collate "C"), '{}') from node_gpu g
                            where g.node_id = n.node_id and g.fault = '' and g.degraded = '' and g.sold_to is null
                              and (g.listing_id is null or g.uuid = any(n.registered_gpus)))
order by n.node_id;

-- name: insert_chain
insert into chain values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: lock_chains
select * from chain where node_id = any($1::text[]) order by node_id for update;

-- name: save_chain
update chain set seq = $2, hash = $3, boot_id = $4, mono_end_ms = $5, received_ms = $6, nonce = $7,
                 nonce_issued_ms = $8, recent_nonces = $9, queued_nonce = $10, offset_min_ms = $11
where node_id = $1;

-- The chains are locked by `lock_chains` first: what a statement that waits for a lock reads besides the locked rows is
-- as old as its start.
-- name: nodes_for_reports
select n.node_id, n.public_key, n.state, n.reason, n.level, p.period_ms,
    exists (select 1 from waiting_report w where w.node_id = n.node_id) as has_waiting,
    exists (select 1 from challenge h where h.node_id = n.node_id and h.state = 'issued' and h.prover is null)
        as is_challenged,
    exists (select 1 from lease l where l.node_id = n.node_id and l.state in ('pending', 'ready', 'started'))
    or exists (select 1 from lease l where l.node_id = n.node_id
               and l.start_answered_ms is not null and l.stop_answered_ms is null) as is_leased,
    (select min(s.start_ms - d.gate_ms) from position s join product d on d.product = s.product
     where s.node_id = n.node_id and s.state = 'open' and s.start_ms > $2) as gate_ms
from node n
left join (select grade, hub, min(period_ms) as period_ms from product group by grade, hub) p using (grade, hub)
where n.node_id = any($1::text[]);

-- name: report_hashes
with asked as (select * from unnest($1::text[], $2::bigint[]) as each (node_id, seq))
select m.node_id, m.seq, m.hash from meter_report m join asked using (node_id, seq)
union all
select w.node_id, w.seq, w.hash from waiting_report w join asked using (node_id, seq)
union all
select t.node_id, t.seq, t.hash from taken_report t join asked using (node_id, seq);

-- name: put_reports
insert into meter_report (node_id, seq, hash, received_ms, record, nonce_issued_ms)
select * from unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bytea[], $6::bigint[])
on conflict do nothing;

-- name: put_report_batch
insert into report_batch (node_ids, seqs) values ($1, $2) returning batch_id;

-- name: forget_report_batches
delete from report_batch where batch_id = any($1::bigint[]);

-- name: report_batches
select batch_id, node_ids, seqs from report_batch order by batch_id;

-- name: records_of_batch
select m.node_id, m.record
from unnest($1::text[], $2::bigint[]) with ordinality as each (node_id, seq, place)
join meter_report m using (node_id, seq) order by place;

-- A row of nonces is one text here, because PostgreSQL unnests an array of arrays to its single elements.
-- name: save_chains
update chain set seq = new.seq, hash = new.hash, boot_id = new.boot_id, mono_end_ms = new.mono_end_ms,
    received_ms = new.received_ms, nonce = new.nonce, nonce_issued_ms = new.nonce_issued_ms,
    recent_nonces = string_to_array(new.recent_nonces, ' '), queued_nonce = new.queued_nonce,
    offset_min_ms = new.offset_min_ms
from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::bigint[],
            $9::text[], $10::text[], $11::bigint[])
    as new (node_id, seq, hash, boot_id, mono_end_ms, received_ms, nonce, nonce_issued_ms, recent_nonces, queued_nonce,
            offset_min_ms)
where chain.node_id = new.node_id;

-- name: leases_of_nodes
select l.*, w.image, w.script,
       array(select k.line from ssh_key k where k.account = l.buyer and (w.key_ids is null or k.key_id = any(w.key_ids))
             order by k.added_ms, k.key_id) as ssh_keys
from lease l left join access_wish w on w.position_id = l.position_ids[1]
where l.node_id = any($1::text[])
  and (l.state in ('pending', 'ready', 'started')
       or (l.start_answered_ms is not null and l.stop_answered_ms is null))
order by l.starts_ms, l.lease_id;

-- name: challenges_of_nodes
select node_id, asked from challenge
where node_id = any($1::text[]) and prover is null and state = 'issued' and deadline_ms > $2 and opens_ms <= $2
order by issued_ms, challenge_id;

-- name: insert_waiting
insert into waiting_report (node_id, seq, hash, record) values ($1, $2, $3, $4);

-- name: pop_waiting
delete from waiting_report where node_id = $1 and seq = $2 returning hash, record;

-- name: drop_waiting
delete from waiting_report where node_id = $1;

-- Locks a batch's nodes before anything is read of them, for the same reason.
-- name: lock_nodes
select node_id from node where node_id = any($1::text[]) order by node_id for no key update;

-- name: nodes_for_records
select n.node_id, n.account, n.hub, n.grade, n.public_key, n.simulated, n.boot_id, n.level, n.state, n.reason,
       n.registered_gpus, n.last_live_ms, p.period_ms, n.metered_seq, n.metered_hash, n.software
from node n
left join (select grade, hub, min(period_ms) as period_ms from product group by grade, hub) p using (grade, hub)
where n.node_id = any($1::text[]);

-- Mostly all GPUs of a node are equally well: one row a node.
-- name: health_of_nodes
select node_id, array_agg(uuid) as uuids, fault_boot, fault, degraded, ecc_uncorrected, fault_energy_mj, contained
from node_gpu where node_id = any($1::text[]) and sold_to is null
group by node_id, fault_boot, fault, degraded, ecc_uncorrected, fault_energy_mj, contained;

-- name: move_chain
update node set metered_seq = $2, metered_hash = $3 where node_id = $1 and metered_seq < $2;

-- name: meter_hash
select hash from meter_report where node_id = $1 and seq = $2;

-- name: save_metered
update node set metered_seq = new.seq, metered_hash = new.hash, boot_id = new.boot_id, last_live_ms = new.live_ms
from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[]) as new (node_id, seq, hash, boot_id, live_ms)
where node.node_id = new.node_id;

-- From a time on up to the first report that was surely written after another time.
-- name: meter_records
select record from meter_report
where node_id = $1 and received_ms >= $2 and seq <= least($4, coalesce((
    select min(l.seq) from meter_report l where l.node_id = $1 and l.received_ms >= $3 and l.nonce_issued_ms >= $3
), $4))
order by seq;

-- name: records_by_seq
select record from meter_report where node_id = $1 and seq = any($2::bigint[]) order by seq;

-- name: insert_challenge
insert into challenge (challenge_id, node_id, cause, lease_id, issued_ms, deadline_ms, asked, state, prover)
values ($1, $2, $3, $4, $5, $6, $7, 'issued', $8);

-- name: renter_of_lease
select l.node_id, m.public_key from renter_meter m join lease l using (lease_id) where m.lease_id = $1;

-- name: proofs_of_lease
select count(*) as given, coalesce(bool_or(state in ('issued', 'committed')), false) as open
from challenge where lease_id = $1 and prover is not null;

-- name: count_inside_doubt
update node set inside_doubts = inside_doubts + 1 where node_id = $1 returning inside_doubts;

-- name: clear_inside_doubts
update node set inside_doubts = 0 where node_id = $1 and inside_doubts > 0;

-- name: lock_challenge
select * from challenge where challenge_id = $1 for update;

-- name: find_challenge
select * from challenge where challenge_id = $1;

-- name: set_committed
update challenge set state = 'committed', committed_ms = $2, commitment = $3, deadline_ms = $4, seen_us = $5,
    trip_us = $6, residency = $7, simultaneous = case when simultaneous is not null then $8::boolean end,
    lag_us = $9
where challenge_id = $1;

-- name: set_drawn
update challenge set secret = $2, opening = $3, deadline_ms = $4 where challenge_id = $1;

-- name: set_resident
update challenge set digests = $2, residency_us = $3, residency_lag_us = $4 where challenge_id = $1;

-- name: extend_opening
update challenge set deadline_ms = greatest(deadline_ms, $2) where challenge_id = $1 and state = 'committed';

-- name: put_opened_gpu
insert into opened_gpu values ($1, $2, $3) on conflict do nothing;

-- name: opened_gpus
select gpu_uuid, verdict from opened_gpu where challenge_id = $1;

-- What a node in doubt passes is believed when its doubts end.
-- name: put_gpu_proofs
insert into gpu_proof
select uuid, $1, $2, passed, reason, ops, $3,
    case when passed and not exists (select 1 from node where node_id = $1 and doubts > 0) then $2::bigint end
from unnest($4::text[], $5::boolean[], $6::text[], $7::bigint[]) as new (uuid, passed, reason, ops)
on conflict (gpu_uuid) do update
set node_id = excluded.node_id, judged_ms = excluded.judged_ms, passed = excluded.passed, reason = excluded.reason,
    operations_per_s = excluded.operations_per_s, band = excluded.band,
    passed_ms = coalesce(excluded.passed_ms, case when gpu_proof.node_id = excluded.node_id then gpu_proof.passed_ms end)
where gpu_proof.judged_ms <= excluded.judged_ms;

-- name: proofs_of_nodes
select node_id, gpu_uuid as gpu, judged_ms, passed, reason, operations_per_s, band
from gpu_proof where node_id = any($1::text[]) order by gpu_uuid;

-- name: last_passes
select g.uuid as gpu, coalesce(p.passed_ms, 0) as passed_ms
from node_gpu g left join gpu_proof p on p.gpu_uuid = g.uuid and p.node_id = g.node_id
where g.node_id = $1 order by g.uuid;

-- name: last_passes_inside
select g.uuid as gpu, coalesce(max((convert_from(c.verdict, 'UTF8')::json ->> 'judged_ms')::bigint)
    filter (where (convert_from(c.verdict, 'UTF8')::json ->> 'passed')::boolean), 0) as passed_ms
from node_gpu g
left join lease l on l.node_id = g.node_id and g.uuid = any(l.gpus) and l.buyer = any($2::text[])
left join challenge c on c.lease_id = l.lease_id and c.prover is not null and c.verdict is not null
where g.node_id = $1 group by g.uuid order by g.uuid;

-- name: insert_disproven
insert into disproven values ($1, $2, $3, $4, $5) on conflict do nothing;

-- name: disproven_of
select challenge_id, gpu_uuid as gpu, start_ms, end_ms from disproven
where node_id = $1 and end_ms > $2 and start_ms < $3 and gpu_uuid = any($4::text[])
order by gpu_uuid, start_ms, end_ms, challenge_id;

-- name: has_hours_ahead
select exists (select 1 from position where node_id = $1 and start_ms > $2 and not final);

-- name: count_doubt
update node set doubts = doubts + 1 where node_id = $1 returning doubts;

-- name: siblings_in_doubt
select n.*, (select min(period_ms) from product p where (p.grade, p.hub) = (n.grade, n.hub)) as period_ms
from node n join node own on own.account = n.account
where own.node_id = $1 and n.node_id <> $1 and n.doubts > 0 and n.state not in ('quarantined', 'banned', 'retired')
order by n.node_id for no key update of n;

-- Ends the doubts of the nodes that were asked in a challenge's whole sweep, if each of them has passed it.
-- name: end_doubts
with asked as (
    select node_id, state = 'applied' and coalesce(simultaneous, true)
        and coalesce((convert_from(verdict, 'UTF8')::json ->> 'passed')::boolean, false) as passed
    from challenge where sweep = (select sweep from challenge where challenge_id = $1)
), ended as (
    update node set doubts = 0
    where doubts > 0 and node_id in (select node_id from asked) and (select bool_and(passed) from asked)
    returning node_id
)
update gpu_proof set passed_ms = judged_ms from ended where gpu_proof.node_id = ended.node_id and passed;

-- name: forget_doubts
update node set doubts = 0 where node_id = $1;

-- name: restore_doubt
update node set doubts = greatest(doubts, 1) where node_id = $1;

-- name: nodes_at_work
select n.*, (select min(period_ms) from product p where (p.grade, p.hub) = (n.grade, n.hub)) as period_ms
from node n where state not in ('quarantined', 'banned', 'retired') order by node_id for no key update;

-- name: set_judged
update challenge set state = 'judged', verdict = $2 where challenge_id = $1;

-- name: set_applied
update challenge set state = 'applied' where challenge_id = $1 and state = 'judged' returning challenge_id;

-- name: late_challenges
select * from challenge where state in ('issued', 'committed') and deadline_ms < $1 order by challenge_id for update;

-- name: open_challenges_everywhere
select * from challenge where prover is null and state in ('issued', 'committed') order by challenge_id for update;

-- name: void_idle_challenges
update challenge set state = 'applied' where node_id = $1 and cause = 'idle' and state in ('issued', 'committed');

-- name: open_later
update challenge set opens_ms = $2, simultaneous = case when $3::boolean then false end, sweep = $4
where challenge_id = $1;

-- Of the nodes that stand before the same gate some are asked already, some not yet.
-- name: has_company
select exists (select 1 from node o join position s on s.node_id = o.node_id and s.state = 'open'
               join product d on d.product = s.product
               where o.account = $1 and o.node_id <> $2 and s.start_ms - d.gate_ms = $3)
    or exists (select 1 from node o join challenge c on c.node_id = o.node_id and c.state in ('issued', 'committed')
               where o.account = $1 and o.node_id <> $2 and c.joint_gate_ms = $3);

-- name: has_gate_ahead
select exists (select 1 from node o join position s on s.node_id = o.node_id and s.state = 'open'
               join product d on d.product = s.product
               where o.account = $1 and s.start_ms - d.gate_ms = $2);

-- name: hold_back
update challenge set opens_ms = deadline_ms, joint_gate_ms = $2, joint_until_ms = $3 where challenge_id = $1;

-- name: held_back
select c.node_id, n.account, c.asked, c.joint_gate_ms, c.joint_until_ms
from challenge c join node n using (node_id)
where c.state = 'issued' and c.joint_gate_ms is not null and c.opens_ms = c.deadline_ms
order by c.issued_ms, c.challenge_id;

-- name: let_go
update challenge set opens_ms = $2 where challenge_id = any($1::text[]) and state = 'issued';

-- name: note_absence
update node set absences = case when c.simultaneous then 0 else absences + 1 end
from challenge c where c.challenge_id = $1 and c.simultaneous is not null and node.node_id = c.node_id
returning absences;

-- name: set_suspicion
update node set suspicion = $2, suspected_ms = $3
where node_id = $1 and (suspicion = '' or suspected_ms > $3);

-- name: clear_suspicions
update node set suspicion = '' where node_id = any($1::text[]) and suspicion <> '';

-- Active nodes with those of their GPUs that no buyer has. One of which something is asked, or whose gate is near, is not
-- to be asked now.
-- name: idle_nodes
select n.*, n.suspicion <> '' and n.suspected_ms <= $2 as is_suspected, p.period_ms, array(
    select uuid from unnest(n.registered_gpus) as uuid
    where not exists (select 1 from lease l where l.node_id = n.node_id
                      and l.state in ('pending', 'ready', 'started') and uuid = any(l.gpus))
      and not exists (select 1 from position s where s.node_id = n.node_id and s.state = 'locked'
                      and uuid = any(s.gpus))
    order by uuid collate "C") as free_gpus,
    exists (select 1 from challenge c where c.node_id = n.node_id and c.prover is null and c.state <> 'applied')
    or exists (select 1 from position s join product d on d.product = s.product
               where s.node_id = n.node_id and s.state = 'open' and s.start_ms > $2
                 and s.start_ms - d.gate_ms - least($3, p.period_ms / 4) < $2) as is_busy
from node n
left join (select grade, hub, min(period_ms) as period_ms from product group by grade, hub) p using (grade, hub)
where n.state = 'active' and n.last_live_ms > $1
order by n.node_id;

-- name: void_challenge
update challenge set state = 'applied' where challenge_id = $1;

-- name: offer_anew
update position p set offered_ms = greatest(offered_ms, $2)
from lease l where l.lease_id = $1 and l.state = 'pending' and p.lease_id = l.lease_id;

-- name: offer_at
update position set offered_ms = $2 where lease_id = $1;

-- A lease whose node was asked late, or heard of it late, is handed out when the node has proven its GPUs.
-- name: make_lease_ready
with late as (
    update position set offered_ms = greatest(offered_ms, $2::bigint) where lease_id = $1 and start_ms < $2::bigint
)
update lease set state = 'ready', reason = '' where lease_id = $1;

-- name: put_product
insert into product values ($1, $2, $3, $4, $5, $6, $7)
on conflict (product) do update set grade = excluded.grade, hub = excluded.hub, currency = excluded.currency,
    period_ms = excluded.period_ms, gate_ms = excluded.gate_ms, final_ms = excluded.final_ms;

-- name: find_product
select * from product where product = $1;

-- name: insert_position
insert into position (position_id, contract, product, node_id, buyer, operator, qty, block_id, start_ms, end_ms,
                      traded_ms, state, gpus)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'open', '{}');

-- name: split_position
with rest as (update position set qty = qty - $2 where position_id = $1 and qty > $2 returning position_id)
delete from position where position_id = $1 and not exists (select 1 from rest);

-- name: find_position
select p.*, n.grade as node_grade, coalesce(n.simulated, false) as simulated, n.last_live_ms, d.period_ms, d.final_ms,
       coalesce(n.metered_seq, 0) as meter_seq
from position p join product d using (product) left join node n using (node_id)
where p.position_id = $1;

-- name: last_position
select coalesce(max(position_id), 0) from position;

-- name: positions_of_contract
select * from position where contract = $1 order by position_id;

-- name: positions_of_block
select * from position where block_id = $1 and node_id = $2 order by start_ms, position_id;

-- name: lock_position
update position set state = 'locked', gpus = $2, lease_id = $3, offered_ms = $4 where position_id = $1;

-- name: note_metered
update position set state = 'metered', metered_ms = $2, due_ms = $2::bigint + $3::bigint
where contract = $1 and state in ('open', 'locked');

-- What was acknowledged until a position is due has to be in the meter before it is settled.
-- name: note_due
update position p set wait_seq = coalesce((select c.seq from chain c where c.node_id = p.node_id), 0)
where state = 'metered' and due_ms <= $1 and wait_seq is null;

-- name: positions_to_settle
select p.*, n.grade as node_grade, coalesce(n.simulated, false) as simulated, n.last_live_ms, d.period_ms, d.final_ms,
       coalesce(n.metered_seq, 0) as meter_seq
from position p join product d using (product) left join node n using (node_id)
where p.state = 'metered' and p.due_ms <= $1 order by p.position_id limit $2;

-- name: positions_to_correct
select p.*, n.grade as node_grade, coalesce(n.simulated, false) as simulated, n.last_live_ms, d.period_ms, d.final_ms,
       coalesce(n.metered_seq, 0) as meter_seq
from position p join product d using (product) left join node n using (node_id)
where p.state = 'settled' and p.changed_ms <= $1 and not p.final order by p.changed_ms, p.position_id limit $2;

-- name: note_change
update position set changed_ms = $4
where node_id = $1 and state in ('reported', 'settled') and not final and end_ms > $2 and start_ms < $3;

-- name: note_change_everywhere
update position set changed_ms = $3
where state in ('reported', 'settled') and not final and end_ms > $1 and start_ms < $2;

-- name: note_change_of
update position set changed_ms = $2 where position_id = any($1::bigint[]) and state in ('reported', 'settled') and not final;

-- name: note_no_change
update position set changed_ms = null where position_id = $1 and changed_ms = $2;

-- name: note_revision
update position set state = 'settled', revision = $2 where position_id = $1;

-- name: note_final
update position set final = true where position_id = $1;

-- name: mark_alive
insert into alive_mark (at_ms) values ($1)
on conflict (only_row) do update set at_ms = greatest(alive_mark.at_ms, excluded.at_ms);

-- name: last_mark
select at_ms from alive_mark;

-- name: insert_outage
insert into venue_outage values ($1, $2, $3) on conflict do nothing returning from_ms;

-- name: outages_between
select from_ms, to_ms from venue_outage where to_ms > $1 and from_ms < $2 order by from_ms, to_ms;

-- name: maintenance_of
select start_ms, end_ms from maintenance
where node_id = $1 and end_ms > $2 and start_ms < $3 and declared_ms < $4 order by start_ms, end_ms;

-- name: insert_maintenance
insert into maintenance values ($1, $2, $3, $4, $5) on conflict do nothing;

-- name: find_maintenance
select * from maintenance where maintenance_id = $1;

-- name: maintenance_to_come
select start_ms, end_ms from maintenance where node_id = $1 and end_ms > $2 order by start_ms, end_ms limit $3;

-- name: maintenance_of_nodes
select wanted.node_id, found.start_ms, found.end_ms
from unnest($1::text[]) as wanted (node_id) cross join lateral (
  select start_ms, end_ms from maintenance m where m.node_id = wanted.node_id and end_ms > $2
  order by start_ms, end_ms limit $3
) as found
order by found.start_ms, found.end_ms;

-- name: sold_in_window
select position_id from position
where node_id = $1 and end_ms > $2 and start_ms < $3 and state in ('open', 'locked') order by position_id limit 1;

-- name: find_recall
select * from recall where recall_id = $1;

-- name: insert_recall
insert into recall values ($1, $2, $3, $4, $5) on conflict do nothing;

-- Leases of which everything has been taken back.
-- name: recalled_leases
select l.* from recall r join position p using (position_id) join lease l on l.lease_id = p.lease_id
where r.from_ms <= $1 and p.end_ms > $1 and l.state in ('pending', 'ready', 'started')
  and (cardinality(r.gpus) = 0 or r.gpus @> l.gpus)
order by l.lease_id for update of l;

-- name: recalls_of
select gpus, from_ms, declared_ms from recall where position_id = $1 order by from_ms, recall_id;

-- name: set_position_state
update position set state = $2 where position_id = $1;

-- name: insert_lease
insert into lease (lease_id, node_id, contract, buyer, block_id, gpus, position_ids, starts_ms, ends_ms, told_ends_ms,
                   state)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'pending');

-- name: find_lease
select * from lease where lease_id = $1;

-- name: extend_lease
update lease set position_ids = position_ids || $2::bigint, ends_ms = $3, told_ends_ms = greatest(told_ends_ms, $3)
where lease_id = $1;

-- name: lease_of_block
select * from lease where block_id = $1 and node_id = $2 and ends_ms = $3 and not position_ids && $4::bigint[]
order by lease_id;

-- name: set_lease_state
update lease set state = $2, reason = $3 where lease_id = $1;

-- name: answer_start
update lease set start_answered_ms = $2, endpoint = $3, credential = $4, host_key = $5
where lease_id = $1 and start_answered_ms is null returning lease_id;

-- name: answer_stop
update lease set stop_answered_ms = $2 where lease_id = $1 and stop_answered_ms is null returning lease_id;

-- name: open_access
update lease set state = 'started', access_ms = $2 where lease_id = $1;

-- name: close_access
update lease set released_ms = $2, endpoint = '', credential = null, host_key = '' where lease_id = $1;

-- name: overdue_leases
select * from lease where state in ('pending', 'ready', 'started') and ends_ms <= $1 order by lease_id for update;

-- name: leases_of_void
select l.* from lease l
where l.state in ('pending', 'ready', 'started')
  and l.position_ids && (select array_agg(position_id) from position where contract = $1)
  and not exists (
    select from position p where p.position_id = any(l.position_ids) and p.contract <> $1 and p.end_ms > $2
  )
order by l.lease_id for update;

-- name: silent_leases
select l.*, n.last_live_ms, (select min(period_ms) from product p where (p.grade, p.hub) = (n.grade, n.hub)) as period_ms
from lease l join node n using (node_id)
where l.state = 'started' and l.starts_ms <= $1 order by l.lease_id for update of l;

-- name: insert_settlement
insert into settlement (position_id, revision, digest, inputs, outcome, noticed, recalled_gpus, disputed_gpu_s,
                        disputed_used_gpu_s)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (position_id, revision) do nothing;

-- name: find_settlement
select * from settlement
where position_id = $1 and ($2::integer is null or revision = $2) order by revision desc limit 1;

-- name: insert_receipt
insert into receipt values ($1, $2, $3, $4, $5) on conflict (position_id, revision) do nothing;

-- name: rewrite_receipt
update receipt set document = $3 where position_id = $1 and revision = $2;

-- name: find_receipt
select position_id, document, buyer, operator from receipt
where position_id = $1 and ($2::integer is null or revision = $2) order by revision desc limit 1;

-- name: receipt_revisions
select position_id, document, buyer, operator from receipt
where position_id = any($1::bigint[]) order by position_id desc, revision;

-- name: receipts_page
select distinct on (position_id) position_id, document, buyer, operator from receipt
where (buyer = $1 or operator = $1) and position_id < $2 order by position_id desc, revision desc limit $3;

-- name: list_hardware
update node_gpu set listing_id = $1 where uuid = any($2::text[]);

-- name: unlist_hardware
-- The GPUs of a node that was retired meanwhile are free for its account, as all its others are.
update node_gpu g
set listing_id = null, sold_to = case when n.state = 'retired' then coalesce(g.sold_to, n.account) else g.sold_to end
from node n where n.node_id = g.node_id and g.listing_id = $1;

-- name: open_escrow
insert into escrow values ($1, $2, $3) on conflict do nothing;

-- name: sell_hardware
update node_gpu set sold_to = (select buyer from escrow where escrow_id = $1)
where listing_id = (select listing_id from escrow where escrow_id = $1)
returning uuid, node_id;

-- name: command_of_batch
select commands from outbox where number = $1;

-- name: insert_inspection
insert into inspection values ($1, $2, $3, $4) on conflict do nothing returning inspection_id;

-- name: publish_inspection
update inspection set published = true where inspection_id = $1 and not published returning account;

-- name: find_inspection
select * from inspection where inspection_id = $1;

-- name: insert_inspection_nonce
insert into inspection_nonce (nonce, account, expires_ms) values ($1, $2, $3);

-- name: use_inspection_nonce
update inspection_nonce set used_by = $2
where nonce = $1 and expires_ms > $3 and (used_by is null or used_by = $2) returning account;

-- name: awaits_goods
select exists (select 1 from escrow e join node_gpu g using (listing_id) where e.buyer = $1);

-- name: gpus_of_others
select uuid from node_gpu
where uuid = any($1::text[]) and coalesce(sold_to, '') <> $3 and (node_id <> $2 or sold_to is not null)
  and not exists (select 1 from escrow e where e.listing_id = node_gpu.listing_id and e.buyer = $3);

-- name: histories
select uuid, first_ms, last_ms, reports, reported_ms, throttled_ms, temperature_c_max, ecc_corrected, ecc_uncorrected,
       remapped_correctable, remapped_uncorrectable, remap_failed, xids, counters_went_back
from gpu_history where uuid = any($1::text[]);

-- name: nodes_behind
select node_id, history_seq, metered_seq from node where history_seq < metered_seq order by node_id;

-- name: records_behind
select record from meter_report where node_id = $1 and seq > $2 and seq <= $3 order by seq limit $4;

-- name: move_histories
update node set history_seq = new.to_seq
from unnest($1::text[], $2::bigint[], $3::bigint[]) as new (node_id, from_seq, to_seq)
where node.node_id = new.node_id and node.history_seq <= new.from_seq returning node.node_id;

-- A counter that some reading showed lower than the history has it went back. Of too many XIDs the harmless ones go: $19
-- are fatal, $20 degrading.
-- name: fold_histories
with new as (
    select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                         $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::boolean[], $13::text[],
                         $14::boolean[], $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[])
        as each (uuid, first_ms, last_ms, reports, reported_ms, throttled_ms, temperature_c_max, ecc_corrected,
                 ecc_uncorrected, remapped_correctable, remapped_uncorrectable, remap_failed, xids, went_back,
                 low_corrected, low_uncorrected, low_correctable, low_uncorrectable)
)
insert into gpu_history
select new.uuid, least(old.first_ms, new.first_ms), greatest(old.last_ms, new.last_ms),
       coalesce(old.reports, 0) + new.reports, coalesce(old.reported_ms, 0) + new.reported_ms,
       coalesce(old.throttled_ms, 0) + new.throttled_ms, greatest(old.temperature_c_max, new.temperature_c_max),
       greatest(old.ecc_corrected, new.ecc_corrected), greatest(old.ecc_uncorrected, new.ecc_uncorrected),
       greatest(old.remapped_correctable, new.remapped_correctable),
       greatest(old.remapped_uncorrectable, new.remapped_uncorrectable),
       coalesce(old.remap_failed, false) or new.remap_failed,
       case when new.xids = '' or new.xids = old.xids then coalesce(old.xids, '') else (
           select string_agg(xid::text, ',' order by xid) from (
               select xid from (
                   select distinct each::bigint
                   from unnest(string_to_array(concat_ws(',', nullif(old.xids, ''), new.xids), ',')) as each
               ) as seen (xid)
               order by xid <> all($19::bigint[]), xid <> all($20::bigint[]), xid limit $21) as worst)
       end,
       coalesce(old.counters_went_back, false) or new.went_back
           or coalesce(new.low_corrected < old.ecc_corrected, false)
           or coalesce(new.low_uncorrected < old.ecc_uncorrected, false)
           or coalesce(new.low_correctable < old.remapped_correctable, false)
           or coalesce(new.low_uncorrectable < old.remapped_uncorrectable, false)
from new left join gpu_history old using (uuid)
on conflict (uuid) do update
set first_ms = excluded.first_ms, last_ms = excluded.last_ms, reports = excluded.reports,
    reported_ms = excluded.reported_ms, throttled_ms = excluded.throttled_ms,
    temperature_c_max = excluded.temperature_c_max, ecc_corrected = excluded.ecc_corrected,
    ecc_uncorrected = excluded.ecc_uncorrected, remapped_correctable = excluded.remapped_correctable,
    remapped_uncorrectable = excluded.remapped_uncorrectable, remap_failed = excluded.remap_failed,
    xids = excluded.xids, counters_went_back = excluded.counters_went_back;

-- name: gpus_for_passport
select g.uuid, g.serial, g.inventory, exists (
    select 1 from node_gpu o where o.serial = g.serial and o.uuid <> g.uuid and o.sold_to is null
) as serial_elsewhere, n.simulated
from node_gpu g join node n using (node_id) where g.node_id = $1 and g.uuid = any($2::text[]) and g.sold_to is null;

-- name: count_gpus
select count(*) from node_gpu where node_id = $1 and sold_to is null;

-- name: currencies_of_hub
select distinct currency from product where hub = $1 order by currency;

-- name: lock_ssh_keys
select pg_advisory_xact_lock(hashtext('hourbook ssh keys of ' || $1::text));

-- name: find_ssh_key
select * from ssh_key where account = $1 and key_id = $2;

-- name: insert_ssh_key
insert into ssh_key values ($1, $2, $3, $4);

-- name: ssh_keys_of_account
select * from ssh_key where account = $1 order by added_ms, key_id;

-- name: delete_ssh_key
delete from ssh_key where account = $1 and key_id = $2;

-- name: put_access_wish
insert into access_wish values ($1, $2, $3, $4)
on conflict (position_id) do update set key_ids = excluded.key_ids, image = excluded.image, script = excluded.script;

-- name: leases_with_doors
select l.lease_id, l.node_id, l.endpoint, l.host_key, p.period_ms
from lease l join position s on s.position_id = l.position_ids[1] join product p on p.product = s.product
where l.state = 'started' and l.endpoint like 'ssh://%' and l.ends_ms > $1 order by l.lease_id;

-- name: insert_door_probe
insert into door_probe values ($1, $2, $3, $4) on conflict do nothing returning at_ms;

-- name: door_probes
select at_ms, reachable from door_probe where lease_id = $1 order by at_ms;

-- name: block_of_buyer
select p.*, n.grade as node_grade, coalesce(n.simulated, false) as simulated, n.last_live_ms, d.period_ms, d.final_ms,
       coalesce(n.metered_seq, 0) as meter_seq
from position p join product d using (product) left join node n using (node_id)
where p.block_id = $1 and p.buyer = $2 order by p.position_id;

-- name: forget_position
delete from position where position_id = $1;

-- name: shorten_leases
update lease set told_ends_ms = ends_ms where block_id = $1 and state in ('pending', 'ready', 'started');

-- name: disputes_of_position
select s.*, p.contract, p.node_id, p.buyer, p.operator,
       coalesce((select simulated from node n where n.node_id = p.node_id), false) as simulated
from dispute s join position p using (position_id)
where s.position_id = $1 order by s.opened_ms, s.side for update of s;

-- name: open_disputes_of
select s.*, p.contract, p.node_id, p.buyer, p.operator,
       coalesce((select simulated from node n where n.node_id = p.node_id), false) as simulated
from dispute s join position p using (position_id)
where s.position_id = $1 and s.state = 'OPEN' for update of s;

-- name: find_dispute
select s.*, p.contract, p.node_id, p.buyer, p.operator,
       coalesce((select simulated from node n where n.node_id = p.node_id), false) as simulated
from dispute s join position p using (position_id)
where s.dispute_id = $1;

-- name: insert_dispute
insert into dispute (dispute_id, position_id, side, account, idempotency_key, reason, evidence, state, opened_ms,
                     deadline_ms, revision)
values ($1, $2, $3, $4, $5, $6, $7, 'OPEN', $8, $9, $10);

-- Those that the engine has, and whose position's last revision it has taken.
-- name: disputes_to_rule
select s.*, p.contract, p.node_id, p.buyer, p.operator,
       coalesce((select simulated from node n where n.node_id = p.node_id), false) as simulated
from dispute s join position p using (position_id)
where s.state = 'OPEN' and s.engine_has and not s.ruled and p.state = 'settled'
order by s.opened_ms, s.dispute_id limit $1 for update of s;

-- name: disputes_overdue
select s.*, p.contract, p.node_id, p.buyer, p.operator,
       coalesce((select simulated from node n where n.node_id = p.node_id), false) as simulated
from dispute s join position p using (position_id)
where s.state = 'OPEN' and s.engine_has and s.ruled and s.deadline_ms <= $1 and p.state = 'settled'
order by s.deadline_ms, s.dispute_id limit $2 for update of s;

-- A dispute as it stood when it was last told; what the engine has of it comes with the event log.
-- name: put_dispute
insert into dispute (dispute_id, position_id, side, account, idempotency_key, reason, evidence, state, opened_ms,
                     deadline_ms, revision, decided_by, decided_ms, decision_reason, inputs, outcome)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
on conflict (dispute_id) do update
set state = excluded.state, revision = excluded.revision, decided_by = excluded.decided_by,
    decided_ms = excluded.decided_ms, decision_reason = excluded.decision_reason, inputs = excluded.inputs,
    outcome = excluded.outcome
where dispute.state = 'OPEN';

-- name: note_disputed
update dispute set engine_has = true where position_id = $1 and state = 'OPEN';

-- name: note_ruled
update dispute set ruled = true where dispute_id = $1;

-- name: set_dispute_inputs
update dispute set inputs = $2 where dispute_id = $1;

-- name: end_dispute
update dispute set state = $2, decided_by = $3, decided_ms = $4, decision_reason = $5, outcome = $6, revision = $7
where dispute_id = $1;

-- name: inputs_of_arbiter
select inputs from dispute where position_id = $1 and inputs is not null order by decided_ms nulls last, side;

-- name: disputes_page
select s.*, p.contract, p.node_id, p.buyer, p.operator,
       coalesce((select simulated from node n where n.node_id = p.node_id), false) as simulated
from dispute s join position p using (position_id)
where ($1::text is null or p.buyer = $1 or p.operator = $1) and ($2::text is null or s.state = $2)
  and (s.opened_ms < $4 or (s.opened_ms = $4 and s.dispute_id > $5))
order by s.opened_ms desc, s.dispute_id limit $3;

-- name: lease_for_renter
select l.*, d.period_ms from lease l
join position p on p.position_id = l.position_ids[1] join product d using (product)
where l.lease_id = $1;

-- name: find_renter_meter
select * from renter_meter where lease_id = $1 for update;

-- name: insert_renter_meter
insert into renter_meter values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: save_renter_chain
update renter_meter set seq = $2, hash = $3, boot_id = $4, mono_end_ms = $5, received_ms = $6, nonce = $7,
                        nonce_issued_ms = $8, recent_nonces = $9, queued_nonce = $10, offset_min_ms = $11
where lease_id = $1;

-- name: renter_hash
select hash from renter_report where lease_id = $1 and seq = $2;

-- name: insert_renter_report
insert into renter_report values ($1, $2, $3, $4, $5);

-- name: renter_reports
select record from renter_report where lease_id = $1 and received_ms >= $2 order by seq;

-- name: renter_records_by_seq
select record from renter_report where lease_id = $1 and seq = any($2::bigint[]) order by seq;

-- name: set_software
update node set software = $2 where node_id = $1;

-- name: nodes_with_driver
select node_id, software from node where starts_with(software, $1) and state <> 'retired' order by node_id;

-- name: raise_hold
insert into level_hold (node_id, reason, detail, since_ms) values ($1, $2, $3, $4)
on conflict (node_id, reason) where lifted_ms is null do nothing returning hold_id;

-- name: lift_hold
update level_hold set lifted_ms = $3 where node_id = $1 and reason = $2 and lifted_ms is null returning detail;

-- name: open_holds
select reason, detail, since_ms from level_hold where node_id = $1 and lifted_ms is null order by since_ms, reason;

-- name: open_holds_of_nodes
select node_id, reason, detail, since_ms from level_hold where node_id = any($1::text[]) and lifted_ms is null
order by since_ms, reason;

-- name: insert_driver_digest
insert into driver_digest values ($1, $2, $3, $4, $5) on conflict do nothing returning driver_version;

-- name: digests_of_driver
select library_sha256 from driver_digest where driver_version = $1;

-- name: driver_digests
select * from driver_digest
where ($1::text is null or driver_version = $1) and ($2::text is null or library_sha256 = $2)
order by added_ms, driver_version, library_sha256;

-- Nodes that may sell, and whose record or days may have another level in them.
-- name: nodes_to_review
select node_id, standing_ms, audited_until_ms,
       exists (select from level_hold h where h.node_id = node.node_id and h.lifted_ms is null) as is_held
from node where state = 'active' and level_due_ms <= $1 order by level_due_ms, node_id limit $2 for no key update;

-- name: note_review
update node set standing_ms = $2, level_due_ms = $3 where node_id = $1;

-- name: review_soon
update node set level_due_ms = 0 where node_id = $1;

-- name: set_audited
update node set audited_until_ms = $2 where node_id = $1;

-- A later revision stands for the one before, at the time when the position was settled first.
-- name: put_delivery_fact
insert into delivery_fact (position_id, node_id, at_ms, contracted_gpu_s, excused_gpu_s, delivered_gpu_s,
                           disputed_gpu_s, is_two_sided)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (position_id) do update
set contracted_gpu_s = excluded.contracted_gpu_s, excused_gpu_s = excluded.excused_gpu_s,
    delivered_gpu_s = excluded.delivered_gpu_s, disputed_gpu_s = excluded.disputed_gpu_s,
    is_two_sided = excluded.is_two_sided;

-- name: record_since
select count(*), coalesce(sum(contracted_gpu_s - excused_gpu_s), 0)::bigint, coalesce(sum(delivered_gpu_s), 0)::bigint,
       count(*) filter (where is_two_sided),
       coalesce(sum(delivered_gpu_s + disputed_gpu_s) filter (where is_two_sided), 0)::bigint,
       coalesce(sum(disputed_gpu_s) filter (where is_two_sided), 0)::bigint
from delivery_fact where node_id = any($1::text[]) and at_ms > $2;

-- name: put_proof_fact
insert into proof_fact values ($1, $2, $3, $4) on conflict do nothing;

-- name: nodes_of_account
select node_id, simulated from node where account = $1 order by node_id;

-- A dispute is lost by the operator whose hour was corrected after a buyer's word, or not after his own, or where the
-- renter's meter stands.
-- name: reputation_facts
select hours.*, proofs.*,
       (select count(*) from dispute d join position p using (position_id)
        where p.node_id = any($1::text[]) and d.state = 'DECIDED'
          and ((d.side = 'buyer' and d.outcome = 'corrected') or (d.side = 'operator' and d.outcome = 'confirmed')
               or (d.side = 'venue' and d.inputs::json ->> 'differences' = 'renter'))) as disputes_lost,
       (select count(*) from level_hold where node_id = any($1::text[])
          and reason in ('library_mismatch', 'driver_impossible', 'telemetry_changed', 'implausible_load')) as suspicions,
       (select min(enrolled_ms) from node where node_id = any($1::text[])) as first_ms,
       (select min(p.period_ms) from product p join node n on (p.grade, p.hub) = (n.grade, n.hub)
        where n.node_id = any($1::text[])) as period_ms
from (select count(*), coalesce(sum(contracted_gpu_s - excused_gpu_s), 0)::bigint,
             coalesce(sum(delivered_gpu_s), 0)::bigint,
             count(*) filter (where delivered_gpu_s * 1000 < (contracted_gpu_s - excused_gpu_s) * 990),
             count(*) filter (where is_two_sided), coalesce(sum(disputed_gpu_s) filter (where is_two_sided), 0)::bigint
      from delivery_fact where node_id = any($1::text[])) as hours (positions, owed, delivered, outages, two_sided, disputed),
     (select count(*) filter (where passed), count(*) filter (where not passed)
      from proof_fact where node_id = any($1::text[])) as proofs (passed, failed);

-- name: put_hub_trip
insert into hub_trip values ($1, $2, $3, $4)
on conflict (node_id) do update set hub = excluded.hub, trip_us = excluded.trip_us, measured_ms = excluded.measured_ms
where hub_trip.measured_ms < excluded.measured_ms returning node_id;

-- name: hub_trips_of_nodes
select node_id, hub, trip_us, measured_ms from hub_trip where node_id = any($1::text[]);

-- name: find_hub_trip
select hub, trip_us, measured_ms from hub_trip where node_id = $1;
