-- A position that its buyer ended with the rest of his block is over.
drop index positions_live;
create index positions_live on positions (position_id) where state not in ('SETTLED_FINAL', 'RESOLD', 'ENDED');
