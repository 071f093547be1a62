-- Since when a first answer is kept; those from before count from now on.
alter table first_answer add column kept_at timestamptz not null default now();
create index first_answer_kept on first_answer (kept_at);
