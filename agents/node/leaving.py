"""How a node leaves: drained where it stands, or retired here and prepared to enroll on another machine."""

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from agents.node import commands
from agents.node.client import DeliveryClient, GatewayClient
from agents.node.config import AgentConfig
from agents.node.draining import ask_to_drain, stop_draining
from agents.node.ending import ExitStatus
from agents.node.enrol import remembered
from agents.node.errors import AgentError, BadConfiguration
from agents.node.market import OperatorAccount
from agents.node.state import StateFolder
from agents.node.wire import open_http

LOOK_S = 1.0
NEXT = "carry this folder and the API key's file to the other machine, and there: hourbook-agent run agent.toml"


async def drain(config: AgentConfig, undo: bool, wait: bool, say: Callable[[str], None]) -> int:
    """Asks the running agent to drain, and waits until it has ended. Returns an `ExitStatus`."""
    if not config.state_dir.exists():
        raise BadConfiguration(f"{config.state_dir} holds no node")
    state = StateFolder(config.state_dir)
    if undo:
        say("it offers again" if stop_draining(state) else "it was not draining")
        return ExitStatus.OK
    if state.holder() is None:
        raise BadConfiguration("no agent runs on this folder: start it, since only it can deliver what is sold")
    asked_ms = time.time_ns() // 1_000_000
    ask_to_drain(state)
    said = ""
    while wait and state.holder() is not None:
        known = state.read("status") or {}
        left = known.get("draining")
        words = "" if left is None or known.get("written_ms", 0) < asked_ms else ", ".join(left)
        if words and words != said:
            say(f"left: {words}")
            said = words
        await asyncio.sleep(LOOK_S)
    if wait and (state.path / "drain.json").exists():
        raise AgentError("the agent has ended before it was drained: start it again, it drains on")
    say("drained: the agent has ended" if wait else "asked: it ends when what is sold is delivered")
    return ExitStatus.OK


async def move(config: AgentConfig, into: Path, release_to: str | None, abandons_sold: bool) -> dict:
    """Retires the node here and writes into a folder what the other machine starts with: files and a fresh token.

    The key does not move: the other machine makes its own. Refused while positions are undelivered, unless these are
    to be abandoned.
    """
    if into.exists() and any(into.iterdir()):
        raise BadConfiguration(f"{into}: is not empty")
    state = StateFolder(config.state_dir)
    known = remembered(state)
    if known is None:
        raise BadConfiguration(f"{config.state_dir} holds no enrolled node")
    key = config.operator_key()
    with state.locked():
        async with open_http() as http:
            delivery = DeliveryClient(http, config.venue.delivery_url, patience=config.patience())
            venue = config.venue
            gateway = GatewayClient(http, venue.gateway_url, venue.market_data_url, key, delivery.clock)
            sold = await OperatorAccount(gateway, 0).undelivered(known.node_id)
            if sold and not abandons_sold:
                words = f"{len(sold)} positions are not delivered, the last in {max(sold)}"
                raise BadConfiguration(f"{words}: `hourbook-agent drain` first, or --abandon-sold")
            token = None if release_to else await gateway.call("POST", "/v1/enrolment-tokens", {})
    written = _write(config, into, token)
    moved = await commands.retire(config, release_to)
    return moved | {"written": written, "next": NEXT if token else f"{NEXT}, with a token of {release_to}"}


def _write(config: AgentConfig, into: Path, token: dict | None) -> str:
    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copyfile(config.policy, into / "policy.toml")
    quoted = {
        name: json.dumps(getattr(config.venue, name)) for name in ("gateway_url", "delivery_url", "market_data_url")
    }
    lines = [
        'state_dir = "state"',
        'policy = "policy.toml"',
        f"api_key = {json.dumps(config.api_key)}",
        f"api_key_file = {json.dumps(config.api_key_file.name)}",
        f"token = {json.dumps(json.dumps(token))}" if token else 'token_file = "token.json"',
        "",
        "[venue]",
        *(f"{name} = {url}" for name, url in quoted.items()),
    ]
    file = into / "agent.toml"
    file.touch(mode=0o600)
    file.write_text("\n".join(lines) + "\n")
    return str(file)
