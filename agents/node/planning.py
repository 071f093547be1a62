"""What the agent would post now, and why: a dry run that asks the venue and the GPUs, and changes nothing."""

import asyncio
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from agents.node.app import BOOK_FRESH_S, open_nvml
from agents.node.client import GatewayClient
from agents.node.clock import VenueClock, mono_ms
from agents.node.config import AgentConfig
from agents.node.enrol import remembered
from agents.node.fitness import reason_in_words
from agents.node.grades import node_grade
from agents.node.hooks.readiness import problem_of
from agents.node.identity import acting_key
from agents.node.idleness.watch import ask_once
from agents.node.market import OperatorAccount
from agents.node.offering import Capacity, Sold, Wish
from agents.node.policy import IdleWatch, Policy, PolicyFile, never_sells
from agents.node.posting import Ask
from agents.node.seller import Draft, Seller
from agents.node.state import StateFolder
from agents.node.windows import zone_of
from agents.node.wire import open_http
from schemas.money import format_micros


@dataclass(frozen=True)
class Machine:
    """The node as the dry run finds it: of an agent that runs what it last knew, else one look at the GPUs."""

    node_id: str
    grade: str
    capacity: Capacity
    withheld: dict[str, str]


class EmptyBook(OperatorAccount):
    """The account of a node that is not enrolled yet: nothing stands and nothing is sold."""

    async def book_of(self, node_id: str) -> tuple[tuple[Ask, ...], Sold]:
        """Returns nothing, without asking."""
        return (), Sold()


async def plan(config: AgentConfig) -> dict[str, Any]:
    """Returns the asks that the agent would have in the books now, hour by hour, and the steps to them."""
    policy = PolicyFile(config.policy).current
    machine = await asyncio.to_thread(_look, config)
    look, silence = await ask_once(policy.idle)
    gpus, reason = (0, silence) if silence else (machine.capacity.gpus, machine.capacity.reason)
    machine = replace(machine, capacity=Capacity(gpus, machine.capacity.whole, reason, look))
    key = acting_key(config)
    async with open_http() as http:
        venue, clock = config.venue, VenueClock()
        gateway = GatewayClient(http, venue.gateway_url, venue.market_data_url, key, clock, config.patience())
        account = (OperatorAccount if machine.node_id else EmptyBook)(gateway, BOOK_FRESH_S)
        account.only_node = machine.node_id or None
        seller = Seller(account, clock)
        seller.node_id = machine.node_id
        draft = await seller.draft(policy, machine.grade, machine.capacity)
    return _document(policy, machine, draft, seller.troubles())


def _look(config: AgentConfig) -> Machine:
    state = StateFolder(config.state_dir) if config.state_dir.exists() else None
    known = remembered(state) if state else None
    policy_file = PolicyFile(config.policy)
    policy = policy_file.current
    hindrance = known and never_sells(policy, known.grade, known.hub, len(known.gpu_uuids))
    if state and known and state.holder() is not None:
        said = state.read("status") or {}
        gpus, why_not = said.get("offers_gpus"), str(said.get("why_not") or "")
        capacity = Capacity(gpus if isinstance(gpus, int) else 0, len(known.gpu_uuids), hindrance or why_not)
        rows = [row for row in said.get("gpus") or () if isinstance(row, dict)]
        withheld = {str(row.get("uuid")): str(row.get("why") or row["reason"]) for row in rows if row.get("reason")}
        return Machine(known.node_id, known.grade, capacity, withheld)
    with closing(open_nvml(policy_file, None, known.gpu_uuids if known else ())) as telemetry:
        grade = known.grade if known else node_grade(tuple(g.grade for g in telemetry.inventory()), policy.whole_node)
        readings = telemetry.read()
    if known:
        readings = tuple(reading for reading in readings if reading.uuid in known.gpu_uuids)
    judged = IdleWatch().observe(readings, frozenset(), policy.idle, mono_ms(), policy.whole_node)
    withheld = {reading.uuid: reason_in_words(reading.withheld) for reading in judged if reading.withheld}
    reason = hindrance or problem_of(policy.hooks)
    return Machine(
        known.node_id if known else "", grade, _capacity(policy, len(readings), len(withheld), reason), withheld
    )


