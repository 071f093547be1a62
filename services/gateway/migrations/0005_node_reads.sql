-- An agent reads what stands and what is sold of its own node alone, however many nodes its account has.
create index orders_open_of_node on orders (node, seq desc)
    where parent_id is null and node is not null and status in ('new', 'partially_filled');
create index positions_open_of_node on positions (node, seq desc) where state = 'OPEN';
