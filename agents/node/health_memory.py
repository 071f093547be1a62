"""What the agent knows of its GPUs' health, kept over its own restarts until the machine reboots."""

import logging
from dataclasses import asdict

from pydantic import TypeAdapter, ValidationError

from agents.node.errors import BadState
from agents.node.identity import boot_id
from agents.node.state import StateFolder
from schemas.gpu_health import GpuHealth, next_health
from schemas.nodes import GpuReading

DOCUMENT = "health"
HEALTH_BY_UUID: TypeAdapter[dict[str, GpuHealth]] = TypeAdapter(dict[str, GpuHealth])
log = logging.getLogger("hourbook.agent")


class HealthMemory:
    """Each GPU's health by UUID. Without a folder it lasts as long as the agent; a broken file counts for nothing."""

    def __init__(self, state: StateFolder | None = None) -> None:
        self._state, self._boot_id = state, boot_id()
        self._health: dict[str, GpuHealth] = {}
        self._complained = False
        if state is not None:
            self._read(state)

    def judge(self, reading: GpuReading) -> GpuReading:
        """Returns a reading with the agent's verdict on it: healthy or not, why, and why it gets no new buyer."""
        before = self._health.get(reading.uuid, GpuHealth())
        health = next_health(before, reading, self._boot_id, 0)
        self._health[reading.uuid] = health
        if health != before:
            self._write()
        verdict = {"healthy": not health.fault, "fault": health.fault, "withheld": health.degraded}
        return reading.model_copy(update=verdict)

    def _read(self, state: StateFolder) -> None:
        try:
            known = HEALTH_BY_UUID.validate_python(state.read(DOCUMENT) or {})
        except (BadState, ValidationError) as error:
            log.warning("the stored health of the GPUs cannot be read, so they are judged again: %s", error)
            return
        self._health = {uuid: health for uuid, health in known.items() if health.boot_id == self._boot_id}

    def _write(self) -> None:
        if self._state is None:
            return
        try:
            self._state.write(DOCUMENT, {uuid: asdict(health) for uuid, health in self._health.items()})
        except OSError as error:
            if not self._complained:
                log.warning("the health of the GPUs cannot be stored: %s", error)
            self._complained = True
