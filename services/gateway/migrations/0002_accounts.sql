-- Accounts, the public halves of API keys, and enrolment tokens: written by requests, not by events.
create table accounts (
    account    text primary key,
    created_ms bigint not null
);

create table api_keys (
    key_id  text primary key,
    account text not null references accounts,
    key     jsonb not null
);
create index api_keys_of_account on api_keys (account);

create table enrolment_tokens (
    token_id   text primary key,
    account    text not null,
    expires_ms bigint not null
);
