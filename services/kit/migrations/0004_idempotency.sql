-- First answers of requests that carried an Idempotency-Key, written in the transaction of their effects.
create table if not exists first_answer (
    account text not null,
    key     text not null,
    request text not null,
    status  integer not null,
    answer  text not null,
    primary key (account, key)
);
