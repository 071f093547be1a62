-- The sweep in which all GPUs of the node's operator that nobody had were asked at one moment; null: it was none, or some
-- of them were left out. A node's doubts end with one that all of them have passed.
alter table challenge add column sweep text;
create index challenge_sweep on challenge (sweep) where sweep is not null;
