-- Which GPUs a node stood behind when delivery said last how it stands, and why it said so.
alter table node_state add column gpus text[] not null default '{}', add column reason text not null default '';
