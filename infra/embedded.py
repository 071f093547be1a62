"""Both embedded servers in one folder, for tests and other short-lived use: start, address, stop."""

import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

from infra import kafka, postgres, processes
from infra.ports import distinct_ports, free_port


@dataclass
class Running:
    """A server that was started here; `address` is what its clients need."""

    program: processes.Program
    address: str
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start it, also after a stop or a kill, with the same data and on the same port."""
        self.process = processes.start(self.program)
        try:
            processes.wait_ready(self.program, self.process)
        except processes.DidNotStart:
            self.stop()
            raise

    def stop(self) -> None:
        processes.stop(self.program, self.process)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()


def start_kafka(folder: Path) -> Running:
    """A broker on free ports with its data in the folder; `address` is its bootstrap address."""
    plan = kafka.KafkaPlan(folder / "kafka", folder / "kafka.log", *distinct_ports(2))
    return Running(replace(kafka.prepare(plan), dies_with_parent=True), plan.bootstrap)


def start_postgres(folder: Path) -> Running:
    """A PostgreSQL server on a free port with its data in the folder; `address` is its owner's URL."""
    plan = postgres.PostgresPlan(folder / "postgres", folder / "postgres.log", free_port(), folder / "keys")
    return Running(replace(postgres.prepare(plan), dies_with_parent=True), plan.url())
