-- Who answers a challenge where that is not the node's agent: a lease's renter. And how often in a row, from inside, the
-- speed was odd; what a node shows outside clears nothing of it.
alter table challenge add column prover text;
create index challenge_prover on challenge (lease_id) where prover is not null;
alter table node add column inside_doubts integer not null default 0;
