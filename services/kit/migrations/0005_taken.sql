-- Up to which offset of a topic this schema has every record, by partition, written with the effects: a consumer group's own
-- place is Kafka's, and says nothing of a database that comes from an older copy.
create table if not exists taken (
    topic           text not null,
    kafka_partition integer not null,
    next_offset     bigint not null,
    primary key (topic, kafka_partition)
);
