-- When a node had proven its GPUs for a lease that this schema does not have yet stands beside what its hook answered.
alter table lease_answer drop constraint lease_answer_action_check;
alter table lease_answer add constraint lease_answer_action_check check (action in ('proof', 'start', 'stop'));
