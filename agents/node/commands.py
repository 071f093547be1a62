"""What an operator asks of a node besides running it: is all in order, how does it stand, which GPUs, and its end."""

import asyncio
import os
import time
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

import httpx

from agents.node.app import open_nvml
from agents.node.client import DeliveryClient, GatewayClient
from agents.node.clock import VenueClock
from agents.node.config import AgentConfig
from agents.node.enrol import Enrolment, change_gpus, differences, remembered
from agents.node.errors import AgentError, BadConfiguration, BadState, StateInUse
from agents.node.grades import node_grade
from agents.node.hooks.readiness import problem_of
from agents.node.identity import KEY_FILE, Identity, acting_key
from agents.node.leases import LeaseBook
from agents.node.lessor import Lessor
from agents.node.market import readable
from agents.node.policy import PolicyFile, never_sells
from agents.node.state import StateFolder
from agents.node.wire import open_http
from schemas.nodes import node_id_of

MOVED = "retired"
SETTLED = ("SETTLED_PROVISIONAL", "SETTLED_FINAL")
NEWEST = 500


def check(file: Path) -> list[str]:
    """Returns what keeps the node from working or selling, one line each; changes nothing."""
    try:
        config = AgentConfig.load(file)
    except BadConfiguration as error:
        return list(error.problems)
    problems: list[str] = []
    try:
        if config.api_key is not None:
            config.operator_key()
    except BadConfiguration as error:
        problems += error.problems
    try:
        open_http(httpx.Client).close()
    except BadConfiguration as error:
        problems += error.problems
    known = None
    try:
        known = _check_state(config, problems)
    except AgentError as error:
        problems.append(str(error))
    try:
        policy = PolicyFile(config.policy)
    except BadConfiguration as error:
        return problems + list(error.problems)
    if lacking := problem_of(policy.current.hooks):
        problems.append(lacking)
    try:
        problems += _check_gpus(policy, known)
    except AgentError as error:
        problems.append(str(error))
    return problems


def _check_state(config: AgentConfig, problems: list[str]) -> Enrolment | None:
    if not config.state_dir.exists():
        if not config.read_token():
            problems.append("the node is not enrolled and there is no token")
        return None
    if not os.access(config.state_dir, os.R_OK | os.W_OK | os.X_OK):
        raise BadState(f"state folder {config.state_dir}: the agent's user must be able to read and write it")
    state = StateFolder(config.state_dir)
    if (config.state_dir / KEY_FILE).exists() or (config.state_dir / "chain.journal").exists():
        Identity.load_or_make(state)
    known = remembered(state)
    if known is None and not config.read_token():
        problems.append("the node is not enrolled and there is no token")
    return known


def _check_gpus(policy: PolicyFile, known: Enrolment | None) -> list[str]:
    telemetry = open_nvml(policy, None, known.gpu_uuids if known else ())
    gpus = telemetry.inventory()
    if known is None:
        grade = node_grade(tuple(gpu.grade for gpu in gpus), policy.current.whole_node)
        hindrance = never_sells(policy.current, grade, "", len(gpus))
        return [hindrance] if hindrance else []
    hindrance = never_sells(policy.current, known.grade, known.hub, len(known.gpu_uuids))
    return [line for line in (hindrance, *differences(known, tuple(gpu.uuid for gpu in gpus))) if line]


async def status(config: AgentConfig) -> dict:
    """Returns how the node stands: on this machine, as the agent last wrote it, and at the venue."""
    if not config.state_dir.exists():
        return {"running_pid": None, "node": None}
    state = StateFolder(config.state_dir)
    known = remembered(state)
    shown: dict = {"running_pid": state.holder(), "node": known.node_id if known else None}
    if known is None:
        return shown
    shown |= {"account": known.account, "grade": known.grade, "hub": known.hub, "gpus": list(known.gpu_uuids)}
    shown["agent"] = state.read("status")
    leases = state.read("leases") or {}
    known_leases = {name: lease for name, lease in leases.items() if isinstance(lease, dict)}
    shown["leases"] = {name: lease.get("state") for name, lease in known_leases.items()}
    shown["positions"] = {name: _positions(lease) for name, lease in known_leases.items() if _positions(lease)}
    async with open_http() as http:
        delivery = DeliveryClient(http, config.venue.delivery_url, patience=config.patience())
        try:
            facts = await delivery.show_node(known.node_id)
            shown["venue"] = {name: facts.get(name) for name in ("state", "reason", "level", "fit_gpus")}
        except AgentError as error:
            shown["venue"] = str(error)
        try:
            shown["earned"] = await _earned(http, config, known.node_id, delivery.clock)
        except AgentError as error:
            shown["earned"] = str(error)
    return shown


