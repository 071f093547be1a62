"""Whether a ready hook has here what it needs: without that nothing is offered, because nobody could log in."""

import asyncio
import time

from agents.node.hooks.engine import Engine
from agents.node.hooks.lease_folder import HookFailed
from agents.node.hooks.network import own_network
from agents.node.hooks.sandbox import NoSandbox, find_program, find_python
from agents.node.notices import Notices
from agents.node.policy import HookRule

LOOK_AGAIN_S, LOOK_S = 20, 300
SUBJECT = "hooks"


def problem_of(rule: HookRule) -> str:
    """Say in one line what a ready hook lacks on this machine; "" where it lacks nothing, or is the operator's own."""
    try:
        if rule.kind == "shell":
            find_program()
            find_python(None)
            own_network(rule.network)
        elif rule.kind == "container":
            engine = Engine.find(rule.engine)
            engine.gpu_options(())
            if not engine.ask("images", "--quiet", str(rule.image)):
                return f"the image {rule.image} is not on this machine: {engine.name} pull {rule.image}"
    except (NoSandbox, HookFailed) as reason:
        return str(reason)
    return ""


class Readiness:
    """Looks from time to time, and remembers for which hook it has looked."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._rule: HookRule | None = None
        self._is_ready, self._next_at = False, 0.0

    def is_due(self, rule: HookRule) -> bool:
        """Tell whether to look now."""
        return rule.kind != "command" and (rule != self._rule or time.monotonic() >= self._next_at)

    def allows(self, rule: HookRule) -> bool:
        """Tell whether hours may be offered that this hook would have to open; not before the first look."""
        return rule.kind == "command" or (rule == self._rule and self._is_ready)

    async def look(self, rule: HookRule) -> None:
        """Look, and say it where nothing can be offered."""
        problem = await asyncio.to_thread(problem_of, rule)
        self._rule, self._is_ready = rule, not problem
        self._next_at = time.monotonic() + (LOOK_AGAIN_S if problem else LOOK_S)
        if problem:
            self._notices.say(SUBJECT, f"nothing is offered, because nobody could log in: {problem}")
        else:
            self._notices.clear(SUBJECT, "offers go on: the hook has what it needs")
