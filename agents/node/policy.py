"""The operator's policy: what the node is sold as, which GPUs count as idle, at what price, and how far ahead."""

import logging
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError, model_validator

from agents.node.errors import BadConfiguration
from schemas.base import Model
from schemas.complaints import in_words
from schemas.ids import Grade, Hub, Tier
from schemas.money import DecimalString
from schemas.nodes import GpuReading

PERIODS_AHEAD_DEFAULT = 48
QUIET = frozenset({"other"})
TENANT_AND_QUIET = frozenset({"other", "lease", "unknown"})
log = logging.getLogger("hourbook.agent")


class Section(Model):
    """A table of the file; TOML's own types, arrays as tuples."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class IdleRule(Section):
    """A GPU is idle when its utilisation stayed below this for so long and no process is on it."""

    utilisation_below_percent: Annotated[int, Field(ge=1, le=100)] = 5
    for_ms: Annotated[int, Field(ge=0)] = 60_000


class PriceRule(Section):
    """The least price per GPU-hour: one floor, or 24 for the UTC hours of the day."""

    floor: DecimalString | None = None
    floor_curve: Annotated[tuple[DecimalString, ...], Field(min_length=24, max_length=24)] | None = None

    @model_validator(mode="after")
    def _name_one(self) -> "PriceRule":
        if (self.floor is None) == (self.floor_curve is None):
            raise ValueError("name either floor or floor_curve")
        return self


class HookRule(Section):
    """The operator's commands at the start and the end of a lease, each a program with its arguments."""

    start: Annotated[tuple[str, ...], Field(min_length=1)]
    stop: Annotated[tuple[str, ...], Field(min_length=1)]
    timeout_s: Annotated[int, Field(ge=1, le=3600)] = 60


class Policy(Section):
    """The whole file. New periods at the far end are posted `extend_by` at a time, so that there are fewer orders."""

    label: str
    hub: Hub
    tier: Tier = "F"
    grade: Grade | None = None
    whole_node: bool = False
    periods_ahead: Annotated[int, Field(ge=1, le=10_000)] = PERIODS_AHEAD_DEFAULT
    extend_by: Annotated[int, Field(ge=1)] = 1
    reserve_gpus: Annotated[int, Field(ge=0)] = 0
    idle: IdleRule = IdleRule()
    price: PriceRule
    hooks: HookRule


class PolicyFile:
    """A policy that follows its file: an edited price takes effect without a restart, a broken edit does not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._version()
        self.current = self._read()

    def refresh(self) -> Policy:
        """Returns the policy, read again where the file has changed; a file that cannot be read leaves the last one."""
        try:
            seen = self._version()
            if seen != self._seen:
                self._seen = seen
                self.current = self._read()
        except BadConfiguration as error:
            log.warning("the last good policy stays: %s", error)
        return self.current

    def _version(self) -> tuple[int, int]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise BadConfiguration(f"policy {self._path}: {error}") from error
        return status.st_mtime_ns, status.st_size

    def _read(self) -> Policy:
        try:
            return Policy.model_validate(tomllib.loads(self._path.read_text()))
        except ValidationError as error:
            raise BadConfiguration(f"policy {self._path}: {in_words(error.errors())}") from error
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise BadConfiguration(f"policy {self._path}: {error}") from error


class IdleWatch:
    """Remembers since when each GPU could be sold; nothing is sellable that is absent, unhealthy or in other use."""

    def __init__(self) -> None:
        self._fit_since_ms: dict[str, int] = {}

    def observe(self, readings: tuple[GpuReading, ...], leased: frozenset[str], rule: IdleRule, mono_ms: int) -> None:
        """Takes down one reading of every GPU. A leased GPU may be busy: that is its buyer."""
        for reading in readings:
            if is_fit(reading, reading.uuid in leased, rule):
                self._fit_since_ms.setdefault(reading.uuid, mono_ms)
            else:
                self._fit_since_ms.pop(reading.uuid, None)

    def sellable(self, policy: Policy, gpus: int, mono_ms: int) -> int:
        """Returns how many of the node's GPUs may stand in the book."""
        fit = sum(1 for since_ms in self._fit_since_ms.values() if mono_ms - since_ms >= policy.idle.for_ms)
        if policy.whole_node:
            return gpus if fit == gpus and not policy.reserve_gpus else 0
        return max(fit - policy.reserve_gpus, 0)


def is_fit(reading: GpuReading, leased: bool, rule: IdleRule) -> bool:
    """Tells whether a GPU can serve a buyer now: there, healthy, and nobody else's."""
    if not (reading.present and reading.healthy):
        return False
    if any(process.whose not in (TENANT_AND_QUIET if leased else QUIET) for process in reading.processes):
        return False
    return leased or (reading.utilisation_percent or 0) < rule.utilisation_below_percent
