"""In which order to restart the agents of a fleet: one node first, then waves, nodes with nothing to deliver before."""

from collections.abc import Iterable, Mapping
from typing import Any

from clients.fleet.table import Trade


def waves_of(
    nodes: Iterable[Mapping[str, Any]], trades: Mapping[str, Trade], now_s: int, percent: int, quiet_s: int
) -> dict[str, Any]:
    """Returns waves of node ids, and the nodes to leave for later with the reason.

    An agent leaves its buyers in when it ends, so that a restart costs nothing within the gap limit; at a gate and a
    start it has to be there. So a node whose next sold hour begins within `quiet_s` waits, and of the others those that
    deliver nothing and have the longest time come first. The first wave is one node, to see whether it comes back.
    """
    later: dict[str, str] = {}
    ready: list[tuple[int, int, str]] = []
    for node in nodes:
        name, trade = node["node"], trades.get(node["node"], Trade())
        ahead_s = None if trade.next_start_s is None else trade.next_start_s - now_s
        if node["state"] in ("retired", "banned"):
            continue
        if node["state"] == "quarantined":
            later[name] = "quarantined: look at it first"
        elif ahead_s is not None and ahead_s < quiet_s:
            later[name] = f"its next sold hour begins in {max(ahead_s, 0)} s"
        else:
            ready.append((trade.delivering, -(ahead_s if ahead_s is not None else 2**40), name))
    names = [name for *_, name in sorted(ready)]
    size = max((len(names) + len(later)) * percent // 100, 1)
    rest = names[1:]
    waves = [names[:1]] if names else []
    waves += [rest[first : first + size] for first in range(0, len(rest), size)]
    return {"waves": waves, "later": later}
