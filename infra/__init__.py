"""What the exchange stands on: its environment, the embedded Kafka and PostgreSQL, topics and the supervisor."""
