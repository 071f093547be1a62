-- An operator's agents ask what of a product's books is his own before they undercut it.
drop index open_asks_of_contract;
create index open_asks_of_product on orders (account, product)
    where contract is not null and side = 'sell' and status in ('new', 'partially_filled');
