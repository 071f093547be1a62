-- Accounts are read from keys.events, as keys are; nothing of them is kept here.
drop table accounts;
