"""The operator's policy: what the node is sold as, which GPUs count as idle, at what price, and how far ahead."""

import logging
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from agents.node.errors import BadConfiguration
from agents.node.files import CONTROLS, program_problem, read_toml
from agents.node.fitness import Offerability
from agents.node.hooks.ready import OPTIONS, PROGRAMS, ready_commands
from agents.node.notices import Notices
from schemas.base import Model
from schemas.ids import Grade, Hub, Tier, lot_of
from schemas.money import PRICE_MAX_MICROS, DecimalString, format_micros, parse_micros
from schemas.nodes import GpuReading, ImageName, Name

PERIODS_AHEAD_DEFAULT = 48
IDLE_FOR_MS_MAX = 30 * 24 * 3600 * 1000
ARGUMENTS_MAX = 256


def _is_price(text: str) -> str:
    """Refuses what the venue takes as no price: nothing, and more than its highest."""
    if not 0 < parse_micros(text) <= PRICE_MAX_MICROS:
        raise ValueError(f"should be more than 0 and at most {format_micros(PRICE_MAX_MICROS)}")
    return text


def _is_one_line(text: str) -> str:
    if CONTROLS.search(text) or any(mark in text for mark in "\t\r\n"):
        raise ValueError("should have no control characters")
    return text


def _has_no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("should have no NUL")
    return text


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


FloorPrice = Annotated[DecimalString, AfterValidator(_is_price)]
Label = Annotated[Name, AfterValidator(_is_one_line)]
GpuChoice = Annotated[str, Field(pattern=r"^(GPU-[0-9a-f-]{8,36}|index:[0-9]{1,2})$")]
Command = Annotated[
    tuple[Annotated[str, AfterValidator(_has_no_nul)], ...],
    BeforeValidator(_as_tuple),
    Field(min_length=1, max_length=ARGUMENTS_MAX),
]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$")]
PortRange = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}-[1-9][0-9]{0,4}$")]
log = logging.getLogger("hourbook.agent")