async def _earned(http: httpx.AsyncClient, config: AgentConfig, node_id: str, clock: VenueClock) -> dict:
    """Returns what the node's newest settled positions brought, by currency, provisional ones included."""
    venue, key = config.venue, acting_key(config)
    gateway = GatewayClient(http, venue.gateway_url, venue.market_data_url, key, clock, config.patience())
    sums: dict[str, Decimal] = {}
    count = 0
    for state in SETTLED:
        path, query = "/v1/positions", {"role": "operator", "node": node_id, "state": state, "limit": str(NEWEST)}
        page = await gateway.call("GET", path, query=urlencode(query))
        with readable(path):
            for position in page["items"]:
                currency = str(position["currency"])
                sums[currency] = sums.get(currency, Decimal(0)) + Decimal(position["net"])
                count += 1
    return {"positions": count, "net": {currency: str(net) for currency, net in sorted(sums.items())}}


def _positions(lease: dict) -> list[int]:
    """Returns the positions that a lease, as it was kept, serves from its first hour on."""
    start = lease.get("start")
    return start.get("position_ids", []) if isinstance(start, dict) else []


async def close_leases(config: AgentConfig) -> dict:
    """Runs the stop hook of every lease that is open on this machine, and tells the venue; the agent must not run.

    An agent that ends leaves its buyers in, so that it can be replaced; this is for a machine that is to serve no more.
    """
    state = StateFolder(config.state_dir)
    with state.locked():
        known = remembered(state)
        if known is None:
            raise BadConfiguration(f"{config.state_dir} holds no node")
        async with open_http() as http:
            delivery = DeliveryClient(http, config.venue.delivery_url, patience=config.patience())
            identity, policy = Identity.load_or_make(state), PolicyFile(config.policy)
            lessor = Lessor(identity, LeaseBook(state), policy, delivery, state)
            lessor.node_id = known.node_id
            return {"node": known.node_id, "leases": await lessor.close_all()}


async def retire(config: AgentConfig, release_to: str | None) -> dict:
    """Ends the node at the venue for good and puts its state aside, so that the machine can enroll again."""
    state = StateFolder(config.state_dir)
    with state.locked():
        if not (config.state_dir / KEY_FILE).exists():
            raise BadConfiguration(f"{config.state_dir} holds no node")
        node_id = node_id_of(Identity.load_or_make(state).public_key)
        key = config.operator_key()
        async with open_http() as http:
            delivery = DeliveryClient(http, config.venue.delivery_url, patience=config.patience())
            await delivery.retire(key, node_id, release_to)
        aside = _put_aside(config, node_id)
    return {"node": node_id, "state": MOVED, "kept": str(aside), "next": "the machine enrolls again with a fresh token"}


def _put_aside(config: AgentConfig, node_id: str) -> Path:
    folder = config.state_dir
    named = {path.resolve() for path in (config.policy, config.api_key_file, config.token_file) if path}
    aside = folder / f"{MOVED}-{node_id}-{int(time.time())}"
    aside.mkdir(mode=0o700)
    for file in folder.iterdir():
        is_the_operators = file.suffix == ".toml" or file.resolve() in named
        if not file.name.startswith((f"{MOVED}-", "agent.lock")) and not is_the_operators:
            file.rename(aside / file.name)
    return aside


async def gpus(config: AgentConfig, update: bool) -> dict:
    """Returns the machine's GPUs beside those enrolled; with `update` the venue takes them as they are now."""
    state = StateFolder(config.state_dir) if update or config.state_dir.exists() else None
    known = remembered(state) if state else None
    # A GPU that was taken out is to be seen as gone, not waited for: nothing is expected of NVML but what it lists.
    telemetry = await asyncio.to_thread(open_nvml, PolicyFile(config.policy), None, ())
    found = telemetry.inventory()
    if update:
        if known is None:
            raise BadConfiguration("the node is not enrolled: its first start enrols the GPUs that it finds")
        if (pid := state.holder()) is not None:
            raise StateInUse(f"the agent with pid {pid} runs: stop it first, and start it again afterwards")
        with state.locked():
            async with open_http() as http:
                delivery = DeliveryClient(http, config.venue.delivery_url, patience=config.patience())
                known = await change_gpus(Identity.load_or_make(state), telemetry, known, delivery, state)
    enrolled = known.gpu_uuids if known else ()
    rows = [{"uuid": gpu.uuid, "name": gpu.name, "grade": gpu.grade, "enrolled": gpu.uuid in enrolled} for gpu in found]
    seen = {gpu.uuid for gpu in found}
    return {"gpus": rows, "gone": [uuid for uuid in enrolled if uuid not in seen]}
