"""`status` for people: a node in a few lines, each GPU with why it is not offered."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

CLEAR = "\x1b[H\x1b[2J"
STALE_INTERVALS = 3


def lines_of(shown: Mapping[str, Any]) -> list[str]:
    """Returns what `commands.status` found, as lines."""
    pid, node = shown["running_pid"], shown["node"]
    state = f"runs as process {pid}" if pid else "does not run"
    if node is None:
        return [f"no node is enrolled here; the agent {state}"]
    lines = [f"{node} of {shown['account']}, {shown['grade']} at {shown['hub']}: the agent {state}"]
    lines += _venue(shown["venue"])
    agent = shown.get("agent") or {}
    if not pid:
        return [*lines, "nothing is offered: start it with `hourbook-agent run`", *_earned(shown.get("earned"))]
    lines += _age(agent)
    if agent.get("draining") is not None:
        lines.append("draining: " + (", ".join(agent["draining"]) or "nothing is left"))
    lines += [_gpu(row) for row in agent.get("gpus") or ()]
    lines += _market(agent, agent.get("standing") or {})
    opened = [name for name, lease in shown.get("leases", {}).items() if lease in ("opening", "live")]
    lines += [f"lease {name}: positions {_listed(shown['positions'].get(name, []))}" for name in opened]
    lines += _earned(shown.get("earned"))
    return lines + [f"trouble with {about}: {words}" for about, words in (agent.get("troubles") or {}).items()]


def _venue(venue: object) -> list[str]:
    if not isinstance(venue, Mapping):
        return [f"venue: {venue}"]
    why = f": {venue['reason']}" if venue.get("reason") else ""
    fit = venue.get("fit_gpus")
    return [f"venue: {venue.get('state')}, level {venue.get('level')}{why}; fit there: {_count(fit)} GPUs"]


def _count(fit: object) -> object:
    return len(fit) if isinstance(fit, list) else fit


def _age(agent: Mapping[str, Any]) -> list[str]:
    if not agent:
        return ["it has not written its status yet"]
    age_s = time.time() - agent["written_ms"] / 1000
    stale = age_s > STALE_INTERVALS * agent.get("report_interval_s", 60)
    acknowledged = agent.get("acknowledged_s_ago")
    heard = (
        "no report acknowledged yet" if acknowledged is None else f"last report acknowledged {acknowledged} s before"
    )
    return [f"as of {age_s:.0f} s ago{' (STALE)' if stale else ''}: {heard}, {agent['reports_waiting']} waiting"]


def _gpu(row: Mapping[str, Any]) -> str:
    state = f"delivering {row['lease']}" if row["state"] == "delivering" else row["state"]
    why = f": {row['why']} ({row['reason']})" if row["why"] else ""
    power = row.get("power_mw")
    facts = {
        "%": row.get("utilisation_percent"),
        "MiB": row.get("memory_used_mib"),
        "W": None if power is None else power // 1000,
        "°C": row.get("temperature_c"),
    }
    figures = ", ".join(f"{value} {unit}" for unit, value in facts.items() if value is not None)
    return f"{row['uuid']}  {state}{why}" + (f"  [{figures}]" if figures else "")


def _market(agent: Mapping[str, Any], standing: Mapping[str, Any]) -> list[str]:
    lines = []
    if why := agent.get("why_not"):
        lines.append(f"offers nothing: {why}")
    if standing.get("asks"):
        low, high = standing["price_min"], standing["price_max"]
        price = low if low == high else f"{low} to {high}"
        last = datetime.fromtimestamp(standing["last_start_s"], UTC).strftime("%Y-%m-%d %H:%MZ")
        lines.append(f"posted: up to {standing['gpus']} GPUs in {standing['periods']} periods, at {price}, last {last}")
    else:
        lines.append("posted: nothing")
    periods, gpu_periods = standing.get("sold_periods", 0), standing.get("sold_gpu_periods", 0)
    lines.append(f"sold, not begun: {gpu_periods} GPU-periods in {periods} periods")
    return lines


def _earned(earned: object) -> list[str]:
    if not isinstance(earned, Mapping):
        return [f"earned: {earned}"]
    sums = ", ".join(f"{net} {currency}" for currency, net in earned["net"].items()) or "nothing yet"
    return [f"earned: {sums} in the newest {earned['positions']} settled positions"]


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"
