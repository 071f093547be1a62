"""Slurm: GPUs of this node that no job has or is scheduled for; what is sold is reserved or drained, and given back.

It asks with Slurm's own programs, whatever version: `scontrol` and `squeue -o` for what has been text for ever, JSON of
`squeue` for the jobs, in both of the forms that versions have written.
"""

import json
import re
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from agents.node.idle_rules import SlurmRule
from agents.node.idleness.source import Look, SourceFailed, Span, Use, merged, run_command

OURS = "hourbook"
REASON = "hourbook: sold"
# States in which a job has its GPUs; other jobs in the list have ended or wait.
HOLDING = frozenset(
    {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
)
# States of a node on which nothing starts, whatever its GPUs do.
CLOSED = ("DOWN", "DRAIN", "FAIL", "MAINT", "POWER", "REBOOT", "UNKNOWN", "FUTURE", "NOT_RESPONDING")
LATE_S = 300
PENDING_SHOWN_MAX = 20
FIELD = re.compile(r"(?:^|\s)([A-Z][A-Za-z_:/]*)=(.*?)(?=\s+[A-Z][A-Za-z_:/]*=|\s*$)")
GPUS = re.compile(r"(?:^|[,\s])(?:gres[:/])?gpu(?::[\w.-]+)?:([0-9]+)(?=$|[,\s])")


class Slurm:
    """One node of a cluster, asked through Slurm's programs."""

    name = "Slurm"

    def __init__(self, rule: SlurmRule) -> None:
        self._rule = rule

    async def look(self) -> Look:
        """Returns the node's GPUs and who has them: running jobs until their limit, scheduled ones, reservations."""
        node = await self._node()
        total = gpus_in(node.get("Gres", ""))
        if not total:
            raise SourceFailed(f"node {self._rule.node} has no GPUs in Slurm (Gres={node.get('Gres', '')})")
        now_s = int(time.time())
        uses = [*self._closed(node), *self._running(await self._ask("squeue", "--json", "-w", self._rule.node), now_s)]
        uses += await self._pending()
        uses += [use for use, is_ours in reservations_of(await self._reservations(), self._rule.node) if not is_ours]
        return Look(total, tuple(uses))

    async def hold(self, sold: tuple[Span, ...]) -> None:
        """Reserves the node for what is sold, or drains it shortly before; takes away what is not needed any more."""
        if self._rule.take == "drain":
            await self._drain(sold)
        else:
            await self._reserve(merged(sold))

    async def _reserve(self, sold: tuple[Span, ...]) -> None:
        wanted = {f"{OURS}_{self._rule.node}_{span.start_s}_{span.end_s}": span for span in sold}
        prefix = f"{OURS}_{self._rule.node}_"
        ours = {
            fields["ReservationName"]
            for fields in records_of(await self._reservations())
            if fields.get("ReservationName", "").startswith(prefix)
        }
        # The new one is made before the old one goes: in between the node is reserved twice, never not at all.
        for name in sorted(wanted.keys() - ours):
            span = wanted[name]
            await self._ask(
                *("scontrol", "create", "reservation", f"ReservationName={name}", f"Nodes={self._rule.node}"),
                *(f"StartTime={_local(span.start_s)}", f"EndTime={_local(span.end_s)}"),
                *(f"Users={self._rule.user}", "Flags=IGNORE_JOBS,OVERLAP"),
            )
        for name in sorted(ours - wanted.keys()):
            await self._ask("scontrol", "delete", f"ReservationName={name}")

    async def _drain(self, sold: tuple[Span, ...]) -> None:
        now_s = time.time()
        is_due = any(span.start_s - self._rule.before_s <= now_s < span.end_s for span in sold)
        node = await self._node()
        is_drained, is_ours = "DRAIN" in node.get("State", ""), node.get("Reason", "").startswith(REASON)
        target = f"NodeName={self._rule.node}"
        if is_due and not is_drained:
            await self._ask("scontrol", "update", target, "State=DRAIN", f"Reason={REASON}")
        elif not is_due and is_drained and is_ours:
            await self._ask("scontrol", "update", target, "State=RESUME")

    def _closed(self, node: dict[str, str]) -> Iterable[Use]:
        """Yields what keeps Slurm itself from using the node; that it was us who drained it is no reason."""
        state, reason = node.get("State", ""), node.get("Reason", "")
        if any(word in state for word in CLOSED) and not reason.startswith(REASON):
            yield Use(None, f"the node is {state.lower()} in Slurm" + (f": {reason}" if reason else ""))

    def _running(self, answer: str, now_s: int) -> Iterable[Use]:
        try:
            jobs = json.loads(answer)["jobs"]
            for job in jobs:
                if HOLDING.isdisjoint(_states(job["job_state"])) or self._rule.node not in nodes_in(job["nodes"]):
                    continue
                # A job over several nodes has an entry for each of them: the largest is never too little.
                gpus = max((gpus_in(each) for each in job.get("gres_detail") or ()), default=0)
                if gpus:
                    end_s = _number(job["end_time"])
                    yield Use(gpus, f"job {job['job_id']}", 0, max(end_s, now_s + LATE_S) if end_s else None)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceFailed(f"squeue --json: gave an unreadable answer: {error!r}") from error

    async def _pending(self) -> list[Use]:
        """Returns the jobs that the scheduler has planned on this node, from when it expects them."""
        lines = (await self._ask("squeue", "-h", "-a", "-t", "PD", "-o", "%A|%Y|%S")).splitlines()
        here = [line.split("|") for line in lines if self._rule.node in nodes_in(line.split("|")[1])]
        uses = []
        for job_id, _, start in here[:PENDING_SHOWN_MAX]:
            job = next(records_of(await self._ask("scontrol", "show", "job", "-d", "-o", job_id)), {})
            asked = [
                gpus_in(job.get(name, "")) for name in ("TresPerNode", "TresPerJob", "TresPerTask", "TRES", "ReqTRES")
            ]
            if any(asked):
                uses.append(Use(max(asked), f"job {job_id} to come", _time(start) or 0, _time(job.get("EndTime", ""))))
        if len(here) > PENDING_SHOWN_MAX:
            start_s = min(_time(start) or 0 for _, _, start in here[PENDING_SHOWN_MAX:])
            uses.append(Use(None, f"{len(here)} jobs to come", start_s))
        return uses

    async def _node(self) -> dict[str, str]:
        answer = await self._ask("scontrol", "show", "node", self._rule.node, "-d", "-o")
        node = next(records_of(answer), {})
        if node.get("NodeName") != self._rule.node:
            raise SourceFailed(f"scontrol show node {self._rule.node}: gave an unreadable answer")
        return node

    async def _reservations(self) -> str:
        return await self._ask("scontrol", "show", "reservation", "-o")

    async def _ask(self, *command: str) -> str:
        return await run_command(command, self._rule.timeout_s)


def reservations_of(answer: str, node: str) -> Iterable[tuple[Use, bool]]:
    """Yields the reservations of a node, each with whether the agent made it."""
    for fields in records_of(answer):
        name, nodes = fields.get("ReservationName", ""), fields.get("Nodes", "")
        if name and (nodes == "ALL" or node in nodes_in(nodes)):
            use = Use(
                None, f"reservation {name}", _time(fields.get("StartTime", "")) or 0, _time(fields.get("EndTime", ""))
            )
            yield use, name.startswith(f"{OURS}_")


def records_of(answer: str) -> Iterable[dict[str, str]]:
    """Yields the records of `scontrol … -o`: a line each, fields `Name=value`, values with blanks in them."""
    for line in answer.splitlines():
        fields: dict[str, str] = {}
        for name, value in FIELD.findall(line):
            fields.setdefault(name, "" if value in ("(null)", "N/A", "None") else value)
        if fields:
            yield fields


def gpus_in(text: str) -> int:
    """Counts the GPUs in a list of resources, as `gpu:h100:2(IDX:0-1),gpu:a100:1` or `gres/gpu=2`."""
    plain = re.sub(r"\([^)]*\)", "", text)
    if "=" in plain:  # trackable resources name the sum and then its kinds
        sums = re.findall(r"gres/gpu=([0-9]+)", plain)
        kinds = re.findall(r"gres/gpu:[\w.-]+=([0-9]+)", plain)
        return max(sum(map(int, sums)), sum(map(int, kinds)))
    return sum(map(int, GPUS.findall(plain)))


def nodes_in(text: str) -> frozenset[str]:
    """Spells out a list of nodes: `gpu[01-03,7],login1`."""
    names: set[str] = set()
    for prefix, inside, suffix in re.findall(r"([^,\[\]]+)(?:\[([^\]]*)\])?([^,\[\]]*)", text):
        if not inside:
            names.add(prefix + suffix)
        for part in inside.split(",") if inside else ():
            first, _, last = part.partition("-")
            if not (first.isdigit() and (last or first).isdigit()) or int(last or first) - int(first) > 100_000:
                continue
            names |= {
                f"{prefix}{number:0{len(first)}d}{suffix}" for number in range(int(first), int(last or first) + 1)
            }
    return frozenset(names)


def _states(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(each) for each in value]


def _number(value: Any) -> int:
    """Reads a number as versions before 23.02 wrote it, or as `{set, infinite, number}`; 0 where there is none."""
    if isinstance(value, dict):
        return 0 if value.get("infinite") or not value.get("set") else int(value["number"])
    return int(value)


def _time(text: str) -> int | None:
    """Reads a local time of Slurm's, None for Unknown, N/A and the like."""
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return None


def _local(moment_s: int) -> str:
    return datetime.fromtimestamp(moment_s).isoformat(timespec="seconds")
