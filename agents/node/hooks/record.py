"""What failed start hooks entail: after a few in a row nothing is offered, until time or a change gives hope."""

import logging
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from agents.node.policy import HookRule
from agents.node.state import StateFolder

PAUSE_S_MAX = 24 * 3600
DOUBLINGS_MAX = 16
log = logging.getLogger("hourbook.agent")


class StartRecord:
    """How often in a row the start hook has failed, over restarts. A changed policy or hook file starts anew."""

    def __init__(self, state: StateFolder, now_s: Callable[[], float] = time.time) -> None:
        self._state, self._now_s = state, now_s
        kept = state.read("hooks")
        kept = kept if isinstance(kept, dict) else {}
        failures, until_s = kept.get("failures"), kept.get("until_s")
        self._failures = failures if isinstance(failures, int) else 0
        self._until_s = until_s if isinstance(until_s, int | float) else 0.0
        self._hook = str(kept.get("hook", ""))

    def note(self, ok: bool, rule: HookRule, reason: str) -> None:
        """Take down how a start hook ended."""
        self._follow(rule)
        if ok and not self._failures:
            return
        self._failures = 0 if ok else self._failures + 1
        over = self._failures - rule.start_failures_max
        if over >= 0:
            pause_s = min(rule.retry_s * 2 ** min(over, DOUBLINGS_MAX), PAUSE_S_MAX)
            self._until_s = self._now_s() + pause_s
            log.warning(
                "nothing is offered: the start hook failed %d times in a row (%s); "
                "tried again in %d s, or once the policy or the hook's file has changed",
                *(self._failures, reason, pause_s),
            )
        self._save()

    def may_offer(self, rule: HookRule) -> bool:
        """Tell whether hours may be offered that this hook would have to open."""
        if self._failures < rule.start_failures_max:
            return True
        if self._follow(rule):
            log.info("offers go on: the policy or the hook's file has changed")
            return True
        wait_s = self._until_s - self._now_s()
        return wait_s <= 0 or wait_s > PAUSE_S_MAX  # longer than any pause: the clock was set back

    def _follow(self, rule: HookRule) -> bool:
        """Forget failures of another hook than this one; tell whether there were any."""
        hook = fingerprint(rule)
        had_failures = bool(self._failures) and hook != self._hook
        if hook != self._hook:
            self._hook, self._failures, self._until_s = hook, 0, 0.0
            self._save()
        return had_failures

    def _save(self) -> None:
        self._state.write("hooks", {"failures": self._failures, "until_s": self._until_s, "hook": self._hook})


def fingerprint(rule: HookRule) -> str:
    """Return what changes with the rule and with the files that its commands name."""
    marks = [rule.model_dump_json()]
    for part in (*rule.start, *rule.stop):
        try:
            status = Path(part).stat()
        except (OSError, ValueError):
            continue
        marks.append(f"{part} {status.st_mtime_ns} {status.st_size} {status.st_mode}")
    return sha256("\n".join(marks).encode()).hexdigest()
