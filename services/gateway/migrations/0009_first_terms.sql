-- A repeat of an order that was replaced since is answered with the terms that it was taken with.
alter table orders add column first_terms text;
