"""How the running node stands, as `status` and `/metrics` tell it: each GPU with why it is not offered, asks, sales."""

from collections.abc import Iterable, Mapping
from typing import Any

from agents.node.fitness import reason_in_words
from agents.node.policy import IdleWatch, Policy
from schemas.nodes import GpuReading

SHOWN = ("utilisation_percent", "memory_used_mib", "power_mw", "temperature_c")


def gpu_rows(
    readings: Iterable[GpuReading],
    idle: IdleWatch,
    leases: Mapping[str, str],
    policy: Policy,
    node_reason: str,
    now_mono_ms: int,
) -> list[dict[str, Any]]:
    """Returns a row for each GPU: `offered`, `delivering`, `waiting` until it was idle for long enough, or `withheld`.

    `leases` are the lease ids of GPUs that have one, `node_reason` is what keeps the whole node from offering.
    """
    rows = []
    for reading in readings:
        fit_ms = idle.fit_for_ms(reading.uuid, now_mono_ms)
        row: dict[str, Any] = {"uuid": reading.uuid, "state": "offered", "reason": "", "why": ""}
        if reading.withheld:
            row |= {"state": "withheld", "reason": reading.withheld, "why": reason_in_words(reading.withheld)}
        elif fit_ms is None or fit_ms < policy.idle.for_ms:
            why = f"fit for {(fit_ms or 0) // 1000} s of the {policy.idle.for_ms // 1000} s that the policy wants"
            row |= {"state": "waiting", "reason": "not_idle_long_enough", "why": why}
        elif node_reason:
            row |= {"state": "withheld", "reason": "node", "why": node_reason}
        if lease_id := leases.get(reading.uuid):
            row |= {"state": "delivering", "lease": lease_id}
        rows.append(row | {name: getattr(reading, name) for name in SHOWN})
    return rows


def summary_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Returns how many GPUs are in each state."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    return counts
