"""The GPUs that the demo's machine really has: sold beside the scripted ones, or left out with the reason in a line."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from console.demo.sites import AgentSite
from console.demo.story import DemoFailed, Story

PROVEN_WITHIN_S, OFFERED_WITHIN_S = 120, 60
OUT = ("quarantined", "retired")


@dataclass(frozen=True)
class OwnGpus:
    """Who sells them, as what, and how many."""

    site: AgentSite
    product: str
    gpus: int


def why_not_sold(
    own: OwnGpus,
    story: Story,
    node: Callable[[], dict[str, Any] | None],
    asks: Callable[[], int],
    proven_within_s: float = PROVEN_WITHIN_S,
    offered_within_s: float = OFFERED_WITHIN_S,
) -> str:
    """Waits until they are proven and offered; returns why they are not, "" where they are.

    The proof of a real GPU may be too slow, or its agent may end: the demo has enough to show without it.
    """
    with suppress(DemoFailed):
        story.wait_for("this machine's GPUs to be proven", lambda: _is_decided(own, node()), proven_within_s)
    found = node()
    if found is None or found["state"] != "active":
        return _why_not_proven(own, found, proven_within_s)
    try:
        story.wait_for("asks for this machine's GPUs", lambda: asks() >= 1, offered_within_s)
    except DemoFailed:
        return f"they are proven, but their agent offered none within {offered_within_s:g} s ({own.site.program.log})"
    return ""


def _is_decided(own: OwnGpus, node: dict[str, Any] | None) -> bool:
    if node is not None and node["state"] in ("active", *OUT):
        return True
    return own.site.process is not None and own.site.process.poll() is not None


def _why_not_proven(own: OwnGpus, node: dict[str, Any] | None, within_s: float) -> str:
    log = own.site.program.log
    status = own.site.process.poll() if own.site.process else None
    if status is not None:
        return f"not proven, their agent ended with status {status} ({log})"
    if node is None:
        return f"not proven, their agent did not enroll within {within_s:g} s ({log})"
    reason = node["reason"].replace("_", " ") or "no reason given"
    return f"not proven, their node is {node['state']}: {reason} ({log})"
