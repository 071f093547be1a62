-- How each proof ended, for reputations; what was judged before comes from the challenges themselves.
create table proof_fact (
    challenge_id text primary key,
    node_id text not null,
    at_ms bigint not null,
    passed boolean not null
);
create index proof_fact_node on proof_fact (node_id);
insert into proof_fact
select challenge_id, node_id, (convert_from(verdict, 'UTF8')::json ->> 'judged_ms')::bigint,
       (convert_from(verdict, 'UTF8')::json ->> 'passed')::boolean
from challenge where verdict is not null;