def _capacity(policy: Policy, whole: int, withheld: int, hindrance: str | None) -> Capacity:
    """Counts as a running agent does once the GPUs have been idle for long enough."""
    if hindrance:
        return Capacity(0, whole, hindrance)
    fit = whole - withheld
    if policy.whole_node and fit < whole:
        return Capacity(0, whole, "the GPUs are sold together, and not all of them are fit")
    reasons = [f"{withheld} not fit"] * bool(withheld) + [f"{policy.reserve_gpus} reserved"] * bool(policy.reserve_gpus)
    return Capacity(max(fit - policy.reserve_gpus, 0), whole, ", ".join(reasons))


def _document(policy: Policy, machine: Machine, draft: Draft, troubles: dict[str, str]) -> dict[str, Any]:
    plans = (draft.plans or {}).values()
    withdraw = [*draft.elsewhere, *(order_id for each in plans for order_id in each.withdraw)]
    reprice = [each.order_id for one in plans for each in one.reprice]
    posts = [
        {
            "product": draft.terms[tier].product,
            "from_s": offer.from_s,
            "to_s": offer.to_s,
            "gpus": offer.gpus,
            "prices": [format_micros(micros) for _, micros in sorted(offer.prices.items())],
        }
        for tier, one in (draft.plans or {}).items()
        for offer in one.offer
    ]
    return {
        "node": machine.node_id or None,
        "grade": machine.grade,
        "hub": policy.hub,
        "time_zone": policy.time_zone,
        "gpus": machine.capacity.gpus,
        "of": machine.capacity.whole,
        "why_not": machine.capacity.reason,
        "withheld": machine.withheld,
        "unlisted": list(draft.unlisted),
        "troubles": troubles,
        "asks": [_row(wish) for wish in draft.wishes],
        "steps": {"withdraw": withdraw, "reprice": reprice, "post": posts},
    }


def _row(wish: Wish) -> dict[str, Any]:
    return {
        "start_s": wish.start_s,
        "tier": wish.tier,
        "gpus": wish.gpus,
        "price": format_micros(wish.price.micros),
        "floor": format_micros(wish.price.floor_micros),
        "rules": list(wish.price.why),
        "why_not": list(wish.why_not),
    }


def lines_of(document: dict[str, Any]) -> list[str]:
    """Puts the plan into lines: the node, one line for each hour and tier, what is in the way, and the steps."""
    known = document["node"] or "not enrolled yet, so nothing stands"
    lines = [f"{known}: {document['gpus']} of {document['of']} GPUs of {document['grade']} may be sold now"]
    lines[0] += f" ({document['why_not']})" if document["why_not"] else ""
    lines += [f"{uuid} is not offered: {why}" for uuid, why in document["withheld"].items()]
    lines += [f"the venue lists no {product}" for product in document["unlisted"]]
    lines += [f"{about}: {words}" for about, words in document["troubles"].items()]
    zone = zone_of(document["time_zone"])
    if document["asks"]:
        lines.append(f"{'hour (' + document['time_zone'] + ')':<24} tier  GPUs  price         why")
    for ask in document["asks"]:
        start = datetime.fromtimestamp(ask["start_s"], zone)
        why = "; ".join(ask["rules"]) if ask["gpus"] else "not offered"
        why += f" ({', '.join(ask['why_not'])})" if ask["why_not"] else ""
        price = ask["price"] if ask["gpus"] else "-"
        lines.append(f"{start:%a %Y-%m-%d %H:%M:%S}  {ask['tier']:<4}  {ask['gpus']:>4}  {price:<12}  {why}".rstrip())
    steps = document["steps"]
    counts = [
        f"withdraw {_count(len(steps['withdraw']), 'order')}",
        f"reprice {_count(len(steps['reprice']), 'order')}",
        f"post {_count(len(steps['post']), 'order')}",
    ]
    return [*lines, f"now it would {', '.join(counts)}"]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
