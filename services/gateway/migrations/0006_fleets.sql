-- Tokens that admit several nodes, their end before their time, and the keys that nodes got by them.
alter table enrolment_tokens add column nodes integer not null default 1;
alter table enrolment_tokens add column revoked_ms bigint;

create table node_keys (
    key_id   text primary key references api_keys,
    token_id text not null references enrolment_tokens
);
create index node_keys_of_token on node_keys (token_id);
