"""What every route of the gateway works with, and the checks that they share: signed, within budget."""

import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fastapi import Request, Response

from schemas.accounts import Scope
from services.gateway.commands.limits import OrderLimits
from services.gateway.commands.log import CommandLog
from services.gateway.commands.past import PastCommands
from services.gateway.commands.pending import Decisions
from services.gateway.keys.asked_for import KeysAskedFor
from services.gateway.keys.file import KeyFile
from services.gateway.keys.node_requests import node_check
from services.gateway.projections.feeds import Feeds
from services.gateway.projections.history import History
from services.gateway.projections.views import Views
from services.gateway.recorder import Recorder
from services.gateway.settings import GatewaySettings
from services.gateway.store import Store
from services.kit.auth import SPENT, Authenticator, Caller, check_scope, read_signing_headers
from services.kit.idempotency import Turns
from services.kit.limits import Budget
from services.kit.outbox import PromptPublisher
from services.kit.readiness import Readiness


@dataclass
class Desk:
    """The parts of a running gateway. Those that need PostgreSQL come later; nothing is served before `readiness`."""

    settings: GatewaySettings
    readiness: Readiness
    directory: KeysAskedFor
    auth: Authenticator
    log: CommandLog
    history: History
    decisions: Decisions
    feeds: Feeds
    views: Views
    orders: Budget
    cancels: Budget
    reads: Budget
    messages: Budget
    order_limits: OrderLimits
    past_commands: PastCommands
    key_file: KeyFile
    turns: Turns = field(default_factory=Turns)
    store: Store | None = None
    recorder: Recorder | None = None
    publisher: PromptPublisher | None = None
    command_ids: itertools.count = field(default_factory=itertools.count)
    note_timer: Callable[[Caller, str, int], None] = lambda caller, session, timeout_ms: None
    started: str = field(default_factory=lambda: f"g{time.time_ns():x}")

    def next_command_id(self) -> str:
        """Returns an id that no other command of this or another gateway has."""
        return f"{self.started}-{next(self.command_ids)}"

    def caller_of(self, request: Request, body: bytes, budget: Budget | None = None) -> Caller:
        """Checks a request's signature, but of a key that has spent the budget that the request is taken from."""
        return self.auth.verify_request(request, body, budget)

    def caller(self, scope: Scope | None) -> Callable[[Request, Response], Awaitable[Caller]]:
        """Returns the dependency of a route that needs `scope`, or any key, and is paid from the budget of reads."""

        async def caller(request: Request, response: Response) -> Caller:
            found = self.caller_of(request, await request.body(), self.reads)
            if scope is not None:
                check_scope(found, scope)
            response.headers.update(spend(self.reads, found))
            return found

        caller.declares_scope = True
        return caller

    def known_caller(self) -> Callable[[Request, Response], Awaitable[Caller | None]]:
        """Returns the dependency of a route that new keys may call as well: it yields the caller, or None where nobody
        knows the key, whose signature the route checks itself.
        """
        any_caller = self.caller(None)

        async def caller(request: Request, response: Response) -> Caller | None:
            key_id = read_signing_headers(request.scope["headers"])[0]
            return await any_caller(request, response) if self.directory.get(key_id) else None

        caller.declares_scope = True
        return caller


def make_desk(settings: GatewaySettings, readiness: Readiness) -> Desk:
    """Builds the parts that need neither Kafka nor PostgreSQL."""
    directory, history = KeysAskedFor(), History()
    return Desk(
        settings=settings,
        readiness=readiness,
        directory=directory,
        auth=Authenticator(
            directory,
            settings.signature_window_ms,
            check_node=node_check(history.orders.get),
            ahead_ms=settings.signature_ahead_ms,
        ),
        log=CommandLog(settings),
        history=history,
        decisions=Decisions(),
        feeds=Feeds(history),
        views=Views(history),
        orders=Budget("orders", settings.orders_per_s, settings.burst_s),
        cancels=Budget("cancels", settings.cancels_per_s, settings.burst_s),
        reads=Budget("reads", settings.reads_per_s, settings.burst_s),
        messages=Budget("messages", settings.socket_messages_per_s, settings.burst_s),
        order_limits=OrderLimits(history),
        past_commands=PastCommands(settings),
        key_file=KeyFile(settings.keys_file_path),
    )


def spend(budget: Budget, caller: Caller, requests: int = 1) -> dict[str, str]:
    """Takes requests off the caller's budget and returns the headers that tell of it. Raises `too_many_requests`."""
    return budget.require(caller.key_id, SPENT, requests)
