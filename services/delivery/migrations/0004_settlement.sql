-- The next gate of what a node has sold, asked with every report.
create index position_sold on position (node_id) where state = 'open';
