-- An operator's agents ask what of a book is his own before they undercut it.
create index open_asks_of_contract on orders (account, contract)
    where side = 'sell' and status in ('new', 'partially_filled');
