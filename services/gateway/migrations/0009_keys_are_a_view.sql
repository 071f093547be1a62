-- Keys and tokens are read from keys.events alone, which proves them; nothing of them is kept here.
drop table node_keys;
drop table api_keys;
drop table enrolment_tokens;
