-- What a settlement said of recall and notice (tier I), so that its receipt can be recomputed.
alter table settlement add column if not exists noticed boolean not null default false;
alter table settlement add column if not exists recalled_gpus integer not null default 0;
