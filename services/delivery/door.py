"""The venue tries the door of running leases: who answers there by SSH, and is it the server that the hook named?

Only addresses that the settings allow are tried, and a name is resolved once: nobody makes the venue look around in
somebody's inner network. Where the hook named no host key any SSH server will do; `hourbook ssh` enters none such.
"""

import asyncio
import ipaddress
import random
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import structlog

from schemas.delivery import Witness
from schemas.nodes import DoorTried
from services.delivery.effects import now_ms, repeat
from services.delivery.leases import address_of
from services.delivery.settings import Settings
from services.delivery.spans import Span, union
from services.delivery.store import Store, transaction
from services.delivery.store.leases import Door
from services.kit.store import Pool

DOORS_AT_ONCE = 16
LOOK_S = 1.0
JITTER = 0.5
REACHED = ""


@dataclass(frozen=True)
class Probe:
    """One try at a lease's door; `reason` says why it failed."""

    at_ms: int
    reachable: bool
    reason: str = REACHED


class NotTried(Exception):
    """The settings forbid this address; nothing is held against anybody."""


def allowed(address: str, private_too: bool) -> bool:
    """Says whether an address may be tried: public ones, and in a sandbox private ones and this machine's own."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if parsed.is_loopback:
        return private_too
    if parsed.is_multicast or parsed.is_unspecified or parsed.is_reserved or parsed.is_link_local:
        return False
    return parsed.is_global or (private_too and parsed.is_private)


async def try_door(endpoint: str, host_key: str, private_too: bool, timeout_s: float) -> str:
    """Returns why the door is shut, "" where the named server answers. Raises NotTried."""
    door = address_of(endpoint)
    if door is None:
        raise NotTried("not an endpoint for SSH")
    _, host, port = door
    try:
        async with asyncio.timeout(timeout_s):
            return await _ask(host, port, host_key, private_too)
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"


async def _ask(host: str, port: int, host_key: str, private_too: bool) -> str:
    import asyncssh

    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return f"the name cannot be resolved: {error}"
    address = found[0][4][0]
    if not allowed(address, private_too):
        raise NotTried(f"{address} may not be tried")
    kind = host_key.partition(" ")[0]
    try:
        key = await asyncssh.get_server_host_key(
            address, port, config=None, server_host_key_algs=[kind] if kind else ()
        )
    except asyncssh.Error as error:
        return f"no SSH server with a {kind or 'readable'} key answers: {error}"[:200]
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"[:200]
    shown = " ".join(key.export_public_key().decode().split()[:2]) if key else ""
    return REACHED if shown and host_key in ("", shown) else "another host key answers"


def unreachable_spans(probes: Sequence[Probe], end_ms: int, grace_ms: int) -> list[Span]:
    """Returns the times of a lease in which every try failed, from the first failure to the next success.

    Only what lasts longer than the grace counts, and only as far as tries show it: a single failure is no span.
    """
    spans: list[Span] = []
    first_ms = last_ms = None
    for probe in sorted(probes, key=lambda each: each.at_ms):
        if not probe.reachable:
            first_ms, last_ms = first_ms or probe.at_ms, probe.at_ms
            continue
        if first_ms is not None and last_ms - first_ms > grace_ms:
            spans.append((first_ms, probe.at_ms))
        first_ms = last_ms = None
    if first_ms is not None and last_ms - first_ms > grace_ms:
        spans.append((first_ms, max(last_ms, end_ms)))
    return spans


def open_spans(probes: Sequence[Probe], apart_ms: int) -> list[Span]:
    """Returns the times at both ends of which the door was found open, by tries that follow each other closely."""
    pairs = pairwise(sorted(probes, key=lambda each: each.at_ms))
    return union(
        (before.at_ms, after.at_ms)
        for before, after in pairs
        if before.reachable and after.reachable and after.at_ms - before.at_ms <= apart_ms
    )


async def probes_of(store: Store, lease_id: str | None) -> list[Probe]:
    """Returns all tries at a lease's door; none where there is no lease."""
    tries = [] if lease_id is None else await store.leases.tries(lease_id)
    return [Probe(each.at_ms, each.reachable) for each in tries]


def door_witnesses(probes: Sequence[Probe], apart_ms: int) -> tuple[Witness, ...]:
    """Returns when the venue's own tries say that nobody was shut out."""
    spans = open_spans(probes, apart_ms)
    return tuple(Witness(start_ms=start_ms, end_ms=end_ms, kind="door") for start_ms, end_ms in spans)


class DoorWatch:
    """Tries each running lease's door soon after its start and then at random times, and writes down what it found."""

    def __init__(self, settings: Settings, pool: Pool):
        self._settings, self._pool = settings, pool
        self._due_ms: dict[str, float] = {}
        self._random = random.SystemRandom()

    async def run(self) -> None:
        """Runs for ever; sits out a database that is away."""
        await repeat(self.look, LOOK_S, "the doors wait for PostgreSQL")

    async def look(self, time_ms: int) -> None:
        """Tries the doors that are due."""
        doors = await Store(self._pool).leases.doors(time_ms)
        running = {door.lease_id for door in doors}
        self._due_ms = {name: due for name, due in self._due_ms.items() if name in running}
        due = [door for door in doors if self._due_ms.get(door.lease_id, 0) <= time_ms]
        for door in due:
            spread = self._random.uniform(1 - JITTER, 1 + JITTER)
            self._due_ms[door.lease_id] = time_ms + spread * self._settings.door_pause_ms(door.period_ms)
        turns = asyncio.Semaphore(DOORS_AT_ONCE)
        found = await asyncio.gather(*(self._try(door, turns) for door in due))
        await self._keep([(door, probe) for door, probe in zip(due, found, strict=True) if probe is not None])

    async def _try(self, door: Door, turns: asyncio.Semaphore) -> Probe | None:
        async with turns:
            try:
                reason = await try_door(
                    door.endpoint,
                    door.host_key,
                    self._settings.tries_private_doors,
                    self._settings.door_timeout_ms / 1000,
                )
            except NotTried:
                return None
        return Probe(now_ms(), reason == REACHED, reason)

    async def _keep(self, found: Iterable[tuple[Door, Probe]]) -> None:
        tried = list(found)
        nodes = {door.node for door, _ in tried}
        if len(nodes) > 1 and not any(probe.reachable for _, probe in tried):
            structlog.get_logger().warning("no door answers: taken to be a fault of the venue", doors=len(tried))
            return
        async with transaction(self._pool) as store:
            for door, probe in tried:
                await _keep_probe(store, door, probe)


async def _keep_probe(store: Store, door: Door, probe: Probe) -> None:
    facts = {"node_id": door.node, "lease_id": door.lease_id, "received_ms": probe.at_ms}
    record = DoorTried(**facts, reachable=probe.reachable, reason=probe.reason.replace("\0", ""))
    if await store.leases.insert_try(record):
        await store.record(door.node, record)
