-- A node that its account has retired; `sold_to` of its GPUs names the account that may enrol them next.
alter table node drop constraint node_state_check;
alter table node add constraint node_state_check
    check (state in ('enrolled', 'active', 'quarantined', 'lost', 'banned', 'retired'));
