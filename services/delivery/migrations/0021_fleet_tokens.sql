-- A token may admit several nodes: which nodes it has admitted, and the tokens that were revoked stand on keys.events.
alter table burnt_token drop constraint burnt_token_pkey;
alter table burnt_token add primary key (token_id, node_id);
