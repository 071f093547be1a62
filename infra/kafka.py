"""The embedded Kafka: the real Apache broker in one small process, on a Java runtime that came in a wheel."""

import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from infra import kafka_image, kafka_jars, processes
from infra.places import cache_dir
from infra.ports import LOOPBACK, require_free
from infra.progress import step

API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)  # a request that every broker answers at once


@dataclass(frozen=True)
class KafkaPlan:
    """Where one embedded broker lives and listens; with infra's password it lets nobody in without a login."""

    data: Path
    log: Path
    port: int
    controller_port: int
    password: str | None = None

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"


def prepare(plan: KafkaPlan) -> processes.Program:
    """Fetch, format and configure what is missing, check the ports, and answer the program to run."""
    require_free("kafka", plan.port, "HOURBOOK_KAFKA_PORT")
    require_free("kafka's controller", plan.controller_port, "HOURBOOK_KAFKA_CONTROLLER_PORT")
    install()
    plan.data.mkdir(parents=True, exist_ok=True)
    properties = kafka_image.write_properties(plan.data, plan.port, plan.controller_port, plan.password)
    if not (plan.data / "log" / "meta.properties").exists():
        kafka_image.lay_storage(plan.data)
    return processes.Program(
        name="kafka",
        command=kafka_image.server_command(properties, kafka_image.quick_start_options()),
        log=plan.log,
        ready=lambda: answers(plan.port),
    )


def install() -> None:
    """Bring Kafka into the user's cache; of two processes that find it missing the second waits for the first."""
    if kafka_jars.is_complete() and kafka_image.is_made():
        return
    cache_dir().mkdir(parents=True, exist_ok=True)
    folder = os.open(cache_dir(), os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not kafka_jars.is_complete():
            with step(f"fetching Apache Kafka {kafka_jars.VERSION} (once)"):
                kafka_jars.fetch_jars()
        if not kafka_image.is_made():
            with step("preparing Apache Kafka for quick starts (once)"):
                kafka_image.make_image()
    finally:
        os.close(folder)


def answers(port: int) -> bool:
    """Whether a broker answers a request on the port, not merely listens."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.5) as connection:
            connection.sendall(API_VERSIONS)
            return len(connection.recv(4)) == 4
    except OSError:
        return False
