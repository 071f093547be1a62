"""Who waits for which decision: requests wait for a command id, the reader of events brings what the engine decided."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from schemas.events import AnyEvent
from services.gateway.domain import NoAnswer, RecordRejected
from services.gateway.projections.records import Balance, Fill, Order, Position, RejectedOrder, copy_of

REJECTED_OFFSETS_KEPT = 1_000
STOPPED = "the gateway stops before the engine has answered"


@dataclass(frozen=True)
class Decision:
    """All events of one command, and copies of the orders and fills that it made or changed, as it left them."""

    events: tuple[AnyEvent, ...]
    orders: dict[int, Order]
    fills: tuple[Fill, ...]


class PendingCommands:
    """Collects the events of each command and hands them to the request that waits for it, if one does."""

    def __init__(self):
        self._waiting: dict[str, asyncio.Future[Decision]] = {}
        self._is_over = False
        self._command_at: dict[int, str] = {}
        self._rejected_offsets: OrderedDict[int, str] = OrderedDict()
        self._events: list[AnyEvent] = []
        self._records: list[Order | RejectedOrder | Fill | Position | Balance] = []

    def expect(self, command_id: str) -> asyncio.Future[Decision]:
        """Return the future of a command's decision; called before the command is sent."""
        future = self._waiting[command_id] = asyncio.get_running_loop().create_future()
        if self._is_over:
            self._fail(command_id, NoAnswer(STOPPED))
        return future

    def give_up(self) -> None:
        """No decision will be read any more: what was sent may be carried out, but nobody here will know."""
        self._is_over = True
        for command_id in tuple(self._waiting):
            self._fail(command_id, NoAnswer(STOPPED))

    def abandon(self, command_id: str) -> None:
        """Nobody waits for this command any more."""
        self._waiting.pop(command_id, None)

    def sent(self, command_id: str, offset: int) -> None:
        """Note where the log has the command. Only a rejected record is known by its offset; every other by its id."""
        if code := self._rejected_offsets.pop(offset, None):
            self._fail(command_id, RecordRejected(code))
        elif command_id in self._waiting:
            self._command_at[offset] = command_id

    def lost(self, command_id: str, error: BaseException) -> None:
        """The command could not be handed to the log, or nobody knows whether it was."""
        self._fail(command_id, error)

    def add(self, event: AnyEvent, records: list) -> None:
        """Add the next event with the records it touched; its command is decided with the last of its events."""
        if event.index == 0:
            self._events, self._records = [], []
        self._events.append(event)
        self._records += records
        if event.index == event.count - 1:
            self._resolve()

    def _resolve(self) -> None:
        offset = self._events[0].in_offset
        command_id = self._command_at.pop(offset, None)
        for event in self._events:
            if event.type == "record_rejected":
                return self._note_rejected(command_id, offset, event.code)
        for event in reversed(self._events):  # a batch names itself last
            if command_id := getattr(event, "command_id", None):
                break
        future = self._waiting.pop(command_id, None) if command_id else None
        if future and not future.done():
            orders = {record.order_id: copy_of(record) for record in self._records if isinstance(record, Order)}
            fills = tuple(record for record in self._records if isinstance(record, Fill))
            future.set_result(Decision(tuple(self._events), orders, fills))

    def _note_rejected(self, command_id: str | None, offset: int, code: str) -> None:
        if command_id:
            self._fail(command_id, RecordRejected(code))
            return
        self._rejected_offsets[offset] = code
        if len(self._rejected_offsets) > REJECTED_OFFSETS_KEPT:
            self._rejected_offsets.popitem(last=False)

    def _fail(self, command_id: str, error: BaseException) -> None:
        future = self._waiting.pop(command_id, None)
        if future and not future.done():
            future.set_exception(error)
