"""Keeps what a scheduler says of the node, asks it now and then, and holds what is sold until its hour has ended."""

import time
from collections.abc import Iterable
from typing import Any

from agents.node.idle_rules import IdleRule
from agents.node.idleness.source import Look, Source, SourceFailed, Span
from agents.node.notices import Notices
from agents.node.state import StateFolder

HELD = "held"


class SourceWatch:
    """The scheduler that the policy names. While it cannot be asked nothing is offered; what is held stays held."""

    def __init__(self, state: StateFolder | None) -> None:
        self._state = state
        self._rule: Any = None
        self._source: Source | None = None
        self._look: Look | None = None
        self._asked_at = float("-inf")
        self._held = _spans(state.read(HELD) if state else None)
        self._is_settled = False
        self.notices = Notices()

    @property
    def held(self) -> tuple[Span, ...]:
        """What was sold and has not ended, as far as it has been seen."""
        return tuple(sorted(self._held))

    async def follow(self, rule: IdleRule, sold: Iterable[Span], now_s: int) -> tuple[Look | None, str]:
        """Asks where it is time to; returns what the scheduler says, None without one, and what is in the way."""
        self._remember(sold, now_s)
        named = rule.slurm or rule.kubernetes
        if named != self._rule:
            await self._give_back()
            self._rule, self._source = named, _source_of(rule)
            self._look, self._asked_at, self._is_settled = None, float("-inf"), False
        if self._source is None:
            return None, ""
        if time.monotonic() - self._asked_at >= named.look_s or not self._is_settled:
            await self._ask()
        if self._look is None:
            return None, f"{self._source.name} cannot be asked what is idle"
        return self._look, ""

    async def _ask(self) -> None:
        self._asked_at = time.monotonic()
        try:
            self._look = await self._source.look()
            self.notices.clear("idleness", f"{self._source.name} answers again")
        except SourceFailed as error:
            self._look = None
            self.notices.say("idleness", f"{self._source.name}: {error}")
        await self._hold()

    async def _hold(self) -> None:
        self._is_settled = True  # what fails is tried again at the next look, not at once
        try:
            await self._source.hold(self.held)
            self.notices.clear("hold", f"what is sold is kept from {self._source.name}'s jobs again")
        except SourceFailed as error:
            self.notices.say("hold", f"what is sold is not kept from {self._source.name}'s jobs: {error}")

    async def _give_back(self) -> None:
        """Leaves a scheduler that the policy names no more as it would be without the agent."""
        if self._source is not None:
            try:
                await self._source.hold(())
            except SourceFailed as error:
                self.notices.say("hold", f"{self._source.name} keeps what was taken for sold hours: {error}")

    def _remember(self, sold: Iterable[Span], now_s: int) -> None:
        """Adds what is sold. A sale stays until its end: at the gate it leaves the list of what can be sold."""
        held = {span for span in self._held | set(sold) if span.end_s > now_s}
        if held != self._held:
            self._held, self._is_settled = held, False
            if self._state:
                self._state.write(HELD, {"spans": [[span.start_s, span.end_s] for span in self.held]}, lasting=False)


async def ask_once(rule: IdleRule) -> tuple[Look | None, str]:
    """Asks the scheduler that the policy names, once, and takes nothing of it; as `SourceWatch.follow` answers."""
    source = _source_of(rule)
    try:
        return (None, "") if source is None else (await source.look(), "")
    except SourceFailed as error:
        return None, f"{source.name}: {error}"


def _source_of(rule: IdleRule) -> Source | None:
    # Imported when named: most nodes have no scheduler, and the agent's memory is counted.
    if rule.slurm:
        from agents.node.idleness.slurm import Slurm

        return Slurm(rule.slurm)
    if rule.kubernetes:
        from agents.node.idleness.kubernetes import Kubernetes

        return Kubernetes(rule.kubernetes)
    return None


def _spans(document: dict | None) -> set[Span]:
    try:
        return {Span(int(start_s), int(end_s)) for start_s, end_s in (document or {}).get("spans", ())}
    except (TypeError, ValueError):
        return set()
