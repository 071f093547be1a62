-- Records on their way to a topic of the service's own, written in the transaction of the change they tell of.
create table if not exists publication (
    id    bigint generated always as identity primary key,
    topic text not null,
    key   bytea,
    value bytea not null
);
