"""The engine: records of the command log in, canonical events out; nothing but the records decides."""

from collections.abc import Callable, Sequence
from hashlib import sha256

from matching_engine.errors import OffsetGap
from matching_engine.rules import (
    auctions,
    blocks,
    cancels,
    capacity,
    identity,
    inspection,
    orders,
    protection,
    replaces,
    reprices,
    resell,
    silence,
    snapshot,
    unpacking,
)
from matching_engine.rules.clock import move_time
from matching_engine.rules.market import Market
from matching_engine.rules.outline import Outline
from matching_engine.rules.privileged import apply_batch, apply_genesis, reject_record
from matching_engine.rules.refusals import Refused
from matching_engine.rules.state import State
from schemas.commands import Command, read_command
from schemas.events import BalanceDigest, BatchDone, OrderRejected
from schemas.orders import PlaceBatch
from schemas.venue import Genesis, Privileged, Tick

DIGEST_EVERY_OFFSETS = 4096


class Engine:
    """State and its rules. `apply` takes records in the order of their offsets, cut into batches however one likes."""

    def __init__(self, state: State | None = None):
        self.state = state or State()
        self.market = Market(self.state)

    # -- applying records

    def apply(self, records: Sequence[tuple[int, int, bytes]]) -> list[bytes]:
        """Applies records (offset, broker's timestamp in ms, value). Raises OffsetGap where one is not the next."""
        return [event for record in records for event in self.apply_record(*record)]

    def apply_record(self, offset: int, ts_ms: int, value: bytes) -> list[bytes]:
        """Time moves first, then the command applies; the digest of balances comes last."""
        if offset != self.state.next_offset:
            raise OffsetGap(f"offset {offset} where {self.state.next_offset} is next")
        self.state.next_offset = offset + 1
        self.market.offset, self.market.events = offset, []
        command = read(value)
        move_time(self.market, ts_ms, is_tick=isinstance(command, Tick))
        self.execute(command)
        if self.state.ruleset and offset % DIGEST_EVERY_OFFSETS == 0:
            self.market.emit(BalanceDigest, digest=self.balance_digest())
        return self.seal()

    def execute(self, command: Command | None) -> None:
        """Applies one command; whatever is wrong with it becomes an event."""
        if command is None:
            reject_record(self.market, "malformed")
        elif isinstance(command, Genesis):
            apply_genesis(self.market, command)
        elif not self.state.ruleset:
            reject_record(self.market, "no_genesis", command if isinstance(command, Privileged) else None)
        elif isinstance(command, Privileged):
            apply_batch(self.market, command)
        elif isinstance(command, Tick):
            blocks.go_on_at_tick(self.market)
            auctions.indicate(self.market)
        elif isinstance(command, PlaceBatch):
            self.execute_batch(command)
        else:
            self.execute_order(command)
        protection.pull(self.market)

    def execute_batch(self, batch: PlaceBatch) -> None:
        """Applies the members in turn, each by itself, unless one of them speaks for another account."""
        if any(member.account != batch.account for member in batch.members):
            self.refuse(batch, Refused("not_permitted"))
            return
        refused = sum(not self.execute_order(member) for member in batch.members)
        self.market.emit(
            BatchDone,
            command_id=batch.command_id,
            account=batch.account,
            members=len(batch.members),
            refused=refused,
        )

    def execute_order(self, command: Command) -> bool:
        """Applies a command of a trader or operator, or says why not. Returns whether it was carried out."""
        events = len(self.market.events)
        try:
            ON_ORDER[command.type](self.market, command)
        except Refused as refusal:
            if len(self.market.events) != events:
                raise AssertionError(f"{command.type} refused half way") from refusal
            self.refuse(command, refusal)
            return False
        return True

    def refuse(self, command: Command, refusal: Refused) -> None:
        """Says why a command of a trader or operator was not carried out."""
        self.market.emit(
            OrderRejected,
            command_id=command.command_id,
            command=command.type,
            account=command.account,
            client_order_id=identity.own_id(command),
            order_id=refusal.order_id,
            code=refusal.code,
            why_unfilled=refusal.why,
        )

    def seal(self) -> list[bytes]:
        """Numbers the record's events and links them: link = SHA-256(previous link ‖ the bytes of the events)."""
        sealed = []
        for index, (event, fields) in enumerate(self.market.events):
            self.state.seq += 1
            header = {
                "shard": self.state.shard,
                "seq": self.state.seq,
                "in_offset": self.market.offset,
                "index": index,
                "count": len(self.market.events),
                "ts_ms": self.state.log_time_ms,
                "prev_link": self.state.link,
            }
            sealed.append(event(**header, **fields).canonical())
        if sealed:
            self.state.link = sha256(self.link + b"".join(sealed)).hexdigest()
        return sealed

    # -- where it stands

    @property
    def seq(self) -> int:
        """The number of the last event."""
        return self.state.seq

    @property
    def next_offset(self) -> int:
        """The offset of the record that comes next."""
        return self.state.next_offset

    @property
    def log_time_ms(self) -> int:
        """The log's time."""
        return self.state.log_time_ms

    @property
    def link(self) -> bytes:
        """The chain's newest link."""
        return bytes.fromhex(self.state.link)

    @property
    def epoch(self) -> int:
        """The newest epoch read."""
        return self.state.epoch

    @property
    def shard(self) -> int:
        """The shard that genesis named."""
        return self.state.shard

    def snapshot(self) -> bytes:
        """The whole state as canonical bytes."""
        return snapshot.write(self.state)

    @classmethod
    def restore(cls, raw: bytes) -> "Engine":
        """Goes on from a snapshot. Raises BadSnapshot for damaged or foreign bytes."""
        return snapshot.restore(raw, cls.load)

    @classmethod
    def load(cls, outline: Outline, packed: memoryview) -> "Engine":
        """Goes on from a snapshot's outline and packed sections."""
        return cls(unpacking.unpack(outline, packed))

    # -- looking inside

    def balances(self) -> list[tuple[str, str, int, int]]:
        """Account, asset, available and held of every balance, sorted."""
        return list(self.market.accounts.rows())

    def balance_digest(self) -> str:
        """SHA-256 over all balances, as in `balance_digest` events."""
        return self.market.accounts.digest()

    def positions(self) -> list[dict]:
        """Every position that is not final, by id."""
        return inspection.positions(self.market)

    def orders(self) -> list[dict]:
        """Every live order and block, by id."""
        return inspection.orders(self.state)


def read(value: bytes) -> Command | None:
    """Reads a record; None for anything but a command's canonical bytes."""
    try:
        return read_command(value)
    except ValueError:
        return None


ON_ORDER: dict[str, Callable] = {
    "place_order": orders.place_order,
    "place_block": blocks.place_block,
    "post_capacity": capacity.post_capacity,
    "reprice_capacity": reprices.reprice_capacity,
    "withdraw_capacity": cancels.withdraw_window,
    "resell": resell.resell,
    "cancel_order": cancels.cancel,
    "mass_cancel": cancels.mass_cancel,
    "replace_order": replaces.replace_order,
    "cancel_all_after": silence.cancel_all_after,
    "set_protection": protection.set_protection,
}
