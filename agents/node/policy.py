"""The operator's policy: what the node is sold as, which GPUs count as idle, at what price, and how far ahead."""

import logging
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from agents.node.errors import BadConfiguration
from agents.node.files import CONTROLS, program_problem, read_toml
from agents.node.fitness import Offerability
from agents.node.hooks.ready import OPTIONS, PROGRAMS, ready_commands
from agents.node.idle_rules import IdleRule
from agents.node.notices import Notices
from agents.node.offers import TTL_S_MAX, KeepFree, OfferRule, Windows
from agents.node.price_rules import PriceRule
from agents.node.sections import Section, as_tuple
from agents.node.windows import TimeZone
from schemas.ids import Grade, Hub, Tier, lot_of
from schemas.nodes import GpuReading, ImageName, Name

PERIODS_AHEAD_DEFAULT = 48
ARGUMENTS_MAX = 256


def _is_one_line(text: str) -> str:
    if CONTROLS.search(text) or any(mark in text for mark in "\t\r\n"):
        raise ValueError("should have no control characters")
    return text


def _has_no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("should have no NUL")
    return text


Label = Annotated[Name, AfterValidator(_is_one_line)]
GpuChoice = Annotated[str, Field(pattern=r"^(GPU-[0-9a-f-]{8,36}|index:[0-9]{1,2})$")]
Command = Annotated[
    tuple[Annotated[str, AfterValidator(_has_no_nul)], ...],
    BeforeValidator(as_tuple),
    Field(min_length=1, max_length=ARGUMENTS_MAX),
]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$")]
PortRange = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}-[1-9][0-9]{0,4}$")]
log = logging.getLogger("hourbook.agent")


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
    Either `tier` is offered at `price`, or each of `offers`, the first one first. Nothing is offered in `maintenance`
    windows nor of GPUs that are kept free, nor in fewer than `minimum_block` periods in a row; asks end after `ttl_s`,
    and with `split` a whole node stands in the single-GPU book too.
    """

    label: Label
    hub: Hub
    tier: Tier = "F"
    grade: Grade | None = None
    whole_node: bool = False
    gpus: Annotated[tuple[GpuChoice, ...], BeforeValidator(as_tuple), Field(max_length=64)] = ()
    periods_ahead: Annotated[int, Field(ge=1, le=10_000)] = PERIODS_AHEAD_DEFAULT
    extend_by: Annotated[int, Field(ge=1, le=10_000)] = 1
    reserve_gpus: Annotated[int, Field(ge=0, le=64)] = 0
    offers: Annotated[tuple[OfferRule, ...], BeforeValidator(as_tuple), Field(max_length=3)] = ()
    split: bool = False
    ttl_s: Annotated[int, Field(ge=60, le=TTL_S_MAX)] | None = None
    minimum_block: Annotated[int, Field(ge=1, le=1000)] = 1
    time_zone: TimeZone = "UTC"
    maintenance: Windows = ()
    keep_free: Annotated[tuple[KeepFree, ...], BeforeValidator(as_tuple), Field(max_length=100)] = ()
    idle: IdleRule = IdleRule()
    price: PriceRule
    hooks: HookRule

    @model_validator(mode="after")
    def _can_sell(self) -> "Policy":
        if self.whole_node and self.reserve_gpus:
            raise ValueError("whole_node sells all GPUs together, so reserve_gpus must be 0")
        if self.extend_by > self.periods_ahead:
            raise ValueError("extend_by must be at most periods_ahead, or nothing new is ever offered")
        if self.minimum_block > self.periods_ahead:
            raise ValueError("minimum_block must be at most periods_ahead, or nothing is ever offered")
        if self.split and not self.whole_node:
            raise ValueError("split offers a whole node's GPUs singly too, so whole_node must be true")
        tiers = [offer.tier for offer in self.offers]
        if twice := sorted({tier for tier in tiers if tiers.count(tier) > 1}):
            raise ValueError(f"offers name tier {twice[0]} twice: 24 prices go into one offer's floor_curve")
        if self.offers and "tier" in self.model_fields_set:
            raise ValueError("tier and offers exclude each other: name the tier in an offer")
        return self

    @property
    def tiers(self) -> tuple[OfferRule, ...]:
        """What is offered: `offers`, or the one tier."""
        return self.offers or (OfferRule(tier=self.tier),)


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
        whole = str(policy.whole_node).lower()
        return f"whole_node = {whole}, but the node is enrolled as {grade}: it must enroll again"
    if policy.grade and policy.grade != grade.removesuffix("X8"):
        return f"grade = {policy.grade}, but the node is enrolled as {grade}: it must enroll again"
    if hub and policy.hub != hub:
        return f"hub = {policy.hub}, but the node is enrolled at {hub}: it must enroll again"
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
        own_load: frozenset[str] = frozenset(),
    ) -> tuple[GpuReading, ...]:
        """Takes down one reading of every GPU; returns them with the reason for which one is withheld.

        `own_load` are the GPUs that the agent's own proofs keep busy.
        """
        judged = []
        for reading in readings:
            uuid = reading.uuid
            withheld = self._offerability.judge(reading, uuid in leased, rule, whole_node, uuid in own_load)
            if withheld:
                self._fit_since_ms.pop(uuid, None)
            else:
                self._fit_since_ms.setdefault(uuid, mono_ms)
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
