-- What of an operator's earnings is held until a position is final, because its node was of level T0 at the gate.
alter table positions
    add column payout_held_micros   bigint not null default 0 check (payout_held_micros >= 0),
    add column payout_held_until_ms bigint;
