-- A gate's challenge whose nonce is held back until those of the operator's other nodes leave too: the gate's moment, and
-- when they leave at the latest.
alter table challenge add column joint_gate_ms bigint, add column joint_until_ms bigint;
