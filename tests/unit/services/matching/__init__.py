"""Tests of the matching process without Kafka."""
