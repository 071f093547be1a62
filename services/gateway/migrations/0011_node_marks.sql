-- Which nodes are simulated: a view of delivery.events.
create table node_marks (
    node      text primary key,
    simulated boolean not null
);