class Section(Model):
    """A table of the file, in TOML's own types: text is no number, and a number no yes or no."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class IdleRule(Section):
    """A GPU is idle when utilisation and memory in use stayed below these for so long and no process is on it."""

    utilisation_below_percent: Annotated[int, Field(ge=1, le=100)] = 5
    memory_below_mib: Annotated[int, Field(ge=1)] = 1024
    for_ms: Annotated[int, Field(ge=0, le=IDLE_FOR_MS_MAX)] = 60_000


class PriceRule(Section):
    """The least price per GPU-hour: one floor, or 24 for the UTC hours of the day."""

    floor: FloorPrice | None = None
    floor_curve: (
        Annotated[tuple[FloorPrice, ...], BeforeValidator(_as_tuple), Field(min_length=24, max_length=24)] | None
    ) = None

    @model_validator(mode="after")
    def _name_one(self) -> "PriceRule":
        if (self.floor is None) == (self.floor_curve is None):
            raise ValueError("name either floor or floor_curve")
        return self


class HookRule(Section):
    """What happens at the start and the end of a lease: commands of the operator's own, or a ready hook.

    `kind` is `command` (`start` and `stop`, each a program with its arguments), `shell` or `container`, which take the
    options from `listen` on: where the SSH server listens, what address buyers are told, its ports `FIRST-LAST`.
    After `start_failures_max` failed starts in a row nothing is offered for `retry_s`, twice as long each time more; a
    failed stop is tried again after `stop_retry_s`. A GPU is clean with no process on it and that little memory in use.
    """

    kind: Literal["command", "shell", "container"] = "command"
    start: Command
    stop: Command
    listen: HostName | None = None
    address: HostName | None = None
    ports: PortRange | None = None
    folder: Annotated[str, Field(pattern=r"^/[^\x00-\x1f]*$")] | None = None
    volume_mib: Annotated[int, Field(ge=1)] | None = None
    network: Literal["own", "machine"] | None = None
    image: ImageName | None = None
    engine: Literal["docker", "podman"] | None = None
    buyers_image: Literal["yes", "no"] | None = None
    memory_mib: Annotated[int, Field(ge=64)] | None = None
    cpus: Annotated[int, Field(ge=1)] | None = None
    timeout_s: Annotated[int, Field(ge=1, le=3600)] = 60
    start_failures_max: Annotated[int, Field(ge=1, le=100)] = 2
    retry_s: Annotated[int, Field(ge=1, le=86_400)] = 300
    stop_retry_s: Annotated[int, Field(ge=1, le=600)] = 10
    empty_memory_mib_max: Annotated[int, Field(ge=0)] = 1024

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        is_ready = isinstance(given, dict) and given.get("kind") in PROGRAMS
        return given | ready_commands(given) if is_ready else given

    @model_validator(mode="after")
    def _has_its_options(self) -> "HookRule":
        given = [name for name in OPTIONS if getattr(self, name) is not None]
        if self.kind == "command" and given:
            raise ValueError("options of a ready hook, and no kind = shell or container")
        if self.kind == "container" and self.image is None:
            raise ValueError("kind = container needs an image")
        return self


class Policy(Section):
    """The whole file. New periods at the far end are posted `extend_by` at a time, so that there are fewer orders.

    `gpus` are UUIDs or places (`index:0`) of the GPUs that the node enrols; without any, all that drive no display.
    """

    label: Label
    hub: Hub
    tier: Tier = "F"
    grade: Grade | None = None
    whole_node: bool = False
    gpus: Annotated[tuple[GpuChoice, ...], BeforeValidator(_as_tuple), Field(max_length=64)] = ()
    periods_ahead: Annotated[int, Field(ge=1, le=10_000)] = PERIODS_AHEAD_DEFAULT
    extend_by: Annotated[int, Field(ge=1, le=10_000)] = 1
    reserve_gpus: Annotated[int, Field(ge=0, le=64)] = 0
    idle: IdleRule = IdleRule()
    price: PriceRule
    hooks: HookRule

    @model_validator(mode="after")
    def _can_sell(self) -> "Policy":
        if self.whole_node and self.reserve_gpus:
            raise ValueError("whole_node sells all GPUs together, so reserve_gpus must be 0")
        if self.extend_by > self.periods_ahead:
            raise ValueError("extend_by must be at most periods_ahead, or nothing new is ever offered")
        return self


class PolicyFile:
    """A policy that follows its file: an edited price takes effect without a restart, a broken edit does not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._notices = Notices()
        self._seen = self._version()
        self.current = self._read()

    def refresh(self) -> Policy:
        """Returns the policy, read again where the file has changed; a file that cannot be read leaves the last one."""
        try:
            seen = self._version()
            if seen != self._seen:
                self._seen = None
                self.current = self._read()
                self._seen = seen
                log.info("policy %s is followed as edited", self._path)
            self._notices.clear("policy")
        except BadConfiguration as error:
            self._notices.say("policy", f"the last good policy stays: {error}")
        return self.current

    def _version(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise BadConfiguration(f"policy {self._path}: {reason}") from error
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> Policy:
        policy = read_toml(self._path, "policy", Policy)
        problems = tuple(
            f"policy {self._path}: hooks.{action}: {problem}"
            for action in ("start", "stop")
            if (problem := program_problem(getattr(policy.hooks, action)))
        )
        if problems:
            raise BadConfiguration("; ".join(problems), problems)
        return policy


def never_sells(policy: Policy, grade: str, hub: str, gpus: int) -> str:
    """Says why a node of so many GPUs, enrolled under a grade and a hub, can never sell under a policy; else empty."""
    if policy.reserve_gpus >= gpus:
        return f"reserve_gpus = {policy.reserve_gpus} of {gpus} GPUs: this node can never sell"
    if policy.whole_node != (lot_of(grade) > 1):
        return f"whole_node = {str(policy.whole_node).lower()}, but the node is enrolled as {grade}: it must enrol anew"
    if policy.grade and policy.grade != grade.removesuffix("X8"):
        return f"grade = {policy.grade}, but the node is enrolled as {grade}: it must enrol anew"
    if hub and policy.hub != hub:
        return f"hub = {policy.hub}, but the node is enrolled at {hub}: it must enrol anew"
    return ""


class IdleWatch:
    """Remembers since when each GPU could be sold; nothing is sellable that is absent, unhealthy or in other use."""

    def __init__(self) -> None:
        self._fit_since_ms: dict[str, int] = {}
        self._offerability = Offerability()

    def observe(
        self,
        readings: tuple[GpuReading, ...],
        leased: frozenset[str],
        rule: IdleRule,
        mono_ms: int,
        whole_node: bool = False,
    ) -> tuple[GpuReading, ...]:
        """Takes down one reading of every GPU; returns them with the reason for which one is withheld."""
        judged = []
        for reading in readings:
            withheld = self._offerability.judge(reading, reading.uuid in leased, rule, whole_node)
            if withheld:
                self._fit_since_ms.pop(reading.uuid, None)
            else:
                self._fit_since_ms.setdefault(reading.uuid, mono_ms)
            judged.append(reading.model_copy(update={"withheld": withheld}))
        return tuple(judged)

    def fit_for_ms(self, uuid: str, mono_ms: int) -> int | None:
        """Returns for how long a GPU has been fit to be sold; None where it is not."""
        since_ms = self._fit_since_ms.get(uuid)
        return None if since_ms is None else mono_ms - since_ms

    def sellable(self, policy: Policy, gpus: int, mono_ms: int) -> int:
        """Returns how many of the node's GPUs may stand in the book."""
        fit = sum(1 for since_ms in self._fit_since_ms.values() if mono_ms - since_ms >= policy.idle.for_ms)
        if policy.whole_node:
            return gpus if fit == gpus and not policy.reserve_gpus else 0
        return max(fit - policy.reserve_gpus, 0)
