"""The one way to make a producer: idempotent, acknowledged by all, waiting for Kafka when it is not there yet."""

import asyncio

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.kit.kafka import kafka_client_options
from services.kit.settings import Settings
from services.kit.stopping import stop_client


async def start_producer(settings: Settings, client_id: str, **options) -> AIOKafkaProducer:
    """Returns a started producer; until Kafka answers it says what it waits for and tries again."""
    while True:
        producer = AIOKafkaProducer(
            **kafka_client_options(settings),
            client_id=client_id,
            enable_idempotence=True,
            acks="all",
            **{"linger_ms": 0, "max_request_size": 1_048_576, **options},
        )
        try:
            await producer.start()
            return producer
        except (KafkaError, OSError) as error:
            await stop_client(producer)
            structlog.get_logger().warning("waiting for Kafka", address=settings.kafka, error=str(error))
            await asyncio.sleep(settings.reconnect_delay_s)
