-- How long this service's own event loop was busy while a challenge's answer, or that to its second nonce, was awaited.
alter table challenge add column lag_us bigint not null default 0, add column residency_lag_us bigint not null default 0;
