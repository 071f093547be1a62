"""What every route of the gateway works with: one object, made at the start."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from services.gateway.commands.limits import OrderLimits
from services.gateway.commands.log import CommandLog
from services.gateway.commands.past import PastCommands
from services.gateway.commands.pending import PendingCommands
from services.gateway.keys.asked_for import KeysAskedFor
from services.gateway.keys.file import KeyFile
from services.gateway.keys.node_requests import node_check
from services.gateway.projections.feeds import Feeds
from services.gateway.projections.history import History
from services.gateway.projections.views import Views
from services.gateway.recorder import Recorder
from services.gateway.settings import GatewaySettings
from services.gateway.store import Store
from services.kit.auth import Authenticator, Caller
from services.kit.idempotency import Turns
from services.kit.limits import Budget
from services.kit.outbox import PromptPublisher
from services.kit.readiness import Readiness


@dataclass
class GatewayContext:
    """The parts of a running gateway. Those that need PostgreSQL come later; nothing is served before `readiness`."""

    settings: GatewaySettings
    readiness: Readiness
    directory: KeysAskedFor
    auth: Authenticator
    log: CommandLog
    history: History
    pending: PendingCommands
    feeds: Feeds
    views: Views
    order_budget: Budget
    cancel_budget: Budget
    read_budget: Budget
    message_budget: Budget
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
        """Return an id that no other command of this or another gateway has."""
        return f"{self.started}-{next(self.command_ids)}"


def make_context(settings: GatewaySettings, readiness: Readiness) -> GatewayContext:
    """Build the parts that need neither Kafka nor PostgreSQL."""
    directory, history = KeysAskedFor(), History()
    return GatewayContext(
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
        pending=PendingCommands(),
        feeds=Feeds(history),
        views=Views(history),
        order_budget=Budget("orders", settings.orders_per_s, settings.burst_s),
        cancel_budget=Budget("cancels", settings.cancels_per_s, settings.burst_s),
        read_budget=Budget("reads", settings.reads_per_s, settings.burst_s),
        message_budget=Budget("messages", settings.socket_messages_per_s, settings.burst_s),
        order_limits=OrderLimits(history),
        past_commands=PastCommands(settings),
        key_file=KeyFile(settings.keys_file_path),
    )
