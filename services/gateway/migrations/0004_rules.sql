-- What accounts are held to: their limits (product ''), and their own protections.
create table rules (
    account text not null,
    product text not null,
    terms   jsonb not null,
    seq     bigint not null,
    primary key (account, product)
);
