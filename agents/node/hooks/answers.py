"""What a hook answered, checked against the protocol's own bounds before anybody keeps it."""

import re
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from agents.node.hooks.run import HookEnd
from agents.node.processes import Evidence, ProcessTable
from schemas.base import Model
from schemas.complaints import in_words
from schemas.nodes import Line, Secret

DETAIL_CHARS_MAX = 1000
UNREADABLE = "what the hook answered was stored in a form that cannot be read any more"
# Nothing that a client's command line could take for an option.
SSH_ENDPOINT = re.compile(
    r"ssh://([A-Za-z0-9_][A-Za-z0-9._-]{0,63}@)?(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9][A-Za-z0-9._-]{0,254})(:([0-9]{1,5}))?/?"
)
PORT_MAX = 65_535
HOST_KEY = r"^([a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2})?$"


@dataclass(frozen=True)
class HookOutcome:
    """What a hook did: endpoint, credential, host key and evidence on success, a reason otherwise."""

    ok: bool
    endpoint: str = ""
    credential: str = ""
    detail: str = ""
    host_key: str = ""
    evidence: Evidence = field(default_factory=Evidence)

    def stored(self) -> dict[str, Any]:
        """Return the outcome as JSON can keep it."""
        return asdict(self)

    @classmethod
    def restored(cls, document: object) -> "HookOutcome":
        """Read what `stored` gave; anything that does not fit the protocol becomes a failed outcome."""
        try:
            stored = _StoredOutcome.model_validate(document)
        except ValidationError:
            return cls(False, detail=UNREADABLE)
        facts = {name: getattr(stored, name) for name in ("ok", "endpoint", "credential", "detail", "host_key")}
        evidence = stored.evidence
        return cls(**facts, evidence=Evidence() if evidence is None else Evidence(**dict(evidence)))


class _Lax(Model):
    """JSON of others: what it has beyond what is read here does no harm."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=False)


class _StoredEvidence(_Lax):
    container_id: str | None = None
    cgroup: str | None = None
    uid: int | None = None
    ancestors: tuple[tuple[int, int], ...] = ()
    keeper: tuple[int, int] | None = None


class _StoredOutcome(_Lax):
    ok: bool
    endpoint: Line = ""
    credential: Secret = ""
    detail: Annotated[str, Field(max_length=1024)] = ""
    host_key: Line = ""
    evidence: _StoredEvidence | None = None


def _can_be_entered(endpoint: str) -> str:
    if endpoint.split() != [endpoint]:
        raise ValueError("should have no spaces")
    found = SSH_ENDPOINT.fullmatch(endpoint)
    if endpoint.startswith("ssh:") and (found is None or int(found.group(4) or 1) not in range(1, PORT_MAX + 1)):
        raise ValueError("should be ssh://user@host:port")
    return endpoint


class HookAnswer(Model):
    """The last line of a start hook's output. The last four say whose processes are the buyer's; see `processes.py`."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    endpoint: Annotated[Line, Field(min_length=1), AfterValidator(_can_be_entered)]
    credential: Secret = ""
    host_key: Annotated[Line, Field(pattern=HOST_KEY)] = ""
    container_id: Annotated[str, Field(pattern=r"^[0-9a-f]{12,64}$")] | None = None
    cgroup: Annotated[str, Field(max_length=1024, pattern=r"^/[^\x00-\x1f\x7f]+$")] | None = None
    uid: Annotated[int, Field(ge=1, le=2**32 - 2)] | None = None
    pid: Annotated[int, Field(ge=2, le=2**31 - 1)] | None = None


def failed(reason: str) -> HookOutcome:
    """Return a failure with a reason that the protocol can carry."""
    return HookOutcome(False, detail=reason.replace("\0", "\N{SYMBOL FOR NULL}")[:DETAIL_CHARS_MAX])


def end_of(end: HookEnd) -> HookOutcome:
    """Return how a hook ended, with the last words of its complaint."""
    if not end.problem:
        return HookOutcome(True)
    if not end.problem.startswith(("exit status", "ended by")):
        return failed(end.problem)
    room = DETAIL_CHARS_MAX - len(end.problem) - 2
    return failed(f"{end.problem}: {end.complaint.decode(errors='replace').strip()[-room:]}")


def answer_of(end: HookEnd, table: ProcessTable) -> HookOutcome:
    """Return what a start hook that ended well has answered, or why that is no answer."""
    lines = end.output.strip().splitlines()
    if not lines:
        return failed("the start hook printed no answer")
    try:
        answer = HookAnswer.model_validate_json(lines[-1])
    except ValidationError as error:
        return failed(f"the start hook's last line is not an answer: {in_words(error.errors(include_input=False))}")
    started = set(end.started)
    if answer.pid is not None:
        stat = table.stat(answer.pid)
        if stat is None:
            return failed(f"the start hook names process {answer.pid} as the buyer's, but it is not visible here")
        started = {(stat.pid, stat.started)}
    evidence = Evidence(
        container_id=answer.container_id,
        cgroup=answer.cgroup,
        uid=answer.uid,
        ancestors=tuple(sorted(pair for pair in started if table.is_still(*pair))),
        keeper=end.keeper if end.keeper and table.is_still(*end.keeper) else None,
    )
    if reason := unreadable(evidence, table):
        return failed(reason)
    return HookOutcome(True, answer.endpoint, answer.credential, host_key=answer.host_key, evidence=evidence)


def unreadable(evidence: Evidence, table: ProcessTable) -> str:
    """Say which part of the evidence this agent cannot check; "" where it can check all."""
    own = next(iter(table.pids()), None)
    if own is None or table.stat(own) is None:
        return "this agent cannot see the machine's processes, so it could not tell whose work is on a GPU"
    if (evidence.container_id or evidence.cgroup) and not table.cgroups(own):
        return "this agent cannot read the cgroups of processes, by which the start hook names the buyer's"
    return ""
