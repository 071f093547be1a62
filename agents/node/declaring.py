"""What an operator says by his node's key: a dispute, a recall of interruptible GPUs, maintenance to come."""

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

from agents.node.client import DeliveryClient
from agents.node.config import AgentConfig
from agents.node.errors import BadConfiguration
from agents.node.files import read_text
from agents.node.identity import KEY_FILE, Identity
from agents.node.state import StateFolder
from agents.node.wire import open_http
from schemas.base import Model
from schemas.declarations import NodeMaintenance, NodeRecall
from schemas.disputes import EVIDENCE_CHARACTERS_MAX, NodeDispute
from schemas.nodes import SignedMessage, node_id_of

POSITION_MAX = 2**63 - 1


async def dispute(config: AgentConfig, position_id: int, claim: str, evidence: str) -> dict:
    """Disputes a settled position of the node; returns the dispute as it stands. Raises AgentError."""
    if len(evidence) > EVIDENCE_CHARACTERS_MAX:
        words = f"evidence has {len(evidence)} characters, at most {EVIDENCE_CHARACTERS_MAX} are accepted"
        raise BadConfiguration(words)
    facts = {"position_id": position_id, "reason": claim, "evidence": evidence}
    return await _say(config, DeliveryClient.dispute, NodeDispute, **facts)


async def recall(config: AgentConfig, position_id: int, gpus: tuple[str, ...], from_ms: int | None) -> dict:
    """Takes GPUs of an interruptible position back (none named: all), from a moment on (None: with notice)."""
    facts = {"position_id": position_id, "gpus": gpus, "from_ms": from_ms, "wall_ms": _wall_ms()}
    return await _say(config, DeliveryClient.recall, NodeRecall, **facts)


async def maintenance(config: AgentConfig, start_ms: int, end_ms: int) -> dict:
    """Declares that what is sold from now on is not served from start to end, at nobody's expense."""
    facts = {"start_ms": start_ms, "end_ms": end_ms, "wall_ms": _wall_ms()}
    return await _say(config, DeliveryClient.declare_maintenance, NodeMaintenance, **facts)


async def _say(
    config: AgentConfig, send: Callable[..., Awaitable[Model]], kind: type[SignedMessage], **facts: object
) -> dict:
    if not (config.state_dir / KEY_FILE).exists():
        raise BadConfiguration(f"{config.state_dir} holds no node")
    identity = Identity.load_or_make(StateFolder(config.state_dir))
    message = identity.sign_as_told(kind, agent=node_id_of(identity.public_key), **facts)
    async with open_http() as http:
        delivery = DeliveryClient(http, config.venue.delivery_url, patience=config.patience())
        return (await send(delivery, message)).model_dump(mode="json")


def evidence_of(text: str, file: Path | None) -> str:
    """Returns what is said in evidence. Raises BadConfiguration for a file that is no text."""
    if file is None:
        return text
    return read_text(file, "evidence file")


def moment_ms(text: str) -> int:
    """Reads a moment with its time zone, such as 2026-11-22T13:00Z. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone; Z is UTC")
    return int(moment.timestamp() * 1000)


def position_id(text: str) -> int:
    """Reads a position's number. Raises ValueError."""
    number = int(text)
    if not 1 <= number <= POSITION_MAX:
        raise ValueError(f"{text} is not a position")
    return number


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
